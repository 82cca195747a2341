// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {AggregatorV3Interface} from "./AggregatorV3Interface.sol";
import {IRatingOracle} from "./IRatingOracle.sol";
import {RatingWord} from "./RatingWord.sol";

/// @title RatingFeed
/// @author Assay
/// @notice One entity's score behind the interface price feeds have.
/// @dev `roundId` is the rating's number, `answer` the score with eight decimals in notches (a BBB at
///      8.25 notches is 825 000 000; lower is safer, 19 is D), `startedAt` the observation and `updatedAt`
///      its inclusion. The oracle keeps the newest rating only, so there is no other round to be had. As
///      with any feed, the caller judges `updatedAt`; the feed reverts where the answer would mislead:
///      never rated, suspended, withdrawn.
contract RatingFeed is AggregatorV3Interface {
    using RatingWord for uint256;

    /// @notice Where the ratings are.
    IRatingOracle public immutable oracle;
    /// @notice Whose rating it is.
    bytes32 public immutable entity;

    /// @inheritdoc AggregatorV3Interface
    uint8 public constant decimals = 8;
    /// @inheritdoc AggregatorV3Interface
    uint256 public constant version = 1;
    /// @inheritdoc AggregatorV3Interface
    string public constant description = "Assay notch, lower is safer";

    /// @dev From milli-notches to eight decimals.
    uint256 private constant SCALE = 1e5;

    constructor(IRatingOracle oracle_, bytes32 entity_) {
        oracle = oracle_;
        entity = entity_;
    }

    /// @inheritdoc AggregatorV3Interface
    function latestRoundData()
        external
        view
        returns (uint80 roundId, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredInRound)
    {
        return _round(_word());
    }

    /// @inheritdoc AggregatorV3Interface
    /// @dev Answers for the newest round only; an older one's number with a newer one's answer would be a lie.
    function getRoundData(uint80 wanted)
        external
        view
        returns (uint80 roundId, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredInRound)
    {
        uint256 word = _word();
        require(wanted == word.seq(), "No data present");
        return _round(word);
    }

    /// @dev The stored word; reverts where it would mislead.
    function _word() private view returns (uint256 word) {
        word = oracle.raw(entity);
        require(word != 0, "No data present");
        if (word & RatingWord.SUSPENDED != 0) revert IRatingOracle.RatingSuspended(entity);
        if (word & RatingWord.WITHDRAWN != 0) revert IRatingOracle.RatingWithdrawn(entity);
    }

    function _round(uint256 word) private pure returns (uint80, int256, uint256, uint256, uint80) {
        uint80 id = uint80(word.seq());
        return (id, int256(word.score() * SCALE), word.asOf(), word.storedAt(), id);
    }
}
