// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Members of the consortium
/// @notice Who may write, with which account, until when; where a member answers; the sealed domain keys of
/// members; the signer sets of the chain.
interface IMembers {
    /// @notice What a member is. An observer reads and verifies but appends no records.
    enum Role {
        None,
        City,
        Sector,
        District,
        Partner,
        Observer
    }

    /// @notice Where a membership stands. `Left` is final.
    enum State {
        None,
        Active,
        Suspended,
        Left
    }

    /// @notice What the council admits.
    /// @param account Chain account that speaks for the member; never used by a member before.
    /// @param role One of {Role}, not None.
    /// @param level Administrative level within the consortium.
    /// @param area GB/T 2260 code as a number.
    /// @param uscc Unified social credit code, 18 ASCII characters (GB 32100-2015).
    /// @param validFrom First second of the membership, Unix time.
    /// @param validUntil First second after it; 0 = open.
    /// @param name Official name, UTF-8, 1 to 128 bytes.
    /// @param endpoint Base address of the member's node, UTF-8, 0 to 256 bytes.
    /// @param hpkeKey Public HPKE key, 32 to 4096 bytes.
    struct Profile {
        address account;
        uint8 role;
        uint8 level;
        uint32 area;
        bytes18 uscc;
        uint64 validFrom;
        uint64 validUntil;
        string name;
        string endpoint;
        bytes hpkeKey;
    }

    event MemberAdmitted(uint32 indexed memberId, Profile profile);
    event MemberStateChanged(uint32 indexed memberId, uint8 state);
    event MemberAccountRotated(uint32 indexed memberId, address account);
    event MemberSuccessorNamed(uint32 indexed memberId, uint32 successor);
    event MemberEndpointSet(uint32 indexed memberId, string endpoint);
    event MemberHpkeKeySet(uint32 indexed memberId, bytes hpkeKey);
    /// @notice The key of `domain` and `epoch`, sealed to one member. Epoch 0 is the domain's consume key.
    event EnvelopePublished(
        uint16 indexed domain,
        uint16 indexed epoch,
        uint32 indexed memberId,
        bytes envelope
    );
    /// @notice From `fromBlock` on the chain is signed by `signers`.
    event SignersSet(uint64 indexed fromBlock, address[] signers);

    /// @notice Member id 0 means "nobody" and is never admitted.
    error MembersIdZero();
    /// @notice The id was admitted before; ids are never given twice.
    error MembersIdUsed(uint32 memberId);
    /// @notice No member has this id.
    error MembersUnknown(uint32 memberId);
    /// @notice The zero address cannot speak for a member.
    error MembersAccountZero(uint32 memberId);
    /// @notice The account speaks or once spoke for `memberId`.
    error MembersAccountUsed(address account, uint32 memberId);
    error MembersRoleInvalid(uint8 role);
    error MembersUsccEmpty(uint32 memberId);
    error MembersValidityInvalid(uint64 validFrom, uint64 validUntil);
    error MembersNameLength(uint256 length);
    error MembersEndpointLength(uint256 length);
    error MembersHpkeKeyLength(uint256 length);
    /// @notice The member's state does not allow this act.
    error MembersStateInvalid(uint32 memberId, uint8 state);
    /// @notice Neither the active member itself nor the council.
    error MembersNotSelf(uint32 memberId, address caller);
    error MembersSuccessorInvalid(uint32 memberId, uint32 successor);
    /// @notice Domain 0 does not exist.
    error MembersDomainZero();
    /// @notice The epoch lies after the next one; epochs have no gap.
    error MembersEpochInvalid(uint16 domain, uint16 current, uint16 got);
    /// @notice 1 to 64 envelopes a call, one for each member id.
    error MembersEnvelopeCount(uint256 memberIds, uint256 envelopes);
    /// @notice An envelope has 1 to 4096 bytes.
    error MembersEnvelopeLength(uint256 index, uint256 length);
    /// @notice This member's envelope of this epoch was written before; envelopes are written once.
    error MembersEnvelopeUsed(uint16 domain, uint16 epoch, uint32 memberId);
    /// @notice A signer set has 1 to 64 addresses.
    error MembersSignersCount(uint256 count);
    /// @notice Signers are strictly ascending: the one at `index` is not above the one before it (or is
    /// zero).
    error MembersSignersOrder(uint256 index);
    /// @notice Signer sets are written in the order of their first block.
    error MembersSignersBlock(uint64 latest, uint64 got);

