// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Catalogue of the consortium
/// @notice Versioned entries. State holds version, owner, digest and state; the event holds the text, so
/// every node has the whole catalogue and can prove each version.
interface ICatalog {
    /// @notice One version of one entry.
    /// @param kind 1 agency, 2 duty, 3 dataset, 4 system, 5 standard, 6 scenario, 7 materialType, 8 matter, 9
    /// link, 10 assessment.
    /// @param code The entry's code, UTF-8, 1 to 128 bytes; unique within its kind.
    /// @param version 1 for a new code, else the latest + 1.
    /// @param text Canonical JSON (RFC 8785) or a sealed envelope of it, 1 to 65536 bytes.
    struct Publication {
        uint8 kind;
        string code;
        uint32 version;
        bytes text;
    }

    /// @param key SHA-256(kind 1 ‖ code).
    /// @param owner Member that owns the code, and published this version.
    /// @param digest SHA-256(text).
    /// @param state 1 pending, 2 approved.
    event EntryPublished(
        bytes32 indexed key,
        uint8 indexed kind,
        string code,
        uint32 version,
        uint32 owner,
        bytes32 digest,
        uint8 state,
        bytes text
    );
    /// @param state 2 approved, 3 retired.
    event EntryStateChanged(bytes32 indexed key, uint32 version, uint8 state);
    event EntryOwnerChanged(bytes32 indexed key, uint32 owner);

    /// @notice A constructor argument that must be a contract is none.
    error CatalogCodeMissing(address target);
    /// @notice The caller speaks for no active member.
    error CatalogNotMember(address caller);
    /// @notice 1 to 256 entries a call.
    error CatalogEntriesCount(uint256 count);
    /// @notice All texts of a call together exceed 102,400 bytes.
    error CatalogTextTotal(uint256 length);
    error CatalogKindUnknown(uint8 kind);
    error CatalogCodeLength(uint8 kind, uint256 length);
    error CatalogTextLength(uint8 kind, string code, uint256 length);
    /// @notice The next version of this code is `latest` + 1.
    error CatalogVersion(uint8 kind, string code, uint32 latest, uint32 got);
    /// @notice The code belongs to `owner`, and the caller is neither it nor its successor (nor, to retire,
    /// the council).
    error CatalogNotOwner(bytes32 key, uint32 owner, address caller);
    /// @notice No version of this code exists.
    error CatalogUnknown(bytes32 key);
    /// @notice The version is in a state (0 = does not exist) that does not allow this act.
    error CatalogStateInvalid(bytes32 key, uint32 version, uint8 state);
    /// @notice 1 to 256 pairs a call.
    error CatalogApprovalsCount(uint256 keys, uint256 versions);
    /// @notice The new owner is unknown or has left.
    error CatalogOwnerInvalid(uint32 memberId);

    /// @notice Publishes entries, all or none. Any active member; later versions: the owner or its successor,
    /// which then owns.
    function publish(Publication[] calldata entries) external;

    /// @notice Pending → approved. Role REVIEWER.
    function approve(bytes32 key, uint32 version) external;

    /// @notice {approve} for many, all or none. Role REVIEWER.
    function approveMany(bytes32[] calldata keys, uint32[] calldata versions) external;

    /// @notice Pending or approved → retired, for good. The owner, its successor or the council.
    function retire(bytes32 key, uint32 version) external;

    /// @notice Gives a code to another member. Council only.
    function transferOwner(uint8 kind, string calldata code, uint32 memberId) external;

    /// @notice The newest version of a code and its owner; (0, 0) if it was never published.
    function latest(bytes32 key) external view returns (uint32 version, uint32 owner);

    /// @notice Digest and state of one version; (0, 0) if it does not exist. State: 1 pending, 2 approved, 3
    /// retired.
    function versionOf(bytes32 key, uint32 version) external view returns (bytes32 digest, uint8 state);

    /// @notice Block time at which the version took its state; 0 if it does not exist.
    function stateSince(bytes32 key, uint32 version) external view returns (uint64 since);

    /// @notice The {IMembers} this catalogue asks.
    function members() external view returns (address);
}
