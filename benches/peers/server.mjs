#!/usr/bin/env node
// The fan-out of the protocol on the official Socket.IO library, as lean as that library allows:
// one account, everyone in it is in one room, a `message` goes to the room except its sender. It
// has no state, no validation and no sequence across restarts, so that the comparison errs in its
// favour.
import http from 'node:http';
import { Server } from 'socket.io';

// What clients ask for before they connect.
const answers = {
  '/v1/auth': { success: true, token: 'peer' },
  '/v1/sessions': { session: { id: 'session', metadataVersion: 0, agentStateVersion: 0 } },
};
const server = http.createServer((request, response) => {
  request.resume().on('end', () => {
    const answer = answers[request.url];
    response.writeHead(answer ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer ?? {}));
  });
});

const io = new Server(server, {
  path: '/v1/updates',
  serveClient: false,
  pingInterval: 15000,
  pingTimeout: 45000,
});
let seq = 0;
io.on('connection', (socket) => {
  socket.join('account');
  socket.on('ping', (answer) => answer({}));
  socket.on('message', ({ sid, message: c, localId = null }) => {
    const now = Date.now();
    seq += 1;
    const content = { t: 'encrypted', c };
    const message = { id: `m${seq}`, seq, content, localId, createdAt: now, updatedAt: now };
    const body = { t: 'new-message', sid, message };
    socket.to('account').emit('update', { id: `u${seq}`, seq, body, createdAt: now });
  });
});

server.listen(0, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
process.once('SIGTERM', () => process.exit(0)).once('SIGINT', () => process.exit(0));
