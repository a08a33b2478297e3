// Receipts prove these slots by number. The page, contracts/layout.json and the chain must say the same.
import { readFileSync } from "node:fs";

import { expect } from "chai";

import {
  batchHash,
  claimKey,
  commitmentOf,
  documentKey,
  hex,
  makeDocument,
  makeRecords,
  seededBytes,
  treeHash,
  unhex,
} from "./support/reference.js";
import { Id, deployConsortium, ethers, eventOf, loadFixture, mappingSlot, slotOf } from "./support/system.js";

const SLOTS = {
  logSize: 0,
  logRoot: 1,
  batchHash: 2,
  status: 3,
  documentStatus: 4,
  consumedUse: 5,
  consumedBy: 6,
  nextSeq: 7,
  frontier: 8,
  _authority: 72,
};

describe("Ledger: storage", () => {
  const read = (path) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

  it("has the slots of contracts/layout.json", () => {
    const layout = Object.fromEntries(
      JSON.parse(read("contracts/layout.json")).Ledger.map(({ label, slot }) => [label, slot]),
    );
    for (const [label, slot] of Object.entries(SLOTS)) expect(layout[label], label).to.equal(slot);
  });

  it("has the slots of the reference page", () => {
    const rows = [...read("docs/reference/ledger-storage.md").matchAll(/^\| (\d+)(?:–\d+)? \| `(\w+)/gm)];
    expect(Object.fromEntries(rows.map(([, slot, label]) => [label, Number(slot)]))).to.deep.equal(SLOTS);
  });

  it("keeps log, batches, sequence and frontier where the page says", async () => {
    const { ledger, signers } = await loadFixture(deployConsortium);
    const hashes = [];
    for (let id = 0; id < 7; id += 1) {
      const { memberId, stream, seq, size, root, time } = await eventOf(
        ledger,
        ledger.connect(signers.owner).append(1, id, hex(makeRecords(`batch ${id}`, 2))),
        "BatchAppended",
      );
      hashes.push(batchHash({ id, memberId, stream, seq, size, root: unhex(root), time }));
    }
    expect(BigInt(await slotOf(ledger, SLOTS.logSize))).to.equal(7n);
    expect(await slotOf(ledger, SLOTS.logRoot)).to.equal(hex(treeHash(hashes)));
    for (const [id, hash] of hashes.entries())
      expect(await slotOf(ledger, mappingSlot(id, SLOTS.batchHash))).to.equal(hex(hash));
    expect(BigInt(await slotOf(ledger, mappingSlot(Id.owner, SLOTS.nextSeq)))).to.equal(7n);
    // 7 = 4 + 2 + 1 batches; level 0 is the last batch itself and is not kept a second time.
    expect(await slotOf(ledger, SLOTS.frontier)).to.equal(ethers.ZeroHash);
    expect(await slotOf(ledger, SLOTS.frontier + 1)).to.equal(hex(treeHash(hashes.slice(4, 6))));
    expect(await slotOf(ledger, SLOTS.frontier + 2)).to.equal(hex(treeHash(hashes.slice(0, 4))));
    expect(await ledger.frontier(2)).to.equal(hex(treeHash(hashes.slice(0, 4))));
  });

  it("keeps status and consumption where the page says", async () => {
    const { ledger, signers } = await loadFixture(deployConsortium);
    const commitment = commitmentOf("claim");
    const document = makeDocument("document");
    const nullifier = hex(seededBytes("nullifier", 32));
    const as = ledger.connect(signers.owner);
    await as.revoke(Id.owner, hex(commitment), 1);
    await as.revokeDocuments([hex(document)], 1);
    await as.consume(nullifier, hex(commitment));
    const expected = [
      [hex(claimKey(Id.owner, commitment)), SLOTS.status, await ledger.statusOf(Id.owner, hex(commitment))],
      [
        hex(documentKey(Id.owner, document)),
        SLOTS.documentStatus,
        await ledger.documentStatusOf(Id.owner, hex(document)),
      ],
      [nullifier, SLOTS.consumedUse, hex(commitment)],
      [nullifier, SLOTS.consumedBy, await ledger.consumedBy(nullifier)],
    ];
    for (const [key, slot, word] of expected) {
      expect(word).not.to.equal(ethers.ZeroHash);
      expect(await slotOf(ledger, mappingSlot(key, slot))).to.equal(word);
    }
  });

  it("keeps the authority after its own slots", async () => {
    const { ledger, authority } = await loadFixture(deployConsortium);
    expect(ethers.getAddress(ethers.dataSlice(await slotOf(ledger, SLOTS._authority), 12))).to.equal(
      await authority.getAddress(),
    );
  });
});
