"""One account's connections with the Socket.IO user that comes with locust: each connects and stays.

Locust counts received events itself, with a response time of 0; the listener reads that count.
"""

import os

import gevent
from locust import events, task
from locust.contrib.socketio import SocketIOUser

AUTH = {"token": os.environ["TOKEN"], "clientType": "user-scoped"}
connected = 0


@events.test_start.add_listener
def tell_counts(environment, **_):
    """Prints what `load_peers` reads: `counts CONNECTED RECEIVED`, when something changed."""

    def tell():
        told = None
        while True:
            counts = (connected, environment.stats.get("update", "WSR").num_requests)
            if counts != told:
                print("counts", *counts, flush=True)
                told = counts
            gevent.sleep(0.05)

    gevent.spawn(tell)


class Receiver(SocketIOUser):
    """A connection that stays."""

    options = {"reconnection": False}

    def on_start(self):
        global connected
        self.sio.connect(
            self.host, auth=AUTH, transports=["websocket"], socketio_path="/v1/updates"
        )
        connected += 1

    @task
    def stay(self):
        gevent.sleep(3600)
