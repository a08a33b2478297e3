// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Verifier of receipts on the Ledger's own chain
/// @notice Checks what of a receipt (docs/reference/receipt.md) a contract can rest a decision on: which fields a
/// member sealed, and that the Ledger has them. Reads only; anyone may deploy one beside a Ledger.
/// @dev Not checked: the seals of headers and the trie proofs, since the Ledger's state is at hand; status flags, which
/// {ILedger-statusOf} tells as of now; dates.
interface IReceiptVerifier {
    /// @notice One field that an opening shows.
    /// @param index Its leaf.
    /// @param name 1 to 64 letters and digits, a letter first.
    /// @param value Its value as canonical JSON (RFC 8785), text with its quotes. A member committed to these bytes:
    /// whoever reads them otherwise reads something else.
    /// @param salt 32 bytes, as the receipt shows them.
    struct OpenedField {
        uint256 index;
        string name;
        string value;
        bytes32 salt;
    }

    /// @notice Opened fields in the order of their names, and the hashes of the largest subtrees that show none.
    struct Opening {
        uint256 leafCount;
        OpenedField[] opened;
        bytes32[] hidden;
    }

    /// @notice Where a record stands in its batch, and the RFC 6962 path to the batch's root.
    struct Inclusion {
        uint256 index;
        bytes32[] path;
    }

    /// @notice What the Ledger logged of a batch (docs/reference/batch-and-log.md).
    struct Entry {
        uint64 id;
        uint32 memberId;
        uint8 stream;
        uint64 seq;
        uint32 size;
        bytes32 root;
        uint64 time;
    }

    /// @notice A constructor argument that must be a contract is none.
    error ReceiptVerifierCodeMissing(address target);
    /// @notice Not 96 bytes, or domain, epoch or format is none.
    error ReceiptVerifierRecordMalformed(uint256 length);
    /// @notice No fields, fields out of order or outside the tree, a bad name, a value over 16 KiB, or another number
    /// of hidden hashes than the shape asks for.
    error ReceiptVerifierOpeningMalformed(uint256 leafCount, uint256 opened, uint256 hidden);
    /// @notice No member, an unknown stream, or a size outside 1 to 512.
    error ReceiptVerifierEntryMalformed(uint64 id);
    /// @notice The opened fields lead to `opened`, and the record has `recorded`. Code: other_commitment.
    error ReceiptVerifierOtherCommitment(bytes32 opened, bytes32 recorded);
    /// @notice The record of this member is not number `index` under `root`. Code: not_included.
    error ReceiptVerifierNotIncluded(uint256 index, bytes32 root);
    /// @notice The Ledger has `held` for the batch, and the entry hashes to `shown`. Code: other_entry.
    error ReceiptVerifierOtherEntry(uint64 id, bytes32 shown, bytes32 held);

    /// @notice All three checks, in the order of the receipt's steps 2, 3 and 7.
    /// @return commitment What {ILedger-statusOf} asks for beside the member.
    function verify(
        bytes calldata record,
        Opening calldata opening,
        uint32 memberId,
        Inclusion calldata inclusion,
        Entry calldata entry
    ) external view returns (bytes32 commitment);

    /// @notice Step 2: the opened fields lead to the commitment at the start of the record.
    function checkOpening(bytes calldata record, Opening calldata opening) external view;

    /// @notice Step 3: the record, appended by this member, is in the batch that the entry describes.
    function checkInclusion(
        bytes calldata record,
        uint32 memberId,
        Inclusion calldata inclusion,
        Entry calldata entry
    ) external view;

    /// @notice Step 7: the Ledger holds this entry.
    function checkEntry(Entry calldata entry) external view;

    /// @notice The {ILedger} this one reads.
    function ledger() external view returns (address);
}
