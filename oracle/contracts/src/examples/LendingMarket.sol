// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {AggregatorV3Interface} from "../AggregatorV3Interface.sol";
import {AssayGuard} from "../AssayGuard.sol";
import {IRatingOracle} from "../IRatingOracle.sol";

/// @title LendingMarket
/// @author Assay
/// @notice A worked example, not for production: one collateral (a restaking token), one debt token, no
///         interest. What to see is how little a market needs to follow a rating: `AssayGuard.next`
///         before each use of the limits, and no path on which the rating can make it revert.
/// @dev Collateral and debt tokens have 18 decimals; the price is the collateral's in debt tokens.
contract LendingMarket is Ownable {
    using SafeERC20 for IERC20;

    /// @notice What someone has put in and owes.
    struct Position {
        uint128 collateral;
        uint128 debt;
    }

    /// @notice The limits moved.
    event LimitsMoved(uint16 ltv, uint16 threshold);
    /// @notice Somebody's debt was repaid by another for collateral.
    event Liquidated(address indexed borrower, address indexed liquidator, uint256 repaid, uint256 seized);

    /// @notice Borrowing or withdrawing this much needs more collateral.
    error BeyondLtv();
    /// @notice The position is sound.
    error Healthy();

    uint256 private constant BASIS = 10_000;
    /// @notice What a liquidator gets on top, in basis points.
    uint256 public constant LIQUIDATION_BONUS = 500;

    IRatingOracle public immutable oracle;
    /// @notice The rated entity behind the collateral.
    bytes32 public immutable entity;
    IERC20 public immutable collateralToken;
    IERC20 public immutable debtToken;
    AggregatorV3Interface public immutable priceFeed;
    uint256 private immutable _priceUnit;

    AssayGuard.Policy private _policy;
    AssayGuard.Limits private _limits;
    mapping(address borrower => Position) public positionOf;

    constructor(
        address governance,
        IRatingOracle oracle_,
        bytes32 entity_,
        IERC20 collateralToken_,
        IERC20 debtToken_,
        AggregatorV3Interface priceFeed_,
        AssayGuard.Policy memory policy_
    ) Ownable(governance) {
        AssayGuard.validate(policy_);
        oracle = oracle_;
        entity = entity_;
        collateralToken = collateralToken_;
        debtToken = debtToken_;
        priceFeed = priceFeed_;
        _priceUnit = 10 ** priceFeed_.decimals();
        _policy = policy_;
        _limits = AssayGuard.start(policy_, oracle_, entity_);
    }

    /// @notice Governance's caps and table.
    function setPolicy(AssayGuard.Policy calldata policy_) external onlyOwner {
        AssayGuard.validate(policy_);
        poke();
        _policy = policy_;
    }

    /// @notice The caps and the table.
    function policy() external view returns (AssayGuard.Policy memory) {
        return _policy;
    }

    /// @notice Limits as they are now: how much may be borrowed, and where liquidation begins, in basis points.
    function limits() external view returns (uint256 ltv, uint256 threshold) {
        AssayGuard.Limits memory moved;
        (moved, ltv) = AssayGuard.next(_policy, _limits, oracle, entity);
        threshold = moved.threshold;
    }

    /// @notice Moves the limits to where they are now. Everything below does; anyone else may.
    function poke() public returns (uint256 ltv, uint256 threshold) {
        AssayGuard.Limits memory moved;
        AssayGuard.Limits memory before = _limits;
        (moved, ltv) = AssayGuard.next(_policy, before, oracle, entity);
        threshold = moved.threshold;
        _limits = moved;
        if (moved.ltv != before.ltv || moved.threshold != before.threshold) {
            emit LimitsMoved(moved.ltv, moved.threshold);
        }
    }

    /// @notice Puts in collateral.
    function deposit(uint128 amount) external {
        positionOf[msg.sender].collateral += amount;
        collateralToken.safeTransferFrom(msg.sender, address(this), amount);
    }

    /// @notice Takes out collateral, as far as the debt allows.
    function withdraw(uint128 amount) external {
        Position storage position = positionOf[msg.sender];
        position.collateral -= amount;
        _requireWithinLtv(position);
        collateralToken.safeTransfer(msg.sender, amount);
    }

    /// @notice Borrows. Unlike anything else here it may ask for a fresh rating first (ERC-7412): not to
    ///         lend is no harm, and a client that can serve the request gets the full limit.
    /// @param insist Revert with `OracleDataRequired` on a stale rating instead of lending at `silentLtv`.
    function borrow(uint128 amount, bool insist) external {
        if (insist) AssayGuard.requireRating(oracle, entity, _policy.maxAge);
        Position storage position = positionOf[msg.sender];
        position.debt += amount;
        _requireWithinLtv(position);
        debtToken.safeTransfer(msg.sender, amount);
    }

    /// @notice Repays one's own debt.
    function repay(uint128 amount) external {
        positionOf[msg.sender].debt -= amount;
        debtToken.safeTransferFrom(msg.sender, address(this), amount);
    }

    /// @notice Repays another's debt for collateral, once it is beyond the liquidation threshold.
    function liquidate(address borrower, uint128 amount) external {
        Position storage position = positionOf[borrower];
        (, uint256 threshold) = poke();
        if (position.debt * BASIS <= _valueOf(position.collateral) * threshold) revert Healthy();
        uint256 seized = amount * (BASIS + LIQUIDATION_BONUS) * _priceUnit / (BASIS * _price());
        if (seized > position.collateral) seized = position.collateral;
        position.debt -= amount;
        position.collateral -= uint128(seized);
        emit Liquidated(borrower, msg.sender, amount, seized);
        debtToken.safeTransferFrom(msg.sender, address(this), amount);
        collateralToken.safeTransfer(msg.sender, seized);
    }

    function _requireWithinLtv(Position storage position) private {
        (uint256 ltv,) = poke();
        if (position.debt != 0 && position.debt * BASIS > _valueOf(position.collateral) * ltv) revert BeyondLtv();
    }

    function _valueOf(uint256 collateral) private view returns (uint256) {
        return collateral * _price() / _priceUnit;
    }

    function _price() private view returns (uint256) {
        (, int256 answer,,,) = priceFeed.latestRoundData();
        return uint256(answer);
    }
}
