// What the contracts should compute, written from RFC 6962 and the format pages with node:crypto alone.
// Imports neither the contracts nor ethers, so that a mistake in one does not repeat in the other.
import { createHash } from "node:crypto";

export const RECORD_BYTES = 96;
export const MAX_RECORDS = 512;
export const ZERO_HASH = `0x${"00".repeat(32)}`;
export const Flag = { REVOKED: 1, SUPERSEDED: 2, ERASED: 4, SUSPENDED: 8, SEEN: 0x80 };

export const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts)).digest();
export const hex = (bytes) => `0x${Buffer.from(bytes).toString("hex")}`;
export const unhex = (text) => Buffer.from(text.replace(/^0x/, ""), "hex");

/** Big-endian integer of `bytes` bytes. */
export const be = (value, bytes) =>
  unhex(
    BigInt(value)
      .toString(16)
      .padStart(2 * bytes, "0"),
  );

/** MTH of RFC 6962 §2.1 over leaf hashes, by its recursion: split at the largest power of two below n. */
export function treeHash(leaves) {
  if (leaves.length === 0) return sha256();
  if (leaves.length === 1) return leaves[0];
  let split = 1;
  while (2 * split < leaves.length) split *= 2;
  return sha256(Buffer.from([1]), treeHash(leaves.slice(0, split)), treeHash(leaves.slice(split)));
}

/** Leaf hash of a record, which is also its record id. */
export const recordLeaf = (memberId, record) => sha256(Buffer.from([0]), be(memberId, 4), record);

/** Root of a batch of 96-byte records, one after another. */
export function batchRoot(memberId, records) {
  const leaves = [];
  for (let at = 0; at < records.length; at += RECORD_BYTES) {
    leaves.push(recordLeaf(memberId, records.subarray(at, at + RECORD_BYTES)));
  }
  return treeHash(leaves);
}

/** Entry of a batch, 65 bytes. */
export const encodeEntry = ({ id, memberId, stream, seq, size, root, time }) =>
  Buffer.concat([be(id, 8), be(memberId, 4), be(stream, 1), be(seq, 8), be(size, 4), root, be(time, 8)]);

export const batchHash = (entry) => sha256(Buffer.from([0]), encodeEntry(entry));

export const claimKey = (memberId, commitment) => sha256(be(memberId, 4), commitment);
export const documentKey = (memberId, document) => sha256(be(memberId, 4), document);
export const catalogKey = (kind, code) => sha256(be(kind, 1), Buffer.from(code, "utf8"));
export const catalogVersionKey = (key, version) => sha256(key, be(version, 4));

/** Status word: flags 1 | since 5 | reason 2 | successor 24. */
export const statusWord = ({ flags, since, reason = 0, successor = Buffer.alloc(24) }) =>
  Buffer.concat([be(flags, 1), be(since, 5), be(reason, 2), successor.subarray(0, 24)]);

/** Deterministic bytes for a label: SHA-256 in counter mode. */
export function seededBytes(label, length) {
  const blocks = [];
  for (let i = 0; 32 * i < length; i += 1) blocks.push(sha256(Buffer.from(label, "utf8"), be(i, 4)));
  return Buffer.concat(blocks).subarray(0, length);
}

/** `count` well-formed records: random commitment and body, frame in clear. */
export function makeRecords(label, count, { domain = 1, epoch = 1, line = 0, format = 1 } = {}) {
  const records = seededBytes(label, count * RECORD_BYTES);
  for (let at = 0; at < records.length; at += RECORD_BYTES) {
    Buffer.concat([be(domain, 2), be(epoch, 2), be(line, 1), be(format, 1)]).copy(records, at + 32);
  }
  return records;
}

/** Document of domain 2 | epoch 2 | docTag 16. */
export const makeDocument = (label, { domain = 1, epoch = 1 } = {}) =>
  Buffer.concat([be(domain, 2), be(epoch, 2), seededBytes(label, 16)]);

export const commitmentOf = (label) => seededBytes(`commitment ${label}`, 32);
