// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Governed} from "./Governed.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";

/// @title Directory
/// @notice Implements {IDirectory}, where each function is described.
contract Directory is IDirectory, Governed {
    mapping(bytes32 name => uint32 version) private _latest;
    mapping(bytes32 name => mapping(uint32 version => address target)) private _targets;

    constructor(address authority_) Governed(authority_) {}

    /// @inheritdoc IDirectory
    function set(bytes32 name, uint32 version, address target) external restricted {
        if (name[0] == 0) revert DirectoryNameEmpty();
        uint32 expected = _latest[name] + 1;
        if (version != expected) revert DirectoryVersion(name, expected, version);
        if (target.code.length == 0) revert DirectoryCodeMissing(name, target);
        _latest[name] = version;
        _targets[name][version] = target;
        emit NameSet(name, version, target);
    }

    /// @inheritdoc IDirectory
    function latest(bytes32 name) external view returns (uint32 version, address target) {
        version = _latest[name];
        target = _targets[name][version];
    }

    /// @inheritdoc IDirectory
    function at(bytes32 name, uint32 version) external view returns (address target) {
        return _targets[name][version];
    }
}
