// Hashes and signatures. SHA-256 of small parts is not left to WebCrypto: each of its calls is a promise, which
// costs more than the hash, and browsers offer it on secure pages only. Documents go there where it is to be had.
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { keccak_256 as keccak } from "@noble/hashes/sha3.js";

import { concat } from "./bytes.mjs";
import { Refused } from "./errors.mjs";

export { keccak, sha256 };

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);
const SEAL_BYTES = 65;
const WEBCRYPTO_BYTES = 64 << 20; // It wants all bytes at once; larger documents are hashed as they are read.

/** Hashes a leaf: SHA-256(0x00 ‖ content), RFC 6962 §2.1. */
export const leafHash = (...content) => sha256(concat(LEAF, ...content));

/** Hashes an inner node: SHA-256(0x01 ‖ left ‖ right), RFC 6962 §2.1. */
export const nodeHash = (left, right) => sha256(concat(NODE, left, right));

/** Returns the address (20 bytes) that signed a 32-byte digest; `seal` is r, s and a recovery id of 0 or 1. */
export function recoverSigner(seal, digest) {
  if (seal.length !== SEAL_BYTES || seal[64] > 1) throw new Refused("signature_invalid");
  const signature = concat(seal.subarray(64), seal.subarray(0, 64));
  return addressOf(recoverPoint(signature, digest).toBytes(false));
}

/** Hashes a document (a Blob) piece by piece; it never leaves this machine. */
export async function hashDocument(blob) {
  const subtle = globalThis.crypto?.subtle;
  if (subtle && blob.size <= WEBCRYPTO_BYTES)
    return new Uint8Array(await subtle.digest("SHA-256", await blob.arrayBuffer()));
  const hash = sha256.create();
  for (let at = 0; at < blob.size; at += 1 << 20)
    hash.update(new Uint8Array(await blob.slice(at, at + (1 << 20)).arrayBuffer()));
  return hash.digest();
}

const addressOf = (publicKey) => keccak(publicKey.subarray(1)).subarray(12);

function recoverPoint(signature, digest) {
  try {
    return secp256k1.Signature.fromBytes(signature, "recovered").recoverPublicKey(digest);
  } catch {
    throw new Refused("signature_invalid"); // The library's errors are of no one class.
  }
}
