// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title RFC 6962 Merkle trees over SHA-256
/// @notice Root of a list of hashes, and the right edge of a growing log (RFC 6962 §2.1).
/// @dev In assembly: the SHA-256 precompile (address 2) is called a thousand times for a full batch. Its
/// calls are not checked, for the reason given in {Records}: a failed one ends the transaction by itself.
library RFC6962 {
    /// @notice Root over `width` hashes that lie one after another at `nodes`.
    /// @dev Level by level: hashing the pairs of a level and carrying an odd last node up unchanged gives
    /// exactly the tree of RFC 6962, which splits at the largest power of two below the width.
    ///
    /// Each pair is hashed where it lies. 0x01 goes into the byte before it, which belongs to a node of this
    /// level that is hashed already; parents are written at or below the pair they come from.
    ///
    /// @param nodes Memory that the caller gives up, and one byte before it.
    /// @param width At least 1.
    function rootInPlace(uint256 nodes, uint256 width) internal view returns (bytes32 root) {
        assembly ("memory-safe") {
            let first := sub(nodes, 1)
            for {} gt(width, 1) {
                width := shr(1, add(width, 1))
            } {
                let parent := nodes
                let end := add(first, shl(6, shr(1, width)))
                for {
                    let pair := first
                } lt(pair, end) {
                    pair := add(pair, 64)
                } {
                    mstore8(pair, 1)
                    pop(staticcall(gas(), 2, pair, 65, parent, 32))
                    parent := add(parent, 32)
                }
                if and(width, 1) {
                    mstore(parent, mload(add(end, 1)))
                }
            }
            root := mload(nodes)
        }
    }

    /// @notice Adds a leaf to a log and returns the log's new root.
    /// @dev `frontier[k]` is the hash of the complete subtree of 2^k leaves at the right edge, live while bit
    /// k of the size is set. The new leaf swallows the run of low set bits and lands on the first clear one;
    /// the root then folds what is left, from the smallest subtree to the largest. `frontier[0]` stays empty:
    /// the leaf itself, which the caller stores anyway, serves, and half of all appends write one slot less.
    /// @param size Number of leaves before this one.
    /// @param last The leaf before this one; read only if `size` is odd.
    function push(
        bytes32[64] storage frontier,
        uint64 size,
        bytes32 last,
        bytes32 leaf
    ) internal returns (bytes32 root) {
        if (size & 1 == 0) return _fold(frontier, size, 1, leaf);
        uint256 level = 1;
        root = nodeHash(last, leaf);
        for (; (size >> level) & 1 == 1; ++level) root = nodeHash(frontier[level], root);
        frontier[level] = root;
        return _fold(frontier, size, level + 1, root);
    }

    /// @notice SHA-256(0x01 ‖ left ‖ right).
    function nodeHash(bytes32 left, bytes32 right) internal view returns (bytes32 node) {
        assembly ("memory-safe") {
            let buffer := mload(0x40)
            mstore8(buffer, 1)
            mstore(add(buffer, 1), left)
            mstore(add(buffer, 33), right)
            pop(staticcall(gas(), 2, buffer, 65, 0x00, 32))
            node := mload(0x00)
        }
    }

    /// @dev Hashes the live subtrees from `level` up onto `node`, the smallest first.
    function _fold(
        bytes32[64] storage frontier,
        uint64 size,
        uint256 level,
        bytes32 node
    ) private view returns (bytes32 root) {
        root = node;
        for (; size >> level != 0; ++level) {
            if ((size >> level) & 1 == 1) root = nodeHash(frontier[level], root);
        }
    }
}
