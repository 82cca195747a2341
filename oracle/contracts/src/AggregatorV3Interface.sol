// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

/// @title AggregatorV3Interface
/// @notice Chainlink's feed interface, as every lending market reads it.
interface AggregatorV3Interface {
    /// @notice Decimals of `answer`.
    function decimals() external view returns (uint8);

    /// @notice What the feed tells.
    function description() external view returns (string memory);

    /// @notice Version of the feed.
    function version() external view returns (uint256);

    /// @notice One round; reverts with "No data present" if there is none.
    function getRoundData(uint80 roundId)
        external
        view
        returns (uint80 id, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredInRound);

    /// @notice The newest round; reverts with "No data present" if there is none.
    function latestRoundData()
        external
        view
        returns (uint80 id, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredInRound);
}
