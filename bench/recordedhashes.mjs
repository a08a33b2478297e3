// Stands where verifier/browser/hashes.mjs stands, and writes down the bare work: which hash or recovery, of which bytes.
import { secp256k1 } from "@noble/curves/secp256k1.js";

import { concat } from "../verifier/browser/bytes.mjs";
import * as real from "../verifier/browser/hashes.mjs";

let calls = null;

const noted = (work, ...bytes) => {
  calls?.push([work, bytes]);
  return work(...bytes);
};
const recover = (signature, digest) =>
  secp256k1.Signature.fromBytes(signature, "recovered").recoverPublicKey(digest).toBytes(false);

export const keccak = (bytes) => noted(real.keccak, bytes);
export const sha256 = (bytes) => noted(real.sha256, bytes);
export const leafHash = (...content) => noted(real.sha256, concat(Uint8Array.of(0), ...content));
export const nodeHash = (left, right) => noted(real.sha256, concat(Uint8Array.of(1), left, right));
export const recoverSigner = (seal, digest) =>
  noted(
    real.keccak,
    noted(recover, concat(seal.subarray(64), seal.subarray(0, 64)), digest).subarray(1)
  ).subarray(12);

/** Returns the bare work that `run` asks for. */
export function recordedWork(run) {
  calls = [];
  run();
  const found = calls;
  calls = null;
  return found;
}
