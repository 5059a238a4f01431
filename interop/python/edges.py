"""Drives the official Python client to the edges of a session and prints what it saw, one JSON value in
each line.

Usage: edges.py URL websocket|polling return|leave|pings|binary|codes
"""

import base64
import json
import sys
import threading
import time

import nacl.signing
import requests
import socketio

URL, TRANSPORT, MODE = sys.argv[1:4]
DEADLINE = 20


def say(value):
    print(json.dumps(value), flush=True)


def post(path, body, token=None):
    headers = {"authorization": f"Bearer {token}"} if token else {}
    answer = requests.post(URL + path, json=body, headers=headers, timeout=DEADLINE)
    answer.raise_for_status()
    return answer.json()


def sign_in():
    key = nacl.signing.SigningKey.generate()
    challenge = b"challenge"
    text = lambda data: base64.b64encode(bytes(data)).decode()
    body = {
        "publicKey": text(key.verify_key),
        "challenge": text(challenge),
        "signature": text(key.sign(challenge).signature),
    }
    return post("/v1/auth", body)["token"]


def leave_in_order(client):
    """Lets a client over polling leave only when its writer waits for something to send. A writer that is still
    busy with what came before sees that the client leaves, ends, and never sends the close packet; the client
    then waits for the next ping, whatever the server does."""
    disconnect = client.eio.disconnect

    def in_order(*args, **options):
        end = time.monotonic() + DEADLINE
        while client.eio.state == "connected" and not client.eio.queue.not_empty._waiters:
            if time.monotonic() > end:
                raise TimeoutError("the writer")
            time.sleep(0.001)
        disconnect(*args, **options)

    client.eio.disconnect = in_order


def connect(auth, client=None):
    client = client or socketio.Client(reconnection=False)
    if TRANSPORT == "polling":
        leave_in_order(client)
    client.connect(URL, auth=auth, transports=[TRANSPORT], socketio_path="/v1/updates", wait_timeout=DEADLINE)
    return client


def fresh_auth():
    """The server may be away when this is asked for."""
    try:
        return {"token": sign_in()}
    except requests.RequestException:
        return {}


def come_back():
    """Connects, and again each time that the server is back, until stdin ends."""
    client = socketio.Client(reconnection_delay=0.1, reconnection_delay_max=0.5)
    client.on("connect", lambda: say("up"))
    connect(fresh_auth, client)
    sys.stdin.read()
    client.disconnect()


def leave():
    """Is refused, and leaves as soon as it is connected."""
    token = sign_in()
    for _ in range(4):
        refused = socketio.Client(reconnection=False)
        refused.on("connect_error", lambda error: say(error["message"]))
        try:
            connect({"token": "nobody"}, refused)
        except socketio.exceptions.ConnectionError:
            pass
        connect({"token": token}).disconnect()


def pings():
    """Counts the pings before the answer to a call, then waits for two."""
    seen = threading.Semaphore(0)
    client = socketio.Client(reconnection=False)
    receive = client.eio._receive_packet

    def count(packet):
        if packet.packet_type == 2:
            seen.release()
        receive(packet)

    client.eio._receive_packet = count
    connect({"token": sign_in()}, client)
    client.call("ping", timeout=DEADLINE)
    early = seen.acquire(blocking=False)
    say(int(early))
    for _ in range(2 - early):
        if not seen.acquire(timeout=DEADLINE):
            raise TimeoutError("ping")
    say(client.connected)
    client.disconnect()


def binary():
    """Sends binary values to handlers, and through a call."""
    token = sign_in()
    session = post("/v1/sessions", {"tag": "t", "metadata": "m"}, token)["session"]["id"]
    caller, callee = connect({"token": token}), socketio.Client(reconnection=False)
    data = b"\x00\xff\x01"
    fields = {"sid": session, "metadata": data, "expectedVersion": 0}
    say(caller.call("update-metadata", fields, timeout=DEADLINE))
    fields = {"id": "a", "header": data, "body": data, "dataEncryptionKey": data}
    say(caller.call("artifact-create", fields, timeout=DEADLINE))
    registered = threading.Event()
    callee.on("rpc-registered", lambda _: registered.set())
    callee.on("rpc-request", lambda call: {"isBinary": call["params"]["deep"][0] == data, "back": data})
    connect({"token": token}, callee)
    callee.emit("rpc-register", {"method": "m"})
    if not registered.wait(DEADLINE):
        raise TimeoutError("rpc-registered")
    answer = caller.call("rpc-call", {"method": "m", "params": {"deep": [data]}}, timeout=DEADLINE)
    result = answer["result"]
    say({"ok": answer["ok"], "sent": result["isBinary"], "answered": result["back"] == data})
    for client in (caller, callee):
        client.disconnect()


def codes():
    """The code of a bad request."""
    query = {"EIO": 4, "transport": "polling", "sid": "nobody"}
    answer = requests.get(URL + "/v1/updates/", params=query, timeout=DEADLINE)
    say([answer.status_code, answer.json()])


{"return": come_back, "leave": leave, "pings": pings, "binary": binary, "codes": codes}[MODE]()
