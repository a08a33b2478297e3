import { expect } from "chai";

import {
  Flag,
  ZERO_HASH,
  claimKey,
  commitmentOf,
  documentKey,
  hex,
  makeDocument,
  makeRecords,
  statusWord,
} from "./support/reference.js";
import {
  Id,
  deployConsortium,
  ethers,
  eventOf,
  loadFixture,
  makeProfile,
  time,
  timeOf,
} from "./support/system.js";

const CLAIM = commitmentOf("claim");
const NEXT = commitmentOf("next");
const FLAG_OF = {
  revoke: Flag.REVOKED,
  suspend: Flag.SUSPENDED,
  erase: Flag.ERASED,
  supersede: Flag.SUPERSEDED,
};

describe("Ledger: status of claims", () => {
  let ledger, members, authority, signers;
  beforeEach(async () => ({ ledger, members, authority, signers } = await loadFixture(deployConsortium)));

  /** Calls an act as `account`; `supersede` takes a commitment where the others take a reason. */
  const mark = (act, account, memberId, { commitment = CLAIM, reason = 7, next = NEXT } = {}) =>
    ledger.connect(account)[act](memberId, hex(commitment), act === "supersede" ? hex(next) : reason);
  const flagsOf = async (memberId) => Number(BigInt(await ledger.statusOf(memberId, hex(CLAIM))) >> 248n);

  describe("who may mark a claim", () => {
    const OWNERS = {
      owner: {
        owner: true,
        successor: true,
        other: false,
        observer: false,
        suspended: false,
        left: false,
        council: false,
        stranger: false,
      },
      suspended: {
        council: true,
        suspended: false,
        owner: false,
        successor: false,
        other: false,
        stranger: false,
      },
      left: { left: false, council: false, other: false, stranger: false },
      observer: { observer: true, other: false, council: false },
    };
    for (const [target, callers] of Object.entries(OWNERS)) {
      for (const [caller, allowed] of Object.entries(callers)) {
        for (const act of ["revoke", "suspend", "erase", "supersede", "resume"]) {
          it(`${caller} ${allowed ? "may" : "may not"} ${act} a claim of ${target}`, async () => {
            if (act === "resume" && target !== "left")
              await mark("suspend", signers[target === "suspended" ? "council" : target], Id[target]);
            const call = mark(act, signers[caller], Id[target]);
            if (allowed) await expect(call).to.emit(ledger, "StatusChanged");
            else {
              await expect(call)
                .to.be.revertedWithCustomError(ledger, "LedgerNotOwner")
                .withArgs(Id[target], signers[caller].address);
            }
          });
        }
      }
    }

    for (const memberId of [0, 999]) {
      for (const caller of ["stranger", "council", "owner", "suspended", "left"]) {
        it(`nobody marks a claim of member ${memberId}: not ${caller}`, async () => {
          await expect(mark("revoke", signers[caller], memberId)).to.be.revertedWithCustomError(
            ledger,
            "LedgerNotOwner",
          );
        });
      }
    }

    it("a member that copied the records marks only its own copy", async () => {
      const records = makeRecords("copied", 1);
      const commitment = records.subarray(0, 32);
      await ledger.connect(signers.owner).append(1, 0, hex(records));
      await ledger.connect(signers.other).append(1, 0, hex(records));
      await expect(mark("revoke", signers.other, Id.owner, { commitment })).to.be.revertedWithCustomError(
        ledger,
        "LedgerNotOwner",
      );
      await mark("revoke", signers.other, Id.other, { commitment });
      expect(await ledger.statusOf(Id.owner, hex(commitment))).to.equal(ZERO_HASH);
    });

    it("a successor loses the right with its name or its membership", async () => {
      await members.suspend(Id.successor);
      await expect(mark("revoke", signers.successor, Id.owner)).to.be.revertedWithCustomError(
        ledger,
        "LedgerNotOwner",
      );
      await members.reinstate(Id.successor);
      await members.nameSuccessor(Id.owner, 0);
      await expect(mark("revoke", signers.successor, Id.owner)).to.be.revertedWithCustomError(
        ledger,
        "LedgerNotOwner",
      );
    });

    it("a successor acts for a member that has left", async () => {
      await members.nameSuccessor(Id.left, Id.successor);
      await expect(mark("revoke", signers.successor, Id.left)).to.emit(ledger, "StatusChanged");
    });

    it("a rotated account speaks no more, the new one does", async () => {
      await members.rotateAccount(Id.owner, signers.stranger.address);
      await expect(mark("revoke", signers.owner, Id.owner)).to.be.revertedWithCustomError(
        ledger,
        "LedgerNotOwner",
      );
      await expect(mark("revoke", signers.stranger, Id.owner)).to.emit(ledger, "StatusChanged");
    });

    it("a membership out of its period speaks no more", async () => {
      const validUntil = (await time.latest()) + 1000;
      await members.admit(50, makeProfile(signers.stranger.address, { validUntil }));
      await mark("suspend", signers.stranger, 50);
      await time.increaseTo(validUntil);
      await expect(mark("resume", signers.stranger, 50)).to.be.revertedWithCustomError(
        ledger,
        "LedgerNotOwner",
      );
    });

    it("the council's act for a suspended member can be given to a role", async () => {
      const role = 9n;
      await authority.setTargetFunctionRole(ledger, [ledger.interface.getFunction("revoke").selector], role);
      await authority.grantRole(role, signers.reviewer, 0);
      await expect(mark("revoke", signers.council, Id.suspended)).to.be.revertedWithCustomError(
        ledger,
        "LedgerNotOwner",
      );
      await expect(mark("revoke", signers.reviewer, Id.suspended)).to.emit(ledger, "StatusChanged");
    });
  });

  describe("what is written", () => {
    for (const [act, flag] of Object.entries(FLAG_OF)) {
      it(`${act}: flag, block time, reason and successor, in slot and event alike`, async () => {
        const response = await mark(act, signers.owner, Id.owner, { reason: 0xbeef });
        const since = await timeOf(response);
        const word = statusWord(
          act === "supersede"
            ? { flags: flag, since, successor: NEXT }
            : { flags: flag, since, reason: 0xbeef },
        );
        await expect(response).to.emit(ledger, "StatusChanged").withArgs(Id.owner, hex(CLAIM), hex(word));
        expect(await ledger.status(hex(claimKey(Id.owner, CLAIM)))).to.equal(hex(word));
        expect(await ledger.statusOf(Id.owner, hex(CLAIM))).to.equal(hex(word));
      });
    }

    it("flags add up and the successor stays", async () => {
      for (const act of ["suspend", "supersede", "erase", "revoke"]) await mark(act, signers.owner, Id.owner);
      const word = await ledger.statusOf(Id.owner, hex(CLAIM));
      expect(Number(BigInt(word) >> 248n)).to.equal(
        Flag.REVOKED | Flag.SUPERSEDED | Flag.ERASED | Flag.SUSPENDED,
      );
      expect(word.slice(-48)).to.equal(hex(NEXT).slice(2, 50));
    });

    it("resume clears suspended and nothing else", async () => {
      for (const act of ["suspend", "supersede", "revoke"]) await mark(act, signers.owner, Id.owner);
      const since = await timeOf(mark("resume", signers.owner, Id.owner, { reason: 3 }));
      const word = statusWord({ flags: Flag.REVOKED | Flag.SUPERSEDED, since, reason: 3, successor: NEXT });
      expect(await ledger.statusOf(Id.owner, hex(CLAIM))).to.equal(hex(word));
    });

    it("a claim can be suspended again after resume", async () => {
      for (const act of ["suspend", "resume", "suspend"]) await mark(act, signers.owner, Id.owner);
      expect(await flagsOf(Id.owner)).to.equal(Flag.SUSPENDED);
    });

    it("one claim's status is no other's: by member and by commitment", async () => {
      await mark("revoke", signers.owner, Id.owner);
      expect(await ledger.statusOf(Id.other, hex(CLAIM))).to.equal(ZERO_HASH);
      expect(await ledger.statusOf(Id.owner, hex(NEXT))).to.equal(ZERO_HASH);
    });

    it("needs no record on chain yet", async () => {
      expect(await ledger.logSize()).to.equal(0n);
      await expect(mark("revoke", signers.owner, Id.owner)).to.emit(ledger, "StatusChanged");
    });
  });

  describe("what is refused", () => {
    for (const act of Object.keys(FLAG_OF)) {
      it(`${act} twice`, async () => {
        await mark(act, signers.owner, Id.owner);
        const word = await ledger.statusOf(Id.owner, hex(CLAIM));
        await expect(mark(act, signers.owner, Id.owner, { reason: 8, next: commitmentOf("third") }))
          .to.be.revertedWithCustomError(ledger, "LedgerStatusUnchanged")
          .withArgs(Id.owner, hex(CLAIM), word);
      });
    }

    it("resume of a claim that is not suspended", async () => {
      await expect(mark("resume", signers.owner, Id.owner))
        .to.be.revertedWithCustomError(ledger, "LedgerStatusUnchanged")
        .withArgs(Id.owner, hex(CLAIM), ZERO_HASH);
    });

    for (const [name, next] of [
      ["itself", CLAIM],
      ["the zero commitment", Buffer.alloc(32)],
      ["a commitment whose first 24 bytes are zero", Buffer.concat([Buffer.alloc(24), Buffer.alloc(8, 1)])],
    ]) {
      it(`supersede by ${name}`, async () => {
        await expect(mark("supersede", signers.owner, Id.owner, { next }))
          .to.be.revertedWithCustomError(ledger, "LedgerSuccessorInvalid")
          .withArgs(hex(CLAIM), hex(next));
      });
    }

    it("a member as its own nobody: an unset successor is not the caller without membership", async () => {
      await members.nameSuccessor(Id.owner, 0);
      await expect(mark("revoke", signers.stranger, Id.owner)).to.be.revertedWithCustomError(
        ledger,
        "LedgerNotOwner",
      );
    });
  });
});

