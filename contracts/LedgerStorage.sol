// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ILedger} from "./interfaces/ILedger.sol";

/// @title Storage of the ledger
/// @notice Receipts prove these slots, so their numbers are a wire format: docs/reference/ledger-storage.md.
/// @dev First among the ledger's bases, so that the numbers start at 0. A new variable goes to the end.
abstract contract LedgerStorage is ILedger {
    /// @dev The right edge of a log of up to 2^64 - 1 batches.
    uint256 internal constant FRONTIER_LEVELS = 64;

    /// @inheritdoc ILedger
    uint64 public logSize; // slot 0
    /// @inheritdoc ILedger
    bytes32 public logRoot; // slot 1
    /// @inheritdoc ILedger
    mapping(uint64 id => bytes32) public batchHash; // slot 2
    /// @inheritdoc ILedger
    mapping(bytes32 key => bytes32) public status; // slot 3
    /// @inheritdoc ILedger
    mapping(bytes32 key => bytes32) public documentStatus; // slot 4
    /// @inheritdoc ILedger
    mapping(bytes32 nullifier => bytes32) public consumedUse; // slot 5
    /// @inheritdoc ILedger
    mapping(bytes32 nullifier => bytes32) public consumedBy; // slot 6
    /// @inheritdoc ILedger
    mapping(uint32 memberId => uint64) public nextSeq; // slot 7
    /// @inheritdoc ILedger
    bytes32[FRONTIER_LEVELS] public frontier; // slots 8 to 71; level 0 stays empty, see {RFC6962}
}
