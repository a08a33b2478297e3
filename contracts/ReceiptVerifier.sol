// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ILedger} from "./interfaces/ILedger.sol";
import {IReceiptVerifier} from "./interfaces/IReceiptVerifier.sol";
import {Records} from "./libraries/Records.sol";
import {RFC6962} from "./libraries/RFC6962.sol";

/// @title ReceiptVerifier
/// @notice Implements {IReceiptVerifier}, where each function is described. Keeps no state.
contract ReceiptVerifier is IReceiptVerifier {
    uint256 private constant MAX_FIELDS = 64;
    uint256 private constant MAX_NAME_BYTES = 64;
    uint256 private constant MAX_VALUE_BYTES = 16_384;
    uint256 private constant MAX_RECORDS = 512;
    uint8 private constant LAST_STREAM = 3;

    ILedger private immutable _ledger;

    /// @dev How far the walk over an opening's tree has come in its two lists.
    struct Cursor {
        uint256 field;
        uint256 hidden;
    }

    constructor(address ledger_) {
        if (ledger_.code.length == 0) revert ReceiptVerifierCodeMissing(ledger_);
        _ledger = ILedger(ledger_);
    }

    /// @inheritdoc IReceiptVerifier
    function verify(
        bytes calldata record,
        Opening calldata opening,
        uint32 memberId,
        Inclusion calldata inclusion,
        Entry calldata entry
    ) external view returns (bytes32 commitment) {
        _checkOpening(record, opening);
        _checkInclusion(record, memberId, inclusion, entry);
        _checkEntry(entry);
        return bytes32(record[:32]);
    }

    /// @inheritdoc IReceiptVerifier
    function checkOpening(bytes calldata record, Opening calldata opening) external view {
        _checkOpening(record, opening);
    }

    /// @inheritdoc IReceiptVerifier
    function checkInclusion(
        bytes calldata record,
        uint32 memberId,
        Inclusion calldata inclusion,
        Entry calldata entry
    ) external view {
        _checkInclusion(record, memberId, inclusion, entry);
    }

    /// @inheritdoc IReceiptVerifier
    function checkEntry(Entry calldata entry) external view {
        _checkEntry(entry);
    }

    /// @inheritdoc IReceiptVerifier
    function ledger() external view returns (address) {
        return address(_ledger);
    }

    function _checkOpening(bytes calldata record, Opening calldata opening) private view {
        _checkRecord(record);
        bytes32 opened = _rootOf(opening);
        bytes32 recorded = bytes32(record[:32]);
        if (opened != recorded) revert ReceiptVerifierOtherCommitment(opened, recorded);
    }

    function _checkInclusion(
        bytes calldata record,
        uint32 memberId,
        Inclusion calldata inclusion,
        Entry calldata entry
    ) private view {
        _checkRecord(record);
        _checkForm(entry);
        bytes32 leaf = sha256(abi.encodePacked(bytes1(0), memberId, record));
        (bool fits, bytes32 root) = _rootFrom(leaf, inclusion, entry.size);
        bool alike = memberId != 0 && memberId == entry.memberId && uint8(record[37]) == entry.stream;
        if (!fits || !alike || root != entry.root) {
            revert ReceiptVerifierNotIncluded(inclusion.index, entry.root);
        }
    }

    function _checkEntry(Entry calldata entry) private view {
        _checkForm(entry);
        bytes32 shown = sha256(
            abi.encodePacked(
                bytes1(0),
                entry.id,
                entry.memberId,
                entry.stream,
                entry.seq,
                entry.size,
                entry.root,
                entry.time
            )
        );
        bytes32 held = _ledger.batchHash(entry.id);
        if (shown != held) revert ReceiptVerifierOtherEntry(entry.id, shown, held);
    }

    function _checkRecord(bytes calldata record) private pure {
        bool whole = record.length == Records.RECORD_BYTES;
        if (!whole || bytes2(record[32:]) == 0 || bytes2(record[34:]) == 0 || !_isStream(uint8(record[37]))) {
            revert ReceiptVerifierRecordMalformed(record.length);
        }
    }

    function _checkForm(Entry calldata entry) private pure {
        bool sized = entry.size != 0 && entry.size <= MAX_RECORDS;
        if (!sized || entry.memberId == 0 || !_isStream(entry.stream)) {
            revert ReceiptVerifierEntryMalformed(entry.id);
        }
    }

    function _isStream(uint8 number) private pure returns (bool) {
        return number != 0 && number <= LAST_STREAM;
    }

    /// @dev Root of the tree over the salted fields: opened leaves are hashed, subtrees without one are given.
    function _rootOf(Opening calldata opening) private view returns (bytes32 root) {
        if (!_isShaped(opening)) _malformed(opening);
        Cursor memory at;
        root = _subtree(opening, 0, opening.leafCount, at);
        if (at.hidden != opening.hidden.length) _malformed(opening);
    }

    function _malformed(Opening calldata opening) private pure {
        revert ReceiptVerifierOpeningMalformed(
            opening.leafCount,
            opening.opened.length,
            opening.hidden.length
        );
    }

    /// @dev Opened fields rise, so the next one tells whether a subtree has any.
    function _subtree(
        Opening calldata opening,
        uint256 first,
        uint256 size,
        Cursor memory at
    ) private view returns (bytes32) {
        if (at.field == opening.opened.length || opening.opened[at.field].index >= first + size) {
            if (at.hidden == opening.hidden.length) _malformed(opening);
            return opening.hidden[at.hidden++];
        }
        if (size == 1) return _leafOf(opening.opened[at.field++]);
        uint256 split = 1;
        while (split << 1 < size) split <<= 1;
        bytes32 left = _subtree(opening, first, split, at);
        return RFC6962.nodeHash(left, _subtree(opening, first + split, size - split, at));
    }

    function _isShaped(Opening calldata opening) private pure returns (bool) {
        uint256 count = opening.opened.length;
        if (opening.leafCount > MAX_FIELDS || count == 0 || count > opening.leafCount) return false;
        for (uint256 at = 0; at < count; ++at) {
            OpenedField calldata field = opening.opened[at];
            if (field.index >= opening.leafCount || !_isName(bytes(field.name))) return false;
            if (bytes(field.value).length > MAX_VALUE_BYTES) return false;
            // Fields are sorted by name, so index and name rise together; this also refuses a name shown twice.
            if (at == 0) continue;
            OpenedField calldata before = opening.opened[at - 1];
            if (before.index >= field.index || !_rises(bytes(before.name), bytes(field.name))) return false;
        }
        return true;
    }

    /// @dev A name has no quote, so name and value of a leaf cannot be divided in another way.
    function _leafOf(OpenedField calldata field) private pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0), field.salt, '["', field.name, '",', field.value, "]"));
    }

    function _isName(bytes calldata name) private pure returns (bool) {
        if (name.length == 0 || name.length > MAX_NAME_BYTES) return false;
        for (uint256 at = 0; at < name.length; ++at) {
            bytes1 char = name[at];
            bool digit = char >= "0" && char <= "9";
            bool letter = (char >= "a" && char <= "z") || (char >= "A" && char <= "Z");
            if (!letter && (at == 0 || !digit)) return false;
        }
        return true;
    }

    function _rises(bytes calldata left, bytes calldata right) private pure returns (bool) {
        for (uint256 at = 0; at < left.length && at < right.length; ++at) {
            if (left[at] != right[at]) return left[at] < right[at];
        }
        return left.length < right.length;
    }

    /// @dev RFC 9162 §2.1.3.2; false if the path has another length than the tree gives it.
    function _rootFrom(
        bytes32 leaf,
        Inclusion calldata inclusion,
        uint256 size
    ) private view returns (bool fits, bytes32 node) {
        uint256 index = inclusion.index;
        if (index >= size) return (false, 0);
        node = leaf;
        uint256 used = 0;
        for (uint256 last = size - 1; last != 0; last >>= 1) {
            if (index & 1 == 1 || index < last) {
                if (used == inclusion.path.length) return (false, 0);
                bytes32 sibling = inclusion.path[used++];
                node = index & 1 == 1 ? RFC6962.nodeHash(sibling, node) : RFC6962.nodeHash(node, sibling);
            }
            index >>= 1;
        }
        fits = used == inclusion.path.length;
    }
}
