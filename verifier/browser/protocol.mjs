// The line protocol of the verifiers (docs/reference/verifier-protocol.md): the plan, each check as it ends, the verdict.
// Pure. The Python twin is verifier/protocol.py.
import { Refused } from "./errors.mjs";
import { parseReceipt } from "./receiptforms.mjs";
import { plannedChecks, runChecks, verdictOf } from "./receipts.mjs";

export const PROTOCOL = "deltaseal-verify/1";

const EXITS = { valid: 0, stale: 11, unproven: 11, proof_invalid: 10 };
const NOT_USABLE = 12;

/** Yields the lines about the bytes of a receipt, as objects; never throws for what the bytes hold. */
export function* verifyLines(bytes, trust, question, verifier = "browser") {
  yield { type: "plan", protocol: PROTOCOL, verifier, checks: ["receipt", ...plannedChecks(question)] };
  const reasons = [];
  let receipt = null;
  for (const reason of checks(bytes, trust, question, (parsed) => (receipt = parsed))) {
    reasons.push(reason);
    yield { type: "check", ...reason };
  }
  const verdict = verdictOf(reasons);
  const asOf = receipt && { asOfBlock: receipt.status.asOfBlock, asOfTime: receipt.status.asOfTime };
  yield { type: "verdict", verdict, exit: EXITS[verdict] ?? NOT_USABLE, ...asOf };
}

function* checks(bytes, trust, question, parsed) {
  const receipt = readable(bytes);
  const [outcome, detail] = receipt ? ["pass", "well_formed"] : ["fail", "receipt_malformed"];
  yield { code: "receipt", outcome, detail };
  if (receipt === null) return;
  parsed(receipt);
  yield* runChecks(receipt, trust, question);
}

function readable(bytes) {
  try {
    return parseReceipt(bytes);
  } catch (error) {
    if (error instanceof Refused) return null;
    throw error;
  }
}
