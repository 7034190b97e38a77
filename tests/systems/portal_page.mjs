// A page of the portal that uses the document's client: it says what it shows, line by line, and obeys lines.
//
// Out: {on, data}                      what the page shows
// In:  {emit: [event, data]}           through the hook, in /project/{name}
//      {send: [namespace, event, data]} through the manager
//      {unmount: true}                 the user leaves the page

import { createInterface } from "node:readline";
import { mount } from "./hooks.mjs";
import { useProjectWebSocket, useWebSocketEvent, wsManager } from "./portal_client.mjs";

const { PROJECT: project, TOKEN: token, USER_ID: user } = process.env;
const show = (on, data) => process.stdout.write(JSON.stringify({ on, data: data ?? null }) + "\n");
console.log = () => {}; // the document's client speaks to people
console.error = () => {};

// "Client-side authentication" of the document, for every socket of the page.
function authenticate(socket) {
  socket.on('connect', () => {
    socket.emit('authenticate', {
      token: token,
      user_id: user,
    });
  });

  socket.on('authenticated', (data) => {
    show('authenticated', data);
  });

  socket.on('authentication_failed', (error) => {
    show('authentication_failed', error);
  });
}

for (const namespace of [`/project/${project}`, `/chat/${project}`]) authenticate(wsManager.connect(namespace));

let page;
const unmount = mount(() => {
  page = useProjectWebSocket(project);
  useWebSocketEvent(`/project/${project}`, 'joined_project', (data) => show('joined_project', data));
  useWebSocketEvent(`/project/${project}`, 'state_change', (data) => show('state_change', data));
  useWebSocketEvent(`/chat/${project}`, 'message_received', (data) => show('message_received', data));
  useWebSocketEvent(`/project/${project}`, 'error', (data) => data.message && show('error', data));
  show('page', { connected: page.connected, error: page.error });
});

createInterface({ input: process.stdin }).on("line", (line) => {
  const told = JSON.parse(line);
  if (told.emit) page.emit(...told.emit);
  if (told.send) wsManager.emit(...told.send);
  if (told.unmount) unmount();
}).on("close", () => process.exit(0));
