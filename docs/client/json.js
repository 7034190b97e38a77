// Readable JSON: short things on one line, long ones broken; coloured, and never parsed as HTML.
"use strict";

const WIDTH = 84;
const DEPTH = 40;
const COLOURED = 30_000; // characters; beyond, plain text
const SHOWN = 60_000; // characters; beyond, after a click
const TOKENS = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** Bytes as text: how many, and the first of them. */
function describeBytes(value) {
  const bytes = value instanceof ArrayBuffer ? new Uint8Array(value) : new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  const first = [...bytes.subarray(0, 24)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return `<${bytes.length} bytes: ${first}${bytes.length > 24 ? " …" : ""}>`;
}

function isBytes(value) {
  return value instanceof ArrayBuffer || ArrayBuffer.isView(value);
}

/** A value on one line. */
function toLine(value) {
  const text = JSON.stringify(value, (_key, inner) => (isBytes(inner) ? describeBytes(inner) : inner));
  return text === undefined ? "undefined" : text;
}

/** A value over as many lines as it needs. */
function toText(value) {
  const line = toLine(value);
  return line.length > SHOWN ? line : layOut(value, 0, 0);
}

function layOut(value, indent, depth) {
  const line = toLine(value);
  const simple = value === null || typeof value !== "object" || isBytes(value);
  if (simple || depth > DEPTH) return line;
  const spaced = spaceOut(value);
  if (spaced.length + indent <= WIDTH) return spaced;
  const inner = indent + 2;
  const pad = " ".repeat(inner);
  const list = Array.isArray(value);
  const parts = list
    ? value.map((element) => pad + layOut(element, inner, depth + 1))
    : Object.entries(value).map(([key, element]) => {
        const name = `${JSON.stringify(key)}: `;
        return pad + name + layOut(element, inner + (simpleLine(element) ? name.length : 0), depth + 1);
      });
  const [open, close] = list ? "[]" : "{}";
  return `${open}\n${parts.join(",\n")}\n${" ".repeat(indent)}${close}`;
}

function simpleLine(value) {
  return value === null || typeof value !== "object";
}

/** `{"a": 1, "b": [1, 2]}`: one line, with room to breathe. */
function spaceOut(value) {
  if (value === null || typeof value !== "object" || isBytes(value)) return toLine(value);
  if (Array.isArray(value)) return `[${value.map(spaceOut).join(", ")}]`;
  const parts = Object.entries(value).map(([key, element]) => `${JSON.stringify(key)}: ${spaceOut(element)}`);
  return parts.length ? `{ ${parts.join(", ")} }` : "{}";
}

/** Coloured nodes for a text of JSON; every piece of it is a text node. */
function colour(text) {
  const nodes = document.createDocumentFragment();
  if (text.length > COLOURED) {
    nodes.append(text);
    return nodes;
  }
  let end = 0;
  for (const match of text.matchAll(TOKENS)) {
    nodes.append(text.slice(end, match.index));
    const [whole, string, colon, word] = match;
    const piece = document.createElement("span");
    piece.className = string ? (colon ? "key" : "string") : word ? "word" : "number";
    piece.textContent = string ?? whole;
    nodes.append(piece, string && colon ? colon : "");
    end = match.index + whole.length;
  }
  nodes.append(text.slice(end));
  return nodes;
}

/** The value as a `pre`, followed by a button where there is more of it than is shown at once. */
function renderValue(value) {
  let text;
  try {
    text = toText(value);
  } catch (error) {
    text = `(cannot be shown: ${error.message})`; // nested deeper than the browser can follow
  }
  const pre = document.createElement("pre");
  if (text.length <= SHOWN) {
    pre.append(colour(text));
    return [pre];
  }
  pre.textContent = `${text.slice(0, 5000)} …`;
  const more = document.createElement("button");
  more.type = "button";
  more.className = "quiet more";
  more.textContent = `Show all ${Math.round(text.length / 1000)} kB`;
  more.addEventListener("click", () => {
    pre.textContent = text;
    more.remove();
  });
  return [pre, more];
}
