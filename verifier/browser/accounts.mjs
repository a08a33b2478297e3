// Proofs of accounts and storage slots under a state root, present or absent (EIP-1186, Yellow Paper appendix D).
// Pure. A proof is a set of trie nodes found by their Keccak-256; a node that no proof needed is itself a fault. The
// Python twins are verifier/proofs/accounts.py and anchor/slots.py.
import { bigEndian, concat, hex } from "./bytes.mjs";
import { Refused } from "./errors.mjs";
import { keccak, sha256 } from "./hashes.mjs";
import { decodeRlp, encodeRlp } from "./rlp.mjs";

export const MAX_NODES = 1024;
export const MAX_NODE_BYTES = 1024;

const EMPTY_ROOT = hex(keccak(Uint8Array.of(0x80)));
const NIBBLES = 64; // Keys are Keccak-256 hashes: no key is another's beginning.
const [BATCH_HASH, STATUS, DOCUMENT_STATUS] = [2, 3, 4]; // docs/reference/ledger-storage.md.

/** Trie nodes by hash. Remembers which were used. */
export class NodeSet {
  constructor(nodes) {
    this.nodes = new Map(nodes.map((node) => [hex(keccak(node)), node]));
    this.used = new Set();
  }

  /** Returns the items of the node with this hash. */
  take(name) {
    const node = this.nodes.get(name);
    if (node === undefined) notProved();
    this.used.add(name);
    return requireNode(decodeRlp(node));
  }

  verifyAllUsed() {
    if (this.used.size !== this.nodes.size) notProved();
  }
}

/** Returns the storage root of the account at an address. */
export function storageRootAt(stateRoot, address, nodes) {
  const found = valueAt(hex(stateRoot), keccak(address), nodes);
  const parts = found === null ? notProved() : decodeRlp(found);
  if (!Array.isArray(parts) || parts.length !== 4 || parts.some(Array.isArray)) notProved();
  const [, , storageRoot, codeHash] = parts;
  if (storageRoot.length !== 32 || codeHash.length !== 32) notProved();
  return hex(storageRoot);
}

/** Returns the 32 bytes of a slot; zeros are proved absence. */
export function storageAt(storageRoot, slot, nodes) {
  const word = new Uint8Array(32);
  const found = valueAt(storageRoot, keccak(slot), nodes);
  if (found === null) return word;
  const value = decodeRlp(found);
  // Zero is stored as absence and numbers without leading zeros, so each value has one encoding.
  if (Array.isArray(value) || value.length === 0 || value.length > 32 || value[0] === 0) notProved();
  word.set(value, 32 - value.length);
  return word;
}

export const batchSlot = (id) => mappingSlot(BATCH_HASH, bigEndian(id, 32));

export const claimSlot = (memberId, commitment) =>
  mappingSlot(STATUS, sha256(concat(bigEndian(memberId, 4), commitment)));

export const documentSlot = ({ memberId, domain, epoch, docTag }) =>
  mappingSlot(
    DOCUMENT_STATUS,
    sha256(concat(bigEndian(memberId, 4), bigEndian(domain, 2), bigEndian(epoch, 2), docTag))
  );

const mappingSlot = (position, key) => keccak(concat(key, bigEndian(position, 32)));

/** Walks from `root` along the nibbles of a 32-byte key; returns the value, null where the trie ends before. */
function valueAt(root, key, nodes) {
  if (root === EMPTY_ROOT) return null;
  const path = hex(key);
  let at = 0;
  let node = nodes.take(root);
  for (;;) {
    let child;
    if (node.length === 17) {
      if (at === NIBBLES) notProved();
      child = node[Number.parseInt(path[at], 16)];
      at += 1;
    } else {
      const [part, isLeaf] = compact(node[0]);
      const rest = path.slice(at);
      if (isLeaf) return leafValue(node, part, rest);
      if (part === "") notProved();
      if (!rest.startsWith(part)) return null;
      child = node[1];
      at += part.length;
    }
    if (child.length === 0 && !Array.isArray(child)) return null;
    node = childOf(child, nodes);
  }
}

function leafValue(node, part, rest) {
  if (part.length !== rest.length) notProved();
  if (part !== rest) return null;
  return Array.isArray(node[1]) ? notProved() : node[1];
}

function childOf(child, nodes) {
  if (!Array.isArray(child)) return child.length === 32 ? nodes.take(hex(child)) : notProved();
  // A node shorter than a hash stands in its parent; a longer one would be a second form of the same trie.
  return encodeRlp(child).length < 32 ? requireNode(child) : notProved();
}

/** Decodes a hex-prefix path: its nibbles, and whether it ends in a value (Yellow Paper appendix C). */
function compact(encoded) {
  const nibbles = Array.isArray(encoded) ? notProved() : hex(encoded);
  if (!/^(?:[02]0|[13])/.test(nibbles)) notProved();
  return [nibbles.slice("13".includes(nibbles[0]) ? 1 : 2), "23".includes(nibbles[0])];
}

function requireNode(item) {
  return Array.isArray(item) && (item.length === 2 || item.length === 17) ? item : notProved();
}

function notProved() {
  throw new Refused("proof_invalid");
}
