// Random operations against a plain model of the ledger, with new versions and changes of membership in between. After each
// step the touched values agree; after each run so does everything else.
import { expect } from "chai";
import fc from "fast-check";

import {
  Flag,
  batchHash,
  batchRoot,
  commitmentOf,
  hex,
  makeDocument,
  makeRecords,
  seededBytes,
  statusWord,
  treeHash,
  unhex,
} from "./support/reference.js";
import { Id, State, deployConsortium, ethers, eventOf, loadFixture, timeOf } from "./support/system.js";

const ACTORS = ["owner", "other", "successor", "observer", "suspended", "left", "council", "stranger"];
const TARGETS = ["owner", "other", "suspended", "left"];
const CLAIMS = ["a", "b"].map(commitmentOf);
const DOCUMENTS = ["a", "b", "c"].map((label) => makeDocument(label));
const NULLIFIERS = ["a", "b"].map((label) => seededBytes(`nullifier ${label}`, 32));
const USES = ["x", "y"].map(commitmentOf);
const STICKY = Flag.REVOKED | Flag.SUPERSEDED | Flag.ERASED;
const FLAG_OF = {
  revoke: Flag.REVOKED,
  suspend: Flag.SUSPENDED,
  erase: Flag.ERASED,
  supersede: Flag.SUPERSEDED,
};
const NOTHING = { flags: 0, since: 0, reason: 0, successor: Buffer.alloc(24) };

/** One version of the ledger as maps; `before` is the version it honours. */
class LedgerModel {
  constructor(before) {
    Object.assign(this, {
      before,
      log: [],
      seqs: new Map(),
      status: new Map(),
      documents: new Map(),
      consumed: new Map(),
    });
  }

  statusOf(key) {
    const own = this.status.get(key);
    const inherited = this.before?.statusOf(key) ?? NOTHING;
    if (!own) return inherited;
    const lasting = own.endedInherited ? STICKY : STICKY | Flag.SUSPENDED;
    return {
      ...own,
      flags: own.flags | (inherited.flags & lasting),
      successor: own.successor.every((b) => b === 0) ? inherited.successor : own.successor,
    };
  }

  documentOf = (key) => this.documents.get(key) ?? this.before?.documentOf(key);

  useOf = (nullifier) =>
    this.consumed.has(nullifier) ? this.consumed.get(nullifier) : this.before?.useOf(nullifier);
}

/** The consortium as the model sees it: who is in which state, and the newest ledger. */
class ConsortiumModel {
  states = {
    ...Object.fromEntries(Object.keys(Id).map((name) => [name, State.Active])),
    suspended: State.Suspended,
    left: State.Left,
  };
  ledger = new LedgerModel();

  activeIdOf = (actor) => (this.states[actor] === State.Active ? Id[actor] : 0);

  mayMark(actor, target) {
    const active = this.activeIdOf(actor);
    if (active === Id[target] || (active === Id.successor && target === "owner")) return true;
    return actor === "council" && this.states[target] === State.Suspended;
  }
}

const refused = (ledger, call, error) => expect(call).to.be.revertedWithCustomError(ledger, error);
const wordOf = (value) =>
  hex(value.since ? statusWord({ ...value, flags: value.flags & ~Flag.SEEN }) : Buffer.alloc(32));

class Append {
  constructor(values) {
    Object.assign(this, values);
  }
  check = () => true;
  toString = () =>
    `append(${this.actor}, ${this.count} records, seq ${this.seqOffset >= 0 ? "+" : ""}${this.seqOffset})`;

  async run(model, real) {
    const memberId = model.activeIdOf(this.actor);
    const next = model.ledger.seqs.get(memberId) ?? 0;
    const seq = Math.max(0, next + this.seqOffset);
    const id = model.ledger.log.length;
    const records = makeRecords(`${this.actor} ${id} ${seq}`, this.count, { format: this.stream });
    const call = real.as(this.actor).append(this.stream, seq, hex(records));
    if (memberId === 0) return refused(real.ledger, call, "LedgerNotMember");
    if (this.actor === "observer") return refused(real.ledger, call, "LedgerObserver");
    if (seq !== next) return refused(real.ledger, call, "LedgerSequence");
    const time = await timeOf(call);
    const root = batchRoot(memberId, records);
    model.ledger.log.push(
      batchHash({ id, memberId, stream: this.stream, seq, size: this.count, root, time }),
    );
    model.ledger.seqs.set(memberId, next + 1);
    expect(unhex((await eventOf(real.ledger, call, "BatchAppended")).root)).to.deep.equal(root);
    expect(await real.ledger.logRoot()).to.equal(hex(treeHash(model.ledger.log)));
  }
}

