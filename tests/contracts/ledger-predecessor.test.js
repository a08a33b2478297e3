import { expect } from "chai";

import {
  Flag,
  ZERO_HASH,
  claimKey,
  commitmentOf,
  hex,
  makeDocument,
  makeRecords,
  seededBytes,
  statusWord,
} from "./support/reference.js";
import { Id, deployConsortium, ethers, loadFixture, timeOf } from "./support/system.js";

const CLAIM = hex(commitmentOf("claim"));
const NEXT = commitmentOf("next");
const NULLIFIER = hex(seededBytes("nullifier", 32));
const [USE, OTHER_USE] = ["use", "other use"].map((label) => hex(commitmentOf(label)));

/** Three versions of the ledger, each honouring the one before. */
async function deployVersions() {
  const system = await deployConsortium();
  const deploy = (before) => ethers.deployContract("Ledger", [system.authority, system.members, before]);
  const second = await deploy(system.ledger);
  const third = await deploy(second);
  return { ...system, first: system.ledger, second, third };
}

describe("Ledger: a new version", () => {
  let first, second, third, signers, owner;
  beforeEach(async () => {
    ({ first, second, third, signers } = await loadFixture(deployVersions));
    owner = signers.owner;
  });

  const flagsOf = async (ledger) => Number(BigInt(await ledger.statusOf(Id.owner, CLAIM)) >> 248n);

  it("names its predecessor; the first has none", async () => {
    expect(await first.predecessor()).to.equal(ethers.ZeroAddress);
    expect(await third.predecessor()).to.equal(await second.getAddress());
  });

  it("refuses a predecessor or members without code", async () => {
    const members = await first.members();
    const authority = await first.authority();
    for (const [m, p] of [
      [signers.stranger.address, ethers.ZeroAddress],
      [members, signers.stranger.address],
    ]) {
      await expect(ethers.deployContract("Ledger", [authority, m, p]))
        .to.be.revertedWithCustomError(first, "LedgerCodeMissing")
        .withArgs(signers.stranger.address);
    }
  });

  it("starts its own log and its own sequence", async () => {
    await first.connect(owner).append(1, 0, hex(makeRecords("old", 1)));
    expect(await second.nextSeq(Id.owner)).to.equal(0n);
    await second.connect(owner).append(1, 0, hex(makeRecords("new", 1)));
    expect(await second.logSize()).to.equal(1n);
  });

  describe("status", () => {
    it("reads the first version's word through two others", async () => {
      await first.connect(owner).supersede(Id.owner, CLAIM, hex(NEXT));
      expect(await third.statusOf(Id.owner, CLAIM)).to.equal(await first.statusOf(Id.owner, CLAIM));
      expect(await third.status(hex(claimKey(Id.owner, Buffer.from(CLAIM.slice(2), "hex"))))).to.equal(
        ZERO_HASH,
      );
    });

    it("adds flags up; own time and reason win, the inherited successor stays", async () => {
      await first.connect(owner).supersede(Id.owner, CLAIM, hex(NEXT));
      const since = await timeOf(third.connect(owner).revoke(Id.owner, CLAIM, 4));
      const flags = Flag.SUPERSEDED | Flag.REVOKED;
      expect(await third.statusOf(Id.owner, CLAIM)).to.equal(
        hex(statusWord({ flags, since, reason: 4, successor: NEXT })),
      );
      expect(await flagsOf(second)).to.equal(Flag.SUPERSEDED);
    });

    it("refuses to set what the predecessor has set", async () => {
      await first.connect(owner).revoke(Id.owner, CLAIM, 1);
      await expect(third.connect(owner).revoke(Id.owner, CLAIM, 2))
        .to.be.revertedWithCustomError(third, "LedgerStatusUnchanged")
        .withArgs(Id.owner, CLAIM, await first.statusOf(Id.owner, CLAIM));
    });

    it("ends a suspension that the predecessor holds", async () => {
      await first.connect(owner).suspend(Id.owner, CLAIM, 1);
      expect(await flagsOf(third)).to.equal(Flag.SUSPENDED);
      const response = await second.connect(owner).resume(Id.owner, CLAIM, 2);
      const seen = hex(statusWord({ flags: Flag.SEEN, since: await timeOf(response), reason: 2 }));
      await expect(response).to.emit(second, "StatusChanged").withArgs(Id.owner, CLAIM, seen);
      expect([await flagsOf(first), await flagsOf(second), await flagsOf(third)]).to.deep.equal([
        Flag.SUSPENDED,
        0,
        0,
      ]);
    });

    it("can suspend and resume again after that", async () => {
      await first.connect(owner).suspend(Id.owner, CLAIM, 1);
      await second.connect(owner).resume(Id.owner, CLAIM, 2);
      await expect(second.connect(owner).resume(Id.owner, CLAIM, 3)).to.be.revertedWithCustomError(
        second,
        "LedgerStatusUnchanged",
      );
      await second.connect(owner).suspend(Id.owner, CLAIM, 3);
      expect(await flagsOf(third)).to.equal(Flag.SUSPENDED);
      await second.connect(owner).resume(Id.owner, CLAIM, 4);
      expect(await flagsOf(third)).to.equal(0);
    });

    it("holds a flag set later in the predecessor, but no later suspension once one was ended here", async () => {
      await first.connect(owner).suspend(Id.owner, CLAIM, 1);
      await second.connect(owner).resume(Id.owner, CLAIM, 2);
      await first.connect(owner).resume(Id.owner, CLAIM, 3);
      await first.connect(owner).suspend(Id.owner, CLAIM, 4);
      expect(await flagsOf(second)).to.equal(0);
      await first.connect(owner).erase(Id.owner, CLAIM, 5);
      expect(await flagsOf(second)).to.equal(Flag.ERASED);
    });

    it("keeps an inherited suspension beside an own flag until it ends", async () => {
      await first.connect(owner).suspend(Id.owner, CLAIM, 1);
      await second.connect(owner).revoke(Id.owner, CLAIM, 2);
      expect(await flagsOf(second)).to.equal(Flag.SUSPENDED | Flag.REVOKED);
      await second.connect(owner).resume(Id.owner, CLAIM, 3);
      expect(await flagsOf(second)).to.equal(Flag.REVOKED);
    });
  });

  describe("documents", () => {
    const document = hex(makeDocument("document"));

    it("reads and respects what the predecessor revoked", async () => {
      await first.connect(signers.issuer).revokeDocuments([document], 1);
      const word = await first.documentStatusOf(Id.issuer, document);
      expect(await third.documentStatusOf(Id.issuer, document)).to.equal(word);
      await expect(third.connect(signers.issuer).revokeDocuments([document], 2)).not.to.emit(
        third,
        "DocumentRevoked",
      );
      expect(await third.documentStatusOf(Id.issuer, document)).to.equal(word);
    });
  });

  describe("consumption", () => {
    it("refuses what the predecessor consumed, and knows the same use again", async () => {
      const at = await timeOf(first.connect(owner).consume(NULLIFIER, USE));
      await expect(third.connect(signers.other).consume(NULLIFIER, OTHER_USE))
        .to.be.revertedWithCustomError(third, "LedgerConsumed")
        .withArgs(NULLIFIER, at);
      await expect(third.connect(owner).consume(NULLIFIER, USE)).not.to.emit(third, "Consumed");
      expect(await third.consumptionOf(NULLIFIER)).to.deep.equal([USE, BigInt(Id.owner), BigInt(at)]);
      expect(await third.consumedUse(NULLIFIER)).to.equal(ZERO_HASH);
    });

    it("clears what the predecessor holds, for itself and its successors", async () => {
      await first.connect(owner).consume(NULLIFIER, USE);
      await second.clearConsumption(NULLIFIER, 1);
      expect((await third.consumptionOf(NULLIFIER)).use).to.equal(ZERO_HASH);
      await third.connect(signers.other).consume(NULLIFIER, OTHER_USE);
      expect((await third.consumptionOf(NULLIFIER)).memberId).to.equal(BigInt(Id.other));
      expect((await first.consumptionOf(NULLIFIER)).use).to.equal(USE);
    });
  });
});
