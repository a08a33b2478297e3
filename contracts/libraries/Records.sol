// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {RFC6962} from "./RFC6962.sol";

/// @title Records of a batch
/// @notice A record is commitment 32 | domain 2 | epoch 2 | line 1 | format 1 | 58 masked bytes; its leaf is
/// SHA-256(0x00 ‖ memberId 4 ‖ record). This library checks the bytes in clear and computes the batch's RFC
/// 6962 root in one pass over calldata.
/// @dev Gas, not taste, gives this its shape: eight records at a time at fixed addresses, with neither branch
/// nor addition between the hashes, take 2,960 gas a record in a full batch where a plain loop takes 3,120.
///
/// The memory used lies past the free pointer, which does not move, and the event's copy of the records uses
/// it again:
///
///   0x200  0x00 ‖ memberId in the last 5 bytes
///   0x220  eight records; 0x00 ‖ memberId overwrites the tail of each when it is hashed and no longer needed
///   0x600  seven buffers of 0x01 ‖ left ‖ right, 128 bytes apart: four over leaves, two above, one on top
///   0xa00  a node for each eight records, then room for what is left over; the byte before is free for {RFC6962}
///
/// No call of the SHA-256 precompile (address 2) is checked. It fails only for want of gas; each call passes
/// on all but a 64th of what is left, so a failed one leaves at most 1 gas, and the next instruction reverts
/// the transaction.
library Records {
    uint256 internal constant RECORD_BYTES = 96;
    uint256 private constant GROUP_BYTES = 768;
    uint256 private constant SCRATCH = 0x200;
    uint256 private constant NODES = 0xa00;

    /// @dev The bits that betray a flawed record: the top bit of domain or epoch, or any bit of the format.
    uint256 private constant FLAWS = 0x8000_8000_00_ff;
    /// @dev 1 in the lanes of domain and epoch.
    uint256 private constant ONES = 0x0001_0001_00_00;

    /// @notice Solidity has allocated what this library takes for free memory.
    error RecordsScratchTaken(uint256 freePointer);

    /// @notice Checks and hashes a batch.
    /// @param format Format that every record must have, its last byte in clear.
    /// @param records One or more whole records.
    /// @return rootHash The batch's RFC 6962 root; void if a record is flawed.
    /// @return flawed Whether a record has domain 0, epoch 0 or another format. {firstFlawed} says which.
    function root(
        uint8 format,
        uint32 memberId,
        bytes calldata records
    ) internal view returns (bytes32 rootHash, bool flawed) {
        _checkScratch();
        uint256 rest = records.length % GROUP_BYTES;
        (uint256 end, uint256 flaws) = _hashGroups(memberId, ONES | format, records[:records.length - rest]);
        if (rest != 0) {
            flaws |= _hashRest(memberId, ONES | format, records[records.length - rest:], end);
            end += 32;
        }
        flawed = flaws & FLAWS != 0;
        rootHash = RFC6962.rootInPlace(NODES, (end - NODES) / 32);
    }

    /// @notice Index of the first flawed record; the number of records if none is.
    function firstFlawed(uint8 format, bytes calldata records) internal pure returns (uint256 index) {
        uint256 count = records.length / RECORD_BYTES;
        for (; index < count; ++index) {
            bytes6 clear = bytes6(records[index * RECORD_BYTES + 32:]);
            if (bytes2(clear) == 0 || bytes2(clear << 16) == 0 || clear[5] != bytes1(format)) break;
        }
    }

    function _checkScratch() private pure {
        uint256 freePointer;
        assembly ("memory-safe") {
            freePointer := mload(0x40)
        }
        if (freePointer > SCRATCH) revert RecordsScratchTaken(freePointer);
    }

    /// @dev Writes a node for each eight records from NODES on and returns where they end.
    ///
    /// A record's word w, which ends with its format byte, is flawed if ((w − expected) & (~w | 0xff)) has a
    /// bit of FLAWS: subtracting 1 from a lane sets a top bit that was clear only if the lane was 0, and the
    /// format's difference is 0 only for the format. A borrow can reach a lane only from a lane that is
    /// itself flawed.
    ///
    /// @param expected ONES, and the format in the last byte.
    function _hashGroups(
        uint256 prefix,
        uint256 expected,
        bytes calldata groups
    ) private view returns (uint256 out, uint256 flaws) {
        assembly ("memory-safe") {
            mstore(0x200, prefix)
            mstore8(0x600, 1)
            mstore8(0x680, 1)
            mstore8(0x700, 1)
            mstore8(0x780, 1)
            mstore8(0x800, 1)
            mstore8(0x880, 1)
            mstore8(0x900, 1)
            out := NODES
            let end := add(groups.offset, groups.length)
            for {
                let group := groups.offset
            } lt(group, end) {
                group := add(group, GROUP_BYTES)
            } {
                calldatacopy(0x220, group, GROUP_BYTES)

                flaws := or(
                    flaws,
                    or(
                        or(
                            and(sub(mload(0x226), expected), or(not(mload(0x226)), 0xff)),
                            and(sub(mload(0x286), expected), or(not(mload(0x286)), 0xff))
                        ),
                        or(
                            and(sub(mload(0x2e6), expected), or(not(mload(0x2e6)), 0xff)),
                            and(sub(mload(0x346), expected), or(not(mload(0x346)), 0xff))
                        )
                    )
                )
                flaws := or(
                    flaws,
                    or(
                        or(
                            and(sub(mload(0x3a6), expected), or(not(mload(0x3a6)), 0xff)),
                            and(sub(mload(0x406), expected), or(not(mload(0x406)), 0xff))
                        ),
                        or(
                            and(sub(mload(0x466), expected), or(not(mload(0x466)), 0xff)),
                            and(sub(mload(0x4c6), expected), or(not(mload(0x4c6)), 0xff))
                        )
                    )
                )

                pop(staticcall(gas(), 2, 0x21b, 101, 0x601, 32))
                mstore(0x260, prefix)
                pop(staticcall(gas(), 2, 0x27b, 101, 0x621, 32))
                mstore(0x2c0, prefix)
                pop(staticcall(gas(), 2, 0x2db, 101, 0x681, 32))
                mstore(0x320, prefix)
                pop(staticcall(gas(), 2, 0x33b, 101, 0x6a1, 32))
                mstore(0x380, prefix)
                pop(staticcall(gas(), 2, 0x39b, 101, 0x701, 32))
                mstore(0x3e0, prefix)
                pop(staticcall(gas(), 2, 0x3fb, 101, 0x721, 32))
                mstore(0x440, prefix)
                pop(staticcall(gas(), 2, 0x45b, 101, 0x781, 32))
                mstore(0x4a0, prefix)
                pop(staticcall(gas(), 2, 0x4bb, 101, 0x7a1, 32))

                pop(staticcall(gas(), 2, 0x600, 65, 0x801, 32))
                pop(staticcall(gas(), 2, 0x680, 65, 0x821, 32))
                pop(staticcall(gas(), 2, 0x700, 65, 0x881, 32))
                pop(staticcall(gas(), 2, 0x780, 65, 0x8a1, 32))
                pop(staticcall(gas(), 2, 0x800, 65, 0x901, 32))
                pop(staticcall(gas(), 2, 0x880, 65, 0x921, 32))
                pop(staticcall(gas(), 2, 0x900, 65, out, 32))
                out := add(out, 32)
            }
        }
    }

    /// @dev Writes one node at `out` for the one to seven records after the last group; uses the memory
    /// behind it.
    function _hashRest(
        uint256 prefix,
        uint256 expected,
        bytes calldata rest,
        uint256 out
    ) private view returns (uint256 flaws) {
        uint256 leaves = out + 32;
        assembly ("memory-safe") {
            mstore(SCRATCH, prefix)
            let leaf := leaves
            let end := add(rest.offset, rest.length)
            for {
                let record := rest.offset
            } lt(record, end) {
                record := add(record, RECORD_BYTES)
            } {
                calldatacopy(0x220, record, RECORD_BYTES)
                flaws := or(flaws, and(sub(mload(0x226), expected), or(not(mload(0x226)), 0xff)))
                pop(staticcall(gas(), 2, 0x21b, 101, leaf, 32))
                leaf := add(leaf, 32)
            }
        }
        bytes32 node = RFC6962.rootInPlace(leaves, rest.length / RECORD_BYTES);
        assembly ("memory-safe") {
            mstore(out, node)
        }
    }
}
