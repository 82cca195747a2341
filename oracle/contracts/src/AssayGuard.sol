// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IERC7412} from "./IERC7412.sol";
import {IRatingOracle} from "./IRatingOracle.sol";

/// @title AssayGuard
/// @author Assay
/// @notice For lending markets: turns a rating into a loan-to-value and a liquidation threshold that stay
///         inside governance's caps, move no faster than governance allows, and are there even if the
///         rating is not.
/// @dev The three ideas, all of them about who gets hurt:
///      - *Caps*. A rating can only lower what governance allows, never raise it.
///      - *Steps*. `ltv` falls at once (it stops new borrowing and hurts nobody) and rises by
///        `maxStepPerDay`; `threshold` moves by `maxStepPerDay` either way (a fall makes borrowers
///        liquidatable, so they get time). The step is earned by time and never accrues beyond one day's.
///      - *Silence*. On a stale, suspended, withdrawn or missing rating no more than `silentLtv` is lent and
///        `threshold` stays where it is: liquidations must not stop with the oracle, and nobody must
///        become liquidatable because it is silent. When it speaks again, all is as before.
///      The grade is what counts: it is what the oracle's circuit breaker protects. Nothing here reverts on
///      account of the rating, except `requireRating`, which says so.
library AssayGuard {
    /// @notice What governance decides. Two slots.
    /// @param ltvByGrade Loan-to-value in percent for AAA, AA+, … CCC−, D: twenty bytes, one each.
    /// @param ltvCap No loan-to-value above this, in basis points.
    /// @param thresholdCap No liquidation threshold above this, in basis points.
    /// @param margin Liquidation threshold minus loan-to-value, in basis points.
    /// @param silentLtv The most to lend on a rating that cannot be relied on, in basis points.
    /// @param maxStepPerDay How far a limit may move in a day, in basis points.
    /// @param maxAge Seconds after its observation at which a rating is stale.
    struct Policy {
        bytes20 ltvByGrade;
        uint16 ltvCap;
        uint16 thresholdCap;
        uint16 margin;
        uint16 silentLtv;
        uint16 maxStepPerDay;
        uint32 maxAge;
    }

    /// @notice What a market applies. One slot.
    /// @param ltv Loan-to-value, in basis points: how much may be borrowed.
    /// @param threshold Liquidation threshold, in basis points: where liquidation begins. Never below `ltv`.
    /// @param updatedAt When they last moved or could have.
    struct Limits {
        uint16 ltv;
        uint16 threshold;
        uint40 updatedAt;
    }

    /// @notice The policy contradicts itself.
    error BadPolicy();

    uint256 private constant GRADES = 20;
    uint256 private constant BASIS = 10_000;

    /// @notice Reverts unless the policy is sound; for governance's setter.
    function validate(Policy memory policy) internal pure {
        bool sound = policy.ltvCap <= policy.thresholdCap && policy.thresholdCap < BASIS
            && policy.silentLtv <= policy.ltvCap && policy.maxStepPerDay > 0;
        // A worse grade never lends more.
        for (uint256 i = 1; i < GRADES; ++i) {
            sound = sound && policy.ltvByGrade[i] <= policy.ltvByGrade[i - 1];
        }
        if (!sound || uint8(policy.ltvByGrade[0]) > 100) revert BadPolicy();
    }

    /// @notice Limits to begin with: what the rating says now; without one, `silentLtv`.
    function start(Policy memory policy, IRatingOracle oracle, bytes32 entity)
        internal
        view
        returns (Limits memory limits)
    {
        (bool ok, uint256 grade) = gradeOf(oracle, entity, policy.maxAge);
        (uint256 ltv, uint256 threshold) = ok ? target(policy, grade) : _silent(policy);
        return Limits(uint16(ltv), uint16(threshold), uint40(block.timestamp));
    }

    /// @notice Limits as of now.
    /// @dev Never reverts on account of the oracle.
    /// @return moved The limits to store, and whose `threshold` to apply.
    /// @return ltv The loan-to-value to apply: `moved.ltv`, or less while the oracle is silent.
    function next(Policy memory policy, Limits memory limits, IRatingOracle oracle, bytes32 entity)
        internal
        view
        returns (Limits memory moved, uint256 ltv)
    {
        (bool ok, uint256 grade) = gradeOf(oracle, entity, policy.maxAge);
        ltv = limits.ltv;
        uint256 threshold = limits.threshold;
        uint256 updatedAt = limits.updatedAt;
        if (ok) {
            uint256 elapsed = block.timestamp - updatedAt;
            if (elapsed > 1 days) elapsed = 1 days;
            uint256 step = policy.maxStepPerDay * elapsed / 1 days;
            // Time not yet worth a basis point is kept, so that frequent calls move as far as rare ones.
            updatedAt = block.timestamp - (elapsed - Math.ceilDiv(step * 1 days, policy.maxStepPerDay));

            (uint256 ltvGoal, uint256 thresholdGoal) = target(policy, grade);
            threshold = _toward(threshold, thresholdGoal, step, step);
            ltv = _toward(ltv, ltvGoal, step, ltv);
            if (ltv > threshold) ltv = threshold;
        }
        // Governance's caps hold at once, whatever the rating.
        if (ltv > policy.ltvCap) ltv = policy.ltvCap;
        if (threshold > policy.thresholdCap) threshold = policy.thresholdCap;
        moved = Limits(uint16(ltv), uint16(threshold), uint40(updatedAt));
        if (!ok && ltv > policy.silentLtv) ltv = policy.silentLtv;
    }

    /// @notice What a grade is worth, inside the caps.
    function target(Policy memory policy, uint256 grade) internal pure returns (uint256 ltv, uint256 threshold) {
        ltv = uint256(uint8(policy.ltvByGrade[grade - 1])) * 100;
        if (ltv > policy.ltvCap) ltv = policy.ltvCap;
        threshold = ltv + policy.margin;
        if (threshold > policy.thresholdCap) threshold = policy.thresholdCap;
    }

    /// @notice The grade, if the rating can be relied on.
    /// @dev Answers `false` for whatever goes wrong: an oracle that reverts, is no contract or talks nonsense.
    function gradeOf(IRatingOracle oracle, bytes32 entity, uint256 maxAge)
        internal
        view
        returns (bool ok, uint256 grade)
    {
        bytes memory query = abi.encodeCall(IRatingOracle.ratingFast, (entity, maxAge));
        assembly ("memory-safe") {
            // Three words come back, of which the first is the grade.
            ok := staticcall(gas(), oracle, add(query, 32), mload(query), 0, 32)
            ok := and(ok, gt(returndatasize(), 95))
            grade := mload(0)
        }
        ok = ok && grade != 0 && grade <= GRADES;
        if (!ok) grade = 0;
    }

    /// @notice Reverts with ERC-7412's `OracleDataRequired` unless the rating can be relied on, for calls a
    ///         client can send again behind a fresh rating (borrowing, say; never liquidations).
    function requireRating(IRatingOracle oracle, bytes32 entity, uint256 maxAge) internal view {
        (bool ok,) = gradeOf(oracle, entity, maxAge);
        if (!ok) revert IERC7412.OracleDataRequired(address(oracle), abi.encode(entity, maxAge));
    }

    function _silent(Policy memory policy) private pure returns (uint256 ltv, uint256 threshold) {
        ltv = policy.silentLtv;
        threshold = ltv + policy.margin;
        if (threshold > policy.thresholdCap) threshold = policy.thresholdCap;
    }

    /// @dev From `now_` to `goal`, at most `up` or `down`.
    function _toward(uint256 now_, uint256 goal, uint256 up, uint256 down) private pure returns (uint256) {
        if (goal > now_) return goal - now_ > up ? now_ + up : goal;
        return now_ - goal > down ? now_ - down : goal;
    }
}
