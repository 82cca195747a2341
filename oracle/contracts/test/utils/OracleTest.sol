// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRatingOracle, SkipReason} from "../../src/IRatingOracle.sol";
import {RatingOracle} from "../../src/RatingOracle.sol";
import {vm} from "./MiniVm.sol";
import {Trees} from "./Trees.sol";
import {Words} from "./Words.sol";

/// @dev An oracle with three of five signers, and the means to sign for it.
abstract contract OracleTest {
    address internal constant OWNER = address(0xA11CE);
    address internal constant GUARDIAN = address(0x6A);
    uint256 internal constant START = 1_750_000_000;
    /// @dev Any three of the five.
    uint256 internal constant SIGNED = 21; // bits 0, 2 and 4

    RatingOracle internal oracle;
    /// @dev Keys of the current signers, in order of their addresses.
    uint256[] internal keys;

    function setUp() public virtual {
        vm.warp(START);
        keys = sortedKeys(5, 1);
        oracle = new RatingOracle(OWNER, GUARDIAN, addresses(keys), 3);
    }

    // ------------------------------------------------------------------ keys and signatures

    /// @dev `count` keys whose addresses ascend; another salt gives other keys.
    function sortedKeys(uint256 count, uint256 salt) internal pure returns (uint256[] memory sorted) {
        sorted = new uint256[](count);
        for (uint256 i = 0; i < count; ++i) {
            uint256 key = uint256(keccak256(abi.encode("signer", salt, i))) >> 4;
            uint256 at = i;
            for (; at > 0 && vm.addr(sorted[at - 1]) > vm.addr(key); --at) {
                sorted[at] = sorted[at - 1];
            }
            sorted[at] = key;
        }
    }

    function addresses(uint256[] memory of_) internal pure returns (address[] memory list) {
        list = new address[](of_.length);
        for (uint256 i = 0; i < of_.length; ++i) {
            list[i] = vm.addr(of_[i]);
        }
    }

    function signOne(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (bytes32 r, bytes32 vs) = vm.signCompact(key, digest);
        return abi.encodePacked(r, vs);
    }

    function signBy(uint256[] memory by, bytes32 digest, uint256 bitmap)
        internal
        pure
        returns (bytes memory signatures)
    {
        for (uint256 i = 0; i < by.length; ++i) {
            if (bitmap >> i & 1 == 1) {
                signatures = bytes.concat(signatures, signOne(by[i], digest));
            }
        }
    }

    function digestOf(bytes memory entries, uint40 deadline) internal view returns (bytes32) {
        return oracle.batchDigest(Trees.root(entries), uint32(entries.length / 64), oracle.epoch(), deadline);
    }

    function sign(bytes memory entries, uint40 deadline) internal view returns (bytes memory) {
        return signBy(keys, digestOf(entries, deadline), SIGNED);
    }

    // ------------------------------------------------------------------ ratings

    function soon() internal view returns (uint40) {
        return uint40(block.timestamp + 600);
    }

    function entityOf(uint256 i) internal pure returns (bytes32) {
        return keccak256(abi.encode(uint8(1), uint256(1), address(uint160(0x1000 + i)), uint32(0)));
    }

    /// @dev A BBB observed now; `seq` moves the log position along.
    function ratingOf(uint32 seq) internal view returns (IRatingOracle.Rating memory r) {
        r.asOf = uint40(block.timestamp);
        r.logPos = uint48(1_000_000 + seq);
        r.seq = seq;
        r.model = 7;
        r.grade = 9;
        r.score = 8_250;
        r.pd = 20_000_000;
        r.el = 4_000_000;
    }

    function entry(bytes32 entity, IRatingOracle.Rating memory r) internal pure returns (bytes memory) {
        return abi.encodePacked(entity, Words.pack(r));
    }

    /// @dev `count` entities, one rating each.
    function batchOf(uint256 count, uint32 seq) internal view returns (bytes memory entries) {
        for (uint256 i = 0; i < count; ++i) {
            entries = bytes.concat(entries, entry(entityOf(i), ratingOf(seq)));
        }
    }

    function push(bytes memory entries) internal returns (uint256 stored) {
        uint40 deadline = soon();
        return oracle.push(entries, SIGNED, sign(entries, deadline), deadline);
    }

    function push(bytes32 entity, IRatingOracle.Rating memory r) internal returns (bool stored) {
        return push(entry(entity, r)) == 1;
    }

    function pullLeaf(bytes memory entries, uint256 index, bytes memory signatures, uint40 deadline)
        internal
        returns (bool stored)
    {
        (bytes32 entity, uint256 word) = Trees.entry(entries, index);
        bytes32[] memory path = Trees.path(entries, index);
        uint32 count = uint32(entries.length / 64);
        return oracle.pull(entity, word, uint32(index), count, path, SIGNED, signatures, deadline);
    }

    // ------------------------------------------------------------------ assertions

    function check(bool condition, string memory what) internal pure {
        require(condition, what);
    }

    function same(uint256 a, uint256 b, string memory what) internal pure {
        if (a != b) revert(string.concat(what, ": ", vm.toString(a), " is not ", vm.toString(b)));
    }

    function within(uint256 x, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + x % (high - low + 1);
    }
}
