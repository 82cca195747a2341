// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

/// @title RatingWord
/// @author Assay
/// @notice The one-slot form of a rating, and what may be asked of it without storage.
/// @dev A word is 256 bits, most significant first:
///
///      | field  | bits | position  | meaning                                                       |
///      |--------|------|-----------|---------------------------------------------------------------|
///      | asOf   |   40 | 216 … 255 | observation time, seconds                                     |
///      | lag    |   24 | 192 … 215 | inclusion time − asOf; zero when signed, filled in on chain   |
///      | logPos |   48 | 144 … 191 | canonical position in Assay's event log                       |
///      | seq    |   32 | 112 … 143 | number of the rating, per entity, the same on every chain     |
///      | model  |   16 |  96 … 111 | index in the model registry                                   |
///      | flags  |    8 |  88 …  95 | see the `FLAG_` constants                                     |
///      | grade  |    8 |  80 …  87 | 1 = AAA … 19 = CCC−, 20 = D; never 0                           |
///      | score  |   16 |  64 …  79 | milli-notch, 0 (AAA) … 19 000 (D); lower is safer             |
///      | pd     |   32 |  32 …  63 | P(one-year loss > 1 %), in 1e-9, rounded up                   |
///      | el     |   32 |   0 …  31 | expected one-year loss, in 1e-9, rounded up                   |
///
///      Functions return `uint256` rather than the narrow type: the masks already bound the value,
///      and a second cleanup by the compiler would be paid on every read.
library RatingWord {
    uint256 internal constant AS_OF_SHIFT = 216;
    uint256 internal constant LAG_SHIFT = 192;
    uint256 internal constant LOG_POS_SHIFT = 144;
    uint256 internal constant SEQ_SHIFT = 112;
    uint256 internal constant MODEL_SHIFT = 96;
    uint256 internal constant FLAGS_SHIFT = 88;
    uint256 internal constant GRADE_SHIFT = 80;
    uint256 internal constant SCORE_SHIFT = 64;
    uint256 internal constant PD_SHIFT = 32;

    uint256 internal constant LAG_MASK = 0xffffff << LAG_SHIFT;
    uint256 internal constant LOG_POS_MASK = 0xffffffffffff << LOG_POS_SHIFT;
    uint256 internal constant SEQ_MASK = 0xffffffff << SEQ_SHIFT;
    uint256 internal constant GRADE_MASK = 0xff << GRADE_SHIFT;
    uint256 internal constant SCORE_MASK = 0xffff << SCORE_SHIFT;
    uint256 internal constant PD_MASK = 0xffffffff << PD_SHIFT;
    uint256 internal constant EL_MASK = 0xffffffff;

    /// @dev On watch for an upgrade. Neither adverse nor an improvement.
    uint256 internal constant FLAG_WATCH_POSITIVE = 0x01;
    /// @dev On watch for a downgrade. Adverse.
    uint256 internal constant FLAG_WATCH_NEGATIVE = 0x02;
    /// @dev The inputs are being questioned. Adverse.
    uint256 internal constant FLAG_UNDER_REVIEW = 0x04;
    /// @dev The entity has defaulted. Adverse.
    uint256 internal constant FLAG_DEFAULTED = 0x08;
    /// @dev No longer rated; the grade is the last one there was. Adverse.
    uint256 internal constant FLAG_WITHDRAWN = 0x10;
    /// @dev The rating was set by the committee, against the model. Neither adverse nor an improvement.
    uint256 internal constant FLAG_MANUAL_OVERRIDE = 0x20;
    /// @dev Set by the guardian, cleared by the owner, carried over by every update, never signed.
    uint256 internal constant FLAG_SUSPENDED = 0x80;

    /// @dev `FLAG_SUSPENDED` in place.
    uint256 internal constant SUSPENDED = FLAG_SUSPENDED << FLAGS_SHIFT;
    /// @dev `FLAG_WITHDRAWN` in place.
    uint256 internal constant WITHDRAWN = FLAG_WITHDRAWN << FLAGS_SHIFT;
    /// @dev Flags whose appearance is a deterioration and whose disappearance an improvement, in place.
    uint256 internal constant ADVERSE =
        (FLAG_WATCH_NEGATIVE | FLAG_UNDER_REVIEW | FLAG_DEFAULTED | FLAG_WITHDRAWN) << FLAGS_SHIFT;
    /// @dev Bits no signer may set: the lag, SUSPENDED and the one unassigned flag.
    uint256 internal constant UNSIGNABLE = LAG_MASK | ((FLAG_SUSPENDED | 0x40) << FLAGS_SHIFT);

    uint256 internal constant MAX_GRADE = 20;
    uint256 internal constant MAX_SCORE = 19_000;
    /// @dev 100 % in the unit of `pd` and `el`.
    uint256 internal constant MAX_PROBABILITY = 1e9;
    /// @dev The largest lag a word can hold: 194 days.
    uint256 internal constant MAX_LAG = 0xffffff;

    /// @dev The largest value of each of el, pd, score and grade − 1, in place.
    uint256 private constant LIMITS =
        (MAX_GRADE - 1) << GRADE_SHIFT | MAX_SCORE << SCORE_SHIFT | MAX_PROBABILITY << PD_SHIFT | MAX_PROBABILITY;
    /// @dev Where a borrow out of el, pd, score and grade arrives; see `borrows`.
    uint256 internal constant RISK_BORROWS = 1 << PD_SHIFT | 1 << SCORE_SHIFT | 1 << GRADE_SHIFT | 1 << FLAGS_SHIFT;
    /// @dev Where a borrow out of seq and logPos arrives.
    uint256 internal constant ORDER_BORROWS = 1 << LOG_POS_SHIFT | 1 << LAG_SHIFT;

    /// @notice Observation time.
    function asOf(uint256 word) internal pure returns (uint256) {
        return word >> AS_OF_SHIFT;
    }

    /// @notice Seconds from the observation to its inclusion.
    function lag(uint256 word) internal pure returns (uint256) {
        return (word >> LAG_SHIFT) & 0xffffff;
    }

    /// @notice Canonical position in the event log.
    function logPos(uint256 word) internal pure returns (uint256) {
        return (word >> LOG_POS_SHIFT) & 0xffffffffffff;
    }

    /// @notice Number of the rating.
    function seq(uint256 word) internal pure returns (uint256) {
        return (word >> SEQ_SHIFT) & 0xffffffff;
    }

    /// @notice Index of the model that made the rating.
    function model(uint256 word) internal pure returns (uint256) {
        return (word >> MODEL_SHIFT) & 0xffff;
    }

    /// @notice The eight flags.
    function flags(uint256 word) internal pure returns (uint256) {
        return (word >> FLAGS_SHIFT) & 0xff;
    }

    /// @notice 1 = AAA … 20 = D.
    function grade(uint256 word) internal pure returns (uint256) {
        return (word >> GRADE_SHIFT) & 0xff;
    }

    /// @notice Milli-notch, lower is safer.
    function score(uint256 word) internal pure returns (uint256) {
        return (word >> SCORE_SHIFT) & 0xffff;
    }

    /// @notice P(one-year loss > 1 %) in 1e-9.
    function pd(uint256 word) internal pure returns (uint256) {
        return (word >> PD_SHIFT) & 0xffffffff;
    }

    /// @notice Expected one-year loss in 1e-9.
    function el(uint256 word) internal pure returns (uint256) {
        return word & EL_MASK;
    }

    /// @notice When the word was stored: exact, unless `asOf` ran ahead of the chain's clock.
    function storedAt(uint256 word) internal pure returns (uint256) {
        unchecked {
            return asOf(word) + lag(word);
        }
    }

    /// @notice Age of the observation; zero when it runs ahead of the chain's clock.
    function age(uint256 word, uint256 timestamp) internal pure returns (uint256) {
        uint256 observed = asOf(word);
        unchecked {
            return timestamp > observed ? timestamp - observed : 0;
        }
    }

    /// @notice Compares all fields of two words in one subtraction.
    /// @dev Bit i of `a − b` is `aᵢ ⊕ bᵢ ⊕` the borrow into i, so this is the borrows. If none arrives
    ///      at the upper ends of some adjacent lowest fields, then each of these is in `a` at least what it
    ///      is in `b`: the lowest because nothing borrows from below it, the next because of that, and so on.
    function borrows(uint256 a, uint256 b) internal pure returns (uint256) {
        unchecked {
            return (a - b) ^ a ^ b;
        }
    }

    /// @notice Whether every field of a signed word is in range.
    function wellFormed(uint256 word) internal pure returns (bool) {
        unchecked {
            // One grade less, so that 0 wraps round to 255 and one comparison, `borrows`, sees both ends.
            uint256 shifted = word - (1 << GRADE_SHIFT);
            return ((LIMITS - shifted) ^ LIMITS ^ shifted) & RISK_BORROWS | word & UNSIGNABLE == 0;
        }
    }
}
