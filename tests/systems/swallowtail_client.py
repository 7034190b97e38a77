"""The Python client of Swallowtail's document, as it stands there; URL and instance are arguments."""

import sys

import socketio


class TaskWebSocketClient:
    def __init__(self, url):
        self.sio = socketio.Client()
        self.url = url
        self._setup_handlers()

    def _setup_handlers(self):
        @self.sio.on("connect")
        def on_connect():
            print("Connected to WebSocket")

        @self.sio.on("task_update")
        def on_task_update(data):
            print(f"Task {data['task_id']} update: {data['data']}")

        @self.sio.on("execution_step")
        def on_execution_step(data):
            print(f"Execution step: {data['data']}")

    def connect(self):
        self.sio.connect(self.url, transports=["websocket"])

    def subscribe(self, instance_id):
        self.sio.emit("subscribe_instance", {"instance_id": instance_id})

    def disconnect(self):
        self.sio.disconnect()


# Usage
client = TaskWebSocketClient(sys.argv[1])
client.connect()
client.subscribe(sys.argv[2])

# What the document leaves to its reader: stay.
client.sio.wait()