describe("Ledger: status of documents", () => {
  let ledger, signers;
  beforeEach(async () => ({ ledger, signers } = await loadFixture(deployConsortium)));

  const [FIRST, SECOND] = ["first", "second"].map((label) => makeDocument(label));
  const revoke = (account, documents, reason = 5) =>
    ledger.connect(account).revokeDocuments(documents.map(hex), reason);

  it("writes one word for each document under the caller's member id", async () => {
    const response = await revoke(signers.issuer, [FIRST, SECOND]);
    const word = hex(statusWord({ flags: Flag.REVOKED, since: await timeOf(response), reason: 5 }));
    for (const document of [FIRST, SECOND]) {
      await expect(response).to.emit(ledger, "DocumentRevoked").withArgs(Id.issuer, hex(document), word);
      expect(await ledger.documentStatus(hex(documentKey(Id.issuer, document)))).to.equal(word);
      expect(await ledger.documentStatusOf(Id.issuer, hex(document))).to.equal(word);
    }
  });

  it("a non-issuer's act stays under its own id, where verifiers leave it", async () => {
    await revoke(signers.other, [FIRST]);
    expect(await ledger.documentStatusOf(Id.issuer, hex(FIRST))).to.equal(ZERO_HASH);
  });

  it("passes over what is revoked already, and keeps its first time", async () => {
    await revoke(signers.issuer, [FIRST]);
    const word = await ledger.documentStatusOf(Id.issuer, hex(FIRST));
    const { document } = await eventOf(
      ledger,
      revoke(signers.issuer, [FIRST, SECOND, SECOND], 6),
      "DocumentRevoked",
    );
    expect(document).to.equal(hex(SECOND));
    expect(await ledger.documentStatusOf(Id.issuer, hex(FIRST))).to.equal(word);
  });

  for (const caller of ["stranger", "council", "suspended", "left"]) {
    it(`not by ${caller}`, async () => {
      await expect(revoke(signers[caller], [FIRST]))
        .to.be.revertedWithCustomError(ledger, "LedgerNotMember")
        .withArgs(signers[caller].address);
    });
  }

  for (const count of [0, 65]) {
    it(`not ${count} documents`, async () => {
      const documents = Array.from({ length: count }, (_, i) => makeDocument(`d ${i}`));
      await expect(revoke(signers.issuer, documents))
        .to.be.revertedWithCustomError(ledger, "LedgerDocumentsCount")
        .withArgs(count);
    });
  }

  it("64 documents in one call", async () => {
    const documents = Array.from({ length: 64 }, (_, i) => makeDocument(`d ${i}`));
    const receipt = await (await revoke(signers.issuer, documents)).wait();
    expect(receipt.logs.length).to.equal(64);
  });

  for (const [name, document] of [
    ["domain 0", makeDocument("x", { domain: 0 })],
    ["epoch 0", makeDocument("x", { epoch: 0 })],
    [
      "an empty tag, which would hit every record without a number",
      Buffer.concat([Buffer.from("00010001", "hex"), Buffer.alloc(16)]),
    ],
  ]) {
    it(`not a document with ${name}, and nothing beside it`, async () => {
      await expect(revoke(signers.issuer, [FIRST, document]))
        .to.be.revertedWithCustomError(ledger, "LedgerDocumentMalformed")
        .withArgs(1);
      expect(await ledger.documentStatusOf(Id.issuer, hex(FIRST))).to.equal(ZERO_HASH);
    });
  }

  it("tells documents apart by domain and epoch", async () => {
    await revoke(signers.issuer, [FIRST]);
    for (const frame of [{ domain: 2 }, { epoch: 2 }]) {
      expect(await ledger.documentStatusOf(Id.issuer, hex(makeDocument("first", frame)))).to.equal(
        ethers.ZeroHash,
      );
    }
  });
});
