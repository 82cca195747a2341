// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {SkipReason} from "./IRatingOracle.sol";
import {RatingWord} from "./RatingWord.sol";

/// @title UpdateRules
/// @author Assay
/// @notice Which signed rating may replace which stored one, and when: order, and the circuit breaker.
/// @dev The breaker bounds what a captured quorum can do: make ratings worse at once (consumers lend
///      less), make them better only slowly (`DWELL`, `MAX_NOTCHES_UP`), so that guardian and owner have
///      time to act. No rule here may revert: that would hold up the other ratings of a batch.
library UpdateRules {
    /// @dev Seconds an improvement waits after the last stored rating.
    uint256 internal constant DWELL = 6 hours;
    /// @dev Notches an improvement may move.
    uint256 internal constant MAX_NOTCHES_UP = 3;
    /// @dev Seconds an observation may run ahead of the chain's clock.
    uint256 internal constant MAX_FUTURE = 300;
    /// @dev By how much `seq` may rise; one word with the largest number would end an entity's updates.
    uint256 internal constant MAX_SEQ_STEP = 1024;
    /// @dev By how much `logPos` may rise, for the same reason.
    uint256 internal constant MAX_LOG_POS_STEP = 1 << 32;
    /// @dev Largest `seq` of an entity's first rating here: numbers are shared by all chains, so a chain
    ///      that joins late starts high, but not where nothing is left.
    uint256 internal constant MAX_FIRST_SEQ = 1 << 24;

    /// @dev One less than the least rise of `seq` and `logPos`, as they stand in `word >> SEQ_SHIFT`.
    uint256 private constant LEAST_RISE = 1 << (RatingWord.LOG_POS_SHIFT - RatingWord.SEQ_SHIFT) | 1;
    /// @dev The bits that `rise − LEAST_RISE` sets only if one of them is beyond its step.
    uint256 private constant BEYOND_STEPS = (0xffffffffffff & ~(MAX_LOG_POS_STEP - 1))
        << (RatingWord.LOG_POS_SHIFT - RatingWord.SEQ_SHIFT) | (0xffffffff & ~(MAX_SEQ_STEP - 1));

    /// @notice Whether a well-formed signed word may replace the stored one, and if not, why.
    /// @dev Every stored rating pays for this, so the common case takes two branches: nothing suspicious
    ///      about the order (else `order` has a closer look), and nothing better than before (else `brake`
    ///      does). `test/Rules.t.sol` has the same rules in plain words and compares.
    /// @param old The stored word; zero if there is none.
    /// @param word The signed word.
    /// @param clock The chain's clock.
    /// @return A `SkipReason`, as a number: the compiler checks the range of an enum wherever it compares one.
    function judge(uint256 old, uint256 word, uint256 clock) internal pure returns (uint256) {
        unchecked {
            uint256 borrows = RatingWord.borrows(word, old);
            uint256 rise = (word >> RatingWord.SEQ_SHIFT) - (old >> RatingWord.SEQ_SHIFT) - LEAST_RISE;
            uint256 asOf = word >> RatingWord.AS_OF_SHIFT;
            // Each term is zero unless something may be wrong; differences below zero wrap round.
            uint256 suspicion = rise & BEYOND_STEPS | borrows & RatingWord.ORDER_BORROWS
                | (asOf - (old >> RatingWord.AS_OF_SHIFT)) >> 40 | (clock + MAX_FUTURE - asOf) >> 24;
            if (suspicion != 0) {
                SkipReason reason = order(old, word, clock);
                if (reason != SkipReason.None) return uint256(reason);
            }
            if (borrows & RatingWord.RISK_BORROWS | old & ~word & RatingWord.ADVERSE == 0) return 0;
            return uint256(brake(old, word, clock));
        }
    }

    /// @notice What is wrong with the order, if anything.
    /// @dev Compared in place: two words masked alike are in the order of the field.
    /// @param old The stored word; zero if there is none.
    /// @param word The signed word.
    /// @param clock The chain's clock.
    function order(uint256 old, uint256 word, uint256 clock) internal pure returns (SkipReason) {
        unchecked {
            uint256 newSeq = word & RatingWord.SEQ_MASK;
            uint256 oldSeq = old & RatingWord.SEQ_MASK;
            if (newSeq <= oldSeq) return SkipReason.NotNewer;
            uint256 seqStep = old == 0 ? MAX_FIRST_SEQ : MAX_SEQ_STEP;
            if (newSeq - oldSeq > seqStep << RatingWord.SEQ_SHIFT) return SkipReason.SeqStep;

            uint256 newPos = word & RatingWord.LOG_POS_MASK;
            uint256 oldPos = old & RatingWord.LOG_POS_MASK;
            if (newPos <= oldPos) return SkipReason.LogPositionNotRising;
            if (newPos - oldPos > MAX_LOG_POS_STEP << RatingWord.LOG_POS_SHIFT) return SkipReason.LogPositionStep;

            uint256 asOf = RatingWord.asOf(word);
            if (asOf < RatingWord.asOf(old)) return SkipReason.ObservationOlder;
            if (asOf > clock + MAX_FUTURE) return SkipReason.Future;
            if (RatingWord.age(word, clock) > RatingWord.MAX_LAG) return SkipReason.TooOld;
            return SkipReason.None;
        }
    }

    /// @notice The circuit breaker, for a word some field of which is better than the stored one's.
    /// @param old The stored word, not zero.
    /// @param word The signed word.
    /// @param clock The chain's clock.
    function brake(uint256 old, uint256 word, uint256 clock) internal pure returns (SkipReason) {
        unchecked {
            uint256 newGrade = word & RatingWord.GRADE_MASK;
            uint256 oldGrade = old & RatingWord.GRADE_MASK;
            // A worse grade lands at once, whatever comes with it.
            if (newGrade > oldGrade) return SkipReason.None;
            // So does a new adverse flag, unless a better grade comes with it: setting one flag while
            // clearing another would otherwise buy three notches each time.
            if (newGrade == oldGrade && word & ~old & RatingWord.ADVERSE != 0) return SkipReason.None;
            if (oldGrade - newGrade > MAX_NOTCHES_UP << RatingWord.GRADE_SHIFT) return SkipReason.NotchStep;
            if (clock < RatingWord.storedAt(old) + DWELL) return SkipReason.Dwell;
            return SkipReason.None;
        }
    }
}
