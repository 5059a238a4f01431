#!/usr/bin/env node
// The fan-out of the protocol on the official Socket.IO library, as lean as that library allows: one
// account, everyone in it is in one room, a `message` goes to the room except its sender. It has no
// state, no validation and no sequence across restarts, so that the comparison errs in its favour.
import http from 'node:http';
import { Server } from 'socket.io';

const json = (response, body) => response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
const server = http.createServer((request, response) => {
  request.resume().on('end', () => {
    if (request.url === '/v1/auth') return json(response, { success: true, token: 'peer' });
    if (request.url === '/v1/sessions') return json(response, { session: { id: 'session', metadataVersion: 0, agentStateVersion: 0 } });
    return response.writeHead(404).end('{}');
  });
});

const io = new Server(server, { path: '/v1/updates', serveClient: false, pingInterval: 15000, pingTimeout: 45000 });
let seq = 0;
io.on('connection', (socket) => {
  socket.join('account');
  socket.on('ping', (answer) => answer({}));
  socket.on('message', ({ sid, message, localId = null }) => {
    const now = Date.now();
    seq += 1;
    const row = { id: `m${seq}`, seq, content: { t: 'encrypted', c: message }, localId, createdAt: now, updatedAt: now };
    socket.to('account').emit('update', { id: `u${seq}`, seq, body: { t: 'new-message', sid, message: row }, createdAt: now });
  });
});

server.listen(0, '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
process.once('SIGTERM', () => process.exit(0)).once('SIGINT', () => process.exit(0));
