import { expect } from "chai";

import { deployConsortium, ethers, loadFixture } from "./support/system.js";

const LEDGER = ethers.encodeBytes32String("ledger");

describe("Directory", () => {
  let directory, ledger, members, signers;
  beforeEach(async () => ({ directory, ledger, members, signers } = await loadFixture(deployConsortium)));

  it("maps a name and a version to a contract, and the name to its latest", async () => {
    await expect(directory.set(LEDGER, 1, ledger))
      .to.emit(directory, "NameSet")
      .withArgs(LEDGER, 1, await ledger.getAddress());
    await directory.set(LEDGER, 2, members);
    expect(await directory.latest(LEDGER)).to.deep.equal([2n, await members.getAddress()]);
    expect(await directory.getFunction("at")(LEDGER, 1)).to.equal(await ledger.getAddress());
  });

  it("knows nothing of a name or version never set", async () => {
    await directory.set(LEDGER, 1, ledger);
    expect(await directory.latest(ethers.encodeBytes32String("catalog"))).to.deep.equal([
      0n,
      ethers.ZeroAddress,
    ]);
    for (const version of [0, 2])
      expect(await directory.getFunction("at")(LEDGER, version)).to.equal(ethers.ZeroAddress);
  });

  for (const version of [0, 1, 3, 2 ** 32 - 1]) {
    it(`after version 1, refuses version ${version}`, async () => {
      await directory.set(LEDGER, 1, ledger);
      await expect(directory.set(LEDGER, version, members))
        .to.be.revertedWithCustomError(directory, "DirectoryVersion")
        .withArgs(LEDGER, 2, version);
    });
  }

  it("refuses a target without code", async () => {
    for (const target of [ethers.ZeroAddress, signers.stranger.address]) {
      await expect(directory.set(LEDGER, 1, target))
        .to.be.revertedWithCustomError(directory, "DirectoryCodeMissing")
        .withArgs(LEDGER, target);
    }
  });

  it("refuses an empty name", async () => {
    await expect(directory.set(ethers.ZeroHash, 1, ledger)).to.be.revertedWithCustomError(
      directory,
      "DirectoryNameEmpty",
    );
  });

  for (const caller of ["owner", "stranger", "reviewer"]) {
    it(`not by ${caller}`, async () => {
      await expect(directory.connect(signers[caller]).set(LEDGER, 1, ledger))
        .to.be.revertedWithCustomError(directory, "AccessManagedUnauthorized")
        .withArgs(signers[caller].address);
    });
  }
});
