// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Governed} from "./Governed.sol";
import {IMembers} from "./interfaces/IMembers.sol";

/// @title Members
/// @notice Implements {IMembers}, where each function is described.
contract Members is IMembers, Governed {
    uint256 private constant MAX_NAME_BYTES = 128;
    uint256 private constant MAX_ENDPOINT_BYTES = 256;
    uint256 private constant MIN_HPKE_KEY_BYTES = 32;
    uint256 private constant MAX_HPKE_KEY_BYTES = 4096;
    uint256 private constant MAX_ENVELOPES = 64;
    uint256 private constant MAX_ENVELOPE_BYTES = 4096;
    uint256 private constant MAX_SIGNERS = 64;

    /// @dev What an account speaks for, in one slot, so that a ledger's check costs one read. `current` falls
    /// when the member gets another account; `memberId` stays, so an account never changes members.
    struct Account {
        uint32 memberId;
        Role role;
        State state;
        bool current;
        uint64 validFrom;
        uint64 validUntil;
    }

    /// @dev Everything else that state keeps of a member. Name, endpoint and key themselves are in the
    /// events.
    struct Member {
        address account;
        uint8 level;
        uint32 area;
        uint32 successor;
        bytes18 uscc;
        bytes32 endpointDigest;
        bytes32 hpkeKeyDigest;
    }

    mapping(address account => Account) private _accounts;
    mapping(uint32 memberId => Member) private _members;
    mapping(uint16 domain => uint16 epoch) private _epochs;
    mapping(uint64 domainEpochMember => bytes32 digest) private _envelopes;

    /// @inheritdoc IMembers
    mapping(uint64 fromBlock => bytes32 digest) public signersDigest;
    uint64 private _latestSignersBlock;

    constructor(address authority_) Governed(authority_) {}

    // Membership

    /// @inheritdoc IMembers
    function admit(uint32 memberId, Profile calldata profile) external restricted {
        _checkProfile(memberId, profile);
        _members[memberId] = Member({
            account: profile.account,
            level: profile.level,
            area: profile.area,
            successor: 0,
            uscc: profile.uscc,
            endpointDigest: sha256(bytes(profile.endpoint)),
            hpkeKeyDigest: sha256(profile.hpkeKey)
        });
        _accounts[profile.account] = Account({
            memberId: memberId,
            role: Role(profile.role),
            state: State.Active,
            current: true,
            validFrom: profile.validFrom,
            validUntil: profile.validUntil
        });
        emit MemberAdmitted(memberId, profile);
    }

    /// @inheritdoc IMembers
    function suspend(uint32 memberId) external restricted {
        Account storage account = _accountIn(memberId, State.Active, State.Active);
        _setState(memberId, account, State.Suspended);
    }

    /// @inheritdoc IMembers
    function reinstate(uint32 memberId) external restricted {
        Account storage account = _accountIn(memberId, State.Suspended, State.Suspended);
        _setState(memberId, account, State.Active);
    }

    /// @inheritdoc IMembers
    function remove(uint32 memberId) external restricted {
        Account storage account = _accountIn(memberId, State.Active, State.Suspended);
        _setState(memberId, account, State.Left);
    }

    /// @inheritdoc IMembers
    function rotateAccount(uint32 memberId, address account) external restricted {
        Account storage old = _accountIn(memberId, State.Active, State.Suspended);
        _checkAccount(memberId, account);
        _accounts[account] = old;
        old.current = false;
        _members[memberId].account = account;
        emit MemberAccountRotated(memberId, account);
    }

    /// @inheritdoc IMembers
    function nameSuccessor(uint32 memberId, uint32 successor) external restricted {
        _accountIn(memberId, State.Active, State.Left);
        if (successor == memberId) revert MembersSuccessorInvalid(memberId, successor);
        if (successor != 0) _accountIn(successor, State.Active, State.Suspended);
        _members[memberId].successor = successor;
        emit MemberSuccessorNamed(memberId, successor);
    }

    // Contact

    /// @inheritdoc IMembers
    function setEndpoint(uint32 memberId, string calldata endpoint) external {
        _checkSelfOrCouncil(memberId);
        _checkEndpoint(endpoint);
        _members[memberId].endpointDigest = sha256(bytes(endpoint));
        emit MemberEndpointSet(memberId, endpoint);
    }

    /// @inheritdoc IMembers
    function setHpkeKey(uint32 memberId, bytes calldata hpkeKey) external {
        _checkSelfOrCouncil(memberId);
        _checkHpkeKey(hpkeKey);
        _members[memberId].hpkeKeyDigest = sha256(hpkeKey);
        emit MemberHpkeKeySet(memberId, hpkeKey);
    }

    // Domain keys

    /// @inheritdoc IMembers
    function publishEnvelopes(
        uint16 domain,
        uint16 epoch,
        uint32[] calldata memberIds,
        bytes[] calldata envelopes
    ) external restricted {
        if (domain == 0) revert MembersDomainZero();
        uint256 count = envelopes.length;
        if (count == 0 || count > MAX_ENVELOPES || count != memberIds.length) {
            revert MembersEnvelopeCount(memberIds.length, count);
        }
        _openEpoch(domain, epoch);
        for (uint256 i = 0; i < count; ++i) {
            uint256 length = envelopes[i].length;
            if (length == 0 || length > MAX_ENVELOPE_BYTES) revert MembersEnvelopeLength(i, length);
            _publishEnvelope(domain, epoch, memberIds[i], envelopes[i]);
        }
    }

    /// @dev Epoch 0 is the consume key and moves nothing; epochs from 1 on follow one another without a gap.
    function _openEpoch(uint16 domain, uint16 epoch) private {
        uint16 current = _epochs[domain];
        if (epoch <= current) return;
        if (epoch - current > 1) revert MembersEpochInvalid(domain, current, epoch);
        _epochs[domain] = epoch;
    }

    function _publishEnvelope(uint16 domain, uint16 epoch, uint32 memberId, bytes calldata envelope) private {
        _accountIn(memberId, State.Active, State.Suspended);
        uint64 key = _envelopeKey(domain, epoch, memberId);
        if (_envelopes[key] != 0) revert MembersEnvelopeUsed(domain, epoch, memberId);
        _envelopes[key] = sha256(envelope);
        emit EnvelopePublished(domain, epoch, memberId, envelope);
    }

    function _envelopeKey(uint16 domain, uint16 epoch, uint32 memberId) private pure returns (uint64) {
        return (uint64(domain) << 48) | (uint64(epoch) << 32) | memberId;
    }

    // Signers

    /// @inheritdoc IMembers
    function setSigners(uint64 fromBlock, address[] calldata signers) external restricted {
        uint64 newest = _latestSignersBlock;
        if (fromBlock <= newest && signersDigest[newest] != 0) revert MembersSignersBlock(newest, fromBlock);
        signersDigest[fromBlock] = sha256(_packSigners(signers));
        _latestSignersBlock = fromBlock;
        emit SignersSet(fromBlock, signers);
    }

    /// @dev The addresses as 20 bytes each; `abi.encodePacked` of an array would pad them to 32.
    function _packSigners(address[] calldata signers) private pure returns (bytes memory packed) {
        uint256 count = signers.length;
        if (count == 0 || count > MAX_SIGNERS) revert MembersSignersCount(count);
        address previous = address(0);
        for (uint256 i = 0; i < count; ++i) {
            if (signers[i] <= previous) revert MembersSignersOrder(i);
            previous = signers[i];
            packed = bytes.concat(packed, bytes20(previous));
        }
    }

    // Views

    /// @inheritdoc IMembers
    function activeMemberOf(address account) external view returns (uint32 memberId) {
        (memberId, ) = _activeProfileOf(account);
    }

    /// @inheritdoc IMembers
    function activeProfileOf(address account) external view returns (uint32 memberId, uint8 role) {
        return _activeProfileOf(account);
    }

    /// @inheritdoc IMembers
    function memberOf(address account) external view returns (uint32 memberId) {
        return _accounts[account].memberId;
    }

    /// @inheritdoc IMembers
    function accountOf(uint32 memberId) external view returns (address account) {
        return _members[memberId].account;
    }

    /// @inheritdoc IMembers
    function stateOf(uint32 memberId) external view returns (uint8 state) {
        return uint8(_accountOf(memberId).state);
    }

    /// @inheritdoc IMembers
    function roleOf(uint32 memberId) external view returns (uint8 role) {
        return uint8(_accountOf(memberId).role);
    }

    /// @inheritdoc IMembers
    function successorOf(uint32 memberId) external view returns (uint32 successor) {
        return _members[memberId].successor;
    }

    /// @inheritdoc IMembers
    function validityOf(uint32 memberId) external view returns (uint64 validFrom, uint64 validUntil) {
        Account storage account = _accountOf(memberId);
        return (account.validFrom, account.validUntil);
    }

    /// @inheritdoc IMembers
    function contactOf(
        uint32 memberId
    ) external view returns (bytes32 endpointDigest, bytes32 hpkeKeyDigest) {
        Member storage member = _members[memberId];
        return (member.endpointDigest, member.hpkeKeyDigest);
    }

    /// @inheritdoc IMembers
    function currentEpoch(uint16 domain) external view returns (uint16 epoch) {
        return _epochs[domain];
    }

    /// @inheritdoc IMembers
    function envelopeDigestOf(
        uint16 domain,
        uint16 epoch,
        uint32 memberId
    ) external view returns (bytes32 digest) {
        return _envelopes[_envelopeKey(domain, epoch, memberId)];
    }

    /// @inheritdoc IMembers
    function latestSigners() external view returns (uint64 fromBlock, bytes32 digest) {
        fromBlock = _latestSignersBlock;
        digest = signersDigest[fromBlock];
    }

    // Checks

    function _checkProfile(uint32 memberId, Profile calldata profile) private view {
        if (memberId == 0) revert MembersIdZero();
        if (_members[memberId].account != address(0)) revert MembersIdUsed(memberId);
        _checkAccount(memberId, profile.account);
        if (profile.role == 0 || profile.role > uint8(type(Role).max))
            revert MembersRoleInvalid(profile.role);
        if (profile.uscc == 0) revert MembersUsccEmpty(memberId);
        if (profile.validUntil != 0 && profile.validUntil <= profile.validFrom) {
            revert MembersValidityInvalid(profile.validFrom, profile.validUntil);
        }
        uint256 nameBytes = bytes(profile.name).length;
        if (nameBytes == 0 || nameBytes > MAX_NAME_BYTES) revert MembersNameLength(nameBytes);
        _checkEndpoint(profile.endpoint);
        _checkHpkeKey(profile.hpkeKey);
    }

    function _checkAccount(uint32 memberId, address account) private view {
        if (account == address(0)) revert MembersAccountZero(memberId);
        uint32 holder = _accounts[account].memberId;
        if (holder != 0) revert MembersAccountUsed(account, holder);
    }

    function _checkEndpoint(string calldata endpoint) private pure {
        uint256 length = bytes(endpoint).length;
        if (length > MAX_ENDPOINT_BYTES) revert MembersEndpointLength(length);
    }

    function _checkHpkeKey(bytes calldata hpkeKey) private pure {
        uint256 length = hpkeKey.length;
        if (length < MIN_HPKE_KEY_BYTES || length > MAX_HPKE_KEY_BYTES) revert MembersHpkeKeyLength(length);
    }

    /// @dev Nobody has member id 0, so a caller who speaks for no member is never "itself".
    function _checkSelfOrCouncil(uint32 memberId) private view {
        _accountIn(memberId, State.Active, State.Suspended);
        (uint32 caller, ) = _activeProfileOf(msg.sender);
        if (caller != memberId && !_isCouncil()) revert MembersNotSelf(memberId, msg.sender);
    }

    /// @dev The member's account if its state lies between `lowest` and `highest`; unknown members are never
    /// in.
    function _accountIn(
        uint32 memberId,
        State lowest,
        State highest
    ) private view returns (Account storage account) {
        account = _accountOf(memberId);
        State state = account.state;
        if (state == State.None) revert MembersUnknown(memberId);
        if (state < lowest || state > highest) revert MembersStateInvalid(memberId, uint8(state));
    }

    function _accountOf(uint32 memberId) private view returns (Account storage account) {
        return _accounts[_members[memberId].account];
    }

    function _activeProfileOf(address caller) private view returns (uint32 memberId, uint8 role) {
        Account memory account = _accounts[caller];
        bool open = account.validUntil == 0 || block.timestamp < account.validUntil;
        if (
            account.current && account.state == State.Active && block.timestamp >= account.validFrom && open
        ) {
            return (account.memberId, uint8(account.role));
        }
    }

    function _setState(uint32 memberId, Account storage account, State state) private {
        account.state = state;
        emit MemberStateChanged(memberId, uint8(state));
    }
}
