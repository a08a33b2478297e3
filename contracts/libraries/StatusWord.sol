// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Status word of a claim or a document
/// @notice flags 1 | since 5 | reason 2 | successor 24. `since` and `reason` are the latest act's; flags add
/// up.
library StatusWord {
    uint8 internal constant REVOKED = 0x01;
    uint8 internal constant SUPERSEDED = 0x02;
    uint8 internal constant ERASED = 0x04;
    uint8 internal constant SUSPENDED = 0x08;
    /// @dev This ledger has seen and ended a suspension that its predecessor still holds.
    uint8 internal constant SEEN = 0x80;

    /// @dev Flags that nothing clears.
    uint8 private constant STICKY = REVOKED | SUPERSEDED | ERASED;
    bytes32 private constant FLAGS_MASK = bytes32(uint256(0xff) << 248);

    function encode(uint8 flags, uint16 reason, bytes24 successor) internal view returns (bytes32 word) {
        uint256 since = uint256(uint40(block.timestamp));
        return
            bytes32((uint256(flags) << 248) | (since << 208) | (uint256(reason) << 192) | uint192(successor));
    }

    function flagsOf(bytes32 word) internal pure returns (uint8 flags) {
        return uint8(word[0]);
    }

    function successorOf(bytes32 word) internal pure returns (bytes24 successor) {
        return bytes24(uint192(uint256(word)));
    }

    /// @notice What a reader sees when a ledger holds `own` and its predecessor reports `inherited`.
    /// @dev Flags add up, the own time, reason and successor win. An inherited suspension holds until SEEN.
    function merge(bytes32 own, bytes32 inherited) internal pure returns (bytes32 word) {
        if (own == 0) return inherited;
        uint8 ownFlags = flagsOf(own);
        uint8 lasting = ownFlags & SEEN == 0 ? STICKY | SUSPENDED : STICKY;
        uint8 flags = (ownFlags & ~SEEN) | (flagsOf(inherited) & lasting);
        word = (own & ~FLAGS_MASK) | bytes32(uint256(flags) << 248);
        if (successorOf(own) == 0) word |= bytes32(uint256(uint192(successorOf(inherited))));
    }
}
