// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRatingOracle} from "../src/IRatingOracle.sol";
import {Gen} from "./utils/Gen.sol";
import {vm} from "./utils/MiniVm.sol";
import {OracleTest} from "./utils/OracleTest.sol";
import {Rng} from "./utils/Rng.sol";
import {Words} from "./utils/Words.sol";

/// @dev A third party who sees everything that is signed and gets every transaction in first.
contract GriefTest is OracleTest {
    bytes[] internal batches;
    bytes[] internal signatures;
    uint40 internal deadline;

    function setUp() public override {
        super.setUp();
        push(batchOf(3, 1));
    }

    /// @dev Entity 0's next rating, as honest signers make them: in order, otherwise anything.
    function honest(Rng memory rng, uint256 i) internal view returns (IRatingOracle.Rating memory r) {
        r = Gen.first(rng, block.timestamp);
        r.seq = uint32(2 + i);
        r.logPos = uint48(1_000_002 + 2 * i);
        r.asOf = uint40(block.timestamp - 100 + i);
    }

    /// @dev Batches with entity 0's ratings one after the other, the last being its default, each among
    ///      arbitrary well-formed entries of others: stale, far ahead, from the future.
    function signSome(Rng memory rng, uint256 count) internal {
        for (uint256 b = 0; b < count; ++b) {
            IRatingOracle.Rating memory r = honest(rng, b);
            if (b + 1 == count) (r.grade, r.score, r.flags, r.pd, r.el) = (20, 19_000, 0x1e, 1e9, 1e9);
            bytes memory entries = entry(entityOf(0), r);
            for (uint256 others = rng.below(4); others > 0; --others) {
                bytes32 entity = entityOf(rng.between(1, 3));
                IRatingOracle.Rating memory other = Gen.after_(rng, oracle.raw(entity), block.timestamp);
                // Before or after.
                entries = rng.chance(50)
                    ? bytes.concat(entries, entry(entity, other))
                    : bytes.concat(entry(entity, other), entries);
            }
            batches.push(entries);
            signatures.push(sign(entries, deadline));
        }
    }

    /// @notice Whatever a third party does with what is signed, the honest push goes through and the default
    ///         it carries is stored.
    /// forge-config: default.fuzz.runs = 10000
    function testFuzz_p08_third_party_cannot_stop_a_downgrade(uint256 seed) external {
        Rng memory rng = Rng(seed);
        vm.warp(START + 200 + rng.below(20 days));
        deadline = soon();
        signSome(rng, rng.between(1, 4));
        uint256 last = batches.length - 1;
        for (uint256 moves = rng.below(7); moves > 0; --moves) {
            uint256 b = rng.chance(50) ? last : rng.below(batches.length);
            if (b != last && rng.chance(40)) {
                oracle.push(batches[b], SIGNED, signatures[b], deadline);
            } else {
                pullLeaf(batches[b], rng.below(batches[b].length / 64), signatures[b], deadline);
            }
            if (rng.chance(30)) vm.warp(block.timestamp + rng.below(60));
        }
        oracle.push(batches[last], SIGNED, signatures[last], deadline);
        IRatingOracle.Rating memory r = oracle.rating(entityOf(0));
        check(r.seq == last + 2 && r.grade == 20 && r.flags == 0x1e, "the default is not stored");
    }
}
