// Judges a receipt (docs/reference/receipt.md "Verifying"): steps, codes and verdicts are those of the Python twin,
// verifier/receipts.py. Pure: no network, clock, storage or document. Never "valid" unless every step passes.
import { NodeSet, batchSlot, claimSlot, documentSlot, storageAt, storageRootAt } from "./accounts.mjs";
import { hex, same } from "./bytes.mjs";
import { Refused } from "./errors.mjs";
import { verifyFinal, verifyLinked } from "./headers.mjs";
import { batchHash, verifyInclusion } from "./openings.mjs";
import { LABELS, hasUnknownFlag, parsePlaces, placeOf } from "./receiptforms.mjs";
import { isDay, signersAt } from "./trust.mjs";

const SHANGHAI_S = 8 * 3600;
const DAY_S = 86_400;
// The opened field that names the documents' slots at sealing.
const SLOTS_FIELD = "documentSlots";

// The gravest first: one word has to do for a claim that has several.
const FLAGS = [
  [4, "erased"],
  [1, "revoked"],
  [2, "superseded"],
  [8, "suspended"],
];
// Failed steps that speak of the document and not of the proof, by their detail.
const FAILURES = ["erased", "revoked", "superseded", "suspended", "expired", "not_yet_issued"];

const pass = (detail) => ({ outcome: "pass", detail });
const unproven = (detail) => ({ outcome: "unproven", detail });
const fail = (detail) => ({ outcome: "fail", detail });
const warn = (detail) => ({ outcome: "warn", detail });
const skipped = (detail) => ({ outcome: "skipped", detail });

// Order and numbers: docs/reference/receipt.md. The last four run when the reader asks for them.
const STEPS = [
  ["chain", checkChain],
  ["opening", checkOpening],
  ["inclusion", checkInclusion],
  ["headers", checkHeaders],
  ["finality", checkFinality],
  ["state", checkState],
  ["batch_slot", checkBatchSlot],
  ["status_slots", checkStatusSlots],
  ["status", checkStatus],
  ["validity", checkValidity],
  ["freshness", checkFreshness],
  ["timestamp", checkTimestamp],
  ["issuer", checkIssuer, "issuer"],
  ["type", checkType, "type"],
  ["subject", checkSubject, "subject"],
  ["file", checkFile, "sha256"],
];

/**
 * What the reader brings; all but `at` may be left out.
 * @typedef {object} Question
 * @property {number | null} at - Seconds since 1970; null for a time that names no zone.
 * @property {Uint8Array | null} [knownHash] - Hash of block N on the reader's own chain.
 * @property {object | null} [later] - The same status slots, read at a final block above N.
 * @property {number | null} [maxAgeS] - How old block N may be at `at`.
 * @property {string | null} [issuer] - The agency that it must be from.
 * @property {string | null} [type] - The type that it must be of.
 * @property {{idType: string, id: string} | null} [subject] - Whom it must be about.
 * @property {Uint8Array | null} [sha256] - Digest of the document in hand.
 */

/** Names the checks that `question` asks for, in their order. */
export function plannedChecks(question) {
  return STEPS.filter(([, , needs]) => needs === undefined || question[needs] != null).map(([code]) => code);
}

/** Yields the outcome of one check after the other; after a failed one none runs, as later ones build on it. */
export function* runChecks(receipt, trust, question) {
  const asked = { receipt, trust, ...question, state: {} };
  const planned = plannedChecks(question);
  for (const [code, step] of STEPS.filter(([code]) => planned.includes(code))) {
    const reason = { code, ...step(asked) };
    yield reason;
    if (reason.outcome === "fail") return;
  }
}

/** The one word that the outcomes amount to. */
export function verdictOf(reasons) {
  const failed = reasons.find((each) => each.outcome === "fail");
  if (failed) {
    const word = failed.detail.replace(/^document_/, "");
    return FAILURES.includes(word) ? word : "proof_invalid";
  }
  const open = reasons.filter((each) => each.outcome === "unproven");
  if (open.length === 0) return reasons.length > 0 ? "valid" : "unproven";
  return open[0].detail === "stale" ? "stale" : "unproven";
}

