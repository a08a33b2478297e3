// Bytes and their texts: hexadecimal, base64url in its one canonical form, joining, comparing.
// Pure; imports only the error class. The Python twin is anchor/base64url.py.
import { Refused } from "./errors.mjs";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const SEXTET = new Int8Array(128).fill(-1);
for (let at = 0; at < ALPHABET.length; at += 1) SEXTET[ALPHABET.charCodeAt(at)] = at;

/** Renders bytes as lower-case hexadecimal digits. */
export function hex(bytes) {
  let text = "";
  for (const byte of bytes) text += byte < 16 ? `0${byte.toString(16)}` : byte.toString(16);
  return text;
}

/** Parses hexadecimal digits that are known to be well-formed. */
export function unhex(digits) {
  const bytes = new Uint8Array(digits.length / 2);
  for (let at = 0; at < bytes.length; at += 1)
    bytes[at] = Number.parseInt(digits.slice(2 * at, 2 * at + 2), 16);
  return bytes;
}

/** Parses unpadded base64url; throws Refused for any other form of the same bytes, and for another length. */
export function parseBase64url(text, length) {
  if (typeof text !== "string" || text.length % 4 === 1) throw new Refused("base64url_malformed");
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4));
  let pending = 0;
  let bits = 0;
  let out = 0;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    const sextet = code < 128 ? SEXTET[code] : -1;
    if (sextet < 0) throw new Refused("base64url_malformed");
    pending = (pending << 6) | sextet;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[out++] = pending >> bits;
      pending &= (1 << bits) - 1;
    }
  }
  // Spare bits that are set would be a second text of the same bytes.
  if (pending !== 0) throw new Refused("base64url_malformed");
  if (length !== undefined && bytes.length !== length) throw new Refused("base64url_malformed");
  return bytes;
}

/** Joins byte strings. */
export function concat(...parts) {
  const joined = new Uint8Array(parts.reduce((sum, each) => sum + each.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** Says whether two byte strings are the same. Nothing here is secret, so time may tell. */
export function same(left, right) {
  return left.length === right.length && left.every((byte, at) => byte === right[at]);
}

/** Encodes a whole number in `length` bytes, big-endian; numbers up to 2^53 − 1, or a BigInt. */
export function bigEndian(number, length) {
  const bytes = new Uint8Array(length);
  let rest = BigInt(number);
  for (let at = length - 1; at >= 0; at -= 1) {
    bytes[at] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return bytes;
}

/** Reads a big-endian number of any length as a BigInt. */
export const readNumber = (bytes) => (bytes.length === 0 ? 0n : BigInt(`0x${hex(bytes)}`));
