// Drives the official Socket.IO client against one server and prints what it saw as one JSON object.
// Usage: node peer.mjs URL websocket|upgrade
import { io } from 'socket.io-client';
import { once, post, signIn, within } from './account.mjs';

const [url, mode] = process.argv.slice(2);
const transports = { websocket: ['websocket'], upgrade: ['polling', 'websocket'] }[mode];

const open = (auth) => io(url, { path: '/v1/updates', transports, auth, reconnection: false, forceNew: true });

async function connected(auth) {
  const socket = open(auth);
  await within('connect', new Promise((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject)));
  if (mode === 'upgrade' && socket.io.engine.transport.name !== 'websocket') {
    await within('upgrade', new Promise((resolve) => socket.io.engine.once('upgrade', resolve)));
  }
  return socket;
}

const token = await signIn(url);
const { session } = await post(url, '/v1/sessions', { tag: 'interop', metadata: 'm' }, token);
const user = await connected({ token, clientType: 'user-scoped' });
const agent = await connected({ token, clientType: 'session-scoped', sessionId: session.id });
const machine = await connected({ token, clientType: 'machine-scoped', machineId: 'interop-machine' });

const registered = once(machine, 'rpc-registered');
machine.on('rpc-request', (request, answer) => answer({ echoed: request }));
machine.emit('rpc-register', { method: 'interop:echo' });

const update = once(user, 'update');
agent.emit('message', { sid: session.id, message: 'ünïcode', localId: 'l1' });

const seen = {
  transport: user.io.engine.transport.name,
  registered: (await within('rpc-registered', registered))[0],
  update: (await within('update', update))[0],
  ping: await within('ack of ping', user.emitWithAck('ping')),
  state: await within('ack of update-state', agent.emitWithAck('update-state', { sid: session.id, agentState: 's', expectedVersion: 0 })),
  rpc: await within('ack of rpc-call', user.emitWithAck('rpc-call', { method: 'interop:echo', params: [1, null, { a: 'b' }] })),
};

const refused = open({ token: 'nobody', clientType: 'user-scoped' });
seen.refusal = (await within('connect_error', once(refused, 'connect_error')))[0].message;

const gone = once(machine, 'disconnect');
machine.disconnect();
seen.disconnect = (await within('disconnect', gone))[0];
for (const socket of [user, agent, refused]) socket.disconnect();
console.log(JSON.stringify(seen));
