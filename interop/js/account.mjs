// Signs in as real clients do.
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';

const DEADLINE_MS = 20_000;

/** Fails loudly, with the name of what never came, instead of hanging. */
export const within = (what, promise) => Promise.race([
  promise,
  new Promise((_, reject) => setTimeout(() => reject(new Error(`timed out: ${what}`)), DEADLINE_MS).unref()),
]);

export const once = (socket, event) => new Promise((resolve) => socket.once(event, (...args) => resolve(args)));

export async function post(url, path, body, token) {
  const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) };
  const response = await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${path}: HTTP ${response.status}`);
  return response.json();
}

export async function signIn(url) {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const challenge = randomBytes(32);
  const { token } = await post(url, '/v1/auth', {
    publicKey: Buffer.from(publicKey.export({ format: 'jwk' }).x, 'base64url').toString('base64'),
    challenge: challenge.toString('base64'),
    signature: sign(null, challenge, privateKey).toString('base64'),
  });
  return token;
}
