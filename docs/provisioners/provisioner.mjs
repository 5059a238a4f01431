// A provisioner for `touchstone check URL --provision 'command:node provisioner.mjs URL'`.
//
// It makes what a run needs over the server's REST routes. Replace what `operations` send by what your
// server has: its own routes, its database, a management command.
import { createPrivateKey, createPublicKey, sign } from "node:crypto";
import { createInterface } from "node:readline";

const server = process.argv[2].replace(/\/$/, "");
const challenge = Buffer.from("thirty-two bytes that are signed");
// What stands before the 32 bytes of an Ed25519 key in PKCS #8.
const prefix = Buffer.from("302e020100300506032b657004220420", "hex");

async function post(path, body, token) {
  const headers = { "content-type": "application/json" };
  if (token) headers.authorization = `Bearer ${token}`;
  const answer = await fetch(server + path, { method: "POST", headers, body: JSON.stringify(body) });
  if (answer.ok) return answer.json();
  const error = new Error(`${path} answers HTTP ${answer.status}`);
  error.unsupported = [404, 501].includes(answer.status);
  throw error;
}

const operations = {
  async account({ seed }) {
    const pkcs8 = Buffer.concat([prefix, Buffer.from(seed, "hex")]);
    const key = createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" });
    const publicKey = createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32);
    const signature = sign(null, challenge, key);
    const proof = { publicKey, challenge, signature };
    const texts = Object.entries(proof).map(([name, bytes]) => [name, bytes.toString("base64")]);
    return { token: (await post("/v1/auth", Object.fromEntries(texts))).token };
  },
  async session({ token, tag, metadata, agentState, dataEncryptionKey }) {
    const body = { tag, metadata, agentState, dataEncryptionKey };
    const { session } = await post("/v1/sessions", body, token);
    return { sessionId: session.id, session };
  },
  async machine({ token, machineId, metadata, daemonState, dataEncryptionKey }) {
    const body = { id: machineId, metadata, daemonState, dataEncryptionKey };
    const { machine } = await post("/v1/machines", body, token);
    return { machineId: machine.id, machine };
  },
  async accessKey({ token, sessionId, machineId, data }) {
    await post(`/v1/access-keys/${sessionId}/${machineId}`, { data }, token);
    return {};
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, op, ...request } = JSON.parse(line);
  const answer = operations[op]?.(request) ?? Promise.reject({ message: op, unsupported: true });
  const { message, unsupported = false, ...made } = await answer.catch((error) => ({
    message: error.message,
    unsupported: error.unsupported,
  }));
  const told = message === undefined ? { ok: true, ...made } : { ok: false, error: message, unsupported };
  console.log(JSON.stringify({ id, ...told }));
}
