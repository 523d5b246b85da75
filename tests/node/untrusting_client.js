// A client that does not trust the CA of the hub. Argument: {"host", "port"}. Prints {"code"}, the code of the error.
'use strict';

const tls = require('node:tls');

const { host, port } = JSON.parse(process.argv[2]);
const socket = tls.connect({ host, port, ca: tls.rootCertificates[0] });
socket.on('error', (error) => console.log(JSON.stringify({ code: error.code })));
socket.on('secureConnect', () => console.log(JSON.stringify({ code: 'trusted' })));
socket.on('close', () => process.exit(0));
