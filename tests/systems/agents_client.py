"""The Python client of the Agents' document, as it stands there; URL and token come from the command line."""

import asyncio
import sys

import socketio

URL, TOKEN = sys.argv[1:]

sio = socketio.AsyncClient()


@sio.event
async def connect():
    print("Connected!")
    await sio.emit("subscribe", {"room": "agent:123"})


@sio.on("agent:status_changed")
async def on_status_change(data):
    print(f"Status changed: {data}")


async def main():
    await sio.connect(URL, auth={"token": TOKEN}, namespaces=["/"])
    await asyncio.sleep(60)
    await sio.disconnect()


asyncio.run(main())