class Mark {
  constructor(values) {
    Object.assign(this, values);
  }
  check = () => true;
  toString = () => `${this.act}(${this.actor} on ${this.target}'s claim ${this.claim})`;

  async run(model, real) {
    const commitment = CLAIMS[this.claim];
    const successor = CLAIMS[1 - this.claim];
    const argument = this.act === "supersede" ? hex(successor) : this.reason;
    const call = real.as(this.actor)[this.act](Id[this.target], hex(commitment), argument);
    if (!model.mayMark(this.actor, this.target)) return refused(real.ledger, call, "LedgerNotOwner");
    const key = `${this.target} ${this.claim}`;
    const held = (model.ledger.statusOf(key).flags & (FLAG_OF[this.act] ?? Flag.SUSPENDED)) !== 0;
    if (held !== (this.act === "resume")) return refused(real.ledger, call, "LedgerStatusUnchanged");
    const own = model.ledger.status.get(key) ?? NOTHING;
    model.ledger.status.set(key, {
      ...own,
      ...this.after(model, key, own, successor),
      since: await timeOf(call),
    });
    expect(await real.ledger.statusOf(Id[this.target], hex(commitment))).to.equal(
      wordOf(model.ledger.statusOf(key)),
    );
  }

  after(model, key, own, successor) {
    if (this.act === "supersede")
      return { flags: own.flags | Flag.SUPERSEDED, reason: 0, successor: successor.subarray(0, 24) };
    if (this.act !== "resume") return { flags: own.flags | FLAG_OF[this.act], reason: this.reason };
    const inherited = (model.ledger.before?.statusOf(key).flags ?? 0) & Flag.SUSPENDED;
    return {
      flags: own.flags & ~Flag.SUSPENDED,
      reason: this.reason,
      endedInherited: own.endedInherited || inherited !== 0,
    };
  }
}

class RevokeDocuments {
  constructor(values) {
    Object.assign(this, values);
  }
  check = () => true;
  toString = () => `revokeDocuments(${this.actor}, ${this.documents})`;

  async run(model, real) {
    const memberId = model.activeIdOf(this.actor);
    const call = real.as(this.actor).revokeDocuments(
      this.documents.map((i) => hex(DOCUMENTS[i])),
      this.reason,
    );
    if (memberId === 0) return refused(real.ledger, call, "LedgerNotMember");
    const since = await timeOf(call);
    for (const i of this.documents) {
      const key = `${this.actor} ${i}`;
      if (!model.ledger.documentOf(key))
        model.ledger.documents.set(key, { ...NOTHING, flags: Flag.REVOKED, since, reason: this.reason });
      expect(await real.ledger.documentStatusOf(memberId, hex(DOCUMENTS[i]))).to.equal(
        wordOf(model.ledger.documentOf(key)),
      );
    }
  }
}

class Consume {
  constructor(values) {
    Object.assign(this, values);
  }
  check = () => true;
  toString = () => `consume(${this.actor}, ${this.nullifier}, ${this.use})`;

  async run(model, real) {
    const memberId = model.activeIdOf(this.actor);
    const call = real.as(this.actor).consume(hex(NULLIFIERS[this.nullifier]), hex(USES[this.use]));
    if (memberId === 0) return refused(real.ledger, call, "LedgerNotMember");
    const held = model.ledger.useOf(this.nullifier);
    const same = held && held.memberId === memberId && held.use === this.use;
    if (held && !same) return refused(real.ledger, call, "LedgerConsumed");
    const at = await timeOf(call);
    if (!held) model.ledger.consumed.set(this.nullifier, { memberId, use: this.use, at });
  }
}

class Clear {
  constructor(values) {
    Object.assign(this, values);
  }
  check = () => true;
  toString = () => `clearConsumption(${this.actor}, ${this.nullifier})`;

  async run(model, real) {
    const call = real.as(this.actor).clearConsumption(hex(NULLIFIERS[this.nullifier]), 1);
    if (this.actor !== "council") return refused(real.ledger, call, "AccessManagedUnauthorized");
    if (!model.ledger.useOf(this.nullifier)) return refused(real.ledger, call, "LedgerNotConsumed");
    await call;
    model.ledger.consumed.set(this.nullifier, null);
  }
}

class ToggleMember {
  constructor(name) {
    this.name = name;
  }
  check = () => true;
  toString = () => `suspend or reinstate ${this.name}`;

  async run(model, real) {
    const suspend = model.states[this.name] === State.Active;
    await (suspend ? real.members.suspend(Id[this.name]) : real.members.reinstate(Id[this.name]));
    model.states[this.name] = suspend ? State.Suspended : State.Active;
  }
}

