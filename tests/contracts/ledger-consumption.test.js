import { expect } from "chai";

import { ZERO_HASH, be, commitmentOf, hex, seededBytes } from "./support/reference.js";
import { Id, deployConsortium, loadFixture, timeOf } from "./support/system.js";

const NULLIFIER = hex(seededBytes("nullifier", 32));
const [USE, OTHER_USE] = ["use", "other use"].map((label) => hex(commitmentOf(label)));

describe("Ledger: consumption", () => {
  let ledger, signers;
  beforeEach(async () => ({ ledger, signers } = await loadFixture(deployConsortium)));

  const consume = (account, use = USE, nullifier = NULLIFIER) =>
    ledger.connect(account).consume(nullifier, use);

  it("writes who, when and for which use", async () => {
    const response = await consume(signers.owner);
    const at = await timeOf(response);
    await expect(response).to.emit(ledger, "Consumed").withArgs(NULLIFIER, Id.owner, USE);
    expect(await ledger.consumptionOf(NULLIFIER)).to.deep.equal([USE, BigInt(Id.owner), BigInt(at)]);
    expect(await ledger.consumedUse(NULLIFIER)).to.equal(USE);
    expect(await ledger.consumedBy(NULLIFIER)).to.equal(
      hex(Buffer.concat([be(Id.owner, 4), be(at, 8), Buffer.alloc(20)])),
    );
  });

  it("is no change, and no event, for the same member and use again", async () => {
    await consume(signers.owner);
    const before = await ledger.consumptionOf(NULLIFIER);
    await expect(consume(signers.owner)).not.to.emit(ledger, "Consumed");
    expect(await ledger.consumptionOf(NULLIFIER)).to.deep.equal(before);
  });

  for (const [name, caller, use] of [
    ["another use of the same member", "owner", OTHER_USE],
    ["the same use of another member", "other", USE],
    ["another use of another member", "other", OTHER_USE],
    ["its successor, who is another member", "successor", USE],
  ]) {
    it(`refuses ${name}`, async () => {
      const at = await timeOf(consume(signers.owner));
      await expect(consume(signers[caller], use))
        .to.be.revertedWithCustomError(ledger, "LedgerConsumed")
        .withArgs(NULLIFIER, at);
      expect((await ledger.consumptionOf(NULLIFIER)).use).to.equal(USE);
    });
  }

  for (const caller of ["stranger", "council", "suspended", "left"]) {
    it(`not by ${caller}`, async () => {
      await expect(consume(signers[caller]))
        .to.be.revertedWithCustomError(ledger, "LedgerNotMember")
        .withArgs(signers[caller].address);
    });
  }

  it("refuses an empty use, which would read as free", async () => {
    await expect(consume(signers.owner, ZERO_HASH))
      .to.be.revertedWithCustomError(ledger, "LedgerUseEmpty")
      .withArgs(NULLIFIER);
  });

  it("keeps nullifiers apart", async () => {
    await consume(signers.owner);
    await expect(consume(signers.other, OTHER_USE, hex(seededBytes("another", 32)))).to.emit(
      ledger,
      "Consumed",
    );
  });

  describe("clearing", () => {
    it("makes the nullifier free for anyone", async () => {
      await consume(signers.owner);
      const response = await ledger.clearConsumption(NULLIFIER, 12);
      await expect(response).to.emit(ledger, "ConsumptionCleared").withArgs(NULLIFIER, 12);
      expect(await ledger.consumptionOf(NULLIFIER)).to.deep.equal([ZERO_HASH, 0n, 0n]);
      expect(await ledger.consumedBy(NULLIFIER)).to.equal(
        hex(Buffer.concat([be(0, 4), be(await timeOf(response), 8), Buffer.alloc(20)])),
      );
      await expect(consume(signers.other)).to.emit(ledger, "Consumed").withArgs(NULLIFIER, Id.other, USE);
    });

    for (const caller of ["owner", "other", "successor", "stranger", "reviewer"]) {
      it(`not by ${caller}`, async () => {
        await consume(signers.owner);
        await expect(ledger.connect(signers[caller]).clearConsumption(NULLIFIER, 1))
          .to.be.revertedWithCustomError(ledger, "AccessManagedUnauthorized")
          .withArgs(signers[caller].address);
      });
    }

    it("refuses a nullifier that is free", async () => {
      await expect(ledger.clearConsumption(NULLIFIER, 1))
        .to.be.revertedWithCustomError(ledger, "LedgerNotConsumed")
        .withArgs(NULLIFIER);
    });

    it("refuses to clear twice", async () => {
      await consume(signers.owner);
      await ledger.clearConsumption(NULLIFIER, 1);
      await expect(ledger.clearConsumption(NULLIFIER, 1)).to.be.revertedWithCustomError(
        ledger,
        "LedgerNotConsumed",
      );
    });
  });
});
