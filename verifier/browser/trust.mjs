// Trust anchors: what a reader must believe beforehand (docs/reference/trust-anchor.md). Pure.
// The Python twin is verifier/trust.py; addresses of signers are kept as hexadecimal digits here.
import { hex } from "./bytes.mjs";
import { ENGINES } from "./headers.mjs";
import { PartReader } from "./parts.mjs";
import { parseStrictJson } from "./strictjson.mjs";

const FORMAT = "deltaseal-trust/1";
const MAX_TRUST_BYTES = 1 << 20;
const MAX_SIGNERS = 64;
const MAX_SETS = 256;
const TIME = /^(\d{4}-\d\d-\d\d)T(\d\d):(\d\d):(\d\d)([+-])(\d\d):(\d\d)(?::(\d\d)(\.\d{6})?)?$/;
const READ = new PartReader("trust_malformed");

/** Parses the bytes of a trust anchor; throws Refused("trust_malformed"). */
export function parseTrust(bytes) {
  const json = READ.guard(() => parseStrictJson(bytes, MAX_TRUST_BYTES));
  const [format, chainId, genesis, directory, members, ledger, engine, sets, exportedAt] = READ.members(
    json,
    ...["format", "chainId", "genesis", "directory", "members", "ledger", "engine"],
    ...["signerSets", "exportedAt"]
  );
  if (format !== FORMAT || !ENGINES.includes(engine)) READ.refuse();
  if (exportedAt !== null && !isTime(exportedAt)) READ.refuse();
  READ.hexadecimal(members, 20);
  const signerSets = READ.items(sets, MAX_SETS).map(parseSet);
  if (!ascends(signerSets.map((each) => each.fromBlock))) READ.refuse();
  if (engine === "embedded" && signerSets.length > 0) READ.refuse();
  return { chain: parseChain({ chainId, genesis, directory, ledger }, READ), engine, signerSets };
}

/** Reads the four facts that name a chain and its Ledger, as the reader of a format allows them. */
export function parseChain({ chainId, genesis, directory, ledger }, read) {
  return {
    chainId: read.number(chainId),
    genesis: read.hexadecimal(genesis, 32),
    directory: read.hexadecimal(directory, 20),
    ledger: read.hexadecimal(ledger, 20),
  };
}

/** Returns who seals block `number` (a BigInt); nobody when it lies before the first set. */
export function signersAt(trust, number) {
  return trust.signerSets.findLast((each) => BigInt(each.fromBlock) <= number)?.signers ?? [];
}

/** Says whether a text is YYYY-MM-DD and such a day exists. */
export function isDay(text) {
  if (!/^\d{4}-\d\d-\d\d$/.test(text) || text < "0001") return false;
  const day = new Date(`${text}T00:00:00Z`);
  return !Number.isNaN(day.getTime()) && day.toISOString().startsWith(text);
}

function parseSet(value) {
  const [fromBlock, signers] = READ.members(value, "fromBlock", "signers");
  const found = READ.items(signers, MAX_SIGNERS).map((each) => hex(READ.hexadecimal(each, 20)));
  if (found.length === 0 || !ascends(found)) READ.refuse();
  return { fromBlock: READ.number(fromBlock), signers: found };
}

const ascends = (values) => values.every((each, at) => at === 0 || values[at - 1] < each);

/** Says whether a text is a time in seconds with its zone, in the one form that Python's isoformat writes. */
function isTime(text) {
  const parts = typeof text === "string" ? TIME.exec(text) : null;
  if (parts === null || !isDay(parts[1])) return false;
  const [hour, minute, second, zoneHour, zoneMinute] = [2, 3, 4, 6, 7].map((at) => Number(parts[at]));
  if (hour > 23 || minute > 59 || second > 59 || zoneHour > 23 || zoneMinute > 59) return false;
  const [zoneSecond, zoneFraction] = [Number(parts[8] ?? 0), Number(parts[9] ?? 0)];
  if (zoneSecond > 59 || (parts[8] && zoneSecond + zoneFraction === 0) || (parts[9] && zoneFraction === 0))
    return false;
  return parts[5] === "+" || zoneHour + zoneMinute + zoneSecond + zoneFraction > 0; // Zero is written +00:00.
}
