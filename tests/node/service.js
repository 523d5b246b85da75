// A back end on Microsoft's Node service SDK, driven by the test.
//
// Argument: {"connection_string": ...}
'use strict';

const { Message } = require('azure-iot-common');
const { Client, Registry } = require('azure-iothub');
const { serve } = require('./json_lines');

const config = JSON.parse(process.argv[2]);
const registry = Registry.fromConnectionString(config.connection_string);
const client = Client.fromConnectionString(config.connection_string);

/** What a promise of the registry resolves to. */
const body = (result) => result.responseBody;

serve({
  list_devices: async () => body(await registry.list()),
  create_device: async ({ device }) => body(await registry.create(device)),
  get_device: async ({ device_id }) => body(await registry.get(device_id)),
  update_device: async ({ device }) => body(await registry.update(device)),
  delete_device: async ({ device_id }) => void (await registry.delete(device_id)),
  create_module: async ({ module }) => body(await registry.addModule(module)),
  list_modules: async ({ device_id }) => body(await registry.getModulesOnDevice(device_id)),

  async get_twin({ device_id }) {
    const twin = body(await registry.getTwin(device_id));
    return JSON.parse(JSON.stringify(twin, (name, value) => (name === '_registry' ? undefined : value)));
  },

  async patch_twin({ device_id, patch }) {
    const twin = body(await registry.updateTwin(device_id, patch, '*'));
    return JSON.parse(JSON.stringify(twin, (name, value) => (name === '_registry' ? undefined : value)));
  },

  /** Sends a message over AMQP. The fields of `message` are those of the SDK's class. */
  async send_message({ device_id, body, message, properties }) {
    await client.open();
    const sent = Object.assign(new Message(body), message);
    Object.entries(properties || {}).forEach(([name, value]) => sent.properties.add(name, value));
    await client.send(device_id, sent);
  },

  async invoke({ device_id, module_id, method }) {
    const invoke = module_id
      ? client.invokeDeviceMethod(device_id, module_id, method)
      : client.invokeDeviceMethod(device_id, method);
    return (await invoke).result;
  },
});
