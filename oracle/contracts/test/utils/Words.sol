// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRatingOracle} from "../../src/IRatingOracle.sol";

/// @dev Packs and unpacks words by multiplication and division, on purpose not the way `src` does it.
library Words {
    function pack(IRatingOracle.Rating memory r) internal pure returns (uint256 word) {
        word = r.asOf;
        word = word * 2 ** 24 + r.lag;
        word = word * 2 ** 48 + r.logPos;
        word = word * 2 ** 32 + r.seq;
        word = word * 2 ** 16 + r.model;
        word = word * 2 ** 8 + r.flags;
        word = word * 2 ** 8 + r.grade;
        word = word * 2 ** 16 + r.score;
        word = word * 2 ** 32 + r.pd;
        word = word * 2 ** 32 + r.el;
    }

    function unpack(uint256 word) internal pure returns (IRatingOracle.Rating memory r) {
        r.el = uint32(word % 2 ** 32);
        word /= 2 ** 32;
        r.pd = uint32(word % 2 ** 32);
        word /= 2 ** 32;
        r.score = uint16(word % 2 ** 16);
        word /= 2 ** 16;
        r.grade = uint8(word % 2 ** 8);
        word /= 2 ** 8;
        r.flags = uint8(word % 2 ** 8);
        word /= 2 ** 8;
        r.model = uint16(word % 2 ** 16);
        word /= 2 ** 16;
        r.seq = uint32(word % 2 ** 32);
        word /= 2 ** 32;
        r.logPos = uint48(word % 2 ** 48);
        word /= 2 ** 48;
        r.lag = uint24(word % 2 ** 24);
        word /= 2 ** 24;
        r.asOf = uint40(word);
    }
}