class Upgrade {
  check = () => true;
  toString = () => "new version of the ledger";

  async run(model, real) {
    real.ledger = await ethers.deployContract("Ledger", [real.authority, real.members, real.ledger]);
    model.ledger = new LedgerModel(model.ledger);
  }
}

const actor = fc.constantFrom(...ACTORS);
const reason = fc.integer({ min: 0, max: 0xffff });
const writer = fc.constantFrom("owner", "owner", "other", ...ACTORS);
const commands = [
  fc
    .record({
      actor: writer,
      count: fc.integer({ min: 1, max: 20 }),
      stream: fc.integer({ min: 1, max: 3 }),
      seqOffset: fc.constantFrom(0, 0, 0, 1, -1),
    })
    .map((v) => new Append(v)),
  fc
    .record({
      actor,
      target: fc.constantFrom(...TARGETS),
      claim: fc.nat(1),
      reason,
      act: fc.constantFrom("revoke", "suspend", "suspend", "resume", "resume", "erase", "supersede"),
    })
    .map((v) => new Mark(v)),
  fc
    .record({
      actor: fc.constantFrom("owner", "successor"),
      target: fc.constant("owner"),
      claim: fc.nat(1),
      reason,
      act: fc.constantFrom("suspend", "resume", "supersede", "revoke"),
    })
    .map((v) => new Mark(v)),
  fc
    .record({ actor, documents: fc.array(fc.nat(2), { minLength: 1, maxLength: 4 }), reason })
    .map((v) => new RevokeDocuments(v)),
  fc.record({ actor, nullifier: fc.nat(1), use: fc.nat(1) }).map((v) => new Consume(v)),
  fc
    .record({ actor: fc.constantFrom("council", "owner", "stranger"), nullifier: fc.nat(1) })
    .map((v) => new Clear(v)),
  fc.constantFrom("owner", "other", "successor", "suspended").map((name) => new ToggleMember(name)),
  fc.constant(new Upgrade()),
];

/** Everything that the model says, read back. */
async function expectAgreement(model, real) {
  const { ledger } = real;
  expect(await ledger.logSize()).to.equal(BigInt(model.ledger.log.length));
  expect(await ledger.logRoot()).to.equal(
    hex(model.ledger.log.length ? treeHash(model.ledger.log) : Buffer.alloc(32)),
  );
  for (const [memberId, seq] of model.ledger.seqs)
    expect(await ledger.nextSeq(memberId)).to.equal(BigInt(seq));
  for (const target of TARGETS) {
    for (const claim of CLAIMS.keys()) {
      const word = wordOf(model.ledger.statusOf(`${target} ${claim}`));
      expect(await ledger.statusOf(Id[target], hex(CLAIMS[claim]))).to.equal(word);
    }
  }
  for (const [i, nullifier] of NULLIFIERS.entries()) {
    const held = model.ledger.useOf(i);
    const expected = held
      ? [hex(USES[held.use]), BigInt(held.memberId), BigInt(held.at)]
      : [hex(Buffer.alloc(32)), 0n, 0n];
    expect(await ledger.consumptionOf(hex(nullifier))).to.deep.equal(expected);
  }
}

describe("Ledger: any sequence of operations", () => {
  it("leaves what a plain model of it says", async () => {
    await fc.assert(
      fc.asyncProperty(fc.commands(commands, { maxCommands: 40, size: "max" }), async (steps) => {
        const system = await loadFixture(deployConsortium);
        const real = { ...system, as: (name) => real.ledger.connect(system.signers[name]) };
        const model = new ConsortiumModel();
        await fc.asyncModelRun(() => ({ model, real }), steps);
        await expectAgreement(model, real);
      }),
      { numRuns: 100 },
    );
  });

  it("keeps the log root right at every power of two up to 256", async () => {
    const { ledger, signers } = await loadFixture(deployConsortium);
    const hashes = [];
    for (let id = 0; id < 257; id += 1) {
      const records = makeRecords(`power ${id}`, 1);
      const time = await timeOf(ledger.connect(signers.owner).append(1, id, hex(records)));
      const entry = {
        id,
        memberId: Id.owner,
        stream: 1,
        seq: id,
        size: 1,
        root: batchRoot(Id.owner, records),
        time,
      };
      hashes.push(batchHash(entry));
      const edge = [0, 1].some((d) => ((id + d) & (id + d - 1)) === 0);
      if (edge) expect(await ledger.logRoot(), `after batch ${id}`).to.equal(hex(treeHash(hashes)));
    }
  });
});
