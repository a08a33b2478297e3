// Writes tests/vectors/ledger/*.json: what the ledger and the catalogue must compute, and what they must refuse.
// `node tests/contracts/make-vectors.js`. Every expected value comes from support/reference.js; vectors.test.js plays the files
// against the contracts, test_ledger_vectors.py against the Python side.
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { keccak256 } from "ethers";

import {
  Flag,
  RECORD_BYTES,
  batchHash,
  batchRoot,
  be,
  catalogKey,
  catalogVersionKey,
  claimKey,
  commitmentOf,
  documentKey,
  encodeEntry,
  hex,
  makeDocument,
  makeRecords,
  recordLeaf,
  seededBytes,
  statusWord,
  treeHash,
} from "./support/reference.js";

export const FOLDER = new URL("../vectors/ledger/", import.meta.url);
const SOURCE = "docs/reference/ledger-storage.md, docs/reference/batch-and-log.md, RFC 6962 §2.1";
const START = Date.UTC(2026, 10, 3, 2, 0, 0) / 1000;
const MEMBER = 7;
const SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24];

const plain = (bytes) => hex(bytes).slice(2);
const slotOf = (key, slot) => keccak256(Buffer.concat([key, be(slot, 32)])).slice(2);

/** Appends of two members in turn, each with the state of the log after it. */
function logCase() {
  const hashes = [];
  const seqs = new Map();
  const batches = [];
  const expected = [];
  for (const [id, size] of SIZES.entries()) {
    const memberId = id % 3 === 2 ? 9 : MEMBER;
    const stream = 1 + (id % 3);
    const seq = seqs.get(memberId) ?? 0;
    seqs.set(memberId, seq + 1);
    const records = makeRecords(`vector ${id}`, size, {
      domain: 1 + id,
      epoch: 1 + (id % 2),
      line: id,
      format: stream,
    });
    const entry = {
      id,
      memberId,
      stream,
      seq,
      size,
      root: batchRoot(memberId, records),
      time: START + 60 * id,
    };
    hashes.push(batchHash(entry));
    batches.push({ memberId, stream, seq, time: entry.time, records: plain(records) });
    expected.push({
      firstRecordId: plain(recordLeaf(memberId, records.subarray(0, RECORD_BYTES))),
      root: plain(entry.root),
      entry: plain(encodeEntry(entry)),
      batchHash: plain(hashes[id]),
      logRoot: plain(treeHash(hashes)),
    });
  }
  return { name: "twelve batches of two members", operation: "ledger.appends", input: batches, expected };
}

function keyCases() {
  const commitment = commitmentOf("vector");
  const document = makeDocument("vector", { domain: 2, epoch: 3 });
  const nullifier = seededBytes("nullifier vector", 32);
  const catalog = catalogKey(8, "事项-001");
  return [
    [
      "claim",
      "ledger.claim",
      { memberId: MEMBER, commitment: plain(commitment) },
      claimKey(MEMBER, commitment),
      3,
    ],
    [
      "claim of the highest member id",
      "ledger.claim",
      { memberId: 2 ** 32 - 1, commitment: plain(commitment) },
      claimKey(2 ** 32 - 1, commitment),
      3,
    ],
    [
      "document",
      "ledger.document",
      { memberId: MEMBER, document: plain(document) },
      documentKey(MEMBER, document),
      4,
    ],
    ["use of a nullifier", "ledger.consumedUse", { nullifier: plain(nullifier) }, nullifier, 5],
    ["consumer of a nullifier", "ledger.consumedBy", { nullifier: plain(nullifier) }, nullifier, 6],
    ["batch", "ledger.batch", { id: 41 }, be(41, 32), 2],
    ["next sequence number", "ledger.nextSeq", { memberId: MEMBER }, be(MEMBER, 32), 7],
    ["head of a catalogue entry", "catalog.head", { kind: 8, code: "事项-001" }, catalog, 1],
    [
      "digest of a catalogue version",
      "catalog.digest",
      { kind: 8, code: "事项-001", version: 2 },
      catalogVersionKey(catalog, 2),
      2,
    ],
    [
      "state of a catalogue version",
      "catalog.state",
      { kind: 8, code: "事项-001", version: 2 },
      catalogVersionKey(catalog, 2),
      3,
    ],
  ].map(([name, operation, input, key, slot]) => ({
    name,
    operation,
    input,
    expected: { key: plain(key), slot: slotOf(key, slot) },
  }));
}

