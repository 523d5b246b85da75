// A device on Microsoft's Node device SDK, driven by the test.
//
// Argument: {"connection_string": ..., "transport": "mqtt" | "mqtt_ws" | "http", "model_id": ...,
//            "certificate": PEM, "key": PEM}
'use strict';

const { Readable } = require('node:stream');
const { Client, Message } = require('azure-iot-device');
const { event, serve } = require('./json_lines');

const config = JSON.parse(process.argv[2]);
const transports = {
  mqtt: () => require('azure-iot-device-mqtt').Mqtt,
  mqtt_ws: () => require('azure-iot-device-mqtt').MqttWs,
  http: () => require('azure-iot-device-http').Http,
};
const client = Client.fromConnectionString(config.connection_string, transports[config.transport || 'mqtt']());
client.on('error', (error) => event('client_error', { message: error.message }));
client.on('disconnect', () => event('disconnected', {}));
let twin;

serve({
  async connect() {
    const options = {};
    if (config.model_id) options.modelId = config.model_id;
    if (config.certificate) Object.assign(options, { cert: config.certificate, key: config.key });
    await client.setOptions(options);
    await client.open();
  },

  async disconnect() {
    await client.close();
  },

  /** Answers calls of this method with `status` and `payload`, and reports each as an event. */
  async answer_method({ name, status, payload }) {
    client.onDeviceMethod(name, (request, response) => {
      event('method', { name: request.methodName, payload: request.payload === undefined ? null : request.payload });
      response.send(status, payload, (error) => error && event('client_error', { message: error.message }));
    });
  },

  async send_event({ body, properties }) {
    const message = new Message(body);
    for (const [name, value] of Object.entries(properties || {})) message.properties.add(name, value);
    await client.sendEvent(message);
  },

  /** Reports and completes each message from the hub. */
  async receive_messages() {
    client.on('message', (message) => {
      event('message', { body: message.getData().toString() });
      client.complete(message, (error) => error && event('client_error', { message: error.message }));
    });
  },

  async get_twin() {
    twin = await client.getTwin();
    twin.on('properties.desired', (delta) => event('desired', { delta }));
    // `on` subscribes in the background. The hub answers this request after the subscription.
    await client.getTwin();
    const { desired, reported } = JSON.parse(JSON.stringify(twin.properties));
    return { desired, reported };
  },

  async patch_reported({ patch }) {
    await new Promise((resolve, reject) => {
      twin.properties.reported.update(patch, (error) => (error ? reject(error) : resolve()));
    });
  },

  async upload_file({ blob_name, text }) {
    await client.uploadToBlob(blob_name, Readable.from([Buffer.from(text)]), Buffer.byteLength(text));
  },
});
