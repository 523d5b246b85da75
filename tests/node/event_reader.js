// A reader of events on Microsoft's `@azure/event-hubs`, driven by the test.
//
// Argument: {"connection_string": ..., "transport": "amqp_ws" for WebSocket, "group": the consumer group}
'use strict';

const { EventHubConsumerClient, earliestEventPosition, latestEventPosition } = require('@azure/event-hubs');
const WebSocket = require('ws');
const { event, serve } = require('./json_lines');

const LIMIT = 60000;
const config = JSON.parse(process.argv[2]);

function connect() {
  const options = { retryOptions: { maxRetries: 1 } };
  if (config.transport === 'amqp_ws') options.webSocketOptions = { webSocket: WebSocket };
  return new EventHubConsumerClient(config.group || '$Default', config.connection_string, options);
}

/** A start position: "earliest", "latest", or {"offset" | "sequenceNumber" | "enqueuedOn", "isInclusive"}. */
function position(value) {
  if (value === undefined || value === 'earliest') return earliestEventPosition;
  return value === 'latest' ? latestEventPosition : value;
}

serve({
  async properties() {
    const client = connect();
    try {
      const hub = await client.getEventHubProperties();
      const partitions = await Promise.all(hub.partitionIds.map((id) => client.getPartitionProperties(id)));
      return { hub, partitions };
    } finally {
      await client.close();
    }
  },

  async receive({ count, partition_id, position: start, owner_level, track }) {
    const client = connect();
    const events = [];
    const errors = [];
    let done;
    const finished = new Promise((resolve) => { done = resolve; });
    const handlers = {
      async processEvents(batch, context) {
        for (const received of batch) {
          if (events.length >= count) return;
          const last = context.lastEnqueuedEventProperties;
          const fields = { partition: context.partitionId, ...received, last };
          events.push(fields);
          event('received', fields);
        }
        if (events.length === count) done(true);
      },
      async processError(error) {
        errors.push({ type: error.code || error.name, message: error.message });
        done(true);
      },
    };
    const options = {
      startPosition: position(start), maxWaitTimeInSeconds: 1, ownerLevel: owner_level,
      trackLastEnqueuedEventProperties: track,
    };
    const subscription = partition_id === undefined
      ? client.subscribe(handlers, options)
      : client.subscribe(partition_id, handlers, options);
    const completed = await Promise.race([
      finished,
      new Promise((resolve) => { setTimeout(() => resolve(false), LIMIT).unref(); }),
    ]);
    await subscription.close();
    await client.close();
    return { events, errors, completed };
  },
});
