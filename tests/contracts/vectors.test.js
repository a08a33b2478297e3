// The golden files, played against the contracts.
import { readFileSync } from "node:fs";

import { expect } from "chai";

import { FOLDER, makeVectors } from "./make-vectors.js";
import { Flag, commitmentOf, hex, makeRecords } from "./support/reference.js";
import {
  deploySystem,
  ethers,
  eventOf,
  loadFixture,
  makeProfile,
  mappingSlot,
  slotOf,
  time,
} from "./support/system.js";

const MEMBER = 7;
const with0x = (value) => (typeof value === "string" ? `0x${value}` : value);

async function deployVectorMembers() {
  const system = await deploySystem();
  await system.members.admit(MEMBER, makeProfile(system.signers.owner.address));
  await system.members.admit(9, makeProfile(system.signers.other.address));
  return system;
}

describe("Vectors of the ledger", () => {
  const files = makeVectors();
  const casesOf = (name) => JSON.parse(files[name]).cases;
  const accept = (prefix) => casesOf("accept.json").filter(({ operation }) => operation.startsWith(prefix));

  for (const [name, text] of Object.entries(files)) {
    it(`${name} is what its script writes`, () => {
      expect(readFileSync(new URL(name, FOLDER), "utf8")).to.equal(text);
    });
  }

  for (const { name, input, expected } of accept("ledger.appends")) {
    it(`append: ${name}`, async () => {
      const { ledger, signers } = await loadFixture(deployVectorMembers);
      for (const [id, batch] of input.entries()) {
        await time.setNextBlockTimestamp(batch.time);
        const account = batch.memberId === MEMBER ? signers.owner : signers.other;
        const event = await eventOf(
          ledger,
          ledger.connect(account).append(batch.stream, batch.seq, with0x(batch.records)),
          "BatchAppended",
        );
        expect(event.root).to.equal(with0x(expected[id].root));
        expect(event.time).to.equal(BigInt(batch.time));
        expect(await ledger.batchHash(id)).to.equal(with0x(expected[id].batchHash));
        expect(await ledger.logRoot()).to.equal(with0x(expected[id].logRoot));
      }
    });
  }

  describe("keys and slots", () => {
    /** What to write so that the slot is not empty; each returns the contract. */
    const writes = {
      "ledger.claim": async ({ members, ledger, signers }, { memberId, commitment }) => {
        if (memberId !== MEMBER) await members.admit(memberId, makeProfile(signers.issuer.address));
        await ledger
          .connect(memberId === MEMBER ? signers.owner : signers.issuer)
          .revoke(memberId, with0x(commitment), 1);
        return ledger;
      },
      "ledger.document": async ({ ledger, signers }, { document }) => {
        await ledger.connect(signers.owner).revokeDocuments([with0x(document)], 1);
        return ledger;
      },
      "ledger.consumed": async ({ ledger, signers }, { nullifier }) => {
        await ledger.connect(signers.owner).consume(with0x(nullifier), hex(commitmentOf("use")));
        return ledger;
      },
      "ledger.batch": async ({ ledger, signers }, { id }) => {
        for (let seq = 0; seq <= id; seq += 1)
          await ledger.connect(signers.owner).append(1, seq, hex(makeRecords(`b ${seq}`, 1)));
        return ledger;
      },
      "ledger.nextSeq": async ({ ledger, signers }) => {
        await ledger.connect(signers.owner).append(1, 0, hex(makeRecords("b", 1)));
        return ledger;
      },
      "catalog.": async ({ catalog, signers }, { kind, code }) => {
        const entry = (version) => ({ kind, code, version, text: "0x7b7d" });
        await catalog.connect(signers.owner).publish([entry(1), entry(2)]);
        return catalog;
      },
    };
    for (const [prefix, write] of Object.entries(writes)) {
      for (const { name, input, expected } of accept(prefix).filter(({ expected: { slot } }) => slot)) {
        it(`${name}: empty before, set after`, async () => {
          const system = await loadFixture(deployVectorMembers);
          const contract = prefix.startsWith("catalog") ? system.catalog : system.ledger;
          expect(await slotOf(contract, with0x(expected.slot))).to.equal(ethers.ZeroHash);
          await write(system, input);
          expect(await slotOf(contract, with0x(expected.slot))).not.to.equal(ethers.ZeroHash);
        });
      }
    }

    it("each slot is keccak-256 of key and mapping slot", () => {
      for (const { operation, expected } of casesOf("accept.json").filter(({ expected: { slot } }) => slot)) {
        const slots = {
          claim: 3,
          document: 4,
          consumedUse: 5,
          consumedBy: 6,
          batch: 2,
          nextSeq: 7,
          head: 1,
          digest: 2,
          state: 3,
        };
        expect(with0x(expected.slot)).to.equal(
          mappingSlot(with0x(expected.key), slots[operation.split(".")[1]]),
        );
      }
    });
  });

  describe("status words", () => {
    const acts = [
      [Flag.SUSPENDED, "suspend"],
      [Flag.SUPERSEDED, "supersede"],
      [Flag.ERASED, "erase"],
      [Flag.REVOKED, "revoke"],
    ];
    for (const { name, input, expected } of accept("ledger.status").filter(
      ({ input: { flags } }) => flags !== 0 && flags < 0x80,
    )) {
      it(name, async () => {
        const { ledger, signers } = await loadFixture(deployVectorMembers);
        const claim = hex(commitmentOf("claim"));
        const due = acts.filter(([flag]) => input.flags & flag);
        for (const [index, [, act]] of due.entries()) {
          await time.setNextBlockTimestamp(input.since - due.length + 1 + index);
          const argument = act === "supersede" ? hex(commitmentOf("successor")) : input.reason;
          await ledger.connect(signers.owner)[act](MEMBER, claim, argument);
        }
        expect(await ledger.statusOf(MEMBER, claim)).to.equal(with0x(expected));
      });
    }
  });

  describe("rejects", () => {
    const calls = {
      "ledger.append": (as, { stream, seq, records }) => as.append(stream, seq, with0x(records)),
      "ledger.supersede": (as, { commitment, successor }) =>
        as.supersede(MEMBER, with0x(commitment), with0x(successor)),
      "ledger.revokeDocument": (as, { document }) => as.revokeDocuments([with0x(document)], 1),
    };
    for (const { name, operation, input, error, values } of casesOf("reject.json")) {
      it(`${operation}: ${name}`, async () => {
        const { ledger, signers } = await loadFixture(deployVectorMembers);
        const as = ledger.connect(signers.owner);
        for (let seq = 0; seq < 3; seq += 1) await as.append(1, seq, hex(makeRecords(`before ${seq}`, 1)));
        await expect(calls[operation](as, input))
          .to.be.revertedWithCustomError(ledger, error)
          .withArgs(...values.map(with0x));
      });
    }
  });

  it("accept what the rejects are one step away from", async () => {
    const { ledger, signers } = await loadFixture(deployVectorMembers);
    await expect(ledger.connect(signers.owner).append(1, 0, hex(makeRecords("reject", 9)))).to.emit(
      ledger,
      "BatchAppended",
    );
  });
});
