// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRatingOracle} from "../src/IRatingOracle.sol";
import {RatingOracle} from "../src/RatingOracle.sol";
import {vm} from "./utils/MiniVm.sol";
import {OracleTest} from "./utils/OracleTest.sol";
import {Rng} from "./utils/Rng.sol";
import {Trees} from "./utils/Trees.sol";
import {Words} from "./utils/Words.sol";

contract EquivocationTest is OracleTest {
    /// @dev What a key signed about the rating at `index` of a batch.
    function statementOf(RatingOracle for_, bytes memory entries, uint256 index, uint256 key, uint40 deadline)
        internal
        view
        returns (IRatingOracle.Statement memory s)
    {
        (, s.word) = Trees.entry(entries, index);
        s.domain = for_.domainSeparator();
        s.epoch = for_.epoch();
        s.count = uint32(entries.length / 64);
        s.index = uint32(index);
        s.deadline = deadline;
        s.path = Trees.path(entries, index);
        (s.r, s.vs) = vm.signCompact(key, for_.batchDigest(Trees.root(entries), s.count, s.epoch, deadline));
    }

    /// @dev A batch of others around one rating.
    function around(Rng memory rng, bytes32 entity, uint256 word) internal view returns (bytes memory, uint256) {
        uint256 count = rng.between(1, 9);
        uint256 index = rng.below(count);
        bytes memory entries;
        for (uint256 i = 0; i < count; ++i) {
            entries = bytes.concat(
                entries, i == index ? abi.encodePacked(entity, word) : entry(entityOf(50 + i), ratingOf(3))
            );
        }
        return (entries, index);
    }

    function reports(
        bytes32 entity,
        uint32 epoch,
        uint8 signer,
        IRatingOracle.Statement memory a,
        IRatingOracle.Statement memory b
    ) internal returns (bool ok) {
        (ok,) = address(oracle).call(abi.encodeCall(oracle.reportEquivocation, (entity, epoch, signer, a, b)));
    }

    /// @dev One half of a report, before it is signed.
    struct Half {
        RatingOracle domain;
        bytes32 entity;
        uint256 word;
        uint256 key;
    }

    function signed(Rng memory rng, Half memory half) internal view returns (IRatingOracle.Statement memory) {
        (bytes memory entries, uint256 index) = around(rng, half.entity, half.word);
        return statementOf(half.domain, entries, index, half.key, uint40(soon() + rng.below(100)));
    }

    /// @notice A report convicts if and only if one signer signed two words for one entity and number.
    /// forge-config: default.fuzz.runs = 10000
    function testFuzz_p10_convicts_iff_guilty(uint256 seed) external {
        Rng memory rng = Rng(seed);
        uint8 signer = uint8(rng.below(5));
        Half memory one =
            Half(oracle, entityOf(rng.below(4)), Words.pack(ratingOf(uint32(rng.between(1, 9)))), keys[signer]);
        Half memory two = Half(one.domain, one.entity, one.word, one.key);
        // Another grade, score, pd, el, flag, model, position or observation time; the number stays.
        two.word ^= 1 << [uint256(3), 40, 66, 81, 89, 100, 150, 220][rng.below(8)];
        // The first five ways are innocent as such, 12 is signed for a domain that counts for nothing, the others
        // are not what was signed; 0, 13 and 14 are guilty.
        uint256 way = rng.below(15);
        if (way == 12 || rng.chance(20)) {
            two.domain = new RatingOracle(OWNER, GUARDIAN, addresses(keys), 3);
            bytes32 domain = two.domain.domainSeparator();
            vm.prank(OWNER);
            oracle.setForeignDomain(domain, way != 12);
        }

        if (way == 1) two.word = one.word;
        if (way == 2) two.word = one.word ^ (rng.between(1, 0xffffff) << 192);
        if (way == 3) two.word ^= 1 << (112 + rng.below(32));
        if (way == 4) two.entity = entityOf(9);
        if (way == 5) two.key = keys[(signer + rng.between(1, 4)) % 5];
        IRatingOracle.Statement memory a = signed(rng, one);
        IRatingOracle.Statement memory b = signed(rng, two);
        if (way == 6) ++b.deadline;
        if (way == 7) ++b.epoch;
        if (way == 8) b.domain = keccak256("elsewhere");
        if (way == 9) b.word ^= 16;
        if (way == 10) b.vs ^= bytes32(uint256(1) << 255);
        if (rng.chance(50)) (a, b) = (b, a);

        bool guilty = way == 0 || way > 12;
        bool convicted = reports(one.entity, 1, way == 11 ? (signer + 1) % 6 : signer, a, b);
        check(convicted == guilty, guilty ? "not convicted" : "convicted");
        for (uint8 i = 0; i < 5; ++i) {
            same(oracle.equivocatedAt(vm.addr(keys[i])), guilty && i == signer ? block.timestamp : 0, "mark");
        }
    }

    /// @notice Whoever signs one word per number can sign it again for another deadline, epoch and chain.
    /// forge-config: default.fuzz.runs = 10000
    function testFuzz_p10_honest_resigning(uint256 seed) external {
        Rng memory rng = Rng(seed);
        bytes32 entity = entityOf(0);
        uint256 word = Words.pack(ratingOf(4));
        RatingOracle foreign = new RatingOracle(OWNER, GUARDIAN, addresses(keys), 3);
        bytes32 domain = foreign.domainSeparator();
        vm.prank(OWNER);
        oracle.setForeignDomain(domain, true);
        IRatingOracle.Statement memory a = signed(rng, Half(oracle, entity, word, keys[0]));
        vm.prank(OWNER);
        oracle.rotateSigners(addresses(keys), 4);
        IRatingOracle.Statement memory b = signed(rng, Half(rng.chance(50) ? oracle : foreign, entity, word, keys[0]));
        check(!reports(entity, uint32(rng.between(1, 2)), 0, a, b), "convicted");
        same(oracle.equivocatedAt(vm.addr(keys[0])), 0, "mark");
    }

    /// @notice What a signer did in a past epoch stays provable; the first date stays, too.
    function test_p10_past_epoch() external {
        IRatingOracle.Statement memory a = statementOf(oracle, entry(entityOf(0), ratingOf(1)), 0, keys[2], soon());
        IRatingOracle.Rating memory other = ratingOf(1);
        other.grade = 1;
        IRatingOracle.Statement memory b = statementOf(oracle, entry(entityOf(0), other), 0, keys[2], soon());
        vm.prank(OWNER);
        oracle.rotateSigners(addresses(sortedKeys(3, 9)), 2);
        check(!reports(entityOf(0), 2, 2, a, b), "no signer of this epoch");
        check(!reports(entityOf(0), 3, 2, a, b), "no epoch");
        check(!reports(entityOf(0), 0, 0, a, b), "before the first epoch");
        check(reports(entityOf(0), 1, 2, a, b), "convicted");
        uint256 first = block.timestamp;
        vm.warp(first + 1 days);
        check(reports(entityOf(0), 1, 2, b, a), "convicted again");
        same(oracle.equivocatedAt(vm.addr(keys[2])), first, "the first time");
    }

    /// @notice A stranger who signs anything at all is no signer.
    function test_p10_stranger() external {
        IRatingOracle.Rating memory other = ratingOf(1);
        other.el = 0;
        uint256 key = uint256(keccak256("stranger"));
        IRatingOracle.Statement memory a = statementOf(oracle, entry(entityOf(0), ratingOf(1)), 0, key, soon());
        IRatingOracle.Statement memory b = statementOf(oracle, entry(entityOf(0), other), 0, key, soon());
        for (uint8 i = 0; i < 6; ++i) {
            check(!reports(entityOf(0), 1, i, a, b), "convicted");
        }
        // Nor is nobody: garbage recovers to zero, which no table holds.
        (a.r, a.vs, b.r, b.vs) = (0, 0, 0, 0);
        for (uint8 i = 0; i < 6; ++i) {
            check(!reports(entityOf(0), 1, i, a, b), "zero convicted");
        }
    }
}
