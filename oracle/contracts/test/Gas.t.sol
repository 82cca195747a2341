// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRatingOracle} from "../src/IRatingOracle.sol";
import {OracleTest} from "./utils/OracleTest.sol";
import {vm} from "./utils/MiniVm.sol";
import {Trees} from "./utils/Trees.sol";

contract GasTest is OracleTest {
    function setUp() public override {
        super.setUp();
        push(batchOf(100, 1));
        vm.warp(START + 1 days);
    }

    function used() internal view returns (uint256) {
        return vm.lastCallGas().gasTotalUsed;
    }

    function pushGas(uint256 n) internal returns (uint256) {
        bytes memory e = batchOf(n, 2);
        uint40 d = soon();
        bytes memory s = sign(e, d);
        uint256 stored = oracle.push(e, SIGNED, s, d);
        uint256 g = used();
        require(stored == n);
        return g;
    }
    event G(string what, uint256 gas);

    function test_gas_1() public {
        emit G("push1", pushGas(1));
    }

    function test_gas_20() public {
        emit G("push20", pushGas(20) / 20);
    }

    function test_gas_100() public {
        emit G("push100", pushGas(100) / 100);
    }

    function test_gas_pull() public {
        bytes memory e = batchOf(100, 2);
        uint40 d = soon();
        bytes memory s = sign(e, d);
        (bytes32 entity, uint256 word) = Trees.entry(e, 5);
        bytes32[] memory path = Trees.path(e, 5);
        require(path.length == 7);
        oracle.pull(entity, word, 5, 100, path, SIGNED, s, d);
        emit G("pull", used());
    }

    function test_gas_read() public {
        oracle.ratingFast(entityOf(1), 2 days);
        emit G("fast", used());
        oracle.raw(entityOf(2));
        emit G("raw", used());
        oracle.ratingNoOlderThan(entityOf(3), 2 days);
        emit G("noolder", used());
    }

    function test_gas_eq() public {
        bytes memory x = batchOf(32, 2);
        bytes memory y = batchOf(32, 2);
        y[63] = 0x77;
        IRatingOracle.Statement memory a = st(x);
        IRatingOracle.Statement memory b = st(y);
        oracle.reportEquivocation(entityOf(0), 1, 0, a, b);
        emit G("eq", used());
    }

    function st(bytes memory e) internal view returns (IRatingOracle.Statement memory a) {
        (, a.word) = Trees.entry(e, 0);
        a.domain = oracle.domainSeparator();
        a.epoch = 1;
        a.count = uint32(e.length / 64);
        a.index = 0;
        a.deadline = soon();
        a.path = Trees.path(e, 0);
        (a.r, a.vs) = vm.signCompact(keys[0], digestOf(e, soon()));
    }
}
