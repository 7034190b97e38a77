// The client page: one connection to one namespace, what it sends, and what arrives.
//
// What a server or a user sends is put into the page as text alone: nothing here writes HTML.
"use strict";

const KEPT = 500; // entries; the oldest go first
const ACK_WITHIN = 15_000; // milliseconds
const PROBE_EVERY = 5_000;
const TIME_FIELDS = ["timestamp", "created_at", "resolved_at", "at", "time"];

const $ = (id) => document.getElementById(id);

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function chip(text, pressed, act) {
  const button = make("button", "", text);
  button.type = "button";
  if (pressed !== null) button.setAttribute("aria-pressed", String(pressed));
  button.addEventListener("click", act);
  return button;
}

// --- The form's values, kept for this tab alone ------------------------------------------------

const FIELDS = ["server", "path", "namespace", "token", "transports", "command", "payload"];

function remember() {
  try {
    const values = Object.fromEntries(FIELDS.map((id) => [id, $(id).value]));
    sessionStorage.setItem("bridged", JSON.stringify({ ...values, system: system?.name, ports }));
  } catch {
    // A page from disk may have no storage: then nothing is kept.
  }
}

function recall() {
  try {
    return JSON.parse(sessionStorage.getItem("bridged")) ?? {};
  } catch {
    return {};
  }
}

// --- Choosing a system -------------------------------------------------------------------------

const home = location.protocol.startsWith("http") ? location.origin : "http://localhost:8000";
let system = null;
let ports = {}; // system -> port, where it is not the page's own: `make run` puts it into the link

function chooseSystem(chosen) {
  system = chosen;
  $("path").value = chosen.path;
  const server = new URL(home);
  if (ports[chosen.name]) server.port = ports[chosen.name];
  $("server").value = server.origin;
  chooseNamespace(chosen.namespaces[0].name);
}

function chooseNamespace(name) {
  $("namespace").value = name;
  const [command] = Object.entries(namespaceOf(name)?.commands ?? {});
  fillCommand(...(command ?? ["", undefined]));
  showChoices();
}

/** A connection that stands goes where the choice went. */
function follow() {
  if (state === "connected" || state === "connecting") connect();
  else showEmpty();
}

function namespaceOf(name) {
  return system?.namespaces.find((namespace) => namespace.name === name);
}

function fillCommand(event, payload) {
  $("command").value = event;
  $("payload").value = payload === undefined ? "" : toText(payload);
  $("payload-problem").hidden = true;
  showChoices();
}

function showChoices() {
  $("presets").replaceChildren(...SYSTEMS.map((each) => chip(each.name, each === system, () => { chooseSystem(each); follow(); })));
  $("about").textContent = system?.about ?? "Any namespace of any bridged daemon.";
  const namespaces = system?.namespaces ?? [];
  const current = $("namespace").value;
  $("namespaces").replaceChildren(...namespaces.map(({ name }) => Object.assign(make("option"), { value: name })));
  $("namespace-choice").replaceChildren(
    ...(namespaces.length > 1 ? namespaces.map(({ name }) => chip(name, name === current, () => { chooseNamespace(name); follow(); })) : []),
  );
  const commands = Object.entries(namespaceOf(current)?.commands ?? {});
  $("commands").replaceChildren(
    ...commands.map(([event, payload]) => chip(event, event === $("command").value, () => fillCommand(event, payload))),
  );
  showTokenHint();
  remember();
}

// --- The token ---------------------------------------------------------------------------------

function readClaims(token) {
  const [, body] = token.split(".");
  const bytes = Uint8Array.from(atob(body.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes));
}

function showTokenHint() {
  const hint = $("token-hint");
  const token = $("token").value.trim();
  const say = (text, kind = "") => { hint.textContent = text; hint.className = `hint ${kind}`; };
  if (!token) return say(system?.open ? "This system is open: no token is needed." : "bridged token --user demo --projects apollo makes one.");
  try {
    const { sub, exp, ...claims } = readClaims(token);
    const left = exp - Date.now() / 1000;
    if (left <= 0) return say(`Of ${sub}; ended ${describeSpan(-left)} ago.`, "bad");
    const shown = ["projects", "roles", "permissions", "tenant", "instances"].filter((name) => claims[name]?.length);
    return say([`Of ${sub}, for another ${describeSpan(left)}`, ...shown.map((name) => `${name}: ${[claims[name]].flat().join(", ")}`)].join(" · "));
  } catch {
    return say("This is no JSON Web Token.", "warn");
  }
}

