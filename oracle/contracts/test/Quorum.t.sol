// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRatingOracle} from "../src/IRatingOracle.sol";
import {RatingOracle} from "../src/RatingOracle.sol";
import {vm} from "./utils/MiniVm.sol";
import {OracleTest} from "./utils/OracleTest.sol";
import {Rng} from "./utils/Rng.sol";

/// @dev Who may sign, for what, and for how long.
contract QuorumTest is OracleTest {
    /// @dev The call as an attacker would make it; true if it went through.
    function tryPush(bytes memory entries, uint256 bitmap, bytes memory signatures, uint40 deadline)
        internal
        returns (bool ok)
    {
        (ok,) = address(oracle).call(abi.encodeCall(oracle.push, (entries, bitmap, signatures, deadline)));
    }

    function randomSubset(Rng memory rng, uint256 size, uint256 of_) internal pure returns (uint256 bitmap) {
        while (size > 0) {
            uint256 bit = 1 << rng.below(of_);
            if (bitmap & bit == 0) {
                bitmap |= bit;
                --size;
            }
        }
    }

    /// @dev A push, before it is sent.
    struct Attempt {
        bytes entries;
        uint256 bitmap;
        bytes signatures;
        bytes32 digest;
    }

    /// @notice With any m of any n the batch lands; with anything else nothing changes.
    /// forge-config: default.fuzz.runs = 10000
    function testFuzz_p04_only_a_quorum(uint256 seed) external {
        Rng memory rng = Rng(seed);
        uint256 n = rng.between(1, 9);
        uint256 m = rng.between(n / 2 + 1, n);
        keys = sortedKeys(n, 2);
        oracle = new RatingOracle(OWNER, GUARDIAN, addresses(keys), uint8(m));
        Attempt memory good = Attempt(batchOf(rng.between(1, 3), 1), randomSubset(rng, m, n), "", 0);
        good.digest = digestOf(good.entries, soon());
        good.signatures = signBy(keys, good.digest, good.bitmap);
        Attempt memory bad = spoilt(rng, good, n, m);
        if (bad.bitmap != good.bitmap || keccak256(bad.signatures) != keccak256(good.signatures)) {
            check(!tryPush(bad.entries, bad.bitmap, bad.signatures, soon()), "landed without a quorum");
            same(oracle.raw(entityOf(0)), 0, "changed without a quorum");
        }
        check(tryPush(good.entries, good.bitmap, good.signatures, soon()), "a quorum");
        check(oracle.raw(entityOf(0)) != 0, "did not land");
    }

    /// @dev One of the ways in which it is not what exactly m signers signed, or, by chance, still is.
    function spoilt(Rng memory rng, Attempt memory good, uint256 n, uint256 m)
        internal
        view
        returns (Attempt memory bad)
    {
        bad = Attempt(good.entries, good.bitmap, bytes.concat(good.signatures), good.digest);
        bytes memory sigs = bad.signatures;
        uint256 victim = rng.below(m);
        uint256 any = keys[rng.below(n)];
        uint256 way = rng.below(16);
        if (way == 0) {
            bad.bitmap &= bad.bitmap - 1;
            sigs = signBy(keys, bad.digest, bad.bitmap);
        }
        if (way == 1) sigs = cut(sigs, (m - 1) * 64);
        if (way == 2) sigs = bytes.concat(sigs, signOne(any, bad.digest));
        if (way == 3) {
            bad.bitmap |= 1 << rng.between(n, 255);
            if (rng.chance(50)) sigs = bytes.concat(sigs, signOne(any, bad.digest));
            if (rng.chance(30)) bad.bitmap &= bad.bitmap - 1;
        }
        if (way == 4) bad.bitmap = rng.chance(50) ? 0 : rng.next();
        if (way == 5) sigs = replaced(sigs, victim, abi.encodePacked(rng.next(), rng.next()));
        if (way == 6) sigs = replaced(sigs, victim, new bytes(64));
        if (way == 7) sigs = replaced(sigs, victim, signOne(uint256(keccak256("stranger")), bad.digest));
        if (way == 8) sigs = signBy(keys, keccak256(abi.encode(bad.digest)), bad.bitmap);
        if (way == 9) sigs = signBy(keys, digestOf(bad.entries, soon() + 1), bad.bitmap);
        if (way == 10) sigs = signBy(keys, digestOf(batchOf(4, 1), soon()), bad.bitmap);
        if (way == 11) sigs = replaced(sigs, victim, signOne(any, bad.digest));
        if (way == 12) bad.bitmap = randomSubset(rng, m, n);
        if (way == 13) sigs = rng.chance(50) ? cut(sigs, sigs.length - 1) : bytes.concat(sigs, hex"00");
        if (way == 14) bad.bitmap |= 1 << rng.below(n);
        if (way == 15) {
            // A signature that recovers to zero, for a signer beyond the table, where memory is zero.
            bad.bitmap = bad.bitmap & (bad.bitmap - 1);
            sigs = bytes.concat(signBy(keys, bad.digest, bad.bitmap), new bytes(64));
            bad.bitmap |= 1 << rng.between(n, n + 3);
        }
        bad.signatures = sigs;
    }

    function cut(bytes memory data, uint256 length) internal pure returns (bytes memory) {
        assembly {
            mstore(data, length)
        }
        return data;
    }

    function replaced(bytes memory signatures, uint256 at, bytes memory by) internal pure returns (bytes memory) {
        for (uint256 i = 0; i < 64; ++i) {
            signatures[at * 64 + i] = by[i];
        }
        return signatures;
    }

    /// @notice One signature, repeated as often as asked, is not a quorum under any bitmap.
    function test_p04_one_signature_under_all_bitmaps() external {
        bytes memory entries = batchOf(1, 1);
        bytes32 digest = digestOf(entries, soon());
        for (uint256 signer = 0; signer < 5; ++signer) {
            bytes memory one = signOne(keys[signer], digest);
            for (uint256 bitmap = 0; bitmap < 32; ++bitmap) {
                check(!tryPush(entries, bitmap, bytes.concat(one, one, one), soon()), "three times one");
            }
        }
    }

    /// @notice All 32 bitmaps, each signed by whom it names: the ten of three signers land, no other.
    function test_p04_all_bitmaps() external {
        uint256 landed;
        for (uint256 bitmap = 0; bitmap < 32; ++bitmap) {
            bytes memory entries = batchOf(1, uint32(bitmap + 1));
            if (tryPush(entries, bitmap, signBy(keys, digestOf(entries, soon()), bitmap), soon())) ++landed;
        }
        same(landed, 10, "bitmaps that land");
    }

    /// @notice No signature works elsewhere, later, after a rotation, or twice.
    /// forge-config: default.fuzz.runs = 10000
    function testFuzz_p05_replay(uint256 seed) external {
        Rng memory rng = Rng(seed);
        bytes memory entries = batchOf(rng.between(1, 3), uint32(rng.between(1, 9)));
        uint40 deadline = uint40(block.timestamp + rng.between(0, 1 days));
        bytes memory signatures = sign(entries, deadline);
        uint256 way = rng.below(5);
        if (way == 0) vm.chainId(rng.between(2, 1 << 32));
        if (way == 1) oracle = new RatingOracle(OWNER, GUARDIAN, addresses(keys), 3);
        if (way == 2) {
            // The same signers in a new epoch, or others.
            vm.prank(OWNER);
            oracle.rotateSigners(addresses(rng.chance(50) ? keys : sortedKeys(5, 3)), 3);
        }
        if (way == 3) vm.warp(deadline + rng.between(1, 10 days));
        if (way == 4) {
            check(tryPush(entries, SIGNED, signatures, deadline), "the first time");
            vm.warp(rng.between(block.timestamp, deadline));
            uint256 word = oracle.raw(entityOf(0));
            same(oracle.push(entries, SIGNED, signatures, deadline), 0, "stored twice");
            same(oracle.raw(entityOf(0)), word, "changed by a replay");
        } else {
            check(!tryPush(entries, SIGNED, signatures, deadline), "replayed");
            same(oracle.raw(entityOf(0)), 0, "changed by a replay");
        }
        vm.chainId(31337);
    }

    /// @notice On a fork the domain follows the chain id, and signatures for it land.
    function test_p05_domain_follows_the_chain_id() external {
        bytes32 domain = oracle.domainSeparator();
        vm.chainId(777);
        check(oracle.domainSeparator() != domain, "the same domain");
        same(push(batchOf(1, 1)), 1, "lands on the fork");
        vm.chainId(31337);
        check(oracle.domainSeparator() == domain, "another domain");
    }

    /// @notice A rotation is accepted if and only if signers ascend from above zero and a majority must sign.
    /// forge-config: default.fuzz.runs = 10000
    function testFuzz_p14_rotation(uint256 seed) external {
        Rng memory rng = Rng(seed);
        address[] memory signers = new address[](rng.chance(98) ? rng.between(0, 12) : rng.between(250, 260));
        uint160 last;
        for (uint256 i = 0; i < signers.length; ++i) {
            last += uint160(rng.between(1, 1 << 150));
            signers[i] = address(last);
        }
        bool valid = signers.length > 0 && signers.length <= 255;
        uint256 way = rng.below(8);
        if (way == 0 && signers.length > 0) {
            signers[0] = address(0);
            valid = false;
        }
        if (way == 1 && signers.length > 1) {
            uint256 i = rng.between(1, signers.length - 1);
            signers[i] = signers[i - 1];
            valid = false;
        }
        if (way == 2 && signers.length > 1) {
            uint256 i = rng.between(1, signers.length - 1);
            (signers[i], signers[i - 1]) = (signers[i - 1], signers[i]);
            valid = false;
        }
        uint8 threshold = uint8(rng.chance(70) ? signers.length / 2 + rng.below(3) : rng.below(256));
        if (threshold > signers.length || uint256(threshold) * 2 <= signers.length) valid = false;

        address[] memory before = oracle.signersAt(1);
        vm.prank(OWNER);
        (bool ok,) = address(oracle).call(abi.encodeCall(oracle.rotateSigners, (signers, threshold)));
        check(ok == valid, "accepted what it should not, or not what it should");
        same(oracle.epoch(), ok ? 2 : 1, "epoch");
        same(oracle.threshold(), ok ? threshold : 3, "threshold");
        if (ok) check(keccak256(abi.encode(oracle.signersAt(2))) == keccak256(abi.encode(signers)), "new signers");
        check(keccak256(abi.encode(oracle.signersAt(1))) == keccak256(abi.encode(before)), "old signers");
    }

    /// @notice The largest set there can be works.
    function test_p14_255_signers() external {
        keys = sortedKeys(255, 4);
        vm.prank(OWNER);
        oracle.rotateSigners(addresses(keys), 128);
        bytes memory entries = batchOf(1, 1);
        uint256 upper = ((1 << 128) - 1) << 127;
        oracle.push(entries, upper, signBy(keys, digestOf(entries, soon()), upper), soon());
        check(oracle.raw(entityOf(0)) != 0, "did not land");
        vm.expectRevert(abi.encodeWithSelector(IRatingOracle.UnknownSigner.selector, 3, 0));
        oracle.signersAt(3);
    }
}
