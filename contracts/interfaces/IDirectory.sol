// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Directory of the consortium's contracts
/// @notice The one address a node is configured with: it maps a name and a version to a contract.
/// Names are ASCII, padded with zero bytes on the right: "authority", "members", "ledger", "catalog".
interface IDirectory {
    /// @notice `name` at `version` is `target` from now on, and for good.
    event NameSet(bytes32 indexed name, uint32 version, address target);

    /// @notice A name without a single character.
    error DirectoryNameEmpty();
    /// @notice Versions of a name start at 1 and have no gap: `expected` is the next one.
    error DirectoryVersion(bytes32 name, uint32 expected, uint32 got);
    /// @notice `target` holds no code.
    error DirectoryCodeMissing(bytes32 name, address target);

    /// @notice Publishes the next version of `name`. Council only.
    function set(bytes32 name, uint32 version, address target) external;

    /// @notice The latest version of `name` and its address; (0, 0) for a name never set.
    function latest(bytes32 name) external view returns (uint32 version, address target);

    /// @notice The address of one version; zero if that version was never set.
    function at(bytes32 name, uint32 version) external view returns (address target);
}
