// A consortium on a fresh simulated chain: contracts, council, members in every state.
import { network } from "hardhat";

import { hex, seededBytes } from "./reference.js";

export const { ethers, networkHelpers } = await network.create();
export const { loadFixture, time } = networkHelpers;

export const Role = { City: 1, Sector: 2, District: 3, Partner: 4, Observer: 5 };
export const State = { None: 0, Active: 1, Suspended: 2, Left: 3 };
export const REVIEWER = 1n;
export const DAY = 86_400;

/** Member ids that the fixture admits; `stranger` and `council` are no members. */
export const Id = { owner: 11, other: 12, successor: 13, observer: 14, suspended: 15, left: 16, issuer: 17 };

export function makeProfile(account, overrides = {}) {
  return {
    account,
    role: Role.District,
    level: 2,
    area: 310104,
    uscc: hex(Buffer.from("11310104MB2F30456X", "ascii")),
    validFrom: 0,
    validUntil: 0,
    name: "District bureau",
    endpoint: "https://node.example",
    hpkeKey: hex(seededBytes(`hpke ${account}`, 1216)),
    ...overrides,
  };
}

/** Deploys the contracts; the council is the authority's admin and also a reviewer. */
export async function deploySystem() {
  const [council, owner, other, successor, observer, suspended, left, issuer, stranger, reviewer] =
    await ethers.getSigners();
  const authority = await ethers.deployContract("Authority", [council]);
  const directory = await ethers.deployContract("Directory", [authority]);
  const members = await ethers.deployContract("Members", [authority]);
  const ledger = await ethers.deployContract("Ledger", [authority, members, ethers.ZeroAddress]);
  const catalog = await ethers.deployContract("Catalog", [authority, members]);
  const reviewed = ["approve", "approveMany"].map((name) => catalog.interface.getFunction(name).selector);
  await authority.setTargetFunctionRole(catalog, reviewed, REVIEWER);
  for (const account of [council, reviewer]) await authority.grantRole(REVIEWER, account, 0);
  const signers = { council, owner, other, successor, observer, suspended, left, issuer, stranger, reviewer };
  return { authority, directory, members, ledger, catalog, signers };
}

/** `deploySystem` with a member in every state; `successor` may act for `owner`. */
export async function deployConsortium() {
  const system = await deploySystem();
  const { members, signers } = system;
  for (const [name, memberId] of Object.entries(Id)) {
    const role = name === "observer" ? Role.Observer : Role.District;
    await members.admit(memberId, makeProfile(signers[name].address, { role }));
  }
  await members.nameSuccessor(Id.owner, Id.successor);
  await members.suspend(Id.suspended);
  await members.remove(Id.left);
  return system;
}

/** Block time of a mined transaction. */
export async function timeOf(response) {
  const receipt = await (await response).wait();
  return (await ethers.provider.getBlock(receipt.blockNumber)).timestamp;
}

/** The only event of `name` in a transaction. */
export async function eventOf(contract, response, name) {
  const receipt = await (await response).wait();
  const found = receipt.logs
    .map((log) => contract.interface.parseLog(log))
    .filter((event) => event?.name === name);
  if (found.length !== 1) throw new Error(`expected one ${name}, found ${found.length}`);
  return found[0].args;
}

/** Raw storage word of a contract. */
export const slotOf = async (contract, slot) => ethers.provider.getStorage(await contract.getAddress(), slot);

/** Slot of `mapping[key]` in Solidity's layout; `key` is 32 bytes or a number. */
export function mappingSlot(key, slot) {
  const word = typeof key === "string" ? key : ethers.toBeHex(key, 32);
  return ethers.keccak256(ethers.concat([word, ethers.toBeHex(slot, 32)]));
}
