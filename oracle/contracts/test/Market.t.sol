// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

import {AggregatorV3Interface} from "../src/AggregatorV3Interface.sol";
import {AssayGuard} from "../src/AssayGuard.sol";
import {IERC7412} from "../src/IERC7412.sol";
import {IRatingOracle} from "../src/IRatingOracle.sol";
import {LendingMarket} from "../src/examples/LendingMarket.sol";
import {vm} from "./utils/MiniVm.sol";
import {OracleTest} from "./utils/OracleTest.sol";
import {Rng} from "./utils/Rng.sol";

contract Token is ERC20("Token", "TKN") {
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

contract Price is AggregatorV3Interface {
    uint8 public constant decimals = 8;
    string public constant description = "price";
    uint256 public constant version = 1;
    int256 public answer = 2e8;

    function set(int256 to) external {
        answer = to;
    }

    function getRoundData(uint80) external view returns (uint80, int256, uint256, uint256, uint80) {
        return (1, answer, block.timestamp, block.timestamp, 1);
    }

    function latestRoundData() external view returns (uint80, int256, uint256, uint256, uint80) {
        return (1, answer, block.timestamp, block.timestamp, 1);
    }
}

/// @dev An oracle as bad as can be.
contract BadOracle {
    bytes internal answer;
    bool internal reverts;

    function set(bytes calldata answer_, bool reverts_) external {
        (answer, reverts) = (answer_, reverts_);
    }

    fallback() external {
        bytes memory out = answer;
        bool fail = reverts;
        assembly {
            if fail { revert(add(out, 32), mload(out)) }
            return(add(out, 32), mload(out))
        }
    }
}

contract MarketTest is OracleTest {
    bytes32 internal constant ENTITY = keccak256("restaking token");
    address internal constant ALICE = address(0xA);
    address internal constant BOB = address(0xB);

    Token internal collateral;
    Token internal debt;
    Price internal price;
    LendingMarket internal market;

    function setUp() public override {
        super.setUp();
        (collateral, debt, price) = (new Token(), new Token(), new Price());
        push(ENTITY, graded(1, 5));
        market = new LendingMarket(OWNER, oracle, ENTITY, collateral, debt, price, policyOf());
        debt.mint(address(market), 1e24);
        collateral.mint(ALICE, 100e18);
        debt.mint(BOB, 1e24);
        vm.prank(BOB);
        debt.approve(address(market), type(uint256).max);
        vm.prank(ALICE);
        collateral.approve(address(market), type(uint256).max);
        vm.prank(ALICE);
        debt.approve(address(market), type(uint256).max);
        vm.prank(ALICE);
        market.deposit(100e18);
    }

    function graded(uint32 seq, uint8 grade) internal view returns (IRatingOracle.Rating memory r) {
        r = ratingOf(seq);
        r.grade = grade;
        r.score = uint16(grade - 1) * 1000;
    }

    /// @dev AAA to A− lend 75 to 60 %, BBB+ to BB 55 to 30 %, from BB− on nothing.
    function policyOf() internal pure returns (AssayGuard.Policy memory) {
        return AssayGuard.Policy({
            ltvByGrade: hex"4b494745433f3c373432281e0000000000000000",
            ltvCap: 7000,
            thresholdCap: 8000,
            margin: 800,
            silentLtv: 2000,
            maxStepPerDay: 500,
            maxAge: 2 days
        });
    }

    function limits() internal view returns (uint256 ltv, uint256 threshold) {
        return market.limits();
    }

    function expectLimits(uint256 ltv, uint256 threshold) internal view {
        (uint256 nowLtv, uint256 nowThreshold) = market.limits();
        same(nowLtv, ltv, "ltv");
        same(nowThreshold, threshold, "threshold");
    }

    function borrow(uint128 amount) internal {
        vm.prank(ALICE);
        market.borrow(amount, false);
    }

    function test_limits_follow_the_rating_inside_the_caps() external {
        expectLimits(6700, 7500);
        vm.warp(START + 10 days);
        push(ENTITY, graded(2, 2));
        // AA+ would lend 73 %: the cap is 70 %, and the way there is 3 % of the 5 % a day.
        expectLimits(7000, 7800);
        market.poke();
        push(ENTITY, graded(3, 10));
        // BBB−: new loans at once, liquidation by 5 % a day.
        expectLimits(5000, 7800);
        vm.warp(START + 10 days + 12 hours);
        expectLimits(5000, 7550);
        vm.warp(START + 11 days);
        expectLimits(5000, 7300);
        market.poke();
        vm.warp(START + 11 days + 23 hours);
        market.poke();
        expectLimits(5000, 6821);
        push(ENTITY, graded(4, 20));
        expectLimits(0, 6821);
    }

    function test_silence_lends_little_and_liquidates_nobody() external {
        borrow(100e18);
        vm.warp(START + 3 days);
        expectLimits(2000, 7500);
        market.poke();
        vm.prank(ALICE);
        vm.expectRevert(LendingMarket.BeyondLtv.selector);
        market.borrow(1, false);
        vm.prank(BOB);
        vm.expectRevert(LendingMarket.Healthy.selector);
        market.liquidate(ALICE, 1);
        // What must go on goes on: repaying, liquidation at a fallen price.
        vm.prank(ALICE);
        market.repay(1e18);
        price.set(1e8);
        vm.prank(BOB);
        market.liquidate(ALICE, 10e18);
        same(collateral.balanceOf(BOB), 10.5e18, "seized");
        // And when the oracle speaks again, all is as before.
        push(ENTITY, graded(2, 5));
        expectLimits(6700, 7500);
    }

    function test_suspended_and_withdrawn_are_silence() external {
        vm.prank(GUARDIAN);
        oracle.suspend(ENTITY);
        expectLimits(2000, 7500);
    }

    function test_borrow_may_ask_for_a_fresh_rating() external {
        vm.warp(START + 3 days);
        vm.prank(ALICE);
        vm.expectRevert(
            abi.encodeWithSelector(
                IERC7412.OracleDataRequired.selector, address(oracle), abi.encode(ENTITY, uint256(2 days))
            )
        );
        market.borrow(100e18, true);
        push(ENTITY, graded(2, 5));
        vm.prank(ALICE);
        market.borrow(100e18, true);
    }

    function test_withdraw_within_the_ltv() external {
        borrow(134e18);
        vm.prank(ALICE);
        vm.expectRevert(LendingMarket.BeyondLtv.selector);
        market.withdraw(1);
        vm.prank(ALICE);
        market.repay(134e18);
        vm.prank(ALICE);
        market.withdraw(100e18);
        same(collateral.balanceOf(ALICE), 100e18, "collateral");
    }

    function test_policies_that_contradict_themselves() external {
        for (uint256 i = 0; i < 5; ++i) {
            AssayGuard.Policy memory policy = policyOf();
            if (i == 0) policy.ltvCap = 8001;
            if (i == 1) policy.thresholdCap = 10_000;
            if (i == 2) policy.silentLtv = 7001;
            if (i == 3) policy.maxStepPerDay = 0;
            if (i == 4) policy.ltvByGrade = bytes20(hex"4b4947454344");
            vm.prank(OWNER);
            vm.expectRevert(AssayGuard.BadPolicy.selector);
            market.setPolicy(policy);
        }
        AssayGuard.Policy memory lower = policyOf();
        lower.ltvCap = lower.thresholdCap = 3000;
        vm.prank(OWNER);
        market.setPolicy(lower);
        expectLimits(3000, 3000);
    }

    /// @notice Whatever answers in the oracle's place, the limits do not revert, exceed no cap, and the
    ///         threshold moves by no more than its step.
    /// forge-config: default.fuzz.runs = 10000
    function testFuzz_guard_never_reverts(uint256 seed) external {
        Rng memory rng = Rng(seed);
        BadOracle bad = new BadOracle();
        address at = rng.chance(10) ? address(0xdead) : address(bad);
        market = new LendingMarket(OWNER, IRatingOracle(at), ENTITY, collateral, debt, price, policyOf());
        (, uint256 before) = market.limits();
        for (uint256 i = 0; i < 4; ++i) {
            bytes memory answer = abi.encode(rng.chance(70) ? rng.below(24) : rng.next(), rng.next(), rng.next());
            if (rng.chance(20)) answer = abi.encodePacked(uint128(rng.next()));
            bad.set(answer, rng.chance(20));
            uint256 wait = rng.below(3 days);
            vm.warp(block.timestamp + wait);
            (uint256 ltv, uint256 threshold) = market.poke();
            check(ltv <= 7000 && threshold <= 8000 && ltv <= threshold, "caps");
            uint256 step = threshold > before ? threshold - before : before - threshold;
            check(step <= 500, "more than a day's step");
            before = threshold;
        }
    }

    /// @notice Poking often moves the limits as far as poking rarely, to a basis point.
    /// forge-config: default.fuzz.runs = 10000
    function testFuzz_guard_pokes_do_not_slow_it(uint256 seed) external {
        Rng memory rng = Rng(seed);
        push(ENTITY, graded(2, 19));
        uint256 end = block.timestamp + rng.between(1 hours, 1 days);
        while (block.timestamp < end) {
            market.poke();
            uint256 to = block.timestamp + rng.between(1, 3 hours);
            vm.warp(to < end ? to : end);
        }
        (, uint256 threshold) = market.poke();
        uint256 expected = 7500 - 500 * (end - START) / 1 days;
        check(threshold >= expected && threshold <= expected + 1, "another threshold");
    }
}
