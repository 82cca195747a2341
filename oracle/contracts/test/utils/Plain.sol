// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRatingOracle, SkipReason} from "../../src/IRatingOracle.sol";
import {Words} from "./Words.sol";

/// @dev The rules once more, in plain words and unpacked fields, to check `RatingWord` and `UpdateRules`.
library Plain {
    function wellFormed(uint256 word) internal pure returns (bool) {
        IRatingOracle.Rating memory r = Words.unpack(word);
        return r.lag == 0 && r.flags < 0x40 && r.grade >= 1 && r.grade <= 20 && r.score <= 19_000 && r.pd <= 1e9
            && r.el <= 1e9;
    }

    function judge(uint256 oldWord, uint256 word, uint256 clock) internal pure returns (SkipReason) {
        IRatingOracle.Rating memory old = Words.unpack(oldWord);
        IRatingOracle.Rating memory r = Words.unpack(word);
        if (r.seq <= old.seq) return SkipReason.NotNewer;
        if (r.seq > uint256(old.seq) + (oldWord == 0 ? 16_777_216 : 1024)) return SkipReason.SeqStep;
        if (r.logPos <= old.logPos) return SkipReason.LogPositionNotRising;
        if (r.logPos > uint256(old.logPos) + 4_294_967_296) return SkipReason.LogPositionStep;
        if (r.asOf < old.asOf) return SkipReason.ObservationOlder;
        if (r.asOf > clock + 300) return SkipReason.Future;
        if (r.asOf + 16_777_215 < clock) return SkipReason.TooOld;
        if (oldWord == 0 || worsens(oldWord, word) || !betters(oldWord, word)) return SkipReason.None;
        if (r.grade + 3 < old.grade) return SkipReason.NotchStep;
        if (clock < uint256(old.asOf) + old.lag + 6 hours) return SkipReason.Dwell;
        return SkipReason.None;
    }

    /// @dev Watch negative, under review, defaulted, withdrawn.
    function adverse(uint8 flags) internal pure returns (uint8) {
        return flags & 0x1e;
    }

    /// @dev What must never have to wait.
    function worsens(uint256 oldWord, uint256 word) internal pure returns (bool) {
        IRatingOracle.Rating memory old = Words.unpack(oldWord);
        IRatingOracle.Rating memory r = Words.unpack(word);
        return r.grade > old.grade || (r.grade == old.grade && adverse(r.flags & ~old.flags) != 0);
    }

    /// @dev Whether anything is better than before.
    function betters(uint256 oldWord, uint256 word) internal pure returns (bool) {
        IRatingOracle.Rating memory old = Words.unpack(oldWord);
        IRatingOracle.Rating memory r = Words.unpack(word);
        return r.grade < old.grade || r.score < old.score || r.pd < old.pd || r.el < old.el
            || adverse(old.flags & ~r.flags) != 0;
    }

    /// @dev What is stored for a word that is not skipped.
    function stored(uint256 oldWord, uint256 word, uint256 clock) internal pure returns (uint256) {
        IRatingOracle.Rating memory r = Words.unpack(word);
        r.lag = clock > r.asOf ? uint24(clock - r.asOf) : 0;
        r.flags |= Words.unpack(oldWord).flags & 0x80;
        return Words.pack(r);
    }
}
