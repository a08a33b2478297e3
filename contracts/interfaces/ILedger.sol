// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Ledger of records
/// @notice Batches of 96-byte records with their RFC 6962 root, the log of batches, the status of claims and
/// documents, and what was consumed. Storage: docs/reference/ledger-storage.md.
interface ILedger {
    /// @notice One batch: entry and records together, so no root can exist whose records were withheld.
    /// @param id Position in the log, from 0.
    /// @param seq The member's own counter over all streams, from 0.
    /// @param size Number of records.
    /// @param root RFC 6962 root of the records' leaf hashes.
    /// @param time Block time, Unix seconds.
    event BatchAppended(
        uint64 indexed id,
        uint32 indexed memberId,
        uint8 indexed stream,
        uint64 seq,
        uint32 size,
        bytes32 root,
        uint64 time,
        bytes records
    );
    /// @notice The stored status word of a claim is now `value`.
    event StatusChanged(uint32 indexed memberId, bytes32 indexed commitment, bytes32 value);
    /// @notice A member revoked a document, whoever holds copies of it. It counts if that member is an issuer
    /// of the type.
    event DocumentRevoked(uint32 indexed memberId, bytes20 indexed document, bytes32 value);
    event Consumed(bytes32 indexed nullifier, uint32 indexed memberId, bytes32 useCommitment);
    event ConsumptionCleared(bytes32 indexed nullifier, uint16 reason);

    /// @notice A constructor argument that must be a contract is none.
    error LedgerCodeMissing(address target);
    /// @notice The caller speaks for no active member.
    error LedgerNotMember(address caller);
    /// @notice Observers append nothing.
    error LedgerObserver(uint32 memberId);
    error LedgerStreamUnknown(uint8 stream);
    /// @notice Not 96·n bytes with 1 ≤ n ≤ 512.
    error LedgerRecordsLength(uint256 length);
    /// @notice The record at `index` has domain 0, epoch 0 or a format that is not the stream's.
    error LedgerRecordMalformed(uint256 index);
    /// @notice The ledger expected `expected` of this member: a batch is missing, or this one was appended
    /// before.
    error LedgerSequence(uint32 memberId, uint64 expected, uint64 got);
    /// @notice The caller is neither the member, nor its successor, nor the council acting for a suspended
    /// member.
    error LedgerNotOwner(uint32 memberId, address caller);
    /// @notice The act would change nothing: `value` is the claim's status now.
    error LedgerStatusUnchanged(uint32 memberId, bytes32 commitment, bytes32 value);
    /// @notice The successor is the claim itself, or its first 24 bytes are zero.
    error LedgerSuccessorInvalid(bytes32 commitment, bytes32 successor);
    /// @notice 1 to 64 documents a call.
    error LedgerDocumentsCount(uint256 count);
    /// @notice The document at `index` has domain 0, epoch 0 or an empty tag.
    error LedgerDocumentMalformed(uint256 index);
    /// @notice A use commitment of zero would read as "not consumed".
    error LedgerUseEmpty(bytes32 nullifier);
    /// @notice Another use consumed it at `time`.
    error LedgerConsumed(bytes32 nullifier, uint64 time);
    error LedgerNotConsumed(bytes32 nullifier);

    /// @notice Appends one batch. Any active member that is not an observer.
    /// @param stream 1 MATERIAL, 2 REUSE, 3 AUDIT; equals the format byte of every record.
    /// @param expectedSeq {nextSeq} of the caller's member.
    /// @param records 1 to 512 records of 96 bytes, one after another.
    /// @return batchId Position of the batch in the log.
    function append(
        uint8 stream,
        uint64 expectedSeq,
        bytes calldata records
    ) external returns (uint64 batchId);

    /// @notice Marks a claim revoked, for good. The member, its successor, or the council for a suspended
    /// member.
    /// @dev The claim need not be appended yet: a revocation must not wait for a transaction in flight.
    function revoke(uint32 memberId, bytes32 commitment, uint16 reason) external;

    /// @notice Suspends a claim until {resume}. Same callers as {revoke}.
    function suspend(uint32 memberId, bytes32 commitment, uint16 reason) external;

    /// @notice Ends a suspension. Same callers as {revoke}.
    function resume(uint32 memberId, bytes32 commitment, uint16 reason) external;

    /// @notice Marks a claim erased, for good. Same callers as {revoke}.
    function erase(uint32 memberId, bytes32 commitment, uint16 reason) external;

    /// @notice Marks a claim superseded by another, for good. Same callers as {revoke}.
    function supersede(uint32 memberId, bytes32 commitment, bytes32 successorCommitment) external;

    /// @notice Revokes documents under the caller's member id. Any active member.
    /// @dev Verifiers decide by the catalogue whether that member is an issuer of the type. Those already
    /// revoked are passed over.
    /// @param documents 1 to 64 of domain 2 | epoch 2 | docTag 16.
    function revokeDocuments(bytes20[] calldata documents, uint16 reason) external;

    /// @notice Consumes `nullifier` for one use: first come. The same member and use again is no change. Any
    /// active member.
    function consume(bytes32 nullifier, bytes32 useCommitment) external;

    /// @notice Makes a consumed nullifier free again. Council only.
    function clearConsumption(bytes32 nullifier, uint16 reason) external;

    /// @notice The status word of a claim, looking through to the predecessor; zero if never marked.
    /// @return value flags 1 | since 5 | reason 2 | successor 24.
    function statusOf(uint32 memberId, bytes32 commitment) external view returns (bytes32 value);

    /// @notice The status word of a document under one member's id, looking through to the predecessor.
    function documentStatusOf(uint32 memberId, bytes20 document) external view returns (bytes32 value);

    /// @notice Who consumed `nullifier`, when and for which use, looking through to the predecessor; zeros if
    /// free.
    function consumptionOf(
        bytes32 nullifier
    ) external view returns (bytes32 use, uint32 memberId, uint64 time);

    /// @notice Number of batches in the log, and id of the next.
    function logSize() external view returns (uint64);

    /// @notice RFC 6962 root over all {batchHash}, zero for an empty log.
    function logRoot() external view returns (bytes32);

    /// @notice SHA-256(0x00 ‖ entry) of a batch, which is its leaf hash in the log; zero if there is none.
    function batchHash(uint64 id) external view returns (bytes32);

    /// @notice Sequence number of the member's next batch.
    function nextSeq(uint32 memberId) external view returns (uint64);

    /// @notice Raw status word; `key` = SHA-256(memberId 4 ‖ commitment 32). Does not look at the
    /// predecessor.
    function status(bytes32 key) external view returns (bytes32);

    /// @notice Raw status word; `key` = SHA-256(memberId 4 ‖ domain 2 ‖ epoch 2 ‖ docTag 16).
    function documentStatus(bytes32 key) external view returns (bytes32);

    /// @notice Raw use commitment of a nullifier.
    function consumedUse(bytes32 nullifier) external view returns (bytes32);

    /// @notice Raw memberId 4 | time 8 | zero 20 of a nullifier; member 0 with a time = cleared then.
    function consumedBy(bytes32 nullifier) external view returns (bytes32);

    /// @notice Hash of the complete subtree of 2^level batches at the log's right edge, from level 1 up; live
    /// while that bit of {logSize} is set.
    function frontier(uint256 level) external view returns (bytes32);

    /// @notice The {IMembers} this ledger asks.
    function members() external view returns (address);

    /// @notice The ledger whose status and consumption this one honours; zero if none.
    function predecessor() external view returns (address);
}
