// Hundreds of official Socket.IO clients in one process, which follow the numbered events of one room and come
// back to their sessions: `auth: {recover: true}`, and `since` where a session cannot be recovered. What each
// got is noted as runs of numbers, so that a million events fit. See swarm.py for the other end.
//
// In:  {call, do, ...}    one command; `call` numbers the answer
// Out: {call, ok} | {call, error}

import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const EVENT = "task_update";
const ANSWER_WITHIN = 20000;
const RETRY = 300; // milliseconds

const clients = [];
let marked = null;

const count = (counts, name) => (counts[name] = (counts[name] ?? 0) + 1);

class Follower {
  constructor({ url, namespace, command, payload, options }, token) {
    this.command = command;
    this.payload = payload;
    this.story = []; // [first, last] for a run of numbers, or a word: what happened between two of them
    this.run = null;
    this.last = -1;
    this.cursor = null;
    this.subscribed = false; // since when it has the room, or has been told that it lacks something
    this.joined = false; // on this connection
    this.connects = 0;
    this.disconnects = {};
    this.errors = {};
    this.first = null; // milliseconds from the mark to the first event after it
    this.away = false;
    const auth = { token, recover: true };
    this.socket = io(url + namespace, { forceNew: true, autoConnect: false, auth, ...options });
    this.socket.on(EVENT, (body, cursor) => this.take(body.progress, cursor));
    this.socket.on("connect", () => this.connected());
    this.socket.on("disconnect", (reason) => this.disconnected(reason));
    this.socket.on("connect_error", (error) => {
      count(this.errors, error.data?.code ?? error.message);
      if (!this.socket.active) this.later(() => this.socket.connect());
    });
    this.socket.connect();
  }

  take(number, cursor) {
    this.cursor = cursor;
    this.last = number;
    if (this.first === null && marked !== null) this.first = performance.now() - marked;
    if (this.run !== null && this.run[1] === number - 1) this.run[1] = number;
    else this.story.push((this.run = [number, number]));
  }

  note(word) {
    this.story.push(word);
    this.run = null;
  }

  connected() {
    this.connects += 1;
    if (this.connects > 1) this.note(this.socket.recovered ? "recovered" : "fresh");
    if (this.socket.recovered && this.subscribed) this.joined = true;
    else this.join();
  }

  join() {
    const connects = this.connects;
    const since = this.cursor ?? "1s";
    this.socket.timeout(ANSWER_WITHIN).emit(this.command, { ...this.payload, since }, (error, answer) => {
      if (connects !== this.connects) return; // it has connected anew, and asked anew
      if (error || answer.status !== "ok") {
        count(this.errors, error ? "no answer" : answer.code);
        if (this.socket.connected) this.later(() => connects === this.connects && this.join());
        return;
      }
      if (this.subscribed) this.note(answer.recovered ? "since" : "gap");
      this.subscribed = this.joined = true;
      this.cursor = answer.offset;
    });
  }

  disconnected(reason) {
    this.joined = false;
    count(this.disconnects, reason);
    if (!this.socket.active && !this.away) this.later(() => this.socket.connect());
  }

  later(what) {
    setTimeout(() => this.away || what(), RETRY * (0.5 + Math.random()));
  }

  // What a lost network looks like: the connection breaks, and there is none for a while.
  cut(milliseconds) {
    this.away = true;
    this.socket.io.reconnection(false);
    const websocket = this.socket.io.engine.transport.ws;
    if (websocket) websocket.terminate();
    else this.socket.io.engine.close();
    setTimeout(() => {
      this.away = false;
      this.socket.io.reconnection(true);
      this.socket.connect();
    }, milliseconds);
  }

  close() {
    this.away = true;
    this.socket.io.reconnection(false);
    this.socket.disconnect();
  }
}

const commands = {
  open({ tokens, ...rest }) {
    for (const token of tokens) clients.push(new Follower(rest, token));
  },
  progress() {
    return {
      joined: clients.filter((client) => client.joined).length,
      last: Math.min(...clients.map((client) => client.last)),
      connects: clients.reduce((sum, client) => sum + client.connects, 0),
    };
  },
  cut({ times }) {
    times.forEach((milliseconds, index) => milliseconds === null || clients[index].cut(milliseconds));
  },
  mark() {
    marked = performance.now();
    for (const client of clients) client.first = null;
  },
  report() {
    return clients.map(({ story, connects, disconnects, errors, first }) => ({
      story,
      connects,
      disconnects,
      errors,
      first,
    }));
  },
  close() {
    for (const client of clients.splice(0)) client.close();
  },
};

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const command = JSON.parse(line);
    let answer;
    try {
      answer = { call: command.call, ok: commands[command.do](command) ?? null };
    } catch (error) {
      answer = { call: command.call, error: String(error.stack ?? error) };
    }
    process.stdout.write(JSON.stringify(answer) + "\n");
  })
  .on("close", () => process.exit(0));
