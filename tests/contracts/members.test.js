import { expect } from "chai";

import { be, hex, seededBytes, sha256, unhex } from "./support/reference.js";
import {
  DAY,
  Id,
  Role,
  State,
  deployConsortium,
  ethers,
  eventOf,
  loadFixture,
  makeProfile,
  time,
} from "./support/system.js";

const NEW_ID = 77;
const digest = (value) => hex(sha256(unhex(value)));
const textDigest = (text) => hex(sha256(Buffer.from(text, "utf8")));

describe("Members", () => {
  let members, authority, signers, fresh;
  beforeEach(async () => {
    ({ members, authority, signers } = await loadFixture(deployConsortium));
    fresh = signers.stranger.address;
  });

  const refuses = (call, error, ...values) =>
    expect(call)
      .to.be.revertedWithCustomError(members, error)
      .withArgs(...values);

  describe("admission", () => {
    it("keeps what contracts ask and says the whole profile", async () => {
      const profile = makeProfile(fresh, {
        role: Role.Partner,
        validFrom: 5,
        validUntil: 2 ** 40,
        endpoint: "",
      });
      const event = await eventOf(members, members.admit(NEW_ID, profile), "MemberAdmitted");
      expect(event.memberId).to.equal(BigInt(NEW_ID));
      expect(event.profile.toObject()).to.deep.equal({
        ...profile,
        role: BigInt(profile.role),
        level: BigInt(profile.level),
        area: BigInt(profile.area),
        validFrom: 5n,
        validUntil: 2n ** 40n,
      });
      expect(await members.accountOf(NEW_ID)).to.equal(fresh);
      expect(await members.memberOf(fresh)).to.equal(BigInt(NEW_ID));
      expect(await members.activeMemberOf(fresh)).to.equal(BigInt(NEW_ID));
      expect(await members.activeProfileOf(fresh)).to.deep.equal([BigInt(NEW_ID), BigInt(Role.Partner)]);
      expect(await members.stateOf(NEW_ID)).to.equal(BigInt(State.Active));
      expect(await members.roleOf(NEW_ID)).to.equal(BigInt(Role.Partner));
      expect(await members.validityOf(NEW_ID)).to.deep.equal([5n, 2n ** 40n]);
      expect(await members.contactOf(NEW_ID)).to.deep.equal([textDigest(""), digest(profile.hpkeKey)]);
    });

    it("takes every limit to its edge", async () => {
      const profile = makeProfile(fresh, {
        name: "n".repeat(128),
        endpoint: "e".repeat(256),
        hpkeKey: `0x${"01".repeat(4096)}`,
      });
      await expect(members.admit(2 ** 32 - 1, profile)).to.emit(members, "MemberAdmitted");
    });

    const refusals = [
      ["role 0", { role: 0 }, "MembersRoleInvalid", [0]],
      ["role 6", { role: 6 }, "MembersRoleInvalid", [6]],
      ["role 255", { role: 255 }, "MembersRoleInvalid", [255]],
      ["no USCC", { uscc: `0x${"00".repeat(18)}` }, "MembersUsccEmpty", [NEW_ID]],
      ["an end before the start", { validFrom: 10, validUntil: 9 }, "MembersValidityInvalid", [10, 9]],
      ["an end at the start", { validFrom: 10, validUntil: 10 }, "MembersValidityInvalid", [10, 10]],
      ["no name", { name: "" }, "MembersNameLength", [0]],
      ["a name of 129 bytes", { name: "名".repeat(43) }, "MembersNameLength", [129]],
      ["an endpoint of 257 bytes", { endpoint: "e".repeat(257) }, "MembersEndpointLength", [257]],
      ["a key of 31 bytes", { hpkeKey: `0x${"01".repeat(31)}` }, "MembersHpkeKeyLength", [31]],
      ["a key of 4097 bytes", { hpkeKey: `0x${"01".repeat(4097)}` }, "MembersHpkeKeyLength", [4097]],
      ["the zero account", { account: ethers.ZeroAddress }, "MembersAccountZero", [NEW_ID]],
    ];
    for (const [name, overrides, error, values] of refusals) {
      it(`refuses ${name}`, async () => {
        await refuses(members.admit(NEW_ID, makeProfile(fresh, overrides)), error, ...values);
        expect(await members.stateOf(NEW_ID)).to.equal(BigInt(State.None));
      });
    }

    it("refuses id 0", async () => {
      await expect(members.admit(0, makeProfile(fresh))).to.be.revertedWithCustomError(
        members,
        "MembersIdZero",
      );
    });

    it("gives no id twice, not even a left member's", async () => {
      for (const id of [Id.owner, Id.left])
        await refuses(members.admit(id, makeProfile(fresh)), "MembersIdUsed", id);
    });

    it("gives no account twice, not even a left member's or a rotated one", async () => {
      await members.rotateAccount(Id.other, fresh);
      for (const name of ["owner", "left", "suspended", "other"]) {
        await refuses(
          members.admit(NEW_ID, makeProfile(signers[name].address)),
          "MembersAccountUsed",
          signers[name].address,
          Id[name],
        );
      }
    });
  });

  describe("who speaks now", () => {
    for (const [name, expected] of [
      ["owner", Id.owner],
      ["observer", Id.observer],
      ["suspended", 0],
      ["left", 0],
      ["council", 0],
      ["stranger", 0],
    ]) {
      it(`${name}: ${expected}`, async () => {
        expect(await members.activeMemberOf(signers[name])).to.equal(BigInt(expected));
        expect((await members.activeProfileOf(signers[name])).role).to.equal(
          expected ? await members.roleOf(expected) : 0n,
        );
      });
    }

    it("only within the validity period: from its first second to the last before its end", async () => {
      const validFrom = (await time.latest()) + DAY;
      await members.admit(NEW_ID, makeProfile(fresh, { validFrom, validUntil: validFrom + DAY }));
      for (const [at, expected] of [
        [validFrom - 1, 0],
        [validFrom, NEW_ID],
        [validFrom + DAY - 1, NEW_ID],
        [validFrom + DAY, 0],
      ]) {
        await time.increaseTo(at);
        expect(await members.activeMemberOf(fresh), `at ${at}`).to.equal(BigInt(expected));
        expect(await members.stateOf(NEW_ID)).to.equal(BigInt(State.Active));
      }
    });

    it("the zero address never", async () => {
      expect(await members.activeMemberOf(ethers.ZeroAddress)).to.equal(0n);
      expect(await members.stateOf(0)).to.equal(0n);
      expect(await members.roleOf(999)).to.equal(0n);
    });
  });

  describe("states", () => {
    const moves = {
      suspend: { owner: State.Suspended },
      reinstate: { suspended: State.Active },
      remove: { owner: State.Left, suspended: State.Left },
    };
    const state = { owner: State.Active, suspended: State.Suspended, left: State.Left };
    for (const act of ["suspend", "reinstate", "remove"]) {
      for (const name of ["owner", "suspended", "left"]) {
        const after = moves[act][name];
        it(`${act} of ${name === "owner" ? "an active" : `a ${name}`} member ${after ? "works" : "is refused"}`, async () => {
          if (!after) return refuses(members[act](Id[name]), "MembersStateInvalid", Id[name], state[name]);
          await expect(members[act](Id[name]))
            .to.emit(members, "MemberStateChanged")
            .withArgs(Id[name], after);
          expect(await members.stateOf(Id[name])).to.equal(BigInt(after));
          return expect(await members.activeMemberOf(signers[name])).to.equal(
            after === State.Active ? BigInt(Id[name]) : 0n,
          );
        });
      }

      it(`${act} of an unknown member is refused`, async () => {
        for (const id of [0, 999]) await refuses(members[act](id), "MembersUnknown", id);
      });
    }
  });

  describe("account rotation", () => {
    it("moves the voice, in the same state and period", async () => {
      await expect(members.rotateAccount(Id.owner, fresh))
        .to.emit(members, "MemberAccountRotated")
        .withArgs(Id.owner, fresh);
      expect(await members.accountOf(Id.owner)).to.equal(fresh);
      expect(await members.activeMemberOf(fresh)).to.equal(BigInt(Id.owner));
      expect(await members.activeMemberOf(signers.owner)).to.equal(0n);
      expect(await members.memberOf(signers.owner)).to.equal(BigInt(Id.owner));
    });

    it("leaves the old account silent through later changes of state", async () => {
      await members.rotateAccount(Id.owner, fresh);
      await members.suspend(Id.owner);
      expect(await members.activeMemberOf(fresh)).to.equal(0n);
      await members.reinstate(Id.owner);
      expect(await members.activeMemberOf(fresh)).to.equal(BigInt(Id.owner));
      expect(await members.activeMemberOf(signers.owner)).to.equal(0n);
    });

    it("keeps a suspended member suspended", async () => {
      await members.rotateAccount(Id.suspended, fresh);
      expect(await members.activeMemberOf(fresh)).to.equal(0n);
      expect(await members.stateOf(Id.suspended)).to.equal(BigInt(State.Suspended));
    });

    it("takes no account that was ever used, by anyone", async () => {
      await members.rotateAccount(Id.owner, fresh);
      for (const [account, holder] of [
        [signers.other, Id.other],
        [signers.left, Id.left],
        [signers.owner, Id.owner],
        [signers.stranger, Id.owner],
      ]) {
        await refuses(
          members.rotateAccount(Id.owner, account),
          "MembersAccountUsed",
          account.address,
          holder,
        );
      }
    });

    it("refuses the zero account, unknown and left members", async () => {
      await refuses(members.rotateAccount(Id.owner, ethers.ZeroAddress), "MembersAccountZero", Id.owner);
      await refuses(members.rotateAccount(999, fresh), "MembersUnknown", 999);
      await refuses(members.rotateAccount(Id.left, fresh), "MembersStateInvalid", Id.left, State.Left);
    });
  });

  describe("successor", () => {
    it("is named, renamed and taken back", async () => {
      for (const successor of [Id.other, Id.issuer, 0]) {
        await expect(members.nameSuccessor(Id.left, successor))
          .to.emit(members, "MemberSuccessorNamed")
          .withArgs(Id.left, successor);
        expect(await members.successorOf(Id.left)).to.equal(BigInt(successor));
      }
    });

    it("is another member, known and not gone", async () => {
      await refuses(members.nameSuccessor(Id.owner, Id.owner), "MembersSuccessorInvalid", Id.owner, Id.owner);
      await refuses(members.nameSuccessor(Id.owner, 999), "MembersUnknown", 999);
      await refuses(members.nameSuccessor(Id.owner, Id.left), "MembersStateInvalid", Id.left, State.Left);
      await refuses(members.nameSuccessor(999, Id.owner), "MembersUnknown", 999);
    });
  });

  describe("contact", () => {
    const key = hex(seededBytes("new key", 1216));

    for (const caller of ["owner", "council"]) {
      it(`is set by ${caller}`, async () => {
        const as = members.connect(signers[caller]);
        await expect(as.setEndpoint(Id.owner, "https://new.example"))
          .to.emit(members, "MemberEndpointSet")
          .withArgs(Id.owner, "https://new.example");
        await expect(as.setHpkeKey(Id.owner, key))
          .to.emit(members, "MemberHpkeKeySet")
          .withArgs(Id.owner, key);
        expect(await members.contactOf(Id.owner)).to.deep.equal([
          textDigest("https://new.example"),
          digest(key),
        ]);
      });
    }

    for (const caller of ["other", "successor", "suspended", "stranger", "reviewer"]) {
      it(`is not set by ${caller}`, async () => {
        const as = members.connect(signers[caller]);
        await refuses(as.setEndpoint(Id.owner, "x"), "MembersNotSelf", Id.owner, signers[caller].address);
        await refuses(as.setHpkeKey(Id.owner, key), "MembersNotSelf", Id.owner, signers[caller].address);
      });
    }

    it("of a suspended member is the council's", async () => {
      await refuses(
        members.connect(signers.suspended).setEndpoint(Id.suspended, "x"),
        "MembersNotSelf",
        Id.suspended,
        signers.suspended.address,
      );
      await expect(members.setEndpoint(Id.suspended, "x")).to.emit(members, "MemberEndpointSet");
    });

    it("of nobody and of a left member is refused", async () => {
      for (const caller of ["stranger", "council"])
        await refuses(members.connect(signers[caller]).setEndpoint(0, "x"), "MembersUnknown", 0);
      await refuses(members.setEndpoint(Id.left, "x"), "MembersStateInvalid", Id.left, State.Left);
    });

    it("has limits", async () => {
      const as = members.connect(signers.owner);
      await refuses(as.setEndpoint(Id.owner, "e".repeat(257)), "MembersEndpointLength", 257);
      for (const length of [0, 31, 4097])
        await refuses(as.setHpkeKey(Id.owner, `0x${"01".repeat(length)}`), "MembersHpkeKeyLength", length);
    });
  });

  describe("envelopes", () => {
    const DOMAIN = 3;
    const envelope = (label) => hex(seededBytes(label, 1200));
    const publish = (
      epoch,
      ids,
      { domain = DOMAIN, envelopes = ids.map((id) => envelope(`${epoch} ${id}`)), as = signers.council } = {},
    ) => members.connect(as).publishEnvelopes(domain, epoch, ids, envelopes);

    it("are said in events and kept as digests, one for each member", async () => {
      const response = await publish(1, [Id.owner, Id.suspended]);
      for (const id of [Id.owner, Id.suspended]) {
        await expect(response)
          .to.emit(members, "EnvelopePublished")
          .withArgs(DOMAIN, 1, id, envelope(`1 ${id}`));
        expect(await members.envelopeDigestOf(DOMAIN, 1, id)).to.equal(digest(envelope(`1 ${id}`)));
      }
      expect(await members.envelopeDigestOf(DOMAIN, 1, Id.other)).to.equal(ethers.ZeroHash);
    });

    it("open epochs one after another, each domain by itself", async () => {
      await refuses(publish(2, [Id.owner]), "MembersEpochInvalid", DOMAIN, 0, 2);
      await publish(1, [Id.owner]);
      await publish(2, [Id.owner]);
      expect(await members.currentEpoch(DOMAIN)).to.equal(2n);
      await refuses(publish(4, [Id.owner]), "MembersEpochInvalid", DOMAIN, 2, 4);
      await refuses(publish(65_535, [Id.owner]), "MembersEpochInvalid", DOMAIN, 2, 65_535);
      await publish(1, [Id.owner], { domain: 4 });
      expect(await members.currentEpoch(4)).to.equal(1n);
    });

    it("bring old epochs to a later member", async () => {
      await publish(1, [Id.owner]);
      await publish(2, [Id.owner]);
      await publish(1, [Id.other]);
      expect(await members.currentEpoch(DOMAIN)).to.equal(2n);
    });

    it("of epoch 0, the consume key, move no epoch", async () => {
      await publish(0, [Id.owner]);
      expect(await members.currentEpoch(DOMAIN)).to.equal(0n);
      await refuses(publish(0, [Id.owner]), "MembersEnvelopeUsed", DOMAIN, 0, Id.owner);
    });

    it("are written once, all of a call or none", async () => {
      await publish(1, [Id.owner]);
      await refuses(publish(1, [Id.other, Id.owner]), "MembersEnvelopeUsed", DOMAIN, 1, Id.owner);
      expect(await members.envelopeDigestOf(DOMAIN, 1, Id.other)).to.equal(ethers.ZeroHash);
      await refuses(publish(2, [Id.other, Id.other]), "MembersEnvelopeUsed", DOMAIN, 2, Id.other);
      expect(await members.currentEpoch(DOMAIN)).to.equal(1n);
    });

    it("have limits", async () => {
      await expect(publish(1, [Id.owner], { domain: 0 })).to.be.revertedWithCustomError(
        members,
        "MembersDomainZero",
      );
      await refuses(publish(1, []), "MembersEnvelopeCount", 0, 0);
      await refuses(publish(1, [Id.owner], { envelopes: [] }), "MembersEnvelopeCount", 1, 0);
      await refuses(publish(1, [Id.owner], { envelopes: ["0x01", "0x02"] }), "MembersEnvelopeCount", 1, 2);
      const many = Array.from({ length: 65 }, () => Id.owner);
      await refuses(publish(1, many, { envelopes: many.map(() => "0x01") }), "MembersEnvelopeCount", 65, 65);
      await refuses(
        publish(1, [Id.owner, Id.other], { envelopes: ["0x01", "0x"] }),
        "MembersEnvelopeLength",
        1,
        0,
      );
      await refuses(
        publish(1, [Id.owner], { envelopes: [`0x${"01".repeat(4097)}`] }),
        "MembersEnvelopeLength",
        0,
        4097,
      );
      await publish(1, [Id.owner], { envelopes: [`0x${"01".repeat(4096)}`] });
    });

    it("go to members that are there", async () => {
      await refuses(publish(1, [999]), "MembersUnknown", 999);
      await refuses(publish(1, [Id.left]), "MembersStateInvalid", Id.left, State.Left);
    });

    it("are the council's to publish, 64 in one call", async () => {
      await refuses(
        publish(1, [Id.owner], { as: signers.owner }),
        "AccessManagedUnauthorized",
        signers.owner.address,
      );
      const wallets = Array.from({ length: 64 }, (_, i) =>
        ethers.computeAddress(hex(seededBytes(`wallet ${i}`, 32))),
      );
      for (const [i, wallet] of wallets.entries()) await members.admit(100 + i, makeProfile(wallet));
      const receipt = await (
        await publish(
          1,
          wallets.map((_, i) => 100 + i),
        )
      ).wait();
      expect(receipt.logs.length).to.equal(64);
    });
  });

  describe("signers of the chain", () => {
    const addresses = (count) =>
      Array.from({ length: count }, (_, i) => ethers.getAddress(hex(be(0x1000 + i, 20))));

    it("are kept as the digest of their 20-byte addresses", async () => {
      for (const [fromBlock, count] of [
        [0, 1],
        [1, 5],
        [900, 64],
      ]) {
        const signerSet = addresses(count);
        await expect(members.setSigners(fromBlock, signerSet))
          .to.emit(members, "SignersSet")
          .withArgs(fromBlock, signerSet);
        const expected = hex(sha256(...signerSet.map(unhex)));
        expect(await members.signersDigest(fromBlock)).to.equal(expected);
        expect(await members.latestSigners()).to.deep.equal([BigInt(fromBlock), expected]);
      }
    });

    it("are none at first", async () => {
      expect(await members.latestSigners()).to.deep.equal([0n, ethers.ZeroHash]);
    });

    it("come in the order of their blocks", async () => {
      for (const first of [0, 10]) {
        await members.setSigners(first, addresses(1));
        for (const block of [0, first])
          await refuses(members.setSigners(block, addresses(2)), "MembersSignersBlock", first, block);
      }
    });

    it("are strictly ascending, without the zero address", async () => {
      const [a, b, c] = addresses(3);
      await refuses(members.setSigners(1, [a, c, b]), "MembersSignersOrder", 2);
      await refuses(members.setSigners(1, [a, a]), "MembersSignersOrder", 1);
      await refuses(members.setSigners(1, [ethers.ZeroAddress, a]), "MembersSignersOrder", 0);
    });

    it("are 1 to 64", async () => {
      for (const count of [0, 65])
        await refuses(members.setSigners(1, addresses(count)), "MembersSignersCount", count);
    });
  });

  describe("the council's acts", () => {
    const acts = {
      admit: (m) => m.admit(NEW_ID, makeProfile(fresh)),
      suspend: (m) => m.suspend(Id.owner),
      reinstate: (m) => m.reinstate(Id.suspended),
      remove: (m) => m.remove(Id.owner),
      rotateAccount: (m) => m.rotateAccount(Id.owner, fresh),
      nameSuccessor: (m) => m.nameSuccessor(Id.owner, Id.other),
      publishEnvelopes: (m) => m.publishEnvelopes(1, 1, [Id.owner], ["0x01"]),
      setSigners: (m) => m.setSigners(1, [fresh]),
    };
    for (const [name, act] of Object.entries(acts)) {
      it(`${name} is refused to everyone else`, async () => {
        for (const caller of ["owner", "successor", "suspended", "stranger", "reviewer"]) {
          await refuses(
            act(members.connect(signers[caller])),
            "AccessManagedUnauthorized",
            signers[caller].address,
          );
        }
      });
    }

    it("can be put under a delay: scheduled first, done later", async () => {
      const council = signers.reviewer;
      await authority.grantRole(0, council, DAY);
      await expect(members.connect(council).suspend(Id.owner)).to.be.revertedWithCustomError(
        authority,
        "AccessManagerNotScheduled",
      );
      const call = members.interface.encodeFunctionData("suspend", [Id.owner]);
      await authority.connect(council).schedule(members, call, 0);
      await time.increase(DAY);
      await authority.connect(council).execute(members, call);
      expect(await members.stateOf(Id.owner)).to.equal(BigInt(State.Suspended));
    });

    it("that a member may do too are done under a delay through the authority", async () => {
      const council = signers.reviewer;
      await authority.grantRole(0, council, DAY);
      await refuses(
        members.connect(council).setEndpoint(Id.owner, "x"),
        "MembersNotSelf",
        Id.owner,
        council.address,
      );
      const call = members.interface.encodeFunctionData("setEndpoint", [Id.owner, "x"]);
      await authority.connect(council).schedule(members, call, 0);
      await time.increase(DAY);
      await expect(authority.connect(council).execute(members, call))
        .to.emit(members, "MemberEndpointSet")
        .withArgs(Id.owner, "x");
    });
  });
});
