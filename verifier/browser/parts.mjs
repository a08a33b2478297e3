// Reads the parts of a JSON document that proofs come in: one strict rule for each kind of value.
// Pure; throws Refused with the code that the reader was made with. The Python twin is verifier/jsonparts.py.
import { hex, parseBase64url, unhex } from "./bytes.mjs";
import { Refused } from "./errors.mjs";

const HEXADECIMAL = /^0x[0-9a-f]*$/;

/** Reads the parts of one format; `code` is what a part of another form throws. */
export class PartReader {
  constructor(code) {
    this.code = code;
  }

  refuse() {
    throw new Refused(this.code);
  }

  /** Runs `read`, whatever it refuses, under this format's code. */
  guard(read) {
    try {
      return read();
    } catch (error) {
      if (error instanceof Refused) this.refuse();
      throw error;
    }
  }

  /** Returns the values of an object that has exactly these members, in this order. */
  members(value, ...names) {
    if (!(value instanceof Map) || value.size !== names.length || !names.every((name) => value.has(name)))
      this.refuse();
    return names.map((name) => value.get(name));
  }

  /** Returns a list of at most `limit` values. */
  items(value, limit) {
    if (!Array.isArray(value) || value.length > limit) this.refuse();
    return value;
  }

  /** Returns a whole number from 0 that fits into so many bytes. */
  number(value, octets = 8) {
    if (typeof value !== "number" || value < 0 || value >= 2 ** (8 * octets)) this.refuse();
    return value;
  }

  /** Returns bytes that are written as 0x and lower-case digits. */
  hexadecimal(value, length) {
    if (typeof value !== "string" || value.length !== 2 + 2 * length || !HEXADECIMAL.test(value))
      this.refuse();
    return unhex(value.slice(2));
  }

  /** Returns the bytes of base64url text. */
  base64url(value, length) {
    return this.guard(() => parseBase64url(value, length));
  }

  /** Returns a list of base64url byte strings, none longer than `mostBytes`, no two alike. */
  blobs(value, most, mostBytes) {
    const texts = this.items(value, most);
    const found = texts.map((each) => this.base64url(each));
    // The text of some bytes is the only one of them, so equal bytes are equal texts.
    if (found.some((each) => each.length > mostBytes) || new Set(texts).size !== texts.length) this.refuse();
    return found;
  }
}

/** Renders bytes as 0x and lower-case digits. */
export const renderHex = (bytes) => `0x${hex(bytes)}`;
