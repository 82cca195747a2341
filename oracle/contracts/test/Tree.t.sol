// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {BatchTree} from "../src/BatchTree.sol";
import {IRatingOracle} from "../src/IRatingOracle.sol";
import {RatingOracle} from "../src/RatingOracle.sol";
import {Gen} from "./utils/Gen.sol";
import {vm} from "./utils/MiniVm.sol";
import {OracleTest} from "./utils/OracleTest.sol";
import {Rng} from "./utils/Rng.sol";
import {Trees} from "./utils/Trees.sol";
import {Words} from "./utils/Words.sol";

/// @dev The tree against its definition, leaves against nodes, and `push` against `pull`.
contract TreeTest is OracleTest {
    function root(bytes calldata entries) external pure returns (bytes32) {
        return BatchTree.root(entries);
    }

    function climb(bytes32 hash, uint256 index, uint256 count, bytes32[] calldata path)
        external
        pure
        returns (bool, bytes32)
    {
        return BatchTree.climb(hash, index, count, path);
    }

    function randomEntries(Rng memory rng, uint256 count) internal pure returns (bytes memory entries) {
        entries = new bytes(count * 64);
        for (uint256 at = 32; at <= entries.length; at += 32) {
            uint256 value = rng.next();
            assembly {
                mstore(add(entries, at), value)
            }
        }
    }

    /// @notice The root is the one of the definition, whatever the count.
    function test_root_of_every_count_to_70() external view {
        Rng memory rng = Rng(1);
        for (uint256 count = 1; count <= 70; ++count) {
            bytes memory entries = randomEntries(rng, count);
            check(this.root(entries) == Trees.root(entries), "root");
        }
    }

    /// @notice Every leaf's path leads to the root; with a sibling more or less, or from elsewhere, it does not.
    /// forge-config: default.fuzz.runs = 10000
    function testFuzz_p12_paths(uint256 seed) external view {
        Rng memory rng = Rng(seed);
        bytes memory entries = randomEntries(rng, rng.between(1, 20));
        uint256 count = entries.length / 64;
        uint256 index = rng.below(count);
        (bytes32 entity, uint256 word) = Trees.entry(entries, index);
        bytes32[] memory path = Trees.path(entries, index);
        bytes32 hash = BatchTree.leaf(entity, word);
        bytes32 top = Trees.root(entries);
        check(leads(hash, index, count, path, top), "the path");
        check(!leads(hash, count + rng.below(3), count, path, top), "an index outside");
        uint256 other = rng.below(count);
        if (other != index) check(!leads(hash, other, count, path, top), "another index");
        check(!leads(hash, index, count, resized(path, path.length + 1), top), "a longer path");
        if (path.length > 0) {
            check(!leads(hash, index, count, resized(path, path.length - 1), top), "a shorter path");
            path[rng.below(path.length)] ^= bytes32(1 << rng.below(256));
            check(!leads(hash, index, count, path, top), "another path");
        }
    }

    function leads(bytes32 hash, uint256 index, uint256 count, bytes32[] memory path, bytes32 to)
        internal
        view
        returns (bool)
    {
        (bool ok, bytes32 top) = this.climb(hash, index, count, path);
        return ok && top == to;
    }

    function resized(bytes32[] memory path, uint256 length) internal pure returns (bytes32[] memory copy) {
        copy = new bytes32[](length);
        for (uint256 i = 0; i < length && i < path.length; ++i) {
            copy[i] = path[i];
        }
    }

    /// @notice A signed inner node cannot be pulled as if it were a rating, under any index and count.
    /// forge-config: default.fuzz.runs = 10000
    function testFuzz_p12_node_is_no_leaf(uint256 seed) external {
        Rng memory rng = Rng(seed);
        bytes memory entries = randomEntries(rng, rng.between(2, 16));
        bytes memory signatures = sign(entries, soon());
        // Some level above the leaves, and a pair of siblings on it.
        bytes32[] memory level = Trees.leaves(entries);
        for (uint256 up = rng.below(3); up > 0 && level.length > 2; --up) {
            level = Trees.above(level);
        }
        uint256 node = rng.below(level.length / 2);
        uint32 count = uint32(rng.chance(50) ? (level.length + 1) / 2 : entries.length / 64);
        uint32 index = uint32(rng.chance(80) ? node : rng.below(count));
        bytes32[] memory path = pathOfNode(level, node);
        (bytes32 left, uint256 right) = (level[2 * node], uint256(level[2 * node + 1]));
        // It fails for want of a signature or a proof: that a hash makes no good word is not what stops it.
        try oracle.pull(left, right, index, count, path, SIGNED, signatures, soon()) {
            revert("pulled");
        } catch (bytes memory reason) {
            bytes4 error = bytes4(reason);
            check(
                error == IRatingOracle.BadProof.selector || error == IRatingOracle.BadSignature.selector,
                "past the signatures"
            );
        }
    }

    /// @dev The honest path of a node right above `level`.
    function pathOfNode(bytes32[] memory level, uint256 node) internal pure returns (bytes32[] memory path) {
        path = new bytes32[](8);
        uint256 depth;
        for (level = Trees.above(level); level.length > 1; level = Trees.above(level)) {
            if (node ^ 1 < level.length) path[depth++] = level[node ^ 1];
            node /= 2;
        }
        return resized(path, depth);
    }

    /// @notice Pulling every leaf, in any order, does what pushing the batch does.
    /// forge-config: default.fuzz.runs = 10000
    function testFuzz_p09_push_is_pull_of_all(uint256 seed) external {
        Rng memory rng = Rng(seed);
        RatingOracle pushed = oracle;
        uint256 count = rng.between(1, 6);
        bytes memory before = batchOf(rng.between(1, count), 1);
        push(before);
        oracle = new RatingOracle(OWNER, GUARDIAN, addresses(keys), 3);
        RatingOracle pulled = oracle;
        push(before);
        vm.warp(START + (rng.chance(50) ? rng.below(7 hours) : rng.below(30 days)));

        bytes memory entries;
        for (uint256 i = 0; i < count; ++i) {
            uint256 word = Words.pack(Gen.after_(rng, pushed.raw(entityOf(i)), block.timestamp));
            entries = bytes.concat(entries, abi.encodePacked(entityOf(i), word));
        }
        uint40 deadline = soon();
        oracle = pushed;
        uint256 stored = pushed.push(entries, SIGNED, sign(entries, deadline), deadline);
        oracle = pulled;
        bytes memory signatures = sign(entries, deadline);
        uint256 start = rng.below(count);
        for (uint256 i = 0; i < count; ++i) {
            // From anywhere, round, forwards or backwards; with up to six leaves most orders there are.
            uint256 index = seed % 2 == 0 ? (start + i) % count : (start + count - i) % count;
            if (pullLeaf(entries, index, signatures, deadline)) --stored;
        }
        same(stored, 0, "stored");
        for (uint256 i = 0; i < count; ++i) {
            same(pushed.raw(entityOf(i)), pulled.raw(entityOf(i)), "word");
        }
    }
}
