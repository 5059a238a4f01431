// Runs the official client in a page of headless Chromium, and prints what it saw as one JSON object.
// Usage: node browser.mjs CHROMIUM URL websocket|polling|upgrade
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { post, signIn, within } from './account.mjs';

const [chromium, url, mode] = process.argv.slice(2);
const transports = { websocket: ['websocket'], polling: ['polling'], upgrade: ['polling', 'websocket'] }[mode];
const token = await signIn(url);
const { session } = await post(url, '/v1/sessions', { tag: 'browser', metadata: 'm' }, token);
const library = join(dirname(createRequire(import.meta.url).resolve('socket.io-client')), '../../dist/socket.io.min.js');

/** What the page does; it has no names but its own and `setup`. */
async function inPage(setup) {
  const open = (auth) => {
    const socket = io(setup.url, { path: '/v1/updates', transports: setup.transports, auth, reconnection: false, forceNew: true });
    return new Promise((resolve, reject) => socket.once('connect', () => resolve(socket)).once('connect_error', reject));
  };
  const tell = (seen) => fetch('/seen', { method: 'POST', body: JSON.stringify(seen) });
  try {
    const user = await open({ token: setup.token, clientType: 'user-scoped' });
    if (setup.transports.length > 1 && user.io.engine.transport.name !== 'websocket') {
      await new Promise((resolve) => user.io.engine.once('upgrade', resolve));
    }
    const agent = await open({ token: setup.token, clientType: 'session-scoped', sessionId: setup.session });
    const update = new Promise((resolve) => user.once('update', resolve));
    agent.emit('message', { sid: setup.session, message: 'ünïcode', localId: 'l1' });
    const { body } = await update;
    const answer = await user.emitWithAck('update-state', { sid: setup.session, agentState: 's', expectedVersion: 0 });
    const rest = await fetch(`${setup.url}/v1/sessions`, { headers: { authorization: `Bearer ${setup.token}` } });
    const seen = { transport: user.io.engine.transport.name, update: [body.t, body.message.content], answer, status: rest.status };
    for (const socket of [user, agent]) socket.disconnect();
    await tell(seen);
  } catch (error) {
    await tell({ error: String(error) });
  }
}

let done;
const seen = new Promise((resolve) => { done = resolve; });
const page = createServer(async (request, response) => {
  if (request.url === '/seen') {
    let text = '';
    for await (const part of request) text += part;
    response.end();
    done(text);
  } else if (request.url === '/socket.io.js') {
    response.setHeader('content-type', 'text/javascript').end(await readFile(library));
  } else if (request.url === '/') {
    const setup = JSON.stringify({ url, token, session: session.id, transports });
    response.setHeader('content-type', 'text/html; charset=utf-8');
    response.end(`<script src="/socket.io.js"></script><script>${inPage}; inPage(${setup})</script>`);
  } else {
    response.writeHead(404).end();
  }
});
await new Promise((resolve) => page.listen(0, '127.0.0.1', resolve));
const profile = mkdtempSync(join(tmpdir(), 'touchstone-browser-'));
const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', `--user-data-dir=${profile}`];
const browser = spawn(chromium, [...flags, `http://127.0.0.1:${page.address().port}/`], { detached: true, stdio: ['ignore', 'ignore', 'inherit'] });
const gone = new Promise((resolve) => browser.once('exit', resolve));
try {
  console.log(await within('the page', seen));
} finally {
  // All of its processes: one that outlives it would still write to the profile.
  if (browser.exitCode === null) process.kill(-browser.pid, 'SIGKILL');
  await gone;
  rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  page.close();
}
process.exit(0);
