// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRatingOracle} from "./IRatingOracle.sol";
import {RatingFeed} from "./RatingFeed.sol";

/// @title RatingFeedFactory
/// @author Assay
/// @notice Deploys the feed of an entity, once, at an address known beforehand.
contract RatingFeedFactory {
    /// @notice An entity has a feed.
    event FeedCreated(bytes32 indexed entity, RatingFeed feed);

    /// @notice Where the ratings are.
    IRatingOracle public immutable oracle;

    constructor(IRatingOracle oracle_) {
        oracle = oracle_;
    }

    /// @notice The feed of an entity, deployed if it was not. Anyone may call it, rated or not.
    function create(bytes32 entity) external returns (RatingFeed feed) {
        feed = RatingFeed(feedOf(entity));
        if (address(feed).code.length == 0) {
            feed = new RatingFeed{salt: entity}(oracle, entity);
            emit FeedCreated(entity, feed);
        }
    }

    /// @notice Address of the feed of an entity, deployed or not.
    function feedOf(bytes32 entity) public view returns (address) {
        bytes32 codeHash = keccak256(bytes.concat(type(RatingFeed).creationCode, abi.encode(oracle, entity)));
        return address(uint160(uint256(keccak256(abi.encodePacked(bytes1(0xff), address(this), entity, codeHash)))));
    }
}
