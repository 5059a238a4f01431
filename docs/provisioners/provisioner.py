"""A provisioner for `touchstone check URL --provision 'command:python3 provisioner.py URL'`.

It makes what a run needs over the server's REST routes. Replace what `do` sends by what your server
has: its own routes, its database, a management command. Needs the package `pynacl`.
"""
import base64
import json
import sys
import urllib.request

from nacl.signing import SigningKey

SERVER = sys.argv[1].rstrip("/")
CHALLENGE = b"thirty-two bytes that are signed"


def post(path, body, token=None):
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = "Bearer " + token
    request = urllib.request.Request(SERVER + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def text(data):
    return base64.b64encode(data).decode()


def do(request):
    op, token = request["op"], request.get("token")
    if op == "account":
        key = SigningKey(bytes.fromhex(request["seed"]))
        signature = key.sign(CHALLENGE).signature
        proof = {"publicKey": text(key.verify_key.encode()), "challenge": text(CHALLENGE), "signature": text(signature)}
        return {"token": post("/v1/auth", proof)["token"]}
    if op == "session":
        body = {key: request.get(key) for key in ("tag", "metadata", "agentState", "dataEncryptionKey")}
        session = post("/v1/sessions", body, token)["session"]
        return {"sessionId": session["id"], "session": session}
    if op == "machine":
        body = {key: request.get(key) for key in ("metadata", "daemonState", "dataEncryptionKey")}
        machine = post("/v1/machines", {"id": request["machineId"], **body}, token)["machine"]
        return {"machineId": machine["id"], "machine": machine}
    if op == "accessKey":
        path = f"/v1/access-keys/{request['sessionId']}/{request['machineId']}"
        post(path, {"data": request["data"]}, token)
        return {}
    raise NotImplementedError(op)


for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = {"ok": True, **do(request)}
    except (OSError, KeyError, NotImplementedError) as error:
        missing = isinstance(error, NotImplementedError) or getattr(error, "code", 0) in (404, 501)
        answer = {"ok": False, "error": str(error), "unsupported": missing}
    print(json.dumps({"id": request["id"], **answer}), flush=True)
