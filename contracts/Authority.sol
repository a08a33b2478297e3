// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";

/// @title Authority of the consortium
/// @notice OpenZeppelin's AccessManager; its admin is the council (a multisig, or the deployer on a
/// single-operator chain).
contract Authority is AccessManager {
    constructor(address council) AccessManager(council) {}
}
