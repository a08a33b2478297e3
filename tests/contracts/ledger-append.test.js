import { expect } from "chai";
import fc from "fast-check";

import {
  MAX_RECORDS,
  RECORD_BYTES,
  ZERO_HASH,
  batchHash,
  batchRoot,
  be,
  hex,
  makeRecords,
  sha256,
  treeHash,
} from "./support/reference.js";
import { Id, deployConsortium, eventOf, loadFixture, slotOf } from "./support/system.js";

describe("Ledger: append", () => {
  let ledger, signers;
  beforeEach(async () => ({ ledger, signers } = await loadFixture(deployConsortium)));

  const append = (account, seq, records, stream = 1) =>
    ledger.connect(account).append(stream, seq, hex(records));

  it("computes the RFC 6962 root of every size from 1 to 300 and of 512", async () => {
    const sizes = [...Array.from({ length: 300 }, (_, i) => i + 1), 301, 511, MAX_RECORDS];
    for (const [seq, size] of sizes.entries()) {
      const records = makeRecords(`size ${size}`, size);
      const { root, size: emitted } = await eventOf(
        ledger,
        append(signers.owner, seq, records),
        "BatchAppended",
      );
      expect(root, `size ${size}`).to.equal(hex(batchRoot(Id.owner, records)));
      expect(emitted).to.equal(BigInt(size));
    }
  });

  it("keeps the log root over the first 70 batches equal to the reference", async () => {
    const hashes = [];
    for (let id = 0; id < 70; id += 1) {
      const account = id % 3 === 0 ? "other" : "owner";
      const seq = await ledger.nextSeq(Id[account]);
      const event = await eventOf(
        ledger,
        append(signers[account], seq, makeRecords(`log ${id}`, 1 + (id % 9))),
        "BatchAppended",
      );
      const { memberId, stream, size, time } = event;
      hashes.push(
        batchHash({ id, memberId, stream, seq, size, root: Buffer.from(event.root.slice(2), "hex"), time }),
      );
      expect(await ledger.batchHash(id)).to.equal(hex(hashes[id]));
      expect(await ledger.logRoot(), `after batch ${id}`).to.equal(hex(treeHash(hashes)));
      expect(await ledger.logSize()).to.equal(BigInt(id + 1));
    }
  });

  it("says entry and records in one event, with the block's time", async () => {
    const records = makeRecords("event", 3, { format: 3 });
    const response = await append(signers.owner, 0, records, 3);
    const block = await response.getBlock();
    await expect(response)
      .to.emit(ledger, "BatchAppended")
      .withArgs(0, Id.owner, 3, 0, 3, hex(batchRoot(Id.owner, records)), block.timestamp, hex(records));
  });

  it("returns the batch id", async () => {
    expect(await ledger.connect(signers.owner).append.staticCall(1, 0, hex(makeRecords("a", 1)))).to.equal(
      0n,
    );
    await append(signers.owner, 0, makeRecords("a", 1));
    expect(await ledger.connect(signers.other).append.staticCall(1, 0, hex(makeRecords("b", 1)))).to.equal(
      1n,
    );
  });

  it("binds a leaf to its member: the same records of another member have another root", async () => {
    const records = makeRecords("copied", 5);
    const first = await eventOf(ledger, append(signers.owner, 0, records), "BatchAppended");
    const copy = await eventOf(ledger, append(signers.other, 0, records), "BatchAppended");
    expect(copy.root).to.equal(hex(batchRoot(Id.other, records)));
    expect(copy.root).not.to.equal(first.root);
  });

  it("has another root, or refuses, when any one bit of a batch differs", async () => {
    const flip = { size: fc.integer({ min: 1, max: 40 }), place: fc.nat(), bit: fc.nat(7) };
    let seq = 0n;
    await fc.assert(
      fc.asyncProperty(fc.record(flip), async ({ size, place, bit }) => {
        const records = makeRecords("flipped", size);
        const original = hex(batchRoot(Id.owner, records));
        const at = place % records.length;
        records[at] ^= 1 << bit;
        const [domain, epoch, format] = [
          [32, 2],
          [34, 2],
          [37, 1],
        ].map(([from, bytes]) => {
          const start = at - (at % RECORD_BYTES) + from;
          return records.readUIntBE(start, bytes);
        });
        if (domain === 0 || epoch === 0 || format !== 1) {
          await expect(append(signers.owner, seq, records)).to.be.revertedWithCustomError(
            ledger,
            "LedgerRecordMalformed",
          );
          return;
        }
        const { root } = await eventOf(ledger, append(signers.owner, seq, records), "BatchAppended");
        seq += 1n;
        expect(root).to.equal(hex(batchRoot(Id.owner, records)));
        expect(root).not.to.equal(original);
      }),
      { numRuns: 100 },
    );
  });

  describe("sequence", () => {
    it("counts for each member by itself, over all its streams", async () => {
      await append(signers.owner, 0, makeRecords("m", 1, { format: 1 }), 1);
      await append(signers.owner, 1, makeRecords("r", 1, { format: 2 }), 2);
      await append(signers.other, 0, makeRecords("o", 1));
      expect(await ledger.nextSeq(Id.owner)).to.equal(2n);
      expect(await ledger.nextSeq(Id.other)).to.equal(1n);
    });

    it("refuses a batch sent twice, one from the future and one from the past, and keeps nothing of them", async () => {
      await append(signers.owner, 0, makeRecords("first", 2));
      const before = [await slotOf(ledger, 0), await slotOf(ledger, 1)];
      for (const got of [0n, 2n, 2n ** 64n - 1n]) {
        await expect(append(signers.owner, got, makeRecords("first", 2)))
          .to.be.revertedWithCustomError(ledger, "LedgerSequence")
          .withArgs(Id.owner, 1, got);
      }
      expect([await slotOf(ledger, 0), await slotOf(ledger, 1)]).to.deep.equal(before);
      expect(await ledger.nextSeq(Id.owner)).to.equal(1n);
    });
  });

  describe("who may append", () => {
    const refusals = {
      stranger: ["LedgerNotMember", (s) => [s.stranger.address]],
      council: ["LedgerNotMember", (s) => [s.council.address]],
      suspended: ["LedgerNotMember", (s) => [s.suspended.address]],
      left: ["LedgerNotMember", (s) => [s.left.address]],
      observer: ["LedgerObserver", () => [Id.observer]],
    };
    for (const [name, [error, values]] of Object.entries(refusals)) {
      it(`not ${name}`, async () => {
        await expect(append(signers[name], 0, makeRecords("x", 1)))
          .to.be.revertedWithCustomError(ledger, error)
          .withArgs(...values(signers));
      });
    }
  });

  describe("malformed batches", () => {
    for (const stream of [0, 4, 255]) {
      it(`refuses stream ${stream}`, async () => {
        await expect(append(signers.owner, 0, makeRecords("s", 1, { format: stream }), stream))
          .to.be.revertedWithCustomError(ledger, "LedgerStreamUnknown")
          .withArgs(stream);
      });
    }

    for (const length of [
      0,
      1,
      95,
      97,
      191,
      768 + 95,
      MAX_RECORDS * RECORD_BYTES - 1,
      MAX_RECORDS * RECORD_BYTES + 1,
      (MAX_RECORDS + 1) * RECORD_BYTES,
    ]) {
      it(`refuses ${length} bytes`, async () => {
        await expect(append(signers.owner, 0, Buffer.alloc(length, 1)))
          .to.be.revertedWithCustomError(ledger, "LedgerRecordsLength")
          .withArgs(length);
      });
    }

    // Places on both sides of each group of eight, and in what is left over.
    for (const [size, index] of [
      [1, 0],
      [7, 6],
      [8, 0],
      [8, 7],
      [9, 8],
      [16, 7],
      [16, 8],
      [23, 22],
      [100, 63],
      [100, 98],
      [512, 511],
    ]) {
      for (const [flaw, frame] of [
        ["domain 0", { domain: 0 }],
        ["epoch 0", { epoch: 0 }],
        ["another format", { format: 2 }],
      ]) {
        it(`refuses ${flaw} in record ${index} of ${size}`, async () => {
          const records = makeRecords("good", size);
          makeRecords("flawed", 1, frame).copy(records, index * RECORD_BYTES);
          await expect(append(signers.owner, 0, records))
            .to.be.revertedWithCustomError(ledger, "LedgerRecordMalformed")
            .withArgs(index);
        });
      }
    }

    it("judges each place of a group of eight by itself", async () => {
      for (const frame of [{ domain: 0 }, { epoch: 0 }, { format: 0 }, { format: 2 }, { format: 0x81 }]) {
        for (let index = 0; index < 23; index += 1) {
          const records = makeRecords("good", 23);
          makeRecords("flawed", 1, frame).copy(records, index * RECORD_BYTES);
          await expect(ledger.connect(signers.owner).append.staticCall(1, 0, hex(records)))
            .to.be.revertedWithCustomError(ledger, "LedgerRecordMalformed")
            .withArgs(index);
        }
      }
    });

    it("names the first of several flawed records", async () => {
      const records = makeRecords("good", 30);
      for (const index of [29, 17, 12])
        makeRecords("flawed", 1, { epoch: 0 }).copy(records, index * RECORD_BYTES);
      await expect(append(signers.owner, 0, records))
        .to.be.revertedWithCustomError(ledger, "LedgerRecordMalformed")
        .withArgs(12);
    });

    it("judges every frame as the specification does", async () => {
      const edge = fc.constantFrom(0, 1, 2, 0x7fff, 0x8000, 0x8001, 0xff00, 0x00ff, 0xffff);
      const sixteen = fc.oneof(edge, fc.integer({ min: 0, max: 0xffff }));
      const frame = fc.record({
        domain: sixteen,
        epoch: sixteen,
        line: fc.constantFrom(0, 1, 0x80, 0xff),
        format: fc.constantFrom(0, 1, 2, 3, 4, 0x7f, 0x80, 0x81, 0xfe, 0xff),
      });
      await fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 1, max: 3 }),
          fc.array(frame, { minLength: 1, maxLength: 20 }),
          async (stream, frames) => {
            const records = Buffer.concat(frames.map((clear, i) => makeRecords(`f ${i}`, 1, clear)));
            const flawed = frames.findIndex(
              ({ domain, epoch, format }) => domain === 0 || epoch === 0 || format !== stream,
            );
            const call = ledger.connect(signers.owner).append.staticCall(stream, 0, hex(records));
            if (flawed < 0) expect(await call).to.equal(0n);
            else
              await expect(call)
                .to.be.revertedWithCustomError(ledger, "LedgerRecordMalformed")
                .withArgs(flawed);
          },
        ),
        { numRuns: 150 },
      );
    });

    it("judges a frame right whatever surrounds it", async () => {
      for (const fill of [0x00, 0x01, 0x7f, 0x80, 0xff]) {
        for (const [domain, epoch, good] of [
          [1, 1, true],
          [0x8000, 0x8000, true],
          [0xffff, 1, true],
          [0, 0xffff, false],
          [0xffff, 0, false],
        ]) {
          const record = Buffer.concat([
            Buffer.alloc(32, fill),
            be(domain, 2),
            be(epoch, 2),
            be(fill, 1),
            be(1, 1),
            Buffer.alloc(58, fill),
          ]);
          const records = Buffer.concat(Array(9).fill(record));
          const call = ledger.connect(signers.owner).append.staticCall(1, 0, hex(records));
          if (good) expect(await call).to.equal(0n);
          else await expect(call).to.be.revertedWithCustomError(ledger, "LedgerRecordMalformed").withArgs(0);
        }
      }
    });
  });

  it("starts with an empty log", async () => {
    expect(await ledger.logSize()).to.equal(0n);
    expect(await ledger.logRoot()).to.equal(ZERO_HASH);
    expect(await ledger.batchHash(0)).to.equal(ZERO_HASH);
  });

  it("agrees with the empty and two-leaf trees of RFC 6962 in its own reference", () => {
    expect(hex(treeHash([]))).to.equal("0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    const leaves = ["", "00"].map((text) => sha256(Buffer.from([0]), Buffer.from(text, "hex")));
    expect(hex(treeHash(leaves))).to.equal(
      "0xfac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    );
  });
});
