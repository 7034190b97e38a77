// A page of Summit that edits a shared graph: a Y.js document that it keeps equal to everybody else's.
//
// Out: {on: "synced"}                  it has what the service had
//      {on: "graph", data}             the document, whenever it changes
// In:  {put: [node, data]}             set a node of the graph
//      {remove: node}                  remove one
//      {write: [at, text]}             insert into the notes
//      {leave: true} | {enter: true}   go offline, come back

import { createInterface } from "node:readline";
import { io } from "socket.io-client";
import * as Y from "yjs";

const { URL: address, TOKEN: token, INVESTIGATION: investigation } = process.env;
const show = (on, data) => process.stdout.write(JSON.stringify({ on, data: data ?? null }) + "\n");

const graph = new Y.Doc();
const nodes = graph.getMap("nodes");
const notes = graph.getText("notes");
const socket = io(`${address}/realtime`, { auth: { token }, transports: ["websocket"] });

// Join first, so that nothing is missed between the answer and the first event; then fetch what is missing,
// and send what was changed while the page was away.
socket.on("connect", async () => {
  await socket.emitWithAck("investigation:join", { investigationId: investigation });
  const missing = await socket.emitWithAck("graph:sync", investigation, Y.encodeStateVector(graph));
  Y.applyUpdate(graph, new Uint8Array(missing), socket);
  await socket.emitWithAck("graph:update", investigation, Y.encodeStateAsUpdate(graph));
  show("synced");
});

socket.on("graph:update", (id, update) => {
  if (id === investigation) Y.applyUpdate(graph, new Uint8Array(update), socket);
});

graph.on("update", (update, origin) => {
  show("graph", { nodes: nodes.toJSON(), notes: notes.toString() });
  if (origin !== socket && socket.connected) socket.emit("graph:update", investigation, update);
});

createInterface({ input: process.stdin }).on("line", (line) => {
  const told = JSON.parse(line);
  if (told.put) nodes.set(...told.put);
  if (told.remove) nodes.delete(told.remove);
  if (told.write) notes.insert(...told.write);
  if (told.leave) socket.disconnect();
  if (told.enter) socket.connect();
}).on("close", () => process.exit(0));
