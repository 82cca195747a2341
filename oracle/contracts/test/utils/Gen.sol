// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRatingOracle} from "../../src/IRatingOracle.sol";
import {Rng} from "./Rng.sol";
import {Words} from "./Words.sol";

/// @dev Well-formed words that could follow a stored one, near every limit of the rules. A random word
///      fails `lag == 0` with certainty for all practical purposes; a property tried on those says nothing.
library Gen {
    /// @dev An entity's first rating, or, rarely, one too far along to be it.
    function first(Rng memory rng, uint256 clock) internal pure returns (IRatingOracle.Rating memory r) {
        r.asOf = _asOf(rng, clock, 0);
        r.logPos = uint48(rng.chance(95) ? rng.between(1, 1 << 30) : rng.between(1 << 32, (1 << 32) + 1));
        r.seq = uint32(rng.chance(95) ? rng.between(1, 5000) : rng.between(1 << 24, (1 << 24) + 1));
        r.model = uint16(rng.next());
        r.flags = uint8(rng.chance(70) ? 0 : rng.below(64));
        r.grade = uint8(rng.between(1, 20));
        r.score = uint16(rng.between(0, 19_000));
        r.pd = uint32(rng.between(0, 1e9));
        r.el = uint32(rng.between(0, 1e9));
    }

    /// @dev A rating after `old`, usually in order.
    function after_(Rng memory rng, uint256 oldWord, uint256 clock)
        internal
        pure
        returns (IRatingOracle.Rating memory r)
    {
        if (oldWord == 0) return first(rng, clock);
        IRatingOracle.Rating memory old = Words.unpack(oldWord);
        r.asOf = _asOf(rng, clock, old.asOf);
        r.seq = uint32(_rise(rng, old.seq, 1024, type(uint32).max));
        r.logPos = uint48(_rise(rng, old.logPos, 1 << 32, type(uint48).max));
        r.model = rng.chance(80) ? old.model : uint16(rng.next());
        r.flags = _flags(rng, old.flags & 0x3f);
        r.grade = uint8(_near(rng, old.grade, 5, 1, 20));
        r.score = uint16(_near(rng, old.score, 4000, 0, 19_000));
        r.pd = uint32(_near(rng, old.pd, 1e7, 0, 1e9));
        r.el = uint32(_near(rng, old.el, 1e6, 0, 1e9));
    }

    /// @dev One of the ways in which a word is malformed.
    function spoil(Rng memory rng, uint256 word) internal pure returns (uint256) {
        IRatingOracle.Rating memory r = Words.unpack(word);
        uint256 way = rng.below(7);
        if (way == 0) r.lag = uint24(rng.between(1, type(uint24).max));
        if (way == 1) r.flags |= 0x40;
        if (way == 2) r.flags |= 0x80;
        if (way == 3) r.grade = uint8(rng.chance(50) ? 0 : rng.between(21, 255));
        if (way == 4) r.score = uint16(rng.between(19_001, type(uint16).max));
        if (way == 5) r.pd = uint32(rng.between(1e9 + 1, type(uint32).max));
        if (way == 6) r.el = uint32(rng.between(1e9 + 1, type(uint32).max));
        return Words.pack(r);
    }

    function _asOf(Rng memory rng, uint256 clock, uint256 old) private pure returns (uint40) {
        uint256 way = rng.below(100);
        if (way < 6) return uint40(clock + rng.between(1, 300));
        if (way < 8) return uint40(clock + rng.between(300, 302));
        if (way < 10) return uint40(clock + rng.between(301, 1 days));
        if (way < 14) return uint40(clock - rng.between((1 << 24) - 302, (1 << 24) + 2));
        if (way < 20) return uint40(old - (old > 0 ? rng.below(3) : 0));
        uint256 low = clock > 1 days ? clock - 1 days : 0;
        if (low < old && old <= clock) low = old;
        return uint40(rng.between(low, clock));
    }

    function _rise(Rng memory rng, uint256 old, uint256 step, uint256 top) private pure returns (uint256 value) {
        uint256 way = rng.below(100);
        if (way < 80) value = old + rng.between(1, 3);
        else if (way < 86) value = old - (old > 3 ? rng.below(3) : 0);
        else if (way < 90) value = old + step + rng.below(3) - 1;
        else if (way < 92) value = rng.between(1, top);
        else value = old + rng.between(1, step);
        if (value > top) value = top;
    }

    function _near(Rng memory rng, uint256 old, uint256 reach, uint256 low, uint256 high)
        private
        pure
        returns (uint256)
    {
        uint256 way = rng.below(100);
        if (way < 45) return old;
        if (way < 70) return old + reach > high ? high : old + rng.between(1, reach);
        if (way < 92) return old < low + reach ? low : old - rng.between(1, reach);
        return rng.between(low, high);
    }

    function _flags(Rng memory rng, uint8 old) private pure returns (uint8) {
        if (rng.chance(60)) return old;
        // One to appear, one to go.
        uint8 set = rng.chance(60) ? uint8(1 << rng.below(6)) : 0;
        uint8 clear = rng.chance(60) ? uint8(1 << rng.below(6)) : 0;
        return (old | set) & ~clear;
    }
}
