// The protocol between a test and a long-lived program: JSON lines in, JSON lines out.
//
// In:  {"id": 1, "op": "connect", "args": {...}}
// Out: {"id": 1, "ok": value}  or  {"id": 1, "error": {...}}, in any order,
//      and {"event": "...", ...} when something happens.
// The program ends when its input ends.
'use strict';

const readline = require('node:readline');

function writeLine(line) {
  process.stdout.write(JSON.stringify(line) + '\n');
}

/** Reports an event to the test. */
function event(name, fields) {
  writeLine({ event: name, ...fields });
}

/** An error as the test sees it. The HTTP clients attach the response and its body, the AMQP client its cause. */
function describe(error) {
  const cause = error.cause || error.amqpError;
  const found = { type: error.name, message: error.message, cause: cause ? String(cause) : null };
  const response = error.response || error.statusCode;
  if (response && response.statusCode) {
    found.response = { status: response.statusCode, headers: response.headers, body: error.responseBody || '' };
  }
  return found;
}

/** Runs operations until the input ends. Each is an async function of one object. */
function serve(operations) {
  event('started');
  const lines = readline.createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    const { id, op, args } = JSON.parse(line);
    Promise.resolve()
      .then(() => operations[op](args || {}))
      .then((value) => writeLine({ id, ok: value === undefined ? null : value }))
      .catch((error) => writeLine({ id, error: describe(error) }));
  });
  lines.on('close', () => process.exit(0));
}

module.exports = { event, serve };
