// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

/// @dev Numbers drawn from a seed, one after the other.
struct Rng {
    uint256 state;
}

using {next, below, between, chance} for Rng global;

function next(Rng memory rng) pure returns (uint256) {
    rng.state = uint256(keccak256(abi.encode(rng.state)));
    return rng.state;
}

/// @dev 0 … limit − 1.
function below(Rng memory rng, uint256 limit) pure returns (uint256) {
    return next(rng) % limit;
}

/// @dev low … high.
function between(Rng memory rng, uint256 low, uint256 high) pure returns (uint256) {
    return low + next(rng) % (high - low + 1);
}

function chance(Rng memory rng, uint256 percent) pure returns (bool) {
    return next(rng) % 100 < percent;
}
