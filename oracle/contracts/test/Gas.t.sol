// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRatingOracle} from "../src/IRatingOracle.sol";
import {RatingFeed} from "../src/RatingFeed.sol";
import {vm} from "./utils/MiniVm.sol";
import {OracleTest} from "./utils/OracleTest.sol";
import {Trees} from "./utils/Trees.sol";

/// @dev What things cost, three of five signing, every entity rated before. Each call is a transaction of
///      its own (isolate): the figures of updates are whole transactions, those of reads are what the callee
///      uses with all its storage cold.
/// forge-config: default.isolate = true
contract GasTest is OracleTest {
    RatingFeed internal feed;

    function setUp() public override {
        super.setUp();
        push(batchOf(100, 1));
        feed = new RatingFeed(oracle, entityOf(1));
        vm.warp(START + 1 days);
    }

    /// @notice Within the budget; writes `gas.json`.
    function test_p15_gas_budget() external {
        string memory json = "{\n";
        json = string.concat(json, line("push_1", pushing(1, 2), 54_000, ",\n"));
        json = string.concat(json, line("push_20_each", pushing(20, 3) / 20, 11_100, ",\n"));
        json = string.concat(json, line("push_100_each", pushing(100, 4) / 100, 9_000, ",\n"));
        json = string.concat(json, line("pull_depth_7", pulling(5), 57_000, ",\n"));
        oracle.ratingFast(entityOf(1), 1 days);
        json = string.concat(json, line("read_guarded", spent(), 3_000, ",\n"));
        feed.latestRoundData();
        json = string.concat(json, line("read_v3", spent(), 6_500, ",\n"));
        json = string.concat(json, line("equivocation_depth_5", accusing(), 80_000, "\n}\n"));
        vm.writeFile("../gas.json", json);
    }

    function line(string memory name, uint256 gas, uint256 budget, string memory end)
        internal
        pure
        returns (string memory)
    {
        if (gas > budget) revert(string.concat(name, ": ", vm.toString(gas), " is above ", vm.toString(budget)));
        return string.concat('  "', name, '": ', vm.toString(gas), end);
    }

    function spent() internal view returns (uint256) {
        return vm.lastCallGas().gasTotalUsed;
    }

    /// @dev A heartbeat of `count` entities.
    function pushing(uint256 count, uint32 seq) internal returns (uint256 gas) {
        bytes memory entries = batchOf(count, seq);
        bytes memory signatures = sign(entries, soon());
        uint256 stored = oracle.push(entries, SIGNED, signatures, soon());
        gas = spent();
        same(stored, count, "stored");
    }

    function pulling(uint32 seq) internal returns (uint256 gas) {
        bytes memory entries = batchOf(128, seq);
        bytes memory signatures = sign(entries, soon());
        (bytes32 entity, uint256 word) = Trees.entry(entries, 77);
        bytes32[] memory path = Trees.path(entries, 77);
        bool stored = oracle.pull(entity, word, 77, 128, path, SIGNED, signatures, soon());
        gas = spent();
        check(stored && path.length == 7, "stored, depth");
    }

    function accusing() internal returns (uint256) {
        bytes memory entries = batchOf(32, 9);
        IRatingOracle.Statement memory a = statementOf(entries, 21);
        // Another expected loss.
        entries[21 * 64 + 63] = 0x77;
        IRatingOracle.Statement memory b = statementOf(entries, 21);
        check(a.path.length == 5, "depth");
        oracle.reportEquivocation(entityOf(21), 1, 2, a, b);
        return spent();
    }

    function statementOf(bytes memory entries, uint32 index) internal view returns (IRatingOracle.Statement memory s) {
        (, s.word) = Trees.entry(entries, index);
        (s.domain, s.epoch, s.count) = (oracle.domainSeparator(), 1, uint32(entries.length / 64));
        (s.index, s.deadline, s.path) = (index, soon(), Trees.path(entries, index));
        (s.r, s.vs) = vm.signCompact(keys[2], digestOf(entries, soon()));
    }
}