/** Step 1: the receipt speaks of the chain, Ledger and engine that the reader trusts. */
function checkChain({ receipt, trust }) {
  const [told, trusted] = [receipt.chain, trust.chain];
  const agree = ["genesis", "directory", "ledger"].every((name) => same(told[name], trusted[name]));
  if (told.chainId !== trusted.chainId || !agree) return fail("other_chain");
  if (trust.signerSets.length > 0 && receipt.finality !== LABELS[trust.engine]) return fail("other_engine");
  return pass("same_chain");
}

/** Step 2: the opened fields lead to the commitment at the start of the record. */
function checkOpening({ receipt }) {
  const agree = same(receipt.opening.root, receipt.record.subarray(0, 32));
  return agree ? pass("same_commitment") : fail("other_commitment");
}

/** Step 3: the record is in the batch that the entry describes. */
function checkInclusion({ receipt }) {
  const { record, memberId, inclusion, entry } = receipt;
  return holds(() => verifyInclusion(record, memberId, inclusion, entry))
    ? pass("included")
    : fail("not_included");
}

/** Step 4: each header is the child of the one before it, and the first is the block that the reader knows. */
function checkHeaders({ receipt, trust, knownHash, state }) {
  if (!holds(() => (state.blockHash = verifyLinked(receipt.headers, trust.engine))))
    return fail("headers_unlinked");
  if (knownHash != null && !same(state.blockHash, knownHash)) return fail("other_block");
  return pass("linked");
}

/** Step 5: enough trusted signers stand behind block N, or the reader's own chain holds it as final. */
function checkFinality({ receipt, trust, knownHash }) {
  const signers = (number) => signersAt(trust, number);
  if (signers(receipt.headers[0].number).length > 0) {
    const final = holds(() => verifyFinal(receipt.headers, signers, trust.engine));
    return final ? pass("quorum") : fail("quorum_missing");
  }
  if (knownHash != null) return pass("known_block"); // Step 4 has compared it.
  return unproven(trust.signerSets.length > 0 ? "before_anchor" : "no_signers");
}

/** Step 6: the state of block N has the Ledger. */
function checkState({ receipt, state }) {
  return holds(() => {
    state.nodes = new NodeSet(receipt.nodes);
    state.storageRoot = storageRootAt(receipt.headers[0].stateRoot, receipt.chain.ledger, state.nodes);
  })
    ? pass("account_proved")
    : fail("account_not_proved");
}

/** Step 7: the Ledger holds this entry. */
function checkBatchSlot({ receipt, state }) {
  let held;
  if (!holds(() => (held = storageAt(state.storageRoot, batchSlot(receipt.entry.id), state.nodes))))
    return fail("slot_not_proved");
  return same(batchHash(receipt.entry), held) ? pass("same_entry") : fail("other_entry");
}

/** Step 8: the Ledger holds the shown status values, set or empty, and no node is left over. */
function checkStatusSlots({ receipt, state }) {
  const { memberId, record, status } = receipt;
  const shown = [[claimSlot(memberId, record.subarray(0, 32)), status.claim]];
  for (const each of status.documents) shown.push([documentSlot(each), each.value]);
  let held;
  const proved = holds(() => {
    held = shown.map(([slot]) => storageAt(state.storageRoot, slot, state.nodes));
    state.nodes.verifyAllUsed();
  });
  if (!proved) return fail("slot_not_proved");
  const agree = shown.every(([, value], at) => same(value, held[at]));
  return agree ? checkDocuments(receipt) : fail("other_status");
}

/** Compares the documents shown with those sealed: who presents a receipt must not choose them. */
function checkDocuments(receipt) {
  const opened = openedFields(receipt);
  if (!opened.has(SLOTS_FIELD)) return unproven("documents_hidden");
  let sealed;
  if (!holds(() => (sealed = parsePlaces(opened.get(SLOTS_FIELD))))) return fail("documents_malformed");
  const shown = new Set(receipt.status.documents.map(placeOf));
  // More may be shown: a statement adds the slots of issuers since.
  return sealed.every((each) => shown.has(each)) ? pass("same_status") : fail("other_documents");
}

