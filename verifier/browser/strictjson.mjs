// Strict JSON and its canonical bytes (RFC 8785), narrowed to what every language reads alike: whole numbers up to
// 2^53 − 1, text in NFC without lone surrogates, no duplicate keys, at most 16 levels. JSON.parse keeps the last of
// two equal keys and rounds numbers, so this reads the text itself. The Python twin is anchor/canonical.py.
//
// Objects come back as Maps: no key can reach a prototype. Pure; throws Refused("value_not_canonical").
import { Refused } from "./errors.mjs";

const MAX_DEPTH = 16;
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?![0-9.eE])/y;
const HEX4 = /[0-9a-fA-F]{4}/y;
const ESCAPES = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };
const WORDS = { t: ["true", true], f: ["false", false], n: ["null", null] };

/** Parses the bytes of a JSON text of at most `maxBytes`. */
export function parseStrictJson(bytes, maxBytes) {
  if (bytes.length > maxBytes) refuse();
  return new Reader(decodeUtf8(bytes)).document();
}

/** Encodes a value as RFC 8785 text; objects are Maps. */
export function canonicalText(value) {
  if (Array.isArray(value)) return `[${value.map(canonicalText).join(",")}]`;
  if (!(value instanceof Map)) return JSON.stringify(value);
  // Sorting text sorts UTF-16 code units, as RFC 8785 §3.2.3 asks for.
  const members = [...value.keys()].sort();
  return `{${members.map((name) => `${JSON.stringify(name)}:${canonicalText(value.get(name))}`).join(",")}}`;
}

class Reader {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  document() {
    const value = this.value(0);
    this.space();
    if (this.at !== this.text.length) refuse();
    return value;
  }

  value(depth) {
    this.space();
    const first = this.text[this.at];
    if (first === '"') return this.string();
    if (first === "{") return this.object(depth + 1);
    if (first === "[") return this.array(depth + 1);
    return first in WORDS ? this.word(...WORDS[first]) : this.number();
  }

  object(depth) {
    const found = new Map();
    this.enter(depth);
    if (this.closes("}")) return found;
    do {
      this.space();
      if (this.text[this.at] !== '"') refuse();
      const key = this.string();
      this.space();
      if (this.text[this.at++] !== ":" || found.has(key)) refuse();
      found.set(key, this.value(depth));
    } while (this.continues("}"));
    return found;
  }

  array(depth) {
    const found = [];
    this.enter(depth);
    if (this.closes("]")) return found;
    do found.push(this.value(depth));
    while (this.continues("]"));
    return found;
  }

  string() {
    this.at += 1;
    let found = this.match(PLAIN);
    while (this.text[this.at] === "\\") {
      this.at += 1;
      found += this.escape() + this.match(PLAIN);
    }
    if (this.text[this.at++] !== '"') refuse();
    if (!found.isWellFormed() || found.normalize("NFC") !== found) refuse();
    return found;
  }

  escape() {
    const letter = this.text[this.at++];
    if (letter === "u") return String.fromCharCode(Number.parseInt(this.match(HEX4) || refuse(), 16));
    return Object.hasOwn(ESCAPES, letter) ? ESCAPES[letter] : refuse();
  }

  number() {
    const text = this.match(NUMBER);
    const found = Number(text);
    if (text === "" || !Number.isSafeInteger(found)) refuse();
    return found === 0 ? 0 : found; // −0 is the whole number 0.
  }

  word(text, value) {
    if (!this.text.startsWith(text, this.at)) refuse();
    this.at += text.length;
    return value;
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0] ?? "";
    this.at += found.length;
    return found;
  }

  enter(depth) {
    if (depth > MAX_DEPTH) refuse();
    this.at += 1;
  }

  closes(bracket) {
    this.space();
    if (this.text[this.at] !== bracket) return false;
    this.at += 1;
    return true;
  }

  continues(bracket) {
    this.space();
    const next = this.text[this.at++];
    if (next !== "," && next !== bracket) refuse();
    return next === ",";
  }

  space() {
    let code = this.text.charCodeAt(this.at);
    while (code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09)
      code = this.text.charCodeAt(++this.at);
  }
}

function decodeUtf8(bytes) {
  try {
    // A byte order mark is no JSON, so it must not be dropped.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return refuse();
  }
}

function refuse() {
  throw new Refused("value_not_canonical");
}
