// SPDX-License-Identifier: MIT
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

    /// @notice Whether a well-formed signed word may replace the stored one.
    /// @param old The stored word; zero if there is none.
    /// @param word The signed word.
    /// @param timestamp The chain's clock.
    function judge(uint256 old, uint256 word, uint256 timestamp) internal pure returns (SkipReason) {
        unchecked {
            // Compared in place: a field and all that is above it masked away keeps its order.
            uint256 newSeq = word & RatingWord.SEQ_MASK;
            uint256 oldSeq = old & RatingWord.SEQ_MASK;
            if (newSeq <= oldSeq) return SkipReason.NotNewer;
            {
                uint256 asOf = word >> RatingWord.AS_OF_SHIFT;
                if (asOf < old >> RatingWord.AS_OF_SHIFT) return SkipReason.ObservationOlder;
                if (asOf > timestamp) {
                    if (asOf - timestamp > MAX_FUTURE) return SkipReason.Future;
                } else if (timestamp - asOf > RatingWord.MAX_LAG) {
                    return SkipReason.TooOld;
                }
            }
            uint256 newPos = word & RatingWord.LOG_POS_MASK;
            uint256 oldPos = old & RatingWord.LOG_POS_MASK;
            if (newPos <= oldPos) return SkipReason.LogPositionNotRising;
            if (newPos - oldPos > MAX_LOG_POS_STEP << RatingWord.LOG_POS_SHIFT) return SkipReason.LogPositionStep;

            if (old == 0) {
                return newSeq > MAX_FIRST_SEQ << RatingWord.SEQ_SHIFT ? SkipReason.SeqStep : SkipReason.None;
            }
            if (newSeq - oldSeq > MAX_SEQ_STEP << RatingWord.SEQ_SHIFT) return SkipReason.SeqStep;
            return brake(old, word, timestamp);
        }
    }

    /// @notice The circuit breaker.
    /// @param old The stored word, not zero.
    /// @param word The signed word.
    /// @param timestamp The chain's clock.
    function brake(uint256 old, uint256 word, uint256 timestamp) internal pure returns (SkipReason) {
        unchecked {
            uint256 newGrade = word & RatingWord.GRADE_MASK;
            uint256 oldGrade = old & RatingWord.GRADE_MASK;
            // A worse grade lands at once, whatever comes with it.
            if (newGrade > oldGrade) return SkipReason.None;
            if (newGrade == oldGrade) {
                // So does a new adverse flag, unless a better grade rides on it.
                if (word & ~old & RatingWord.ADVERSE != 0) return SkipReason.None;
                if (
                    word & RatingWord.SCORE_MASK >= old & RatingWord.SCORE_MASK
                        && word & RatingWord.PD_MASK >= old & RatingWord.PD_MASK
                        && word & RatingWord.EL_MASK >= old & RatingWord.EL_MASK
                        && old & ~word & RatingWord.ADVERSE == 0
                ) return SkipReason.None;
            } else if (oldGrade - newGrade > MAX_NOTCHES_UP << RatingWord.GRADE_SHIFT) {
                return SkipReason.NotchStep;
            }
            return timestamp < RatingWord.storedAt(old) + DWELL ? SkipReason.Dwell : SkipReason.None;
        }
    }
}
