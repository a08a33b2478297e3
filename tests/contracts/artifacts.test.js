// The committed artifacts are what a second, independent build of the sources gives.
import { readFileSync, readdirSync } from "node:fs";

import { expect } from "chai";
import { artifacts } from "hardhat";

import { ethers } from "./support/system.js";

const FOLDER = new URL("../../contracts/artifacts/", import.meta.url);
const MAX_CODE_BYTES = 24_576; // EIP-170

describe("Artifacts", () => {
  const names = readdirSync(FOLDER).map((file) => file.replace(/\.json$/, ""));
  const read = (name) => JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), "utf8"));

  it("are these six", () => {
    expect(names.sort()).to.deep.equal([
      "Authority",
      "Catalog",
      "Directory",
      "Ledger",
      "Members",
      "ReceiptVerifier",
    ]);
  });

  for (const name of names) {
    it(`${name}: code and interface equal Hardhat's build`, async () => {
      const built = await artifacts.readArtifact(name);
      const committed = read(name);
      expect(committed.bytecode).to.equal(built.bytecode);
      expect(committed.deployedBytecode).to.equal(built.deployedBytecode);
      expect(committed.abi).to.deep.equal(built.abi);
    });

    it(`${name}: fits the code size limit`, () => {
      expect(ethers.dataLength(read(name).deployedBytecode)).to.be.at.most(MAX_CODE_BYTES);
    });
  }

  it("use no opcode newer than Berlin's", () => {
    // PUSH0 (Shanghai), TLOAD, TSTORE, MCOPY, BLOBHASH, BLOBBASEFEE (Cancun), BASEFEE (London), PREVRANDAO is DIFFICULTY.
    const newer = new Set([0x48, 0x49, 0x4a, 0x5c, 0x5d, 0x5e, 0x5f]);
    for (const name of names) {
      const code = ethers.getBytes(read(name).deployedBytecode);
      for (let at = 0; at < code.length; at += 1) {
        const opcode = code[at];
        expect(newer.has(opcode), `${name} at ${at}`).to.equal(false);
        if (opcode >= 0x60 && opcode <= 0x7f) at += opcode - 0x5f;
      }
    }
  });
});
