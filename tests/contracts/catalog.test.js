import { expect } from "chai";

import { catalogKey, catalogVersionKey, hex, seededBytes, sha256 } from "./support/reference.js";
import {
  Id,
  REVIEWER,
  deployConsortium,
  ethers,
  loadFixture,
  mappingSlot,
  slotOf,
  timeOf,
} from "./support/system.js";

const Kind = {
  agency: 1,
  duty: 2,
  dataset: 3,
  system: 4,
  standard: 5,
  scenario: 6,
  materialType: 7,
  matter: 8,
  link: 9,
  assessment: 10,
};
const PENDING = 1;
const APPROVED = 2;
const RETIRED = 3;
const REVIEWED = ["agency", "scenario", "materialType", "matter"];

const makeEntry = (overrides = {}) => ({
  kind: Kind.dataset,
  code: "D-001",
  version: 1,
  text: hex(Buffer.from('{"name":"x"}')),
  ...overrides,
});
const keyOf = ({ kind, code }) => hex(catalogKey(kind, code));
const digestOf = ({ text }) => hex(sha256(Buffer.from(text.slice(2), "hex")));

describe("Catalog", () => {
  let catalog, members, authority, signers;
  beforeEach(async () => ({ catalog, members, authority, signers } = await loadFixture(deployConsortium)));

  const publish = (entries, caller = "owner") => catalog.connect(signers[caller]).publish([entries].flat());
  const refuses = (call, error, ...values) =>
    expect(call)
      .to.be.revertedWithCustomError(catalog, error)
      .withArgs(...values);
  const stateOf = async (entry, version = 1) =>
    Number((await catalog.versionOf(keyOf(entry), version)).state);

  describe("publishing", () => {
    for (const [name, kind] of Object.entries(Kind)) {
      const state = REVIEWED.includes(name) ? PENDING : APPROVED;
      it(`${name}: digest in state, text in the event, ${state === PENDING ? "pending" : "approved"}`, async () => {
        const entry = makeEntry({ kind, code: `${name}/编码-1` });
        const response = await publish(entry);
        await expect(response)
          .to.emit(catalog, "EntryPublished")
          .withArgs(keyOf(entry), kind, entry.code, 1, Id.owner, digestOf(entry), state, entry.text);
        expect(await catalog.latest(keyOf(entry))).to.deep.equal([1n, BigInt(Id.owner)]);
        expect(await catalog.versionOf(keyOf(entry), 1)).to.deep.equal([digestOf(entry), BigInt(state)]);
        expect(await catalog.stateSince(keyOf(entry), 1)).to.equal(BigInt(await timeOf(response)));
      });
    }

    it("keeps every version, and a new one leaves the old one's state", async () => {
      const texts = [1, 2, 3].map((version) =>
        makeEntry({ kind: Kind.matter, version, text: hex(Buffer.from(`{"v":${version}}`)) }),
      );
      await publish(texts[0]);
      await catalog.approve(keyOf(texts[0]), 1);
      await publish(texts.slice(1));
      for (const entry of texts) {
        const state = entry.version === 1 ? APPROVED : PENDING;
        expect(await catalog.versionOf(keyOf(entry), entry.version)).to.deep.equal([
          digestOf(entry),
          BigInt(state),
        ]);
      }
      expect((await catalog.latest(keyOf(texts[0]))).version).to.equal(3n);
    });

    it("tells the same code of two kinds apart", async () => {
      await publish([makeEntry({ kind: Kind.duty }), makeEntry({ kind: Kind.link })]);
      expect(keyOf(makeEntry({ kind: Kind.duty }))).not.to.equal(keyOf(makeEntry({ kind: Kind.link })));
    });

    it("knows nothing of what was never published", async () => {
      expect(await catalog.latest(ethers.ZeroHash)).to.deep.equal([0n, 0n]);
      expect(await catalog.versionOf(ethers.ZeroHash, 1)).to.deep.equal([ethers.ZeroHash, 0n]);
    });

    for (const [latest, got] of [
      [0, 0],
      [0, 2],
      [1, 0],
      [1, 1],
      [1, 3],
      [1, 2 ** 32 - 1],
    ]) {
      it(`after version ${latest}, refuses version ${got}`, async () => {
        if (latest) await publish(makeEntry());
        await refuses(
          publish(makeEntry({ version: got })),
          "CatalogVersion",
          Kind.dataset,
          "D-001",
          latest,
          got,
        );
      });
    }

    for (const kind of [0, 11, 255]) {
      it(`refuses kind ${kind}`, async () =>
        refuses(publish(makeEntry({ kind })), "CatalogKindUnknown", kind));
    }

    for (const length of [0, 129]) {
      it(`refuses a code of ${length} bytes`, async () => {
        await refuses(
          publish(makeEntry({ code: "c".repeat(length) })),
          "CatalogCodeLength",
          Kind.dataset,
          length,
        );
      });
    }

    for (const length of [0, 65_537]) {
      it(`refuses a text of ${length} bytes`, async () => {
        await refuses(
          publish(makeEntry({ text: hex(Buffer.alloc(length, 1)) })),
          "CatalogTextLength",
          Kind.dataset,
          "D-001",
          length,
        );
      });
    }

    it("takes code and text to their edge", async () => {
      await expect(
        publish(makeEntry({ code: "c".repeat(128), text: hex(seededBytes("text", 65_536)) })),
      ).to.emit(catalog, "EntryPublished");
    });

    it("takes 102,400 bytes of text a call, and not one more", async () => {
      const text = (length) => hex(Buffer.alloc(length, 0x20));
      const entries = [
        makeEntry({ code: "a", text: text(65_536) }),
        makeEntry({ code: "b", text: text(36_864) }),
      ];
      await publish(entries);
      await refuses(
        publish([
          ...entries.map((entry) => ({ ...entry, version: 2 })),
          makeEntry({ code: "c", text: "0x31" }),
        ]),
        "CatalogTextTotal",
        102_401,
      );
    });

    it("takes 256 entries a call, and not 0 or 257", async () => {
      const many = (count) =>
        Array.from({ length: count }, (_, i) => makeEntry({ code: `c${i}`, text: "0x31" }));
      const receipt = await (await publish(many(256))).wait();
      expect(receipt.logs.length).to.equal(256);
      for (const count of [0, 257]) await refuses(publish(many(count)), "CatalogEntriesCount", count);
    });

    it("is all or nothing", async () => {
      const good = makeEntry({ code: "good" });
      await refuses(
        publish([good, makeEntry({ code: "bad", version: 2 })]),
        "CatalogVersion",
        Kind.dataset,
        "bad",
        0,
        2,
      );
      expect((await catalog.latest(keyOf(good))).version).to.equal(0n);
    });

    for (const caller of ["stranger", "council", "suspended", "left"]) {
      it(`not by ${caller}`, async () =>
        refuses(publish(makeEntry(), caller), "CatalogNotMember", signers[caller].address));
    }
  });

  describe("ownership", () => {
    const next = makeEntry({ version: 2 });
    beforeEach(() => publish(makeEntry()));

    for (const caller of ["other", "issuer"]) {
      it(`refuses the next version to ${caller}`, async () => {
        await refuses(
          publish(next, caller),
          "CatalogNotOwner",
          keyOf(next),
          Id.owner,
          signers[caller].address,
        );
      });
    }

    it("passes to the successor with its first version", async () => {
      await publish(next, "successor");
      expect(await catalog.latest(keyOf(next))).to.deep.equal([2n, BigInt(Id.successor)]);
      await refuses(
        publish({ ...next, version: 3 }),
        "CatalogNotOwner",
        keyOf(next),
        Id.successor,
        signers.owner.address,
      );
    });

    it("passes by the council", async () => {
      await expect(catalog.transferOwner(next.kind, next.code, Id.other))
        .to.emit(catalog, "EntryOwnerChanged")
        .withArgs(keyOf(next), Id.other);
      await publish(next, "other");
      await refuses(
        publish({ ...next, version: 3 }),
        "CatalogNotOwner",
        keyOf(next),
        Id.other,
        signers.owner.address,
      );
    });

    it("passes by nobody else, of no unknown code, to nobody gone", async () => {
      for (const caller of ["owner", "other", "reviewer"]) {
        const call = catalog.connect(signers[caller]).transferOwner(next.kind, next.code, Id.other);
        await refuses(call, "AccessManagedUnauthorized", signers[caller].address);
      }
      const unknown = makeEntry({ code: "unknown" });
      await refuses(
        catalog.transferOwner(unknown.kind, unknown.code, Id.other),
        "CatalogUnknown",
        keyOf(unknown),
      );
      for (const id of [0, 999, Id.left])
        await refuses(catalog.transferOwner(next.kind, next.code, id), "CatalogOwnerInvalid", id);
    });
  });

  describe("review", () => {
    const entry = makeEntry({ kind: Kind.materialType, code: "T-1" });
    beforeEach(() => publish(entry));

    for (const caller of ["reviewer", "council"]) {
      it(`${caller} approves`, async () => {
        const response = await catalog.connect(signers[caller]).approve(keyOf(entry), 1);
        await expect(response).to.emit(catalog, "EntryStateChanged").withArgs(keyOf(entry), 1, APPROVED);
        expect(await catalog.stateSince(keyOf(entry), 1)).to.equal(BigInt(await timeOf(response)));
      });
    }

    for (const caller of ["owner", "other", "successor", "stranger"]) {
      it(`${caller} does not approve, not even its own`, async () => {
        const as = catalog.connect(signers[caller]);
        await refuses(as.approve(keyOf(entry), 1), "AccessManagedUnauthorized", signers[caller].address);
        await refuses(
          as.approveMany([keyOf(entry)], [1]),
          "AccessManagedUnauthorized",
          signers[caller].address,
        );
      });
    }

    it("ends with the role", async () => {
      await authority.revokeRole(REVIEWER, signers.reviewer);
      await refuses(
        catalog.connect(signers.reviewer).approve(keyOf(entry), 1),
        "AccessManagedUnauthorized",
        signers.reviewer.address,
      );
    });

    it("approves only what is pending", async () => {
      await catalog.approve(keyOf(entry), 1);
      await refuses(catalog.approve(keyOf(entry), 1), "CatalogStateInvalid", keyOf(entry), 1, APPROVED);
      await refuses(catalog.approve(keyOf(entry), 2), "CatalogStateInvalid", keyOf(entry), 2, 0);
      await refuses(catalog.approve(ethers.ZeroHash, 1), "CatalogStateInvalid", ethers.ZeroHash, 1, 0);
    });

    it("approves many, or none", async () => {
      const more = [2, 3].map((i) => makeEntry({ kind: Kind.matter, code: `M-${i}` }));
      await publish(more);
      const keys = [entry, ...more].map(keyOf);
      await refuses(
        catalog.approveMany([...keys, ethers.ZeroHash], [1, 1, 1, 1]),
        "CatalogStateInvalid",
        ethers.ZeroHash,
        1,
        0,
      );
      expect(await stateOf(entry)).to.equal(PENDING);
      await catalog.connect(signers.reviewer).approveMany(keys, [1, 1, 1]);
      for (const approved of [entry, ...more]) expect(await stateOf(approved)).to.equal(APPROVED);
    });

    it("has limits on how many", async () => {
      const key = keyOf(entry);
      await refuses(catalog.approveMany([], []), "CatalogApprovalsCount", 0, 0);
      await refuses(catalog.approveMany([key], [1, 2]), "CatalogApprovalsCount", 1, 2);
      await refuses(
        catalog.approveMany(Array(257).fill(key), Array(257).fill(1)),
        "CatalogApprovalsCount",
        257,
        257,
      );
    });
  });

  describe("retiring", () => {
    const entry = makeEntry({ kind: Kind.scenario, code: "S-1" });
    beforeEach(() => publish(entry));

    for (const caller of ["owner", "successor", "council"]) {
      it(`${caller} retires, pending or approved`, async () => {
        const as = catalog.connect(signers[caller]);
        await expect(as.retire(keyOf(entry), 1))
          .to.emit(catalog, "EntryStateChanged")
          .withArgs(keyOf(entry), 1, RETIRED);
        await publish({ ...entry, version: 2 });
        await catalog.approve(keyOf(entry), 2);
        await as.retire(keyOf(entry), 2);
        expect(await stateOf(entry, 2)).to.equal(RETIRED);
      });
    }

    for (const caller of ["other", "suspended", "stranger", "reviewer"]) {
      it(`${caller} does not`, async () => {
        await refuses(
          catalog.connect(signers[caller]).retire(keyOf(entry), 1),
          "CatalogNotOwner",
          keyOf(entry),
          Id.owner,
          signers[caller].address,
        );
      });
    }

    it("a suspended owner does not, the council does", async () => {
      await members.suspend(Id.owner);
      await refuses(
        catalog.connect(signers.owner).retire(keyOf(entry), 1),
        "CatalogNotOwner",
        keyOf(entry),
        Id.owner,
        signers.owner.address,
      );
      await catalog.retire(keyOf(entry), 1);
    });

    it("is final", async () => {
      await catalog.connect(signers.owner).retire(keyOf(entry), 1);
      await refuses(catalog.approve(keyOf(entry), 1), "CatalogStateInvalid", keyOf(entry), 1, RETIRED);
      await refuses(
        catalog.connect(signers.owner).retire(keyOf(entry), 1),
        "CatalogStateInvalid",
        keyOf(entry),
        1,
        RETIRED,
      );
    });

    it("leaves other versions as they are, and the code open for a new one", async () => {
      await publish({ ...entry, version: 2 });
      await catalog.connect(signers.owner).retire(keyOf(entry), 1);
      expect(await stateOf(entry, 2)).to.equal(PENDING);
      await publish({ ...entry, version: 3 });
    });

    it("is refused for a version that does not exist", async () => {
      for (const caller of ["owner", "stranger"]) {
        await refuses(
          catalog.connect(signers[caller]).retire(keyOf(entry), 9),
          "CatalogStateInvalid",
          keyOf(entry),
          9,
          0,
        );
      }
    });
  });

  it("keeps heads, digests and states at the documented slots", async () => {
    const entry = makeEntry();
    const since = await timeOf(publish(entry));
    const key = keyOf(entry);
    const versionKey = hex(catalogVersionKey(catalogKey(entry.kind, entry.code), 1));
    expect(BigInt(await slotOf(catalog, mappingSlot(key, 1)))).to.equal((BigInt(Id.owner) << 32n) | 1n);
    expect(await slotOf(catalog, mappingSlot(versionKey, 2))).to.equal(digestOf(entry));
    expect(BigInt(await slotOf(catalog, mappingSlot(versionKey, 3)))).to.equal(
      (BigInt(since) << 8n) | BigInt(APPROVED),
    );
  });

  it("refuses members without code", async () => {
    await refuses(
      ethers.deployContract("Catalog", [authority, signers.stranger]),
      "CatalogCodeMissing",
      signers.stranger.address,
    );
  });
});