/** Step 9: no flag stands against the claim or its documents. */
function checkStatus({ receipt, later }) {
  const shown = receipt.status;
  const flag = flagAgainst(later ?? shown);
  if (flag !== null) return fail(flag);
  if (later == null) return pass("clear");
  if (placesOf(later) !== placesOf(shown)) return unproven("other_slots_read");
  // An old reading could hide what the receipt already shows.
  return later.asOfBlock < shown.asOfBlock ? unproven("read_too_early") : pass("clear");
}

/** Step 10: `at` lies from `issuedOn` on and before `expiresOn`, the first day that no longer counts. */
function checkValidity({ receipt, at }) {
  const today = localDay(at);
  if (today === null) return unproven("time_unusable");
  const opened = openedFields(receipt);
  const [issuedOn, expiresOn] = ["issuedOn", "expiresOn"].map((name) => opened.get(name) ?? null);
  if ([issuedOn, expiresOn].some((day) => day !== null && !(typeof day === "string" && isDay(day))))
    return fail("date_malformed");
  if (issuedOn !== null && today < issuedOn) return fail("not_yet_issued");
  if (expiresOn !== null && today >= expiresOn) return fail("expired");
  if (!opened.has("expiresOn")) return unproven("expires_on_hidden");
  return pass(expiresOn === null ? "no_expiry" : "in_force");
}

/** Step 11: the status that counts is not older than the reader allows. */
function checkFreshness({ receipt, at, later, maxAgeS }) {
  if (maxAgeS == null) return pass("no_bound");
  if (at === null) return unproven("time_unusable");
  return at - (later ?? receipt.status).asOfTime > maxAgeS ? unproven("stale") : pass("fresh");
}

/** Step 12: a time stamp is named and never looked into, as nothing here reads CMS. No verdict rests on it. */
function checkTimestamp({ receipt }) {
  return receipt.timestamp === null ? skipped("no_timestamp") : warn("tsa_unchecked");
}

/** The agency that sealed it is the one that the reader expects. */
function checkIssuer({ receipt, issuer }) {
  return compareField(receipt, "agency", "issuer", (value) => value === issuer);
}

/** It is of the type that the reader expects. */
function checkType({ receipt, type }) {
  return compareField(receipt, "typeCode", "type", (value) => value === type);
}

/** One of its subjects is the one that the reader expects. */
function checkSubject({ receipt, subject }) {
  const among = (value) => Array.isArray(value) && value.some((each) => isSubject(each, subject));
  return compareField(receipt, "subjects", "subject", among);
}

/** Says something only about a receipt whose steps 1 to 3 passed. */
function checkFile({ receipt, sha256 }) {
  const opened = openedFields(receipt);
  if (!opened.has("sha256")) return unproven("sha256_hidden");
  return opened.get("sha256") === hex(sha256) ? pass("same_bytes") : fail("other_bytes");
}

function compareField(receipt, name, word, agrees) {
  const opened = openedFields(receipt);
  if (!opened.has(name)) return unproven(`${word}_hidden`);
  return agrees(opened.get(name)) ? pass(`same_${word}`) : fail(`other_${word}`);
}

const isSubject = (value, { idType, id }) =>
  value instanceof Map && value.get("idType") === idType && value.get("id") === id;

const openedFields = (receipt) => new Map(receipt.opening.opened.map((each) => [each.name, each.value]));

const placesOf = (reading) => reading.documents.map(placeOf).sort().join("\n");

function flagAgainst(reading) {
  const documents = reading.documents.map((each) => each.value);
  if ([reading.claim, ...documents].some(hasUnknownFlag)) return "status_malformed";
  for (const [flag, word] of FLAGS) {
    if (reading.claim[0] & flag) return word;
    if (documents.some((value) => value[0] & flag)) return `document_${word}`;
  }
  return null;
}

/** The day in Shanghai, YYYY-MM-DD; null when the time names none of the years 1 to 9999. */
function localDay(at) {
  const day = at === null ? Number.NaN : Math.floor((at + SHANGHAI_S) / DAY_S) * DAY_S * 1000;
  const date = new Date(day);
  return Number.isNaN(date.getTime()) || !isDay(date.toISOString().slice(0, 10))
    ? null
    : date.toISOString().slice(0, 10);
}

/** Says whether `prove` proves; a Refused is an answer, anything else a fault. */
function holds(prove) {
  try {
    prove();
    return true;
  } catch (error) {
    if (error instanceof Refused) return false;
    throw error;
  }
}
