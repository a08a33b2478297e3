// Gas is a promise too: contracts/gas.json holds what each act costs, to the unit. `UPDATE_GAS=1` rewrites it.
import { readFileSync, writeFileSync } from "node:fs";

import { expect } from "chai";

import {
  MAX_RECORDS,
  commitmentOf,
  hex,
  makeDocument,
  makeRecords,
  seededBytes,
} from "./support/reference.js";
import { Id, deployConsortium, ethers, loadFixture, makeProfile, networkHelpers } from "./support/system.js";

const SNAPSHOT = new URL("../../contracts/gas.json", import.meta.url);
const BATCHES_BEFORE = 16;
/** The gas limit that the outbox gives a batch (docs/reference/contracts.md, "Gas"). */
const limitFor = (count) => 220_000 + 2_900 * count;

/** A log of 16 batches, each counter and slot of the log in use: what an append costs from day to day. */
async function deployUsedLedger() {
  const system = await deployConsortium();
  for (let seq = 0; seq < BATCHES_BEFORE; seq += 1) {
    await system.ledger.connect(system.signers.owner).append(1, seq, hex(makeRecords(`before ${seq}`, 1)));
  }
  return system;
}

const gasOf = async (response) => Number((await (await response).wait()).gasUsed);

describe("Gas", () => {
  const append = ({ ledger, signers }, count, seq = BATCHES_BEFORE) =>
    gasOf(ledger.connect(signers.owner).append(1, seq, hex(makeRecords(`gas ${count}`, count))));

  async function measure() {
    const costs = { append: {}, revokeDocuments: {}, publish: {}, publishEnvelopes: {} };
    for (const count of [1, 8, 16, 64, 256, 512])
      costs.append[count] = await append(await loadFixture(deployUsedLedger), count);

    const { ledger, members, catalog, signers } = await loadFixture(deployUsedLedger);
    const owner = ledger.connect(signers.owner);
    const [claim, next] = ["claim", "next"].map((label) => hex(commitmentOf(label)));
    costs.suspend = await gasOf(owner.suspend(Id.owner, claim, 1));
    costs.resume = await gasOf(owner.resume(Id.owner, claim, 1));
    costs.revoke = await gasOf(owner.revoke(Id.owner, hex(commitmentOf("fresh")), 1));
    costs.supersede = await gasOf(owner.supersede(Id.owner, next, claim));
    costs.erase = await gasOf(owner.erase(Id.owner, hex(commitmentOf("erased")), 1));
    for (const count of [1, 64]) {
      const documents = Array.from({ length: count }, (_, i) => hex(makeDocument(`${count} ${i}`)));
      costs.revokeDocuments[count] = await gasOf(owner.revokeDocuments(documents, 1));
    }
    const nullifier = hex(seededBytes("nullifier", 32));
    costs.consume = await gasOf(owner.consume(nullifier, claim));
    costs.clearConsumption = await gasOf(ledger.clearConsumption(nullifier, 1));
    for (const [name, kind, length] of [
      ["1 KiB", 3, 1024],
      ["64 KiB", 3, 65_536],
    ]) {
      const entry = { kind, code: name, version: 1, text: hex(seededBytes(name, length)) };
      costs.publish[name] = await gasOf(catalog.connect(signers.owner).publish([entry]));
    }
    costs.admit = await gasOf(members.admit(99, makeProfile(signers.stranger.address)));
    costs.publishEnvelopes[1] = await gasOf(
      members.publishEnvelopes(1, 1, [Id.owner], [hex(seededBytes("envelope", 1200))]),
    );
    return costs;
  }

  it("is what contracts/gas.json says", async () => {
    const costs = await measure();
    if (process.env.UPDATE_GAS === "1") writeFileSync(SNAPSHOT, `${JSON.stringify(costs, null, 1)}\n`);
    expect(costs).to.deep.equal(JSON.parse(readFileSync(SNAPSHOT, "utf8")));
  });

  it("of a record stays within 3,200 at 256 and 2,960 at 512", async () => {
    for (const [count, limit] of [
      [256, 3200],
      [512, 2960],
    ]) {
      expect((await append(await loadFixture(deployUsedLedger), count)) / count, `at ${count}`).to.be.at.most(
        limit,
      );
    }
  });

  it("of a batch stays within the outbox's limit, in the first batch and in a log of any size to 2^32", async () => {
    for (const count of [1, 7, 8, 9, 63, 100, 511, MAX_RECORDS]) {
      const system = await loadFixture(deployConsortium);
      expect(await append(system, count, 0), `first batch of ${count}`).to.be.at.most(limitFor(count));
      for (const bits of [8, 20, 32]) {
        // All bits set: the append reads every subtree of the log and opens a new level.
        const { ledger } = await loadFixture(deployConsortium);
        await networkHelpers.setStorageAt(await ledger.getAddress(), 0, 2 ** bits - 1);
        expect(await append(system, count, 0), `${count} records after 2^${bits} - 1 batches`).to.be.at.most(
          limitFor(count),
        );
      }
    }
  });

  it("of a batch without a zero byte stays within the outbox's limit", async () => {
    const records = makeRecords("dense", MAX_RECORDS, { domain: 0x0101, epoch: 0x0101, line: 1 }).map(
      (byte) => byte || 1,
    );
    const { ledger, signers } = await loadFixture(deployConsortium);
    await networkHelpers.setStorageAt(await ledger.getAddress(), 0, 2 ** 32 - 1);
    expect(await gasOf(ledger.connect(signers.owner).append(1, 0, ethers.hexlify(records)))).to.be.at.most(
      limitFor(MAX_RECORDS),
    );
  });

  it("leaves a block of 60 million room for 35 full batches", () => {
    expect(Math.floor(60_000_000 / limitFor(MAX_RECORDS))).to.equal(35);
  });
});
