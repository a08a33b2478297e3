// Block headers of the engines: their bytes, their hashes, who sealed them, and which seals suffice.
// Pure. Sources: Yellow Paper §4.3, EIP-225 (Clique), Besu's IBFT 2.0 and QBFT extra data. The Python twins are
// anchor/headers.py and verifier/proofs/headers.py.
import { hex, readNumber, same } from "./bytes.mjs";
import { Refused } from "./errors.mjs";
import { keccak, recoverSigner } from "./hashes.mjs";
import { decodeRlp, encodeRlp } from "./rlp.mjs";

export const MAX_HEADERS = 256;
export const MAX_HEADER_BYTES = 16 << 10;
export const ENGINES = ["embedded", "clique", "qbft", "ibft2"];

const [PARENT, STATE, DIFFICULTY, NUMBER, TIME, EXTRA] = [0, 3, 7, 8, 11, 12];
const FIXED = Object.entries({ 0: 32, 1: 32, 2: 20, 3: 32, 4: 32, 5: 32, 6: 256, 13: 32, 14: 8 });
const NUMBERS = [7, 8, 9, 10, 11];
const [FEWEST_FIELDS, MOST_FIELDS] = [15, 21];
const [VANITY_BYTES, SEAL_BYTES, ADDRESS_BYTES] = [32, 65, 20];

/** Decodes the RLP of a header strictly. */
export function decodeHeader(raw) {
  const fields = raw.length > MAX_HEADER_BYTES ? malformed() : strings(decode(raw));
  if (fields.length < FEWEST_FIELDS || fields.length > MOST_FIELDS) malformed();
  if (FIXED.some(([index, length]) => fields[index].length !== length)) malformed();
  for (const index of NUMBERS)
    if (fields[index].length > (index === DIFFICULTY ? 32 : 8) || fields[index][0] === 0) malformed();
  return {
    raw,
    fields,
    parentHash: fields[PARENT],
    stateRoot: fields[STATE],
    number: readNumber(fields[NUMBER]),
    time: readNumber(fields[TIME]),
    extra: fields[EXTRA],
  };
}

/** Verifies that headers are consecutive, each the child of the last, and returns the hash of the first. */
export function verifyLinked(headers, engine) {
  if (headers.length === 0 || headers.length > MAX_HEADERS) malformed();
  const first = blockHash(headers[0], engine);
  let name = first;
  for (const [at, child] of headers.slice(1).entries()) {
    const parent = headers[at];
    if (at > 0) name = blockHash(parent, engine);
    if (!same(child.parentHash, name)) malformed();
    if (child.number !== parent.number + 1n || child.time < parent.time) malformed();
  }
  return first;
}

/**
 * Verifies that the first of linked headers is final by the seals of its signers. `signersAt` gives the signers
 * (hexadecimal addresses) of a height. Clique: distinct signers on it and above it, each still a signer at the height
 * it sealed; QBFT, IBFT 2.0: commit seals in it. A seal of somebody else counts for nothing.
 */
export function verifyFinal(headers, signersAt, engine) {
  const wanted = signersAt(headers[0].number);
  if (engine === "embedded" || wanted.length === 0) malformed();
  const counted = engine === "clique" ? headers : headers.slice(0, 1);
  const sealed = new Set();
  for (const header of counted) {
    const trusted = new Set(signersAt(header.number).filter((each) => wanted.includes(each)));
    for (const signer of headerSigners(header, engine)) if (trusted.has(signer)) sealed.add(signer);
  }
  if (sealed.size < quorum(wanted.length, engine)) malformed();
}

function quorum(signers, engine) {
  if (engine !== "clique") return Math.ceil((2 * signers) / 3);
  return Math.floor((signers + Math.floor((signers - 1) / 3)) / 2) + 1;
}

/** Keccak-256 of the RLP, without round and seals where many sets of seals may stand. */
function blockHash(header, engine) {
  if (header.number === 0n || engine === "embedded" || engine === "clique") return keccak(header.raw);
  const [vanity, validators, vote] = bftExtra(header);
  // IBFT 2.0 leaves round and seals out; QBFT keeps their places, empty.
  const rest = engine === "qbft" ? [new Uint8Array(), []] : [];
  return hashWith(header, encodeRlp([vanity, validators, vote, ...rest]));
}

function headerSigners(header, engine) {
  if (header.number === 0n) return [];
  return engine === "clique" ? [cliqueSigner(header)] : bftSigners(header, engine);
}

/** A Clique signer signs the header without the last 65 bytes of its extra data (EIP-225). */
function cliqueSigner(header) {
  const between = header.extra.length - VANITY_BYTES - SEAL_BYTES;
  if (between < 0 || between % ADDRESS_BYTES !== 0) malformed();
  const digest = hashWith(header, header.extra.subarray(0, -SEAL_BYTES));
  return hex(recoverSigner(header.extra.subarray(-SEAL_BYTES), digest));
}

/** A validator's commit seal signs the header with round, without seals. */
function bftSigners(header, engine) {
  const [vanity, validators, vote, round, seals] = bftExtra(header);
  const rest = engine === "qbft" ? [[]] : [];
  const digest = hashWith(header, encodeRlp([vanity, validators, vote, round, ...rest]));
  return strings(seals).map((seal) => hex(recoverSigner(seal, digest)));
}

function bftExtra(header) {
  const extra = decode(header.extra);
  if (!Array.isArray(extra) || extra.length !== 5 || !Array.isArray(extra[4])) malformed();
  return extra;
}

const hashWith = (header, extra) => keccak(encodeRlp(header.fields.with(EXTRA, extra)));

function decode(raw) {
  try {
    return decodeRlp(raw);
  } catch (error) {
    if (error instanceof Refused) malformed();
    throw error;
  }
}

function strings(value) {
  if (!Array.isArray(value) || value.some(Array.isArray)) malformed();
  return value;
}

function malformed() {
  throw new Refused("header_malformed");
}
