// A back end on Microsoft's Node service SDK, driven by the test.
//
// Argument: {"connection_string": ..., "transport": "amqp" or "amqp_ws", "entra": {"host": ..., "token": ...}}
'use strict';

const { Message } = require('azure-iot-common');
const { Client, DigitalTwinClient, IoTHubTokenCredentials, JobClient, Registry } = require('azure-iothub');
const { Query } = require('azure-iothub/dist/query');
const { Amqp } = require('azure-iothub/dist/amqp');
const { AmqpWs } = require('azure-iothub/dist/amqp_ws');
const { recorded, recordedClass, report } = require('./call_recorder');
const { event, serve } = require('./json_lines');

const config = JSON.parse(process.argv[2]);
const [RecordedRegistry, RecordedJobClient] = [recordedClass(Registry), recordedClass(JobClient)];
[DigitalTwinClient, Query].forEach(recordedClass);
const registry = recorded('Registry', RecordedRegistry.fromConnectionString(config.connection_string));
const Transport = config.transport === 'amqp_ws' ? AmqpWs : Amqp;
const client = config.entra
  ? Client.fromTokenCredential(config.entra.host, {
      getToken: async () => ({ token: config.entra.token, expiresOnTimestamp: Date.now() + 3600000 }),
    }, Transport)
  : Client.fromConnectionString(config.connection_string, Transport);
const jobs = recorded('JobClient', RecordedJobClient.fromConnectionString(config.connection_string));
const credentials = new IoTHubTokenCredentials(config.connection_string);
const digitalTwins = recorded('DigitalTwinClient', new DigitalTwinClient(credentials));
client.on('disconnect', () => event('disconnected'));

/** What a promise of the client for digital twins resolves to, without the whole response. */
const fields = (result) =>
  JSON.parse(JSON.stringify(result, (name, value) => (name === '_response' ? undefined : value)) ?? 'null');

/** What a promise of the registry resolves to. */
const body = (result) => result.responseBody;

/** A twin, or a list of twins, without the registry that belongs to it. */
const twin = (found) =>
  JSON.parse(JSON.stringify(found, (name, value) => (name === '_registry' ? undefined : value)));

