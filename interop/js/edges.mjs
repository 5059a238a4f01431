// Drives the official Socket.IO client to the edges of a session and prints what it saw, one JSON value
// in each line.
// Usage: node edges.mjs URL websocket|polling return|leave|pings|binary|codes
import { io } from 'socket.io-client';
import { once, post, signIn, within } from './account.mjs';

const [url, transport, mode] = process.argv.slice(2);
const say = (value) => console.log(JSON.stringify(value));
const open = (auth, reconnection = false) =>
  io(url, { path: '/v1/updates', transports: [transport], auth, reconnection, reconnectionDelay: 100, forceNew: true });

async function connected(token) {
  const socket = open({ token });
  await within('connect', new Promise((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject)));
  return socket;
}

const modes = {
  /** Connects, and again each time that the server is back, until stdin ends. */
  async return() {
    const socket = open((tell) => signIn(url).then((token) => tell({ token }), () => tell({})), true);
    socket.on('connect', () => say('up'));
    process.stdin.resume();
    await new Promise((resolve) => process.stdin.on('end', resolve));
    socket.disconnect();
  },

  /** Is refused, and leaves as soon as it is connected. */
  async leave() {
    const token = await signIn(url);
    for (let round = 0; round < 4; round += 1) {
      const refused = open({ token: 'nobody' });
      say((await within('connect_error', once(refused, 'connect_error')))[0].message);
      refused.disconnect();
      (await connected(token)).disconnect();
    }
  },

  /** Counts the pings before the answer to a call, then waits for two. */
  async pings() {
    const socket = await connected(await signIn(url));
    let pings = 0;
    socket.io.on('ping', () => { pings += 1; });
    await within('ack of ping', socket.emitWithAck('ping'));
    say(pings);
    while (pings < 2) await within('ping', once(socket.io, 'ping'));
    say(socket.connected);
    socket.disconnect();
  },

  /** Sends binary values to handlers, and through a call. */
  async binary() {
    const token = await signIn(url);
    const { session } = await post(url, '/v1/sessions', { tag: 't', metadata: 'm' }, token);
    const [caller, callee] = [await connected(token), await connected(token)];
    const data = Buffer.from([0, 255, 1]);
    const call = (event, fields) => within(`ack of ${event}`, caller.emitWithAck(event, fields));
    say(await call('update-metadata', { sid: session.id, metadata: data, expectedVersion: 0 }));
    say(await call('artifact-create', { id: 'a', header: data, body: data, dataEncryptionKey: data }));
    callee.on('rpc-request', ({ params }, answer) => answer({ isBinary: Buffer.isBuffer(params.deep[0]), back: params.deep[0] }));
    callee.emit('rpc-register', { method: 'm' });
    await within('rpc-registered', once(callee, 'rpc-registered'));
    const { ok, result } = await call('rpc-call', { method: 'm', params: { deep: [data] } });
    say({ ok, sent: result.isBinary, answered: Buffer.isBuffer(result.back) && data.equals(result.back) });
    for (const socket of [caller, callee]) socket.disconnect();
  },

  /** The code of a bad request. */
  async codes() {
    const response = await fetch(`${url}/v1/updates/?EIO=4&transport=polling&sid=nobody`);
    say([response.status, await response.json()]);
  },
};

await modes[mode]();
process.exit(0);