function describeSpan(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d`;
}

// --- The connection ----------------------------------------------------------------------------

let socket = null;
let state = "idle"; // idle, connecting, connected, refused

function setState(next, text) {
  state = next;
  $("status").dataset.state = next;
  $("status-text").textContent = text;
  const active = next === "connected" || next === "connecting";
  $("connect").textContent = active ? "Disconnect" : "Connect";
  $("connect").classList.toggle("stop", active);
  $("send").disabled = next !== "connected";
  if (next !== "connected") { $("transport").textContent = "–"; $("latency").textContent = "–"; }
  showEmpty();
}

function notice(text, calm = false) {
  $("notice").textContent = text ?? "";
  $("notice").hidden = !text;
  $("notice").classList.toggle("calm", calm);
}

function connect() {
  disconnect();
  notice(null);
  remember();
  const server = $("server").value.trim().replace(/\/+$/, "").replace(/^ws/, "http");
  const name = $("namespace").value.trim() || "/";
  const token = $("token").value.trim();
  let mine;
  try {
    mine = io(new URL(server).origin + (name.startsWith("/") ? name : `/${name}`), {
      path: $("path").value.trim() || "/socket.io",
      transports: $("transports").value.split(","),
      auth: token ? { token } : {},
      forceNew: true,
      reconnectionDelayMax: 5000,
    });
  } catch (error) {
    notice(`This is no address of a server: ${error.message}`);
    return;
  }
  socket = mine;
  setState("connecting", `Connecting to ${name}`);
  mine.onAny((event, ...args) => addEvent(event, args));
  mine.on("connect", () => {
    notice(null);
    setState("connected", `Connected to ${name}`);
    addLife(`Connected to ${name} on ${server}`);
    $("transport").textContent = mine.io.engine.transport.name;
    mine.io.engine.once("upgrade", (transport) => { $("transport").textContent = transport.name; });
    if (matchMedia("(max-width: 900px)").matches) $("connect-card").open = $("send-card").open = false; // room for events
    probe();
  });
  mine.on("disconnect", (reason) => {
    addLife(`Disconnected: ${reason}`, reason === "io server disconnect");
    if (mine.active) return setState("connecting", "Connection lost, trying again");
    setState(reason === "io server disconnect" ? "refused" : "idle", reason === "io server disconnect" ? "Disconnected by the server" : "Not connected");
    return end(mine);
  });
  mine.on("connect_error", (error) => {
    if (mine.active) {
      setState("connecting", "No answer, trying again");
      return notice(`No answer from ${server}. Is the daemon there, and does its http.origins allow this page (${originOfPage()})?`, true);
    }
    const code = error.data?.code ? `${error.data.code}: ` : "";
    setState("refused", "Refused");
    addLife(`Refused by ${name}: ${code}${error.message}`, true);
    notice(`${code}${error.message}`);
    return end(mine);
  });
}

function originOfPage() {
  return location.protocol === "file:" ? "its origin is null" : `its origin is ${location.origin}`;
}

function end(mine) {
  mine.io.reconnection(false);
  mine.disconnect();
  if (socket === mine) socket = null;
}

function disconnect() {
  if (!socket) return;
  const mine = socket;
  mine.offAny();
  mine.off();
  if (mine.connected) addLife("Disconnected");
  end(mine);
  setState("idle", "Not connected");
}

/** How long a small request takes: there and back, beside the events. */
async function probe() {
  const mine = socket;
  if (state !== "connected" || !mine) return;
  const address = `${mine.io.uri.replace(/^(https?:\/\/[^/]*).*/, "$1")}/healthz`;
  const started = performance.now();
  try {
    await fetch(address, { mode: "no-cors", cache: "no-store", credentials: "omit" });
    if (socket === mine && state === "connected") $("latency").textContent = `${Math.max(1, Math.round(performance.now() - started))} ms`;
  } catch {
    $("latency").textContent = "–";
  }
}

// --- Sending -----------------------------------------------------------------------------------

function readPayload() {
  const text = $("payload").value.trim();
  if (!text) return [];
  const value = JSON.parse(text);
  return Array.isArray(value) ? value : [value];
}

function send() {
  const event = $("command").value.trim();
  let args;
  try {
    args = readPayload();
  } catch (error) {
    $("payload-problem").textContent = `This is not JSON: ${error.message}`;
    $("payload-problem").hidden = false;
    return;
  }
  $("payload-problem").hidden = true;
  if (!socket?.connected) return;
  if (["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"].includes(event)) {
    $("payload-problem").textContent = `${event} is Socket.IO's own word.`;
    $("payload-problem").hidden = false;
    return;
  }
  remember();
  const entry = { kind: "sent", name: event, args, at: Date.now() };
  if (!$("ask-ack").checked) {
    socket.emit(event, ...args);
    add(entry);
    return;
  }
  entry.ack = null;
  add(entry);
  const started = performance.now();
  socket.timeout(ACK_WITHIN).emit(event, ...args, (error, ...answer) => {
    entry.ack = { lost: Boolean(error), answer, took: performance.now() - started };
    if (entry.node) showAck(entry);
  });
}

