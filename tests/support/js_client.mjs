// Many official Socket.IO clients in one process, driven by JSON lines: see js_client.py for the other end.
//
// In:  {call, client, do, ...}     one command; `call` numbers the answer
// Out: {call, ok} | {call, error}  its answer
//      {client, on, args}          something that happened to a client, in the order in which it happened
// Binary travels as {"$binary": "<base64>"} in both directions.

import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const clients = new Map();

const say = (message) => process.stdout.write(JSON.stringify(message) + "\n");

function pack(value) {
  if (Buffer.isBuffer(value)) return { $binary: value.toString("base64") };
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return pack(Buffer.from(value));
  if (Array.isArray(value)) return value.map(pack);
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, pack(inner)]));
  }
  return value === undefined ? null : value;
}

function unpack(value) {
  if (Array.isArray(value)) return value.map(unpack);
  if (value !== null && typeof value === "object") {
    if (typeof value.$binary === "string") return Buffer.from(value.$binary, "base64");
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, unpack(inner)]));
  }
  return value;
}

function watchTransport(id, socket) {
  const engine = socket.io.engine;
  if (!engine || engine.watched) return;
  engine.watched = true;
  engine.on("upgrade", (transport) => say({ client: id, on: "transport", args: [transport.name] }));
}

function connect({ client: id, url, namespace, options, shares }) {
  const manager = shares === null ? io(url, { forceNew: true, autoConnect: false, ...options }).io : clients.get(shares).io;
  const socket = manager.socket(namespace, { auth: options.auth });
  clients.set(id, socket);
  const tell = (on, ...args) => say({ client: id, on, args: args.map(pack) });
  socket.onAny((name, ...args) => tell("event", name, ...args.filter((arg) => typeof arg !== "function")));
  socket.on("connect", () => {
    watchTransport(id, socket);
    tell("connect", socket.id, socket.recovered, manager.engine.transport.name);
  });
  socket.on("disconnect", (reason) => tell("disconnect", reason));
  socket.on("connect_error", (error) => tell("connect_error", error.message, error.data ?? null));
  socket.connect();
}

function websocketOf(socket) {
  const ws = socket.io.engine?.transport?.ws;
  if (!ws) throw new Error("the client is not on a websocket");
  return ws;
}

const commands = {
  connect,
  emit({ client, event, args }) {
    clients.get(client).emit(event, ...unpack(args));
  },
  call({ client, event, args, timeout }) {
    const socket = clients.get(client);
    return new Promise((resolve, reject) => {
      socket.timeout(timeout).emit(event, ...unpack(args), (error, ...answer) => {
        if (error) reject(new Error(`no ack for ${event}`));
        else resolve(pack(answer));
      });
    });
  },
  disconnect({ client }) {
    clients.get(client).disconnect();
  },
  reconnect({ client, auth }) {
    const socket = clients.get(client);
    if (auth !== null) socket.auth = auth;
    socket.connect();
  },
  close({ client }) {
    const socket = clients.get(client);
    clients.delete(client);
    socket.io.reconnection(false);
    socket.disconnect();
  },
  session({ client }) {
    const { _pid, _lastOffset } = clients.get(client);
    return [_pid ?? null, _lastOffset ?? null];
  },
  drop({ client }) {
    clients.get(client).io.engine.close();
  },
  kill({ client }) {
    websocketOf(clients.get(client)).terminate();
  },
  freeze({ client }) {
    websocketOf(clients.get(client))._socket.pause();
  },
  thaw({ client }) {
    websocketOf(clients.get(client))._socket.resume();
  },
};

createInterface({ input: process.stdin }).on("line", async (line) => {
  const command = JSON.parse(line);
  try {
    say({ call: command.call, ok: (await commands[command.do](command)) ?? null });
  } catch (error) {
    say({ call: command.call, error: String(error.message ?? error) });
  }
}).on("close", () => process.exit(0));
