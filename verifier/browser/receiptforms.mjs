// The parts of a receipt, and its JSON (docs/reference/receipt.md). What they prove is judged in receipts.mjs.
// Pure. The Python twin is verifier/receiptforms.py.
import { readNumber } from "./bytes.mjs";
import { MAX_NODES, MAX_NODE_BYTES } from "./accounts.mjs";
import { MAX_HEADERS, MAX_HEADER_BYTES, decodeHeader } from "./headers.mjs";
import { parseOpening } from "./openings.mjs";
import { PartReader } from "./parts.mjs";
import { parseStrictJson } from "./strictjson.mjs";
import { parseChain } from "./trust.mjs";

export const FORMAT = "deltaseal-receipt/1";
export const MAX_RECEIPT_BYTES = 1 << 20;
export const LABELS = {
  embedded: "operator",
  clique: "crash-final",
  qbft: "bft-final",
  ibft2: "bft-final",
};

const MAX_PATH = 9; // log2 of the 512 records of the largest batch.
const MAX_DOCUMENTS = 64;
const MAX_TOKEN_BYTES = 16 << 10;
const MAX_BATCH_RECORDS = 512;
const UNKNOWN_FLAGS = 0x70;
const READ = new PartReader("receipt_malformed");

/** Parses the bytes of a receipt: strict JSON, no member unknown or missing; throws Refused("receipt_malformed"). */
export function parseReceipt(bytes) {
  return READ.guard(() => {
    const receipt = parseObject(parseStrictJson(bytes, MAX_RECEIPT_BYTES));
    requireReadable(receipt);
    return receipt;
  });
}

/** Parses a reading of status slots: those that the receipt shows, or a later one. */
export function parseStatus(value) {
  const [claim, documents, asOfBlock, asOfTime] = READ.members(
    value,
    ...["claim", "documents", "asOfBlock", "asOfTime"]
  );
  const slots = READ.items(documents, MAX_DOCUMENTS).map(parseDocument);
  if (new Set(slots.map(placeOf)).size !== slots.length) READ.refuse();
  return {
    claim: READ.hexadecimal(claim, 32),
    documents: slots,
    asOfBlock: READ.number(asOfBlock),
    asOfTime: READ.number(asOfTime),
  };
}

/** Names a document's slot, without its value. */
export const placeOf = ({ memberId, domain, epoch, docTag }) =>
  [memberId, domain, epoch, ...docTag].join(" ");

/** Reads the field `documentSlots` of an opening: names of slots, as `placeOf` gives them. */
export function parsePlaces(value) {
  return READ.guard(() => READ.items(value, MAX_DOCUMENTS).map(parsePlace));
}

function parsePlace(value) {
  const parts = READ.items(value, 4);
  if (parts.length !== 4) READ.refuse();
  const [memberId, domain, epoch, docTag] = parts;
  return placeOf({
    memberId: READ.number(memberId, 4),
    domain: READ.number(domain, 2),
    epoch: READ.number(epoch, 2),
    docTag: READ.base64url(docTag, 16),
  });
}

/** Says whether a status word has a flag that no Ledger version sets. */
export const hasUnknownFlag = (word) => (word[0] & UNKNOWN_FLAGS) !== 0;

function parseObject(json) {
  const names = ["format", "chain", "finality", "opening", "record", "memberId", "inclusion", "entry"];
  // The one member that may be absent.
  const optional = json instanceof Map && json.has("timestamp") ? ["timestamp"] : [];
  const [format, chain, finality, opening, record, memberId, inclusion, entry, ...rest] = READ.members(
    json,
    ...names,
    ...["status", "headers", "nodes", "notProvedOffline"],
    ...optional
  );
  if (format !== FORMAT || !Object.values(LABELS).includes(finality)) READ.refuse();
  const [status, headers, nodes, admitted, ...stamps] = rest;
  requireAdmitted(admitted, finality);
  const [chainId, genesis, directory, ledger] = READ.members(
    chain,
    ...["chainId", "genesis", "directory", "ledger"]
  );
  return {
    chain: parseChain({ chainId, genesis, directory, ledger }, READ),
    finality,
    opening: parseOpening(opening),
    record: READ.base64url(record, 96),
    memberId: READ.number(memberId, 4),
    inclusion: parseInclusion(inclusion),
    entry: parseEntry(entry),
    headers: READ.blobs(headers, MAX_HEADERS, MAX_HEADER_BYTES).map(decodeHeader),
    nodes: READ.blobs(nodes, MAX_NODES, MAX_NODE_BYTES),
    status: parseStatus(status),
    timestamp: stamps.length === 0 ? null : parseTimestamp(stamps[0]),
  };
}

/** Reads the bytes of a time stamp; what they say is not looked into here. */
function parseTimestamp(value) {
  const token = READ.base64url(value);
  if (token.length === 0 || token.length > MAX_TOKEN_BYTES) READ.refuse();
  return token;
}

function parseInclusion(value) {
  const [index, path] = READ.members(value, "index", "path");
  const hashes = READ.items(path, MAX_PATH).map((each) => READ.base64url(each, 32));
  return { index: READ.number(index), path: hashes };
}

function parseEntry(value) {
  const [id, memberId, stream, seq, size, root, time] = READ.members(
    value,
    ...["id", "memberId", "stream", "seq", "size", "root", "time"]
  );
  const entry = {
    id: READ.number(id),
    memberId: READ.number(memberId, 4),
    stream: READ.number(stream),
    seq: READ.number(seq),
    size: READ.number(size),
    root: READ.base64url(root, 32),
    time: READ.number(time),
  };
  if (!isStream(entry.stream) || entry.memberId === 0) READ.refuse();
  if (entry.size < 1 || entry.size > MAX_BATCH_RECORDS) READ.refuse();
  return entry;
}

function parseDocument(value) {
  const [memberId, domain, epoch, docTag, word] = READ.members(
    value,
    ...["memberId", "domain", "epoch", "docTag", "value"]
  );
  return {
    memberId: READ.number(memberId, 4),
    domain: READ.number(domain, 2),
    epoch: READ.number(epoch, 2),
    docTag: READ.base64url(docTag, 16),
    value: READ.hexadecimal(word, 32),
  };
}

/** Requires that the receipt says itself what its finality leaves unproved. */
function requireAdmitted(admitted, finality) {
  const owed = finality === LABELS.embedded ? ["block_finality"] : [];
  const list = READ.items(admitted, owed.length);
  if (list.length !== owed.length || list[0] !== owed[0]) READ.refuse();
}

function requireReadable({ record, entry, status, headers }) {
  const [domain, epoch] = [record.subarray(32, 34), record.subarray(34, 36)].map(readNumber);
  if (domain === 0n || epoch === 0n || !isStream(record[37])) READ.refuse();
  if ([status, ...status.documents].some((each) => hasUnknownFlag(each.claim ?? each.value))) READ.refuse();
  const [first] = headers;
  if (first === undefined) READ.refuse();
  if (BigInt(status.asOfBlock) !== first.number || BigInt(status.asOfTime) !== first.time) READ.refuse();
  if (BigInt(entry.time) > first.time) READ.refuse(); // The status was read before the record was there.
}

const isStream = (number) => number === 1 || number === 2 || number === 3;
