// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRatingOracle, SkipReason} from "../src/IRatingOracle.sol";
import {RatingWord} from "../src/RatingWord.sol";
import {UpdateRules} from "../src/UpdateRules.sol";
import {Gen} from "./utils/Gen.sol";
import {OracleTest} from "./utils/OracleTest.sol";
import {Plain} from "./utils/Plain.sol";
import {Rng} from "./utils/Rng.sol";
import {Words} from "./utils/Words.sol";

/// @dev `RatingWord` and `UpdateRules` against the same in plain words.
contract RulesTest is OracleTest {
    using RatingWord for uint256;

    /// @dev A stored word and one that may follow it.
    function pair(uint256 seed) internal pure returns (uint256 old, uint256 word, uint256 clock) {
        Rng memory rng = Rng(seed);
        uint256 then = START + rng.below(1 days);
        clock = then + (rng.chance(50) ? rng.below(6 hours + 2) : rng.below(40 days));
        if (rng.chance(10)) clock = then + 6 hours - 1 + rng.below(3);
        if (rng.chance(95)) {
            IRatingOracle.Rating memory r = Gen.first(rng, then);
            // Anywhere in the range, its ends included.
            if (rng.chance(10)) r.seq = uint32(rng.next() | 0xfffff000);
            if (rng.chance(10)) r.logPos = uint48(rng.next() | 0xffff00000000);
            if (rng.chance(20)) r.flags |= 0x80;
            old = Plain.stored(0, Words.pack(r), then);
        }
        word = Words.pack(Gen.after_(rng, old, clock));
    }

    /// @notice Every field is where the layout says.
    /// forge-config: default.fuzz.runs = 10000
    function testFuzz_word_layout(uint256 word) external view {
        IRatingOracle.Rating memory r = Words.unpack(word);
        same(Words.pack(r), word, "pack");
        same(word.asOf(), r.asOf, "asOf");
        same(word.lag(), r.lag, "lag");
        same(word.logPos(), r.logPos, "logPos");
        same(word.seq(), r.seq, "seq");
        same(word.model(), r.model, "model");
        same(word.flags(), r.flags, "flags");
        same(word.grade(), r.grade, "grade");
        same(word.score(), r.score, "score");
        same(word.pd(), r.pd, "pd");
        same(word.el(), r.el, "el");
        same(word.age(block.timestamp), block.timestamp > r.asOf ? block.timestamp - r.asOf : 0, "age");
    }

    /// @notice One subtraction sees every field out of range, and none that is in range.
    /// forge-config: default.fuzz.runs = 10000
    function testFuzz_wellFormed(uint256 seed, uint256 noise) external pure {
        Rng memory rng = Rng(seed);
        uint256 word = Words.pack(Gen.first(rng, START));
        check(word.wellFormed() && Plain.wellFormed(word), "a good word");
        uint256 bad = Gen.spoil(rng, word);
        check(!bad.wellFormed() && !Plain.wellFormed(bad), "a spoilt word");
        // And with one field replaced by noise.
        uint256 shift = [uint256(0), 32, 64, 80, 88, 192][rng.below(6)];
        uint256 mixed = word ^ ((noise & 0xffffffff) << shift);
        check(mixed.wellFormed() == Plain.wellFormed(mixed), "a mixed word");
    }

    /// @notice The limits themselves are in range, one more is not.
    function test_wellFormed_limits() external pure {
        IRatingOracle.Rating memory r = IRatingOracle.Rating(0, 0, 0, 0, 0, 0x3f, 20, 19_000, 1e9, 1e9);
        check(Words.pack(r).wellFormed(), "the worst");
        check(!(Words.pack(r) + 1).wellFormed(), "el");
        check(!(Words.pack(r) + (1 << 32)).wellFormed(), "pd");
        check(!(Words.pack(r) + (1 << 64)).wellFormed(), "score");
        check(!(Words.pack(r) + (1 << 80)).wellFormed(), "grade");
        r = IRatingOracle.Rating(0, 0, 0, 0, 0, 0, 1, 0, 0, 0);
        check(Words.pack(r).wellFormed(), "the best");
        check(!(Words.pack(r) - (1 << 80)).wellFormed(), "no grade");
    }

    /// @notice The rules as coded are the rules as told.
    /// forge-config: default.fuzz.runs = 40000
    function testFuzz_p07_judge_is_plain_judge(uint256 seed) external pure {
        (uint256 old, uint256 word, uint256 clock) = pair(seed);
        same(UpdateRules.judge(old, word, clock), uint256(Plain.judge(old, word, clock)), "judge");
    }

    /// @notice Numbers at the end of their range do not come round to the start.
    /// forge-config: default.fuzz.runs = 10000
    function testFuzz_p01_no_wrapping_round(uint256 seed) external pure {
        Rng memory rng = Rng(seed);
        IRatingOracle.Rating memory old = Gen.first(rng, START);
        IRatingOracle.Rating memory r = Gen.first(rng, START);
        (old.asOf, r.asOf) = (uint40(START), uint40(START + 1));
        (old.flags, r.flags, r.grade) = (0, 0, 20);
        (r.seq, r.logPos) = (old.seq + 1, old.logPos + 1);
        uint256 way = rng.between(1, 3);
        if (way & 1 != 0) {
            old.seq = uint32(type(uint32).max - rng.below(600));
            r.seq = uint32(rng.below(600));
        }
        if (way & 2 != 0) {
            old.logPos = uint48(type(uint48).max - rng.below(600));
            r.logPos = uint48(rng.below(600));
        }
        SkipReason expected = way == 2 ? SkipReason.LogPositionNotRising : SkipReason.NotNewer;
        same(UpdateRules.judge(Words.pack(old), Words.pack(r), START + 1), uint256(expected), "judge");
    }

    /// @notice A deterioration that is in order lands, whenever it comes and whatever comes with it.
    /// forge-config: default.fuzz.runs = 40000
    function testFuzz_p07_deterioration_never_waits(uint256 seed) external pure {
        (uint256 old, uint256 word, uint256 clock) = pair(seed);
        if (old == 0 || !Plain.worsens(old, word)) return;
        uint256 reason = UpdateRules.judge(old, word, clock);
        check(reason != uint256(SkipReason.Dwell) && reason != uint256(SkipReason.NotchStep), "waits");
    }

    /// @notice Nothing but a deterioration betters anything within the dwell, and nothing betters a grade
    ///         by more than three notches, ever.
    /// forge-config: default.fuzz.runs = 40000
    function testFuzz_p07_improvement_waits(uint256 seed) external pure {
        (uint256 old, uint256 word, uint256 clock) = pair(seed);
        if (old == 0 || UpdateRules.judge(old, word, clock) != 0) return;
        check(word.grade() + 3 >= old.grade(), "more than three notches");
        if (clock >= old.storedAt() + 6 hours) return;
        check(!Plain.betters(old, word) || Plain.worsens(old, word), "within the dwell");
        check(word.grade() >= old.grade(), "a better grade within the dwell");
    }

    /// @notice The generator gets to every rule, so the above say something.
    function test_every_reason_is_reached() external pure {
        uint256 seen;
        uint256 landed;
        for (uint256 seed = 0; seed < 4000; ++seed) {
            (uint256 old, uint256 word, uint256 clock) = pair(seed);
            SkipReason reason = Plain.judge(old, word, clock);
            seen |= 1 << uint256(reason);
            if (reason == SkipReason.None) ++landed;
        }
        same(seen, (1 << (uint256(SkipReason.NotchStep) + 1)) - 1, "reasons");
        check(landed > 1000, "too few land");
    }
}
