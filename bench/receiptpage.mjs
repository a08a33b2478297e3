// Measures in the browser: a whole check from the receipt's bytes, and the replay of its bare hashes and recoveries.
import { recordedWork } from "./recordedhashes.mjs";
import * as recording from "../verifier/browser/protocol.mjs?recorded";
import { verifyLines } from "../verifier/browser/protocol.mjs";
import { parseTrust } from "../verifier/browser/trust.mjs";

const utf8 = new TextEncoder();

function check(lines, receipt, trust, at) {
  const last = [...lines(receipt, trust, { at })].at(-1);
  if (last.verdict !== "valid") throw new Error(last.verdict);
}

function medianOf(perRound, work) {
  const times = [];
  for (let each = 0; each < perRound; each += 1) {
    const started = performance.now();
    work();
    times.push((performance.now() - started) * 1000);
  }
  return times.sort((left, right) => left - right)[perRound >> 1];
}

globalThis.measure = ({ receipt, trust, at, rounds, perRound }) => {
  const bytes = utf8.encode(receipt);
  const anchor = parseTrust(utf8.encode(trust));
  const product = () => check(verifyLines, bytes, anchor, at);
  const work = recordedWork(() => check(recording.verifyLines, bytes, anchor, at));
  const floor = () => work.forEach(([call, parts]) => call(...parts));
  for (let each = 0; each < perRound; each += 1) [product, floor].forEach((run) => run());
  return Array.from({ length: rounds }, () => ({
    floor: medianOf(perRound, floor),
    product: medianOf(perRound, product),
    calls: work.length,
  }));
};
