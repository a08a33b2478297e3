// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Governed} from "./Governed.sol";
import {ICatalog} from "./interfaces/ICatalog.sol";
import {IMembers} from "./interfaces/IMembers.sol";

/// @title Catalog
/// @notice Implements {ICatalog}, where each function is described.
contract Catalog is ICatalog, Governed {
    uint256 private constant MAX_ENTRIES = 256;
    uint256 private constant MAX_CODE_BYTES = 128;
    uint256 private constant MAX_TEXT_BYTES = 65_536;
    uint256 private constant MAX_TEXTS_BYTES = 102_400;
    uint8 private constant LAST_KIND = 10;
    /// @dev One bit a kind: agency 1, scenario 6, materialType 7 and matter 8 start pending and need a
    /// reviewer.
    uint256 private constant REVIEWED_KINDS = (1 << 1) | (1 << 6) | (1 << 7) | (1 << 8);

    uint8 private constant PENDING = 1;
    uint8 private constant APPROVED = 2;
    uint8 private constant RETIRED = 3;

    struct Head {
        uint32 version;
        uint32 owner;
    }

    struct VersionState {
        uint8 state;
        uint64 since;
    }

    mapping(bytes32 key => Head) private _heads; // slot 1
    mapping(bytes32 versionKey => bytes32 digest) private _digests; // slot 2
    mapping(bytes32 versionKey => VersionState) private _states; // slot 3

    IMembers private immutable _members;

    constructor(address authority_, address members_) Governed(authority_) {
        if (members_.code.length == 0) revert CatalogCodeMissing(members_);
        _members = IMembers(members_);
    }

    /// @inheritdoc ICatalog
    function publish(Publication[] calldata entries) external {
        uint32 memberId = _members.activeMemberOf(msg.sender);
        if (memberId == 0) revert CatalogNotMember(msg.sender);
        uint256 count = entries.length;
        if (count == 0 || count > MAX_ENTRIES) revert CatalogEntriesCount(count);
        uint256 total = 0;
        for (uint256 i = 0; i < count; ++i) {
            total += entries[i].text.length;
            if (total > MAX_TEXTS_BYTES) revert CatalogTextTotal(total);
            _publish(entries[i], memberId);
        }
    }

    function _publish(Publication calldata entry, uint32 memberId) private {
        _checkPublication(entry);
        bytes32 key = _keyOf(entry.kind, entry.code);
        Head memory head = _heads[key];
        if (entry.version == 0 || entry.version - 1 != head.version) {
            revert CatalogVersion(entry.kind, entry.code, head.version, entry.version);
        }
        if (head.version != 0 && !_isOwner(head.owner, memberId))
            revert CatalogNotOwner(key, head.owner, msg.sender);

        uint8 state = (REVIEWED_KINDS >> entry.kind) & 1 == 1 ? PENDING : APPROVED;
        bytes32 versionKey = _versionKey(key, entry.version);
        bytes32 digest = sha256(entry.text);
        _heads[key] = Head(entry.version, memberId);
        _digests[versionKey] = digest;
        _states[versionKey] = VersionState(state, uint64(block.timestamp));
        emit EntryPublished(key, entry.kind, entry.code, entry.version, memberId, digest, state, entry.text);
    }

    function _checkPublication(Publication calldata entry) private pure {
        if (entry.kind == 0 || entry.kind > LAST_KIND) revert CatalogKindUnknown(entry.kind);
        uint256 codeBytes = bytes(entry.code).length;
        if (codeBytes == 0 || codeBytes > MAX_CODE_BYTES) revert CatalogCodeLength(entry.kind, codeBytes);
        uint256 textBytes = entry.text.length;
        if (textBytes == 0 || textBytes > MAX_TEXT_BYTES)
            revert CatalogTextLength(entry.kind, entry.code, textBytes);
    }

    /// @inheritdoc ICatalog
    function approve(bytes32 key, uint32 version) external restricted {
        _approve(key, version);
    }

    /// @inheritdoc ICatalog
    function approveMany(bytes32[] calldata keys, uint32[] calldata versions) external restricted {
        uint256 count = keys.length;
        if (count == 0 || count > MAX_ENTRIES || count != versions.length) {
            revert CatalogApprovalsCount(count, versions.length);
        }
        for (uint256 i = 0; i < count; ++i) _approve(keys[i], versions[i]);
    }

    function _approve(bytes32 key, uint32 version) private {
        bytes32 versionKey = _versionKey(key, version);
        uint8 state = _states[versionKey].state;
        if (state != PENDING) revert CatalogStateInvalid(key, version, state);
        _setState(key, version, versionKey, APPROVED);
    }

    /// @inheritdoc ICatalog
    function retire(bytes32 key, uint32 version) external {
        bytes32 versionKey = _versionKey(key, version);
        uint8 state = _states[versionKey].state;
        if (state != PENDING && state != APPROVED) revert CatalogStateInvalid(key, version, state);
        uint32 owner = _heads[key].owner;
        uint32 caller = _members.activeMemberOf(msg.sender);
        if (!_isOwner(owner, caller) && !_isCouncil()) revert CatalogNotOwner(key, owner, msg.sender);
        _setState(key, version, versionKey, RETIRED);
    }

    /// @inheritdoc ICatalog
    function transferOwner(uint8 kind, string calldata code, uint32 memberId) external restricted {
        bytes32 key = _keyOf(kind, code);
        if (_heads[key].version == 0) revert CatalogUnknown(key);
        uint8 state = _members.stateOf(memberId);
        bool present = state == uint8(IMembers.State.Active) || state == uint8(IMembers.State.Suspended);
        if (!present) revert CatalogOwnerInvalid(memberId);
        _heads[key].owner = memberId;
        emit EntryOwnerChanged(key, memberId);
    }

    /// @inheritdoc ICatalog
    function latest(bytes32 key) external view returns (uint32 version, uint32 owner) {
        Head storage head = _heads[key];
        return (head.version, head.owner);
    }

    /// @inheritdoc ICatalog
    function versionOf(bytes32 key, uint32 version) external view returns (bytes32 digest, uint8 state) {
        bytes32 versionKey = _versionKey(key, version);
        return (_digests[versionKey], _states[versionKey].state);
    }

    /// @inheritdoc ICatalog
    function stateSince(bytes32 key, uint32 version) external view returns (uint64 since) {
        return _states[_versionKey(key, version)].since;
    }

    /// @inheritdoc ICatalog
    function members() external view returns (address) {
        return address(_members);
    }

    /// @dev Whether `caller`, an active member or 0 for none, is the owner or its successor.
    function _isOwner(uint32 owner, uint32 caller) private view returns (bool) {
        return caller != 0 && (caller == owner || caller == _members.successorOf(owner));
    }

    function _setState(bytes32 key, uint32 version, bytes32 versionKey, uint8 state) private {
        _states[versionKey] = VersionState(state, uint64(block.timestamp));
        emit EntryStateChanged(key, version, state);
    }

    function _keyOf(uint8 kind, string calldata code) private pure returns (bytes32 key) {
        return sha256(abi.encodePacked(kind, code));
    }

    function _versionKey(bytes32 key, uint32 version) private pure returns (bytes32 versionKey) {
        return sha256(abi.encodePacked(key, version));
    }
}