serve({
  list_devices: async () => body(await registry.list()),
  create_device: async ({ device }) => body(await registry.create(device)),
  get_device: async ({ device_id }) => body(await registry.get(device_id)),
  update_device: async ({ device }) => body(await registry.update(device)),
  delete_device: async ({ device_id }) => void (await registry.delete(device_id)),
  add_devices: async ({ devices }) => body(await registry.addDevices(devices)),
  update_devices: async ({ devices, force }) => body(await registry.updateDevices(devices, force)),
  remove_devices: async ({ devices, force }) => body(await registry.removeDevices(devices, force)),
  create_module: async ({ module }) => body(await registry.addModule(module)),
  get_module: async ({ device_id, module_id }) => body(await registry.getModule(device_id, module_id)),
  update_module: async ({ module, force }) => body(await registry.updateModule(module, force)),
  remove_module: async ({ device_id, module_id }) => void (await registry.removeModule(device_id, module_id)),
  remove_module_if_unchanged: async ({ module }) => void (await registry.removeModule(module)),
  registry_statistics: async () => body(await registry.getRegistryStatistics()),
  list_modules: async ({ device_id }) => body(await registry.getModulesOnDevice(device_id)),

  // The methods of jobs, but for `listJobs`, resolve to the body itself.
  export_devices: async ({ container, exclude_keys }) => await registry.exportDevicesToBlob(container, exclude_keys),
  import_devices: async ({ input, output }) => await registry.importDevicesFromBlob(input, output),
  export_devices_by_identity: async ({ container, exclude_keys, identity }) =>
    await registry.exportDevicesToBlobByIdentity(container, exclude_keys, identity),
  import_devices_by_identity: async ({ input, output, identity }) =>
    await registry.importDevicesFromBlobByIdentity(input, output, identity),
  list_import_export_jobs: async () => body(await registry.listJobs()),
  get_import_export_job: async ({ job_id }) => await registry.getJob(job_id),
  cancel_import_export_job: async ({ job_id }) => await registry.cancelJob(job_id),
  add_configuration: async ({ configuration }) => body(await registry.addConfiguration(configuration)),
  get_configuration: async ({ id }) => body(await registry.getConfiguration(id)),
  get_configurations: async () => body(await registry.getConfigurations()),
  update_configuration: async ({ configuration, force }) =>
    body(await registry.updateConfiguration(configuration, force)),
  remove_configuration: async ({ id }) => void (await registry.removeConfiguration(id)),
  apply_configuration: async ({ device_id, content }) =>
    void (await registry.applyConfigurationContentOnDevice(device_id, content)),

  async get_digital_twin({ device_id }) {
    const twin = await digitalTwins.getDigitalTwin(device_id);
    return { body: fields(twin), etag: twin._response.headers.get('etag') };
  },
  update_digital_twin: async ({ device_id, patch, etag }) =>
    fields(await digitalTwins.updateDigitalTwin(device_id, patch, etag)),
  invoke_command: async ({ device_id, component, command, payload, options }) =>
    fields(
      component
        ? await digitalTwins.invokeComponentCommand(device_id, component, command, payload, options)
        : await digitalTwins.invokeCommand(device_id, command, payload, options)
    ),

  get_twin: async ({ device_id, module_id }) =>
    twin(body(await (module_id ? registry.getModuleTwin(device_id, module_id) : registry.getTwin(device_id)))),

  /** Reads with the other credentials that the clients take: a SAS token, and a token of Entra. */
  async read_with_tokens({ sas, entra }) {
    const getToken = async () => ({ token: entra, expiresOnTimestamp: Date.now() + 3600000 });
    const host = config.connection_string.match(/HostName=([^;]*)/)[1];
    const found = [];
    for (const other of [
      RecordedRegistry.fromSharedAccessSignature(sas),
      RecordedRegistry.fromTokenCredential(host, { getToken }),
    ]) {
      found.push(body(await other.list()).map((device) => device.deviceId));
    }
    for (const other of [
      RecordedJobClient.fromSharedAccessSignature(sas),
      RecordedJobClient.fromTokenCredential(host, { getToken }),
    ]) {
      found.push((await other.createQuery().next()).result.map((job) => job.jobId));
    }
    return found;
  },

  /** The public methods of the classes, and those that were called. */
  calls: async () => report(),

  /** All pages of a query, as the SDK's loops read them: as twins, or as they are. */
  async query({ query, page_size, as_twins }) {
    const pages = [];
    const results = recorded('Query', registry.createQuery(query, page_size));
    while (results.hasMoreResults) {
      const { result, message } = as_twins
        ? await results.nextAsTwin()
        : await results.next(results.continuationToken);
      pages.push({ items: twin(result), type: message.headers['x-ms-item-type'] });
    }
    return pages;
  },

  patch_twin: async ({ device_id, module_id, patch, etag = '*' }) =>
    twin(
      body(
        await (module_id
          ? registry.updateModuleTwin(device_id, module_id, patch, etag)
          : registry.updateTwin(device_id, patch, etag))
      )
    ),

  /** Sends a message over AMQP. The fields of `message` are those of the SDK's class. */
  async send_message({ device_id, body, message, properties }) {
    await client.open();
    const sent = Object.assign(new Message(body), message);
    Object.entries(properties || {}).forEach(([name, value]) => sent.properties.add(name, value));
    await client.send(device_id, sent);
  },

  /**
   * Receives `feedback` or `files` and reports each message. `settle` says what to do with the first, the second, ...;
   * its last word counts for all that follow.
   */
  async receive({ kind, settle }) {
    await client.open();
    const get = kind === 'files' ? 'getFileNotificationReceiver' : 'getFeedbackReceiver';
    // In its form with a promise, the SDK does not return the receiver.
    const receiver = await new Promise((resolve, reject) => {
      client[get]((error, found) => (error ? reject(error) : resolve(found)));
    });
    const words = [...settle];
    receiver.on('error', (error) => event('receiver_error', { message: error.message }));
    receiver.on('message', async (message) => {
      const word = words.length > 1 ? words.shift() : words[0];
      const body = JSON.parse(message.getData().toString());
      event(kind, { body, contentType: message.contentType, messageId: message.messageId, word });
      if (word !== 'none') {
        await receiver[word](message);
        event('settled', { word });
      }
    });
  },

  schedule_method: async ({ job_id, condition, method, start, seconds }) =>
    (await jobs.scheduleDeviceMethod(job_id, condition, method, start && new Date(start), seconds)).jobStatus,
  schedule_twin: async ({ job_id, condition, patch, start, seconds }) =>
    (await jobs.scheduleTwinUpdate(job_id, condition, patch, start && new Date(start), seconds)).jobStatus,
  get_job: async ({ job_id }) => (await jobs.getJob(job_id)).jobStatus,
  cancel_job: async ({ job_id }) => (await jobs.cancelJob(job_id)).jobStatus,

  /** All pages of a list of jobs. */
  async query_jobs({ type, status, page_size }) {
    const pages = [];
    const results = recorded('Query', jobs.createQuery(type, status, page_size));
    while (results.hasMoreResults) {
      const { result, message } = await results.next(results.continuationToken);
      pages.push({ items: result, type: message.headers['x-ms-item-type'] });
    }
    return pages;
  },

  async invoke({ device_id, module_id, method }) {
    const invoke = module_id
      ? client.invokeDeviceMethod(device_id, module_id, method)
      : client.invokeDeviceMethod(device_id, method);
    return (await invoke).result;
  },
});
