// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IAuthority} from "@openzeppelin/contracts/access/manager/IAuthority.sol";

/// @title A contract under the consortium's authority
/// @notice `restricted` functions are the council's unless the authority gives their selector to another
/// role.
abstract contract Governed is AccessManaged {
    constructor(address authority_) AccessManaged(authority_) {}

    /// @dev Whether the authority lets the caller run the function that entered the contract, at once. For
    /// acts that a member may do itself and the council may do too; a council under a delay goes through the
    /// authority's `execute`.
    function _isCouncil() internal view returns (bool) {
        return IAuthority(authority()).canCall(msg.sender, address(this), msg.sig);
    }
}