function statusCases() {
  const successor = commitmentOf("successor").subarray(0, 24);
  const since = START;
  return [
    ["revoked", { flags: Flag.REVOKED, since, reason: 7 }],
    ["superseded", { flags: Flag.SUPERSEDED, since, successor }],
    ["erased and revoked", { flags: Flag.ERASED | Flag.REVOKED, since, reason: 0xffff }],
    ["suspended", { flags: Flag.SUSPENDED, since, reason: 1 }],
    ["resumed: no flag, but time and reason", { flags: 0, since, reason: 2 }],
    ["resumed over the predecessor's suspension", { flags: Flag.SEEN, since, reason: 2 }],
    ["every flag", { flags: 0x8f, since: 2 ** 40 - 1, reason: 0xffff, successor }],
  ].map(([name, word]) => {
    const input = {
      flags: word.flags,
      since: word.since,
      reason: word.reason ?? 0,
      successor: plain(word.successor ?? Buffer.alloc(24)),
    };
    return { name, operation: "ledger.status", input, expected: plain(statusWord(word)) };
  });
}

/** Calls that the ledger refuses; `error` is the custom error and `values` its arguments. Member 7 is active, 3 batches in. */
function rejectCases() {
  const good = makeRecords("reject", 9);
  const flawed = (index, frame) => {
    const records = Buffer.from(good);
    makeRecords("flawed", 1, frame).copy(records, index * RECORD_BYTES);
    return plain(records);
  };
  const append = (name, overrides, error, values) => ({
    name,
    operation: "ledger.append",
    input: { stream: 1, seq: 3, records: plain(good), ...overrides },
    error,
    values,
  });
  const commitment = plain(commitmentOf("claim"));
  const supersede = (name, successor) => ({
    name,
    operation: "ledger.supersede",
    input: { commitment, successor },
    error: "LedgerSuccessorInvalid",
    values: [commitment, successor],
  });
  const document = (name, value) => ({
    name,
    operation: "ledger.revokeDocument",
    input: { document: plain(value) },
    error: "LedgerDocumentMalformed",
    values: [0],
  });
  return [
    append("stream 0", { stream: 0 }, "LedgerStreamUnknown", [0]),
    append("stream 4", { stream: 4 }, "LedgerStreamUnknown", [4]),
    append("no record", { records: "" }, "LedgerRecordsLength", [0]),
    append("one byte short", { records: plain(good.subarray(0, 95)) }, "LedgerRecordsLength", [95]),
    append("one byte long", { records: plain(good.subarray(0, 97)) }, "LedgerRecordsLength", [97]),
    append("domain 0 first", { records: flawed(0, { domain: 0 }) }, "LedgerRecordMalformed", [0]),
    append(
      "domain 0 at the end of a group of eight",
      { records: flawed(7, { domain: 0 }) },
      "LedgerRecordMalformed",
      [7],
    ),
    append(
      "epoch 0 after a group of eight",
      { records: flawed(8, { epoch: 0 }) },
      "LedgerRecordMalformed",
      [8],
    ),
    append("format of another stream", { records: flawed(4, { format: 2 }) }, "LedgerRecordMalformed", [4]),
    append("records of another stream", { stream: 2 }, "LedgerRecordMalformed", [0]),
    append("format 0", { records: flawed(1, { format: 0 }) }, "LedgerRecordMalformed", [1]),
    append("format 129", { records: flawed(1, { format: 0x81 }) }, "LedgerRecordMalformed", [1]),
    append("sequence of the batch before", { seq: 2 }, "LedgerSequence", [MEMBER, 3, 2]),
    append("sequence of the batch after the next", { seq: 4 }, "LedgerSequence", [MEMBER, 3, 4]),
    supersede("superseded by itself", commitment),
    supersede("superseded by zero", "00".repeat(32)),
    supersede("superseded by one whose 24 bytes are zero", "00".repeat(24) + "01".repeat(8)),
    document("document of domain 0", makeDocument("x", { domain: 0 })),
    document("document of epoch 0", makeDocument("x", { epoch: 0 })),
    document("document without a tag", Buffer.concat([be(1, 2), be(1, 2), Buffer.alloc(16)])),
  ];
}

/** Text of each file by name. */
export function makeVectors() {
  const render = (cases) => `${JSON.stringify({ source: SOURCE, cases }, null, 1)}\n`;
  return {
    "accept.json": render([logCase(), ...keyCases(), ...statusCases()]),
    "reject.json": render(rejectCases()),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  mkdirSync(FOLDER, { recursive: true });
  for (const [name, text] of Object.entries(makeVectors())) writeFileSync(new URL(name, FOLDER), text);
}