// --- The feed ----------------------------------------------------------------------------------

let entries = []; // newest first
let waiting = []; // arrived since the last frame, or since Pause
let paused = false;
let only = null; // the one event that is shown
let frame = 0;
let total = 0;
let recent = []; // [time, events] of the last seconds
const counts = new Map();

function addEvent(name, args) {
  args = args.filter((arg) => typeof arg !== "function");
  total += 1;
  const now = Date.now();
  if (recent.length && now - recent.at(-1)[0] < 100) recent.at(-1)[1] += 1;
  else recent.push([now, 1]);
  counts.set(name, (counts.get(name) ?? 0) + 1);
  add({ kind: "event", name, args, at: now });
}

function addLife(text, bad = false) {
  add({ kind: "life", name: text, args: [], at: Date.now(), bad });
}

function add(entry) {
  waiting.push(entry);
  if (waiting.length > KEPT) waiting.shift();
  frame ||= requestAnimationFrame(show);
}

function show() {
  frame = 0;
  showCounts();
  if (paused) return;
  const fresh = waiting.reverse();
  waiting = [];
  entries = [...fresh, ...entries];
  for (const old of entries.splice(KEPT)) old.node?.remove();
  const nodes = fresh.filter((entry) => entries.includes(entry)).map(render);
  $("entries").prepend(...nodes);
  showEmpty();
}

function render(entry) {
  const node = make("li", `entry ${entry.kind}${entry.bad ? " bad" : ""} new`);
  entry.node = node;
  if (entry.kind === "event") node.style.setProperty("--hue", hueOf(entry.name));
  const head = make("div", "entry-head");
  if (entry.kind === "sent") head.append(make("span", "entry-kind", "sent"));
  head.append(make("span", "entry-name", entry.name));
  if (entry.kind !== "life") head.append(make("span", "entry-line", entry.args.map(toLine).join(", ").slice(0, 400)));
  const when = make("span", "entry-when");
  const lag = lagOf(entry);
  if (lag !== null) when.append(Object.assign(make("span", "entry-lag", `+${lag} ms`), { title: "Between the time that the event tells and its arrival here" }));
  const time = make("time", "", clock(entry.at));
  time.dateTime = new Date(entry.at).toISOString();
  entry.age = make("span", "entry-age", describeAge(entry.at));
  when.append(time, entry.age);
  head.append(when);
  node.append(head);
  if (entry.args.length) node.append(makeCopy(entry));
  for (const arg of entry.args) node.append(...renderValue(arg));
  if (entry.ack !== undefined) showAck(entry);
  node.hidden = !matches(entry);
  return node;
}

function showAck(entry) {
  entry.ackNode?.remove();
  const { lost, answer, took } = entry.ack ?? {};
  const line = make("div", "ack");
  entry.ackNode = line;
  if (entry.ack === null) line.append(make("b", "", "waiting for the ack"));
  else if (lost) {
    line.classList.add("bad");
    line.append(make("b", "", socket?.connected ? `no ack within ${ACK_WITHIN / 1000} s` : "no ack: the connection ended"));
  } else {
    line.classList.add(answer[0]?.status === "error" ? "bad" : "good");
    line.append(make("b", "", `ack after ${Math.max(1, Math.round(took))} ms`));
    for (const arg of answer) line.append(...renderValue(arg));
  }
  entry.node.append(line);
}

