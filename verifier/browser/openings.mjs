// Partial openings of salted-field commitments (docs/reference/commitment.md), and inclusion in a batch.
// Pure. The Python twins are anchor/commitments.py and verifier/proofs/inclusion.py.
import { bigEndian, same } from "./bytes.mjs";
import { Refused } from "./errors.mjs";
import { leafHash, nodeHash } from "./hashes.mjs";
import { PartReader } from "./parts.mjs";
import { canonicalText } from "./strictjson.mjs";

const MAX_FIELDS = 64;
const MAX_VALUE_BYTES = 16 << 10;
const NAME = /^[a-zA-Z][a-zA-Z0-9]{0,63}$/;
const READ = new PartReader("opening_malformed");
const utf8 = new TextEncoder();

/** Parses the JSON object of an opening; unknown and missing members are refused. Gives its root as well. */
export function parseOpening(value) {
  const [leafCount, opened, hidden] = READ.members(value, "leafCount", "opened", "hidden");
  const opening = {
    leafCount: READ.number(leafCount),
    opened: READ.items(opened, MAX_FIELDS).map(parseField),
    hidden: READ.items(hidden, MAX_FIELDS).map((each) => READ.base64url(each, 32)),
  };
  return { ...opening, root: rootOfOpening(opening) };
}

/** Verifies that a record is number `index` of the batch that `entry` describes. RFC 9162 §2.1.3.2. */
export function verifyInclusion(record, memberId, { index, path }, entry) {
  if (memberId === 0 || memberId !== entry.memberId || record[37] !== entry.stream) notIncluded();
  const leaf = leafHash(bigEndian(memberId, 4), record);
  if (!same(rootFromInclusion(leaf, index, entry.size, path), entry.root)) notIncluded();
}

/** Encodes a batch entry: id 8 | memberId 4 | stream 1 | seq 8 | size 4 | root 32 | time 8; hashes it as a leaf. */
export function batchHash({ id, memberId, stream, seq, size, root, time }) {
  const numbers = [bigEndian(id, 8), bigEndian(memberId, 4), Uint8Array.of(stream), bigEndian(seq, 8)];
  return leafHash(...numbers, bigEndian(size, 4), root, bigEndian(time, 8));
}

function parseField(value) {
  const [index, name, shown, salt] = READ.members(value, "index", "name", "value", "salt");
  if (typeof name !== "string") READ.refuse();
  return { index: READ.number(index), name, value: shown, salt: READ.base64url(salt, 32) };
}

function rootOfOpening(opening) {
  requireShape(opening);
  const leaves = new Map(opening.opened.map((each) => [each.index, fieldLeaf(each)]));
  const hidden = opening.hidden.values();
  const root = subtreeRoot(0, opening.leafCount, leaves, hidden);
  return hidden.next().done ? root : READ.refuse();
}

function requireShape({ leafCount, opened }) {
  if (leafCount < 1 || leafCount > MAX_FIELDS || opened.length === 0) READ.refuse();
  for (const [at, field] of opened.entries()) {
    if (field.index >= leafCount || !NAME.test(field.name)) READ.refuse();
    // Fields are sorted by name, so index and name rise together; this also refuses a name shown twice.
    const before = opened[at - 1];
    if (before && (before.index >= field.index || before.name >= field.name)) READ.refuse();
  }
}

function fieldLeaf({ name, value, salt }) {
  const text = canonicalText(value);
  if (utf8.encode(text).length > MAX_VALUE_BYTES) READ.refuse();
  return leafHash(salt, utf8.encode(`["${name}",${text}]`));
}

function subtreeRoot(first, size, leaves, hidden) {
  if (![...leaves.keys()].some((index) => first <= index && index < first + size)) {
    const shown = hidden.next();
    return shown.done ? READ.refuse() : shown.value;
  }
  if (size === 1) return leaves.get(first);
  const split = 2 ** Math.floor(Math.log2(size - 1));
  const left = subtreeRoot(first, split, leaves, hidden);
  return nodeHash(left, subtreeRoot(first + split, size - split, leaves, hidden));
}

function rootFromInclusion(leaf, index, size, path) {
  if (index >= size) notIncluded();
  const rest = path.values();
  let node = leaf;
  let at = index;
  for (let last = size - 1; last > 0; last >>= 1) {
    if (at & 1 || at < last) {
      const sibling = rest.next();
      if (sibling.done) notIncluded();
      node = at & 1 ? nodeHash(sibling.value, node) : nodeHash(node, sibling.value);
    }
    at >>= 1;
  }
  return rest.next().done ? node : notIncluded();
}

function notIncluded() {
  throw new Refused("not_included");
}
