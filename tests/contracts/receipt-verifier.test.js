// The receipts' verifier on a Ledger with real batches: what it accepts, what it refuses and by which error.
import { expect } from "chai";
import fc from "fast-check";

import {
  batchHash,
  be,
  hex,
  makeRecords,
  seededBytes,
  sha256,
  treeHash,
  recordLeaf,
} from "./support/reference.js";
import { deploySystem, ethers, eventOf, loadFixture, makeProfile } from "./support/system.js";

const MEMBER = 7;
const ERRORS = [
  "ReceiptVerifierRecordMalformed",
  "ReceiptVerifierOpeningMalformed",
  "ReceiptVerifierEntryMalformed",
  "ReceiptVerifierOtherCommitment",
  "ReceiptVerifierNotIncluded",
  "ReceiptVerifierOtherEntry",
];

async function deployVerifier() {
  const system = await deploySystem();
  await system.members.admit(MEMBER, makeProfile(system.signers.owner.address));
  const verifier = await ethers.deployContract("ReceiptVerifier", [system.ledger]);
  return { ...system, verifier };
}

/** Fields by name, sorted; a leaf is SHA-256(0x00 ‖ salt ‖ ["name",value]). */
const fieldsOf = (values) =>
  Object.keys(values)
    .sort()
    .map((name) => ({ name, value: JSON.stringify(values[name]), salt: seededBytes(`salt ${name}`, 32) }));

const leafOf = ({ name, value, salt }) =>
  sha256(Buffer.from([0]), salt, Buffer.from(`["${name}",${value}]`, "utf8"));

/** Hashes of the largest subtrees that show none of the fields in `shown`, left to right. */
function hiddenOf(leaves, shown, first = 0) {
  if (!shown.some((index) => first <= index && index < first + leaves.length)) return [treeHash(leaves)];
  if (leaves.length === 1) return [];
  let split = 1;
  while (2 * split < leaves.length) split *= 2;
  const right = hiddenOf(leaves.slice(split), shown, first + split);
  return [...hiddenOf(leaves.slice(0, split), shown, first), ...right];
}

/** Audit path of RFC 6962 §2.1.1 by its recursion. */
function pathOf(index, leaves) {
  if (leaves.length === 1) return [];
  let split = 1;
  while (2 * split < leaves.length) split *= 2;
  const [left, right] = [leaves.slice(0, split), leaves.slice(split)];
  if (index < split) return [...pathOf(index, left), treeHash(right)];
  return [...pathOf(index - split, right), treeHash(left)];
}

/** Appends a batch with a record about `values` at `index` and returns what a receipt shows of it. */
async function seal({ ledger, signers }, { values, shown, size, index }) {
  const fields = fieldsOf(values);
  const leaves = fields.map(leafOf);
  const seq = await ledger.nextSeq(MEMBER);
  const records = makeRecords(`batch ${seq}`, size);
  treeHash(leaves).copy(records, 96 * index);
  const sent = ledger.connect(signers.owner).append(1, seq, hex(records));
  const event = await eventOf(ledger, sent, "BatchAppended");
  const rows = Array.from({ length: size }, (_, at) => records.subarray(96 * at, 96 * at + 96));
  const path = pathOf(
    index,
    rows.map((record) => recordLeaf(MEMBER, record))
  );
  return {
    record: hex(rows[index]),
    opening: {
      leafCount: fields.length,
      opened: shown.map((at) => ({ ...fields[at], index: at, salt: hex(fields[at].salt) })),
      hidden: hiddenOf(leaves, shown).map(hex),
    },
    memberId: MEMBER,
    inclusion: { index, path: path.map(hex) },
    entry: {
      id: event.id,
      memberId: MEMBER,
      stream: 1,
      seq,
      size,
      root: event.root,
      time: event.time,
    },
  };
}

const VALUES = {
  agency: "11310104MB2F30456X",
  sha256: "ab".repeat(32),
  size: 12,
  typeCode: "M1001",
  version: 1,
};
const ask = (verifier, { record, opening, memberId, inclusion, entry }) =>
  verifier.verify(record, opening, memberId, inclusion, entry);

/** Calls and returns the name of the custom error; "" if there was none. */
async function refusal(verifier, shown) {
  try {
    await ask(verifier, shown);
    return "";
  } catch (error) {
    const name = /reverted with custom error '(\w+)\(/.exec(error.message)?.[1];
    if (name === undefined) throw error;
    return name;
  }
}

