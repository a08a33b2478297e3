// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Governed} from "./Governed.sol";
import {LedgerStorage} from "./LedgerStorage.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {Records} from "./libraries/Records.sol";
import {RFC6962} from "./libraries/RFC6962.sol";
import {StatusWord} from "./libraries/StatusWord.sol";

/// @title Ledger
/// @notice Implements {ILedger}, where each function is described.
contract Ledger is LedgerStorage, Governed {
    using RFC6962 for bytes32[64];

    uint256 private constant MAX_RECORDS = 512;
    uint256 private constant MAX_DOCUMENTS = 64;
    uint8 private constant LAST_STREAM = 3;

    IMembers private immutable _members;
    ILedger private immutable _predecessor;

    /// @param predecessor_ The ledger before this one, or zero for the first.
    constructor(address authority_, address members_, address predecessor_) Governed(authority_) {
        if (members_.code.length == 0) revert LedgerCodeMissing(members_);
        if (predecessor_ != address(0) && predecessor_.code.length == 0)
            revert LedgerCodeMissing(predecessor_);
        _members = IMembers(members_);
        _predecessor = ILedger(predecessor_);
    }

    // Records

    /// @inheritdoc ILedger
    function append(
        uint8 stream,
        uint64 expectedSeq,
        bytes calldata records
    ) external returns (uint64 batchId) {
        uint32 memberId = _appender();
        bytes32 root = _checkedRoot(stream, memberId, records);
        _takeSequence(memberId, expectedSeq);
        uint32 size = uint32(records.length / Records.RECORD_BYTES);
        uint64 time = uint64(block.timestamp);
        batchId = _log(abi.encodePacked(bytes1(0), logSize, memberId, stream, expectedSeq, size, root, time));
        emit BatchAppended(batchId, memberId, stream, expectedSeq, size, root, time, records);
    }

    /// @param entry 0x00 ‖ entry (docs/reference/batch-and-log.md).
    function _log(bytes memory entry) private returns (uint64 batchId) {
        bytes32 leaf = sha256(entry);
        batchId = logSize;
        bytes32 last = batchId & 1 == 1 ? batchHash[batchId - 1] : bytes32(0);
        batchHash[batchId] = leaf;
        logRoot = frontier.push(batchId, last, leaf);
        logSize = batchId + 1;
    }

    function _appender() private view returns (uint32 memberId) {
        uint8 role;
        (memberId, role) = _members.activeProfileOf(msg.sender);
        if (memberId == 0) revert LedgerNotMember(msg.sender);
        if (role == uint8(IMembers.Role.Observer)) revert LedgerObserver(memberId);
    }

    function _checkedRoot(
        uint8 stream,
        uint32 memberId,
        bytes calldata records
    ) private view returns (bytes32 root) {
        if (stream == 0 || stream > LAST_STREAM) revert LedgerStreamUnknown(stream);
        uint256 length = records.length;
        if (
            length == 0 || length > MAX_RECORDS * Records.RECORD_BYTES || length % Records.RECORD_BYTES != 0
        ) {
            revert LedgerRecordsLength(length);
        }
        bool flawed;
        (root, flawed) = Records.root(stream, memberId, records);
        if (flawed) revert LedgerRecordMalformed(Records.firstFlawed(stream, records));
    }

    /// @dev Two senders of one member, or a batch signed twice, cannot both get past this.
    function _takeSequence(uint32 memberId, uint64 expectedSeq) private {
        uint64 next = nextSeq[memberId];
        if (expectedSeq != next) revert LedgerSequence(memberId, next, expectedSeq);
        nextSeq[memberId] = next + 1;
    }

    // Status of claims

    /// @inheritdoc ILedger
    function revoke(uint32 memberId, bytes32 commitment, uint16 reason) external {
        _setFlag(memberId, commitment, StatusWord.REVOKED, reason, 0);
    }

    /// @inheritdoc ILedger
    function suspend(uint32 memberId, bytes32 commitment, uint16 reason) external {
        _setFlag(memberId, commitment, StatusWord.SUSPENDED, reason, 0);
    }

    /// @inheritdoc ILedger
    function erase(uint32 memberId, bytes32 commitment, uint16 reason) external {
        _setFlag(memberId, commitment, StatusWord.ERASED, reason, 0);
    }

    /// @inheritdoc ILedger
    function supersede(uint32 memberId, bytes32 commitment, bytes32 successorCommitment) external {
        bytes24 successor = bytes24(successorCommitment);
        if (successor == 0 || successorCommitment == commitment) {
            revert LedgerSuccessorInvalid(commitment, successorCommitment);
        }
        _setFlag(memberId, commitment, StatusWord.SUPERSEDED, 0, successor);
    }

    /// @inheritdoc ILedger
    function resume(uint32 memberId, bytes32 commitment, uint16 reason) external {
        _checkOwner(memberId);
        bytes32 key = _claimKey(memberId, commitment);
        bytes32 own = status[key];
        bytes32 inherited = _inheritedStatus(memberId, commitment);
        bytes32 current = StatusWord.merge(own, inherited);
        if (StatusWord.flagsOf(current) & StatusWord.SUSPENDED == 0) {
            revert LedgerStatusUnchanged(memberId, commitment, current);
        }
        uint8 flags = StatusWord.flagsOf(own) & ~StatusWord.SUSPENDED;
        if (StatusWord.flagsOf(inherited) & StatusWord.SUSPENDED != 0) flags |= StatusWord.SEEN;
        _writeStatus(
            memberId,
            commitment,
            key,
            StatusWord.encode(flags, reason, StatusWord.successorOf(own))
        );
    }

    function _setFlag(
        uint32 memberId,
        bytes32 commitment,
        uint8 flag,
        uint16 reason,
        bytes24 successor
    ) private {
        _checkOwner(memberId);
        bytes32 key = _claimKey(memberId, commitment);
        bytes32 own = status[key];
        bytes32 current = StatusWord.merge(own, _inheritedStatus(memberId, commitment));
        if (StatusWord.flagsOf(current) & flag != 0)
            revert LedgerStatusUnchanged(memberId, commitment, current);
        if (successor == 0) successor = StatusWord.successorOf(own);
        _writeStatus(
            memberId,
            commitment,
            key,
            StatusWord.encode(StatusWord.flagsOf(own) | flag, reason, successor)
        );
    }

    function _writeStatus(uint32 memberId, bytes32 commitment, bytes32 key, bytes32 value) private {
        status[key] = value;
        emit StatusChanged(memberId, commitment, value);
    }

    /// @dev A caller that speaks for nobody has member id 0, and an unnamed successor is 0 too: hence the
    /// first test.
    function _checkOwner(uint32 memberId) private view {
        uint32 caller = _members.activeMemberOf(msg.sender);
        if (caller != 0 && (caller == memberId || caller == _members.successorOf(memberId))) return;
        if (_members.stateOf(memberId) == uint8(IMembers.State.Suspended) && _isCouncil()) return;
        revert LedgerNotOwner(memberId, msg.sender);
    }

    function _claimKey(uint32 memberId, bytes32 commitment) private pure returns (bytes32 key) {
        return sha256(abi.encodePacked(memberId, commitment));
    }

    // Status of documents

    /// @inheritdoc ILedger
    function revokeDocuments(bytes20[] calldata documents, uint16 reason) external {
        uint32 memberId = _activeMember();
        uint256 count = documents.length;
        if (count == 0 || count > MAX_DOCUMENTS) revert LedgerDocumentsCount(count);
        bytes32 value = StatusWord.encode(StatusWord.REVOKED, reason, 0);
        for (uint256 i = 0; i < count; ++i) {
            _checkDocument(documents[i], i);
            if (documentStatusOf(memberId, documents[i]) != 0) continue;
            documentStatus[_documentKey(memberId, documents[i])] = value;
            emit DocumentRevoked(memberId, documents[i], value);
        }
    }

    /// @dev An empty tag marks a record without a document number: revoking it would hit all of them.
    function _checkDocument(bytes20 document, uint256 index) private pure {
        bool complete = bytes2(document) != 0 && bytes2(document << 16) != 0 && bytes16(document << 32) != 0;
        if (!complete) revert LedgerDocumentMalformed(index);
    }

    function _documentKey(uint32 memberId, bytes20 document) private pure returns (bytes32 key) {
        return sha256(abi.encodePacked(memberId, document));
    }

    // Consumption

    /// @inheritdoc ILedger
    function consume(bytes32 nullifier, bytes32 useCommitment) external {
        uint32 memberId = _activeMember();
        if (useCommitment == 0) revert LedgerUseEmpty(nullifier);
        (bytes32 use, uint32 consumer, uint64 time) = consumptionOf(nullifier);
        if (use == useCommitment && consumer == memberId) return;
        if (use != 0) revert LedgerConsumed(nullifier, time);
        _writeConsumption(nullifier, useCommitment, memberId);
        emit Consumed(nullifier, memberId, useCommitment);
    }

    /// @inheritdoc ILedger
    function clearConsumption(bytes32 nullifier, uint16 reason) external restricted {
        (bytes32 use, , ) = consumptionOf(nullifier);
        if (use == 0) revert LedgerNotConsumed(nullifier);
        // The time stays with member 0: it hides what the predecessor still holds.
        _writeConsumption(nullifier, 0, 0);
        emit ConsumptionCleared(nullifier, reason);
    }

    function _writeConsumption(bytes32 nullifier, bytes32 use, uint32 memberId) private {
        consumedUse[nullifier] = use;
        consumedBy[nullifier] = bytes32(
            (uint256(memberId) << 224) | (uint256(uint64(block.timestamp)) << 160)
        );
    }

    // Views

    /// @inheritdoc ILedger
    function statusOf(uint32 memberId, bytes32 commitment) external view returns (bytes32 value) {
        return
            StatusWord.merge(status[_claimKey(memberId, commitment)], _inheritedStatus(memberId, commitment));
    }

    /// @inheritdoc ILedger
    function documentStatusOf(uint32 memberId, bytes20 document) public view returns (bytes32 value) {
        value = documentStatus[_documentKey(memberId, document)];
        if (value == 0 && _hasPredecessor()) value = _predecessor.documentStatusOf(memberId, document);
    }

    /// @inheritdoc ILedger
    function consumptionOf(
        bytes32 nullifier
    ) public view returns (bytes32 use, uint32 memberId, uint64 time) {
        uint256 by = uint256(consumedBy[nullifier]);
        if (by == 0 && _hasPredecessor()) return _predecessor.consumptionOf(nullifier);
        use = consumedUse[nullifier];
        if (use != 0) (memberId, time) = (uint32(by >> 224), uint64(by >> 160));
    }

    /// @inheritdoc ILedger
    function members() external view returns (address) {
        return address(_members);
    }

    /// @inheritdoc ILedger
    function predecessor() external view returns (address) {
        return address(_predecessor);
    }

    function _inheritedStatus(uint32 memberId, bytes32 commitment) private view returns (bytes32 value) {
        if (_hasPredecessor()) value = _predecessor.statusOf(memberId, commitment);
    }

    function _hasPredecessor() private view returns (bool) {
        return address(_predecessor) != address(0);
    }

    function _activeMember() private view returns (uint32 memberId) {
        memberId = _members.activeMemberOf(msg.sender);
        if (memberId == 0) revert LedgerNotMember(msg.sender);
    }
}
