// RLP (Yellow Paper appendix B), strict: each item has one encoding, nothing follows the first.
// Pure; byte strings are Uint8Arrays, lists are arrays. Throws Refused("rlp_malformed").
import { concat } from "./bytes.mjs";
import { Refused } from "./errors.mjs";

// Headers nest 3 deep, trie nodes with nodes in their parents not much deeper. The Python twin has the same bound.
const MAX_DEPTH = 32;

/** Decodes the one item that `bytes` hold. */
export function decodeRlp(bytes) {
  const [item, end] = decodeAt(bytes, 0, bytes.length, 0);
  return end === bytes.length ? item : refuse();
}

/** Encodes a byte string, or a list of items. */
export function encodeRlp(item) {
  if (!Array.isArray(item))
    return item.length === 1 && item[0] < 0x80 ? item : concat(prefix(0x80, item.length), item);
  const parts = item.map(encodeRlp);
  const length = parts.reduce((sum, each) => sum + each.length, 0);
  return concat(prefix(0xc0, length), ...parts);
}

/** Returns [item, where it ends]; `limit` is where its parent ends. */
function decodeAt(bytes, at, limit, depth) {
  if (at >= limit || depth > MAX_DEPTH) refuse();
  const first = bytes[at];
  if (first < 0x80) return [bytes.subarray(at, at + 1), at + 1];
  const isList = first >= 0xc0;
  const [start, length] = payload(bytes, at, limit, first - (isList ? 0xc0 : 0x80));
  const end = start + length;
  if (end > limit) refuse();
  if (isList) return [decodeList(bytes, start, end, depth), end];
  if (length === 1 && bytes[start] < 0x80) refuse(); // Such a byte stands for itself.
  return [bytes.subarray(start, end), end];
}

function decodeList(bytes, start, end, depth) {
  const items = [];
  for (let at = start; at < end; ) {
    const [item, next] = decodeAt(bytes, at, end, depth + 1);
    items.push(item);
    at = next;
  }
  return items;
}

/** Returns [start, length] of a payload; `size` is the first byte without its base. */
function payload(bytes, at, limit, size) {
  if (size < 56) return [at + 1, size];
  const start = at + 1 + (size - 55);
  if (start > limit || bytes[at + 1] === 0) refuse();
  let length = 0;
  for (let each = at + 1; each < start; each += 1) length = length * 256 + bytes[each];
  return length < 56 ? refuse() : [start, length];
}

function prefix(base, length) {
  if (length < 56) return Uint8Array.of(base + length);
  const digits = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) digits.unshift(rest % 256);
  return Uint8Array.of(base + 55 + digits.length, ...digits);
}

function refuse() {
  throw new Refused("rlp_malformed");
}