describe("ReceiptVerifier", () => {
  let system;
  let good;
  before(async () => {
    system = await loadFixture(deployVerifier);
    good = await seal(system, { values: VALUES, shown: [0, 3], size: 5, index: 3 });
  });

  it("accepts what the Ledger has, and returns the commitment", async () => {
    expect(await ask(system.verifier, good)).to.equal(good.record.slice(0, 66));
    await system.verifier.checkOpening(good.record, good.opening);
    await system.verifier.checkInclusion(good.record, MEMBER, good.inclusion, good.entry);
    await system.verifier.checkEntry(good.entry);
    expect(await system.verifier.ledger()).to.equal(await system.ledger.getAddress());
  });

  it("accepts any opening of any record of any batch", async () => {
    const shape = fc.record({
      names: fc.uniqueArray(fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9]{0,9}$/), { minLength: 1, maxLength: 12 }),
      size: fc.integer({ min: 1, max: 20 }),
      place: fc.nat(),
      mask: fc.integer({ min: 1, max: 4095 }),
    });
    await fc.assert(
      fc.asyncProperty(shape, async ({ names, size, place, mask }) => {
        const values = Object.fromEntries(names.map((name, at) => [name, [name, at, null, { 键: "值" }]]));
        const shown = names.map((_, at) => at).filter((at) => mask & (1 << at));
        const asked = { values, shown: shown.length > 0 ? shown : [0], size, index: place % size };
        expect(await ask(system.verifier, await seal(system, asked))).to.be.a("string");
      }),
      { numRuns: 40 }
    );
  });

  it("refuses when any one bit of anything differs", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.nat(), async (part, bit) => {
        const flipped = structuredClone(good);
        const path = flip(flipped, part, bit);
        expect(ERRORS, path).to.include(await refusal(system.verifier, flipped));
      }),
      { numRuns: 300 }
    );
  });

  const with_ = (change) => {
    const altered = structuredClone(good);
    change(altered);
    return altered;
  };
  const refusals = {
    "another value": [(r) => (r.opening.opened[0].value = '"x"'), "ReceiptVerifierOtherCommitment"],
    "another salt": [(r) => (r.opening.opened[0].salt = hex(be(1, 32))), "ReceiptVerifierOtherCommitment"],
    "a name and value divided elsewhere": [
      (r) => Object.assign(r.opening.opened[0], { name: 'agency","', value: "" }),
      "ReceiptVerifierOpeningMalformed",
    ],
    "fields in another order": [(r) => r.opening.opened.reverse(), "ReceiptVerifierOpeningMalformed"],
    "a field twice": [(r) => r.opening.opened.push(r.opening.opened[1]), "ReceiptVerifierOpeningMalformed"],
    "names that do not rise": [
      (r) => (r.opening.opened[1].name = "agenc"),
      "ReceiptVerifierOpeningMalformed",
    ],
    "no field": [(r) => (r.opening.opened = []), "ReceiptVerifierOpeningMalformed"],
    "a field outside the tree": [(r) => (r.opening.opened[1].index = 5), "ReceiptVerifierOpeningMalformed"],
    "an empty name": [(r) => (r.opening.opened[0].name = ""), "ReceiptVerifierOpeningMalformed"],
    "a name that begins with a digit": [
      (r) => (r.opening.opened[0].name = "1a"),
      "ReceiptVerifierOpeningMalformed",
    ],
    "a name of 65 letters": [
      (r) => (r.opening.opened[0].name = "a".repeat(65)),
      "ReceiptVerifierOpeningMalformed",
    ],
    "a value of more than 16 KiB": [
      (r) => (r.opening.opened[0].value = `"${"a".repeat(16_383)}"`),
      "ReceiptVerifierOpeningMalformed",
    ],
    "a hidden hash too few": [(r) => r.opening.hidden.pop(), "ReceiptVerifierOpeningMalformed"],
    "a hidden hash too many": [
      (r) => r.opening.hidden.push(hex(be(1, 32))),
      "ReceiptVerifierOpeningMalformed",
    ],
    "a tree of 2^255 leaves": [(r) => (r.opening.leafCount = 2n ** 255n), "ReceiptVerifierOpeningMalformed"],
    "a record cut off": [(r) => (r.record = r.record.slice(0, -2)), "ReceiptVerifierRecordMalformed"],
    "no record": [(r) => (r.record = "0x"), "ReceiptVerifierRecordMalformed"],
    "a record of domain 0": [
      (r) => (r.record = `${r.record.slice(0, 66)}0000${r.record.slice(70)}`),
      "ReceiptVerifierRecordMalformed",
    ],
    "a record of format 4": [
      (r) => (r.record = `${r.record.slice(0, 76)}04${r.record.slice(78)}`),
      "ReceiptVerifierRecordMalformed",
    ],
    "another member": [(r) => (r.memberId = 8), "ReceiptVerifierNotIncluded"],
    "another member in both places": [
      (r) => (r.memberId = r.entry.memberId = 8),
      "ReceiptVerifierNotIncluded",
    ],
    nobody: [(r) => (r.memberId = 0), "ReceiptVerifierNotIncluded"],
    "another place": [(r) => (r.inclusion.index = 2), "ReceiptVerifierNotIncluded"],
    "a place outside the batch": [(r) => (r.inclusion.index = 2n ** 256n - 1n), "ReceiptVerifierNotIncluded"],
    "a path too short": [(r) => r.inclusion.path.pop(), "ReceiptVerifierNotIncluded"],
    "a path too long": [(r) => r.inclusion.path.push(hex(be(1, 32))), "ReceiptVerifierNotIncluded"],
    "another stream": [(r) => (r.entry.stream = 2), "ReceiptVerifierNotIncluded"],
    "an unknown stream": [(r) => (r.entry.stream = 4), "ReceiptVerifierEntryMalformed"],
    "an entry of nobody": [(r) => (r.entry.memberId = 0), "ReceiptVerifierEntryMalformed"],
    "a batch of 513": [(r) => (r.entry.size = 513), "ReceiptVerifierEntryMalformed"],
    "an empty batch": [(r) => (r.entry.size = 0), "ReceiptVerifierEntryMalformed"],
    "another time": [(r) => (r.entry.time += 1n), "ReceiptVerifierOtherEntry"],
    "another sequence number": [(r) => (r.entry.seq += 1n), "ReceiptVerifierOtherEntry"],
    "a batch that the Ledger does not have": [
      (r) => (r.entry.id = 2n ** 64n - 1n),
      "ReceiptVerifierOtherEntry",
    ],
  };
  for (const [name, [change, error]] of Object.entries(refusals)) {
    it(`refuses ${name}`, async () => {
      expect(await refusal(system.verifier, with_(change))).to.equal(error);
    });
  }

  it("says what the Ledger holds and what was shown", async () => {
    const later = with_((r) => (r.entry.time += 1n));
    const entry = { ...later.entry, root: Buffer.from(later.entry.root.slice(2), "hex") };
    await expect(ask(system.verifier, later))
      .to.be.revertedWithCustomError(system.verifier, "ReceiptVerifierOtherEntry")
      .withArgs(later.entry.id, hex(batchHash(entry)), await system.ledger.batchHash(later.entry.id));
  });

  it("refuses to stand beside no Ledger", async () => {
    await expect(ethers.deployContract("ReceiptVerifier", [ethers.ZeroAddress]))
      .to.be.revertedWithCustomError(system.verifier, "ReceiptVerifierCodeMissing")
      .withArgs(ethers.ZeroAddress);
  });
});

/** Flips one bit of one part in place; names the part. */
function flip(shown, part, bit) {
  const places = [];
  const walk = (value, path) => {
    for (const [name, each] of Object.entries(value))
      if (typeof each === "object") walk(each, [...path, name]);
      else if (name !== "leafCount" && !(path.includes("opened") && name === "index"))
        places.push([value, name, [...path, name]]);
  };
  walk(shown, []);
  const [holder, name, path] = places[part % places.length];
  holder[name] = flipped(holder[name], bit, name);
  return path.join(".");
}

function flipped(value, bit, name) {
  if (typeof value === "string" && value.startsWith("0x")) {
    const bytes = Buffer.from(value.slice(2), "hex");
    bytes[(bit >> 3) % bytes.length] ^= 1 << (bit & 7);
    return hex(bytes);
  }
  if (typeof value === "string")
    return value.replace(/./, (char) => String.fromCharCode(char.charCodeAt(0) ^ 1));
  return BigInt(value) ^ (1n << BigInt(bit % (name === "stream" ? 8 : 32)));
}
