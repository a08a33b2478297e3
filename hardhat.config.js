// Builds and tests the contracts, offline. The compiler and its settings are those of contracts/build.py.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import hardhatEthers from "@nomicfoundation/hardhat-ethers";
import hardhatChaiMatchers from "@nomicfoundation/hardhat-ethers-chai-matchers";
import hardhatMocha from "@nomicfoundation/hardhat-mocha";
import hardhatNetworkHelpers from "@nomicfoundation/hardhat-network-helpers";
import { defineConfig } from "hardhat/config";

const compiler = JSON.parse(readFileSync(new URL("contracts/compiler.json", import.meta.url), "utf8"));
const soljson = createRequire(import.meta.url).resolve("solc/soljson.js");

export default defineConfig({
  plugins: [hardhatEthers, hardhatChaiMatchers, hardhatMocha, hardhatNetworkHelpers],
  solidity: { version: compiler.version, path: soljson, settings: compiler.settings },
  paths: {
    sources: "contracts",
    tests: "tests/contracts",
    artifacts: "build/hardhat/artifacts",
    cache: "build/hardhat/cache",
  },
  test: { mocha: { timeout: 120_000, forbidOnly: true, forbidPending: true } },
  networks: {
    default: {
      type: "edr-simulated",
      // The rules of the consortium's chains: no fee market, price 0, room for full batches.
      hardfork: "berlin",
      gasPrice: 0,
      blockGasLimit: 60_000_000,
      initialDate: "2026-01-01T00:00:00Z",
      accounts: { count: 12 },
    },
  },
});
