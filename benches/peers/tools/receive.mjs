// What one writes in an afternoon with the official client: open connections, count what they
// receive. Its counters are all it knows; it has neither histograms nor an audit.
import { io } from 'socket.io-client';
import { tellCounts } from './counts.mjs';

const { TARGET, TOKEN, CONNECTIONS } = process.env;
/** Connections that are being opened at a time. */
const DIALS = 64;
let begun = 0;
let connected = 0;
let received = 0;
tellCounts(() => connected, () => received);

function open() {
  if (begun === Number(CONNECTIONS)) return;
  begun += 1;
  const socket = io(TARGET, {
    path: '/v1/updates/',
    transports: ['websocket'],
    auth: { token: TOKEN, clientType: 'user-scoped' },
    // A manager for each; by default all sockets share one connection.
    forceNew: true,
    reconnection: false,
  });
  socket.on('connect', () => {
    connected += 1;
    open();
  });
  socket.on('connect_error', fail);
  socket.on('disconnect', fail);
  socket.on('update', () => {
    received += 1;
  });
}

function fail(reason) {
  console.error(`a connection failed: ${reason.message ?? reason}`);
  process.exit(1);
}

for (let dial = 0; dial < DIALS; dial += 1) open();