function makeCopy(entry) {
  const button = chip("Copy", null, async () => {
    try {
      await navigator.clipboard.writeText(entry.args.map(toText).join("\n"));
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  button.className = "copy";
  return button;
}

function hueOf(name) {
  let hash = 7;
  for (const letter of name) hash = (hash * 31 + letter.codePointAt(0)) % 3600;
  return Math.round(hash * 137.508) % 360;
}

/** Milliseconds between the time that a body tells and its arrival; null where none is told, or clocks differ. */
function lagOf({ kind, args, at }) {
  const body = args.at(-1);
  if (kind !== "event" || body === null || typeof body !== "object" || isBytes(body)) return null;
  for (const value of TIME_FIELDS.flatMap((name) => [body[name], body.data?.[name]])) {
    const told = typeof value === "number" ? (value > 1e11 ? value : value * 1000) : typeof value === "string" ? Date.parse(value) : NaN;
    const lag = Math.round(at - told);
    if (lag >= 0 && lag < 10_000) return lag;
  }
  return null;
}

function clock(at) {
  const date = new Date(at);
  const pad = (number, length = 2) => String(number).padStart(length, "0");
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}.${pad(date.getMilliseconds(), 3)}`;
}

function describeAge(at) {
  const seconds = (Date.now() - at) / 1000;
  return seconds < 1 ? "now" : `${describeSpan(seconds)} ago`;
}

function matches(entry) {
  if (only !== null && entry.name !== only) return false;
  const wanted = $("filter").value.trim().toLowerCase();
  if (!wanted) return true;
  entry.text ??= `${entry.name} ${entry.args.map(toLine).join(" ")}`.toLowerCase();
  return entry.text.includes(wanted);
}

function filter() {
  for (const entry of entries) entry.node.hidden = !matches(entry);
  showCounts();
  showEmpty();
}

function showCounts() {
  $("total").textContent = total.toLocaleString("en");
  $("pause").textContent = paused ? (waiting.length ? `Resume (${waiting.length} new)` : "Resume") : "Pause";
  const names = [...counts].sort(([one], [other]) => one.localeCompare(other)).slice(0, 40);
  const shown = new Map([...$("names").children].map((button) => [button.dataset.name, button]));
  const buttons = names.map(([name, count]) => {
    const button = shown.get(name) ?? makeNameChip(name);
    button.lastChild.textContent = count.toLocaleString("en");
    button.setAttribute("aria-pressed", String(only === name));
    return button;
  });
  if (buttons.some((button, index) => $("names").children[index] !== button) || $("names").children.length !== buttons.length) {
    $("names").replaceChildren(...buttons);
  }
}

function makeNameChip(name) {
  const button = chip("", false, () => { only = only === name ? null : name; filter(); });
  const spot = make("span", "spot");
  spot.style.setProperty("--hue", hueOf(name));
  button.dataset.name = name;
  button.append(spot, make("span", "", name), make("span", "count"));
  return button;
}

function clear() {
  entries = [];
  waiting = [];
  recent = [];
  counts.clear();
  total = 0;
  only = null;
  $("entries").replaceChildren();
  showCounts();
  showEmpty();
}

// --- Nothing yet -------------------------------------------------------------------------------

function showEmpty() {
  const visible = entries.some((entry) => entry.kind !== "life" && !entry.node.hidden);
  $("empty").hidden = visible;
  if (visible) return;
  const [title, text, steps] = explainEmpty();
  $("empty-title").textContent = title;
  $("empty-text").textContent = text;
  $("empty-steps").replaceChildren(...steps.map((parts) => {
    const step = make("li");
    step.append(...parts);
    return step;
  }));
  const commands = state === "connected" && !entries.some((entry) => entry.kind === "sent") ? Object.entries(namespaceOf($("namespace").value)?.commands ?? {}) : [];
  $("empty-actions").replaceChildren(...commands.slice(0, 3).map(([event, payload]) => chip(`Send ${event}`, null, () => { fillCommand(event, payload); send(); })));
}

function explainEmpty() {
  if (entries.some((entry) => entry.kind !== "life")) return ["Nothing matches", "Events are there, but the filter shows none of them.", []];
  if (paused && waiting.length) return ["Paused", `${waiting.length} new, shown on Resume.`, []];
  if (state === "connected") return ["Waiting for events", "They appear here as they arrive. Some namespaces show nothing until you subscribe to something:", []];
  if (state === "connecting") return ["Connecting", "Events appear here as they arrive.", []];
  const code = (text) => make("code", "", text);
  return ["Watch events arrive", "", [
    ["Choose a system, or name any namespace of your own."],
    ["Paste a token: ", code("make run"), " prints one, and so does ", code("bridged token --user demo --projects apollo"), "."],
    ["Connect. Events appear here, newest first; commands go out with ", code("Send"), "."],
  ]];
}

// --- The clock, the theme, the start -----------------------------------------------------------

function tick() {
  const now = Date.now();
  recent = recent.filter(([at]) => now - at < 5000);
  const count = recent.reduce((sum, [, events]) => sum + events, 0);
  $("rate").textContent = `${count < 50 ? (count / 5).toFixed(1).replace(".0", "") : Math.round(count / 5)} /s`;
  for (const entry of entries) {
    const text = describeAge(entry.at);
    if (entry.age && entry.age.textContent !== text) entry.age.textContent = text;
  }
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $("theme").textContent = `◐ ${theme[0].toUpperCase()}${theme.slice(1)}`;
  try {
    localStorage.setItem("bridged-theme", theme);
  } catch {
    // No storage: the theme lasts as long as the page.
  }
}

function press(id, pressed) {
  $(id).setAttribute("aria-pressed", String(pressed));
}

function listen() {
  $("connect-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (state === "connected" || state === "connecting") disconnect();
    else connect();
  });
  $("send-form").addEventListener("submit", (event) => { event.preventDefault(); send(); });
  $("payload").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); send(); }
  });
  $("namespace").addEventListener("input", showChoices);
  $("command").addEventListener("input", showChoices);
  $("token").addEventListener("input", () => { showTokenHint(); remember(); });
  $("show-token").addEventListener("click", () => {
    const shown = $("token").type === "password";
    $("token").type = shown ? "text" : "password";
    $("show-token").textContent = shown ? "Hide" : "Show";
    press("show-token", shown);
  });
  $("filter").addEventListener("input", filter);
  $("pause").addEventListener("click", () => { paused = !paused; press("pause", paused); show(); });
  $("compact").addEventListener("click", () => press("compact", document.querySelector(".feed").classList.toggle("compact")));
  $("clear").addEventListener("click", clear);
  $("theme").addEventListener("click", () => {
    const themes = ["auto", "light", "dark"];
    setTheme(themes[(themes.indexOf(document.documentElement.dataset.theme) + 1) % themes.length]);
  });
}

/** `#preset=Portal&token=...`, as `make run` prints it: the token never reaches a server or the history. */
function readLink() {
  const link = new URLSearchParams(location.hash.slice(1));
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  if (/^\d{1,5}$/.test(link.get("swallowtail") ?? "")) ports.Swallowtail = link.get("swallowtail");
  if (link.get("token")) $("token").value = link.get("token");
  return SYSTEMS.find((each) => each.name.toLowerCase() === link.get("preset")?.toLowerCase());
}

function start() {
  let theme = "auto";
  try {
    theme = localStorage.getItem("bridged-theme") ?? "auto";
  } catch {
    // No storage: as the system has it.
  }
  setTheme(["auto", "light", "dark"].includes(theme) ? theme : "auto");
  listen();
  const kept = recall();
  ports = kept.ports ?? {};
  chooseSystem(SYSTEMS[0]);
  if (kept.server) {
    system = SYSTEMS.find((each) => each.name === kept.system) ?? null;
    for (const id of FIELDS) if (typeof kept[id] === "string") $(id).value = kept[id];
  }
  const wanted = readLink();
  if (wanted) chooseSystem(wanted);
  showChoices();
  setState("idle", "Not connected");
  setInterval(tick, 250);
  setInterval(probe, PROBE_EVERY);
  if (wanted && ($("token").value || wanted.open)) connect();
}

start();
