// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRatingOracle} from "../src/IRatingOracle.sol";
import {RatingFeed} from "../src/RatingFeed.sol";
import {RatingFeedFactory} from "../src/RatingFeedFactory.sol";
import {Gen} from "./utils/Gen.sol";
import {vm} from "./utils/MiniVm.sol";
import {OracleTest} from "./utils/OracleTest.sol";
import {Rng} from "./utils/Rng.sol";
import {Words} from "./utils/Words.sol";

contract FeedTest is OracleTest {
    RatingFeedFactory internal factory;
    RatingFeed internal feed;

    function setUp() public override {
        super.setUp();
        factory = new RatingFeedFactory(oracle);
        feed = factory.create(entityOf(0));
    }

    function test_address_is_known_beforehand() external {
        address predicted = factory.feedOf(entityOf(1));
        same(predicted.code.length, 0, "code");
        check(address(factory.create(entityOf(1))) == predicted, "predicted");
        check(address(factory.create(entityOf(1))) == predicted, "twice");
        check(feed.entity() == entityOf(0) && address(feed.oracle()) == address(oracle), "of");
        check(feed.decimals() == 8 && feed.version() == 1, "constants");
        check(keccak256(bytes(feed.description())) == keccak256("Assay notch, lower is safer"), "description");
    }

    /// @notice The feed says what the oracle does, and its rounds only rise.
    /// forge-config: default.fuzz.runs = 10000
    function testFuzz_p11_feed_is_oracle(uint256 seed) external {
        Rng memory rng = Rng(seed);
        uint80 last;
        for (uint256 i = 0; i < 3; ++i) {
            uint256 word = Words.pack(Gen.after_(rng, oracle.raw(entityOf(0)), block.timestamp));
            push(abi.encodePacked(entityOf(0), word));
            vm.warp(block.timestamp + rng.below(1 days));
            uint256 stored = oracle.raw(entityOf(0));
            if (stored == 0 || stored >> 88 & 0x10 != 0) {
                vm.expectRevert();
                feed.latestRoundData();
                continue;
            }
            IRatingOracle.Rating memory r = oracle.rating(entityOf(0));
            (uint80 id, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredIn) = feed.latestRoundData();
            check(id == r.seq && answeredIn == r.seq && id >= last, "round");
            check(answer == int256(uint256(r.score)) * 1e5, "answer");
            check(startedAt == r.asOf && updatedAt == uint256(r.asOf) + r.lag, "times");
            last = id;
        }
    }

    function test_old_rounds_are_gone() external {
        push(entityOf(0), ratingOf(5));
        vm.warp(START + 1 days);
        push(entityOf(0), ratingOf(6));
        (uint80 id, int256 answer,,,) = feed.getRoundData(6);
        check(id == 6 && answer == 825_000_000, "this round");
        vm.expectRevert("No data present");
        feed.getRoundData(5);
        vm.expectRevert("No data present");
        feed.getRoundData(7);
        // Not even one whose lower bits are right.
        vm.expectRevert("No data present");
        feed.getRoundData(6 + (1 << 32));
    }

    function test_reverts_where_it_would_mislead() external {
        vm.expectRevert("No data present");
        feed.latestRoundData();
        IRatingOracle.Rating memory r = ratingOf(1);
        push(entityOf(0), r);
        vm.prank(GUARDIAN);
        oracle.suspend(entityOf(0));
        vm.expectRevert(abi.encodeWithSelector(IRatingOracle.RatingSuspended.selector, entityOf(0)));
        feed.latestRoundData();
        vm.prank(OWNER);
        oracle.reinstate(entityOf(0));
        feed.latestRoundData();
        (r.seq, r.logPos, r.flags) = (2, r.logPos + 1, 0x10);
        push(entityOf(0), r);
        vm.expectRevert(abi.encodeWithSelector(IRatingOracle.RatingWithdrawn.selector, entityOf(0)));
        feed.latestRoundData();
    }
}