    /// @notice Admits a member as Active. Council only.
    function admit(uint32 memberId, Profile calldata profile) external;

    /// @notice Active → Suspended. Council only.
    function suspend(uint32 memberId) external;

    /// @notice Suspended → Active. Council only.
    function reinstate(uint32 memberId) external;

    /// @notice Active or Suspended → Left, for good. Council only.
    function remove(uint32 memberId) external;

    /// @notice Gives the member a new account; the old one never speaks again. Council only.
    function rotateAccount(uint32 memberId, address account) external;

    /// @notice Names the member that may mark and publish in place of `memberId`; 0 takes the name back.
    /// Council only.
    function nameSuccessor(uint32 memberId, uint32 successor) external;

    /// @notice Sets where the member's node answers. The active member itself or the council.
    function setEndpoint(uint32 memberId, string calldata endpoint) external;

    /// @notice Sets the member's public HPKE key. The active member itself or the council.
    function setHpkeKey(uint32 memberId, bytes calldata hpkeKey) external;

    /// @notice Publishes the key of one domain and epoch, sealed to members. Council only.
    /// @param epoch 0 for the consume key, else at most {currentEpoch} + 1.
    function publishEnvelopes(
        uint16 domain,
        uint16 epoch,
        uint32[] calldata memberIds,
        bytes[] calldata envelopes
    ) external;

    /// @notice Records the signer set of the chain from `fromBlock` on. Council only.
    /// @param signers 1 to 64 addresses, strictly ascending.
    function setSigners(uint64 fromBlock, address[] calldata signers) external;

    /// @notice The member `account` speaks for now: 0 if none, suspended, left or outside its validity.
    function activeMemberOf(address account) external view returns (uint32 memberId);

    /// @notice As {activeMemberOf}, with the member's role ({Role}, 0 with member 0).
    function activeProfileOf(address account) external view returns (uint32 memberId, uint8 role);

    /// @notice The member that `account` speaks or once spoke for, in any state; 0 if none.
    function memberOf(address account) external view returns (uint32 memberId);

    /// @notice The account that speaks for the member; zero for an unknown member.
    function accountOf(uint32 memberId) external view returns (address account);

    /// @notice The member's {State}; 0 for an unknown member. Does not look at the validity period.
    function stateOf(uint32 memberId) external view returns (uint8 state);

    /// @notice The member's {Role}; 0 for an unknown member.
    function roleOf(uint32 memberId) external view returns (uint8 role);

    /// @notice The member named to act for `memberId`; 0 if none.
    function successorOf(uint32 memberId) external view returns (uint32 successor);

    /// @notice The validity period of the member; `validUntil` 0 = open.
    function validityOf(uint32 memberId) external view returns (uint64 validFrom, uint64 validUntil);

    /// @notice SHA-256 of the member's endpoint and of its HPKE key, so that both can be proved from state.
    function contactOf(uint32 memberId) external view returns (bytes32 endpointDigest, bytes32 hpkeKeyDigest);

    /// @notice The newest epoch of `domain` that has an envelope; 0 if none.
    function currentEpoch(uint16 domain) external view returns (uint16 epoch);

    /// @notice SHA-256 of the envelope of one domain, epoch and member; zero if none.
    function envelopeDigestOf(
        uint16 domain,
        uint16 epoch,
        uint32 memberId
    ) external view returns (bytes32 digest);

    /// @notice SHA-256 of the 20-byte addresses, in order, of the signer set that starts at `fromBlock`; zero
    /// if none.
    function signersDigest(uint64 fromBlock) external view returns (bytes32 digest);

    /// @notice First block and digest of the newest signer set; a zero digest means there is none.
    function latestSigners() external view returns (uint64 fromBlock, bytes32 digest);
}
