// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IERC5267} from "@openzeppelin/contracts/interfaces/IERC5267.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";

import {IERC7412} from "../src/IERC7412.sol";
import {IRatingOracle, SkipReason} from "../src/IRatingOracle.sol";
import {RatingOracle} from "../src/RatingOracle.sol";
import {Gen} from "./utils/Gen.sol";
import {MiniVm, vm} from "./utils/MiniVm.sol";
import {OracleTest} from "./utils/OracleTest.sol";
import {Plain} from "./utils/Plain.sol";
import {Rng} from "./utils/Rng.sol";
import {Trees} from "./utils/Trees.sol";
import {Words} from "./utils/Words.sol";

/// @dev What the oracle says and does, one thing at a time.
contract OracleUnitTest is OracleTest {
    bytes32 internal constant ENTITY = keccak256("entity");

    function expectSkip(IRatingOracle.Rating memory r, SkipReason reason) internal {
        uint256 before = oracle.raw(ENTITY);
        bytes memory entries = entry(ENTITY, r);
        bytes memory signatures = sign(entries, soon());
        vm.expectEmit(true, true, true, true, address(oracle));
        emit IRatingOracle.Skipped(ENTITY, r.seq, reason);
        same(oracle.push(entries, SIGNED, signatures, soon()), 0, "stored");
        same(oracle.raw(ENTITY), before, "changed");
    }

    // ------------------------------------------------------------------ updates

    function test_push_stores_and_tells() external {
        IRatingOracle.Rating memory r = ratingOf(1);
        r.asOf -= 77;
        bytes memory entries = entry(ENTITY, r);
        bytes memory signatures = sign(entries, soon());
        r.lag = 77;
        vm.expectEmit(true, true, true, true, address(oracle));
        emit IRatingOracle.Rated(ENTITY, 1, Words.pack(r));
        same(oracle.push(entries, SIGNED, signatures, soon()), 1, "stored");
        check(keccak256(abi.encode(oracle.rating(ENTITY))) == keccak256(abi.encode(r)), "rating");
    }

    function test_push_refuses_odd_lengths() external {
        bytes memory entries = bytes.concat(batchOf(2, 1), hex"00");
        vm.expectRevert(abi.encodeWithSelector(IRatingOracle.BadBatchLength.selector, 129));
        oracle.push(entries, SIGNED, "", soon());
        vm.expectRevert(abi.encodeWithSelector(IRatingOracle.BadBatchLength.selector, 0));
        oracle.push("", SIGNED, "", soon());
    }

    function test_push_until_the_deadline() external {
        bytes memory entries = batchOf(1, 1);
        uint40 deadline = soon();
        bytes memory signatures = sign(entries, deadline);
        vm.warp(uint256(deadline) + 1);
        vm.expectRevert(abi.encodeWithSelector(IRatingOracle.Expired.selector, deadline));
        oracle.push(entries, SIGNED, signatures, deadline);
        vm.warp(deadline);
        same(oracle.push(entries, SIGNED, signatures, deadline), 1, "stored");
    }

    function test_first_rating_of_a_chain_that_joins_late() external {
        IRatingOracle.Rating memory r = ratingOf((1 << 24) + 1);
        expectSkip(r, SkipReason.SeqStep);
        r.seq = 1 << 24;
        r.logPos = (1 << 32) + 1;
        expectSkip(r, SkipReason.LogPositionStep);
        r.logPos = 1 << 32;
        check(push(ENTITY, r), "not stored");
    }

    function test_skips_what_is_out_of_order() external {
        IRatingOracle.Rating memory r = ratingOf(9);
        push(ENTITY, r);
        expectSkip(r, SkipReason.NotNewer);
        r.seq = 9 + 1025;
        expectSkip(r, SkipReason.SeqStep);
        r.seq = 10;
        expectSkip(r, SkipReason.LogPositionNotRising);
        r.logPos += (1 << 32) + 1;
        expectSkip(r, SkipReason.LogPositionStep);
        r.logPos -= 1;
        r.asOf -= 1;
        expectSkip(r, SkipReason.ObservationOlder);
        r.asOf += 302;
        expectSkip(r, SkipReason.Future);
        r.asOf -= 1;
        check(push(ENTITY, r), "300 seconds ahead");
        same(oracle.rating(ENTITY).lag, 0, "lag");
    }

    function test_skips_what_is_too_old() external {
        IRatingOracle.Rating memory r = ratingOf(1);
        r.asOf = uint40(block.timestamp - (1 << 24));
        expectSkip(r, SkipReason.TooOld);
        r.asOf += 1;
        check(push(ENTITY, r), "194 days");
        same(oracle.rating(ENTITY).lag, type(uint24).max, "lag");
    }

    /// @notice A future or otherwise skipped entry does not hold up another entity's downgrade.
    function test_p08_one_bad_entry_does_not_hold_up_the_others() external {
        push(batchOf(2, 1));
        IRatingOracle.Rating memory future = ratingOf(2);
        future.asOf += 1 days;
        IRatingOracle.Rating memory worse = ratingOf(2);
        worse.grade = 20;
        same(push(bytes.concat(entry(entityOf(0), future), entry(entityOf(1), worse))), 1, "stored");
        same(oracle.rating(entityOf(1)).grade, 20, "the downgrade");
    }

    function test_malformed_reverts() external {
        Rng memory rng = Rng(1);
        for (uint256 i = 0; i < 100; ++i) {
            uint256 word = Gen.spoil(rng, Words.pack(ratingOf(1)));
            bytes memory entries = abi.encodePacked(ENTITY, word);
            bytes memory signatures = sign(entries, soon());
            vm.expectRevert(abi.encodeWithSelector(IRatingOracle.MalformedRating.selector, ENTITY, word));
            oracle.push(entries, SIGNED, signatures, soon());
        }
    }

    function test_p07_breaker() external {
        IRatingOracle.Rating memory r = ratingOf(1);
        push(ENTITY, r);
        vm.warp(START + 1);
        (r.seq, r.logPos, r.grade) = (2, r.logPos + 1, 8);
        expectSkip(r, SkipReason.Dwell);
        r.grade = 5;
        expectSkip(r, SkipReason.NotchStep);
        (r.grade, r.el) = (9, r.el - 1);
        expectSkip(r, SkipReason.Dwell);
        // With a new adverse flag the same lands.
        r.flags = 0x02;
        check(push(ENTITY, r), "watch negative");
        // To set one flag while another goes buys no better grade.
        (r.seq, r.logPos, r.grade, r.flags) = (3, r.logPos + 1, 8, 0x04);
        expectSkip(r, SkipReason.Dwell);
        vm.warp(START + 1 + 6 hours - 1);
        expectSkip(r, SkipReason.Dwell);
        vm.warp(START + 1 + 6 hours);
        check(push(ENTITY, r), "after the dwell");
        (r.seq, r.logPos, r.grade) = (4, r.logPos + 1, 20);
        check(push(ENTITY, r), "a downgrade at once");
        vm.warp(START + 30 days);
        (r.seq, r.logPos, r.grade) = (5, r.logPos + 1, 16);
        expectSkip(r, SkipReason.NotchStep);
        r.grade = 17;
        check(push(ENTITY, r), "three notches");
    }

    // ------------------------------------------------------------------ reads

    function test_reads_of_the_unknown_revert() external {
        bytes memory unknown = abi.encodeWithSelector(IRatingOracle.UnknownEntity.selector, ENTITY);
        vm.expectRevert(unknown);
        oracle.rating(ENTITY);
        vm.expectRevert(unknown);
        oracle.ratingFast(ENTITY, type(uint256).max);
        vm.expectRevert(unknown);
        oracle.ratingNoOlderThan(ENTITY, type(uint256).max);
        (bool ok,) = oracle.tryRating(ENTITY, type(uint256).max);
        check(!ok, "ok");
        same(oracle.raw(ENTITY), 0, "raw");
    }

    /// @notice The four guarded reads agree on when a rating can be relied on, and on what it says.
    /// forge-config: default.fuzz.runs = 10000
    function testFuzz_reads_agree(uint256 seed) external {
        Rng memory rng = Rng(seed);
        IRatingOracle.Rating memory r = ratingOf(1);
        r.flags = uint8(rng.below(64));
        r.asOf = uint40(block.timestamp + 300 - rng.below(1000));
        push(ENTITY, r);
        if (rng.chance(20)) {
            vm.prank(GUARDIAN);
            oracle.suspend(ENTITY);
            r.flags |= 0x80;
        }
        vm.warp(block.timestamp + rng.below(1000));
        uint256 maxAge = rng.below(2000);
        uint256 age = block.timestamp > r.asOf ? block.timestamp - r.asOf : 0;

        bytes memory failure;
        if (age > maxAge) {
            failure = abi.encodeWithSelector(IRatingOracle.StaleRating.selector, ENTITY, age, maxAge);
        }
        if (r.flags & 0x10 != 0) failure = abi.encodeWithSelector(IRatingOracle.RatingWithdrawn.selector, ENTITY);
        if (r.flags & 0x80 != 0) failure = abi.encodeWithSelector(IRatingOracle.RatingSuspended.selector, ENTITY);

        (bool ok, IRatingOracle.Rating memory stored) = oracle.tryRating(ENTITY, maxAge);
        check(ok == (failure.length == 0), "tryRating");
        check(keccak256(abi.encode(stored)) == keccak256(abi.encode(oracle.rating(ENTITY))), "tryRating's rating");
        same(stored.flags, r.flags, "flags");
        if (!ok) vm.expectRevert(failure);
        stored = oracle.ratingNoOlderThan(ENTITY, maxAge);
        if (ok) same(Words.pack(stored), oracle.raw(ENTITY), "ratingNoOlderThan");
        if (!ok) vm.expectRevert(failure);
        (uint8 grade, uint16 score, uint8 flags) = oracle.ratingFast(ENTITY, maxAge);
        if (ok) check(grade == r.grade && score == r.score && flags == r.flags, "ratingFast");
    }

    // ------------------------------------------------------------------ guardian and owner

    /// @notice The guardian suspends, the owner reinstates; updates carry the flag; the word is otherwise the
    ///         signers' own.
    /// forge-config: default.fuzz.runs = 10000
    function testFuzz_p03_stored_is_signed(uint256 seed) external {
        Rng memory rng = Rng(seed);
        IRatingOracle.Rating memory r = ratingOf(1);
        push(ENTITY, r);
        bool suspended = rng.chance(50);
        if (suspended) {
            vm.prank(GUARDIAN);
            oracle.suspend(ENTITY);
            same(oracle.raw(ENTITY), Words.pack(r) | 0x80 << 88, "suspended");
        }
        vm.warp(START + rng.below(40 days));
        uint256 old = oracle.raw(ENTITY);
        uint256 word = Words.pack(Gen.after_(rng, old, block.timestamp));
        bool stored = push(abi.encodePacked(ENTITY, word)) == 1;
        check(stored == (Plain.judge(old, word, block.timestamp) == SkipReason.None), "stored or not");
        if (!stored) return same(oracle.raw(ENTITY), old, "changed");
        uint256 ignored = 0xffffff << 192 | 0x80 << 88;
        same(oracle.raw(ENTITY) & ~ignored, word, "signed");
        same(oracle.raw(ENTITY) >> 95 & 1, suspended ? 1 : 0, "carried over");
        uint256 asOf = word >> 216;
        same(oracle.rating(ENTITY).lag, block.timestamp > asOf ? block.timestamp - asOf : 0, "p06: lag");
        if (!suspended) return;
        vm.prank(OWNER);
        oracle.reinstate(ENTITY);
        same(oracle.raw(ENTITY) >> 95 & 1, 0, "reinstated");
    }

    function test_suspend_needs_a_rating() external {
        vm.prank(GUARDIAN);
        vm.expectRevert(abi.encodeWithSelector(IRatingOracle.UnknownEntity.selector, ENTITY));
        oracle.suspend(ENTITY);
        vm.prank(OWNER);
        vm.expectRevert(abi.encodeWithSelector(IRatingOracle.UnknownEntity.selector, ENTITY));
        oracle.reinstate(ENTITY);
    }

    /// @notice Nobody but guardian and owner gets at what is theirs, and neither at what is the other's.
    /// forge-config: default.fuzz.runs = 10000
    function testFuzz_p02_roles(uint256 seed, address stranger) external {
        push(ENTITY, ratingOf(1));
        uint256 word = oracle.raw(ENTITY);
        bytes[] memory guardians = new bytes[](2);
        guardians[0] = abi.encodeCall(oracle.pause, ());
        guardians[1] = abi.encodeCall(oracle.suspend, (ENTITY));
        bytes[] memory owners = new bytes[](8);
        owners[0] = abi.encodeCall(oracle.unpause, ());
        owners[1] = abi.encodeCall(oracle.reinstate, (ENTITY));
        owners[2] = abi.encodeCall(oracle.rotateSigners, (addresses(keys), 3));
        owners[3] = abi.encodeCall(oracle.setGuardian, (stranger));
        owners[4] = abi.encodeCall(oracle.registerModel, (7, bytes32(seed | 1)));
        owners[5] = abi.encodeCall(oracle.setForeignDomain, (bytes32(seed), true));
        owners[6] = abi.encodeCall(oracle.transferOwnership, (stranger));
        owners[7] = abi.encodeCall(oracle.renounceOwnership, ());
        Rng memory rng = Rng(seed);
        bool theirs = rng.chance(30);
        address caller = rng.chance(50) ? stranger : theirs ? OWNER : GUARDIAN;
        bytes memory what = theirs ? guardians[rng.below(2)] : owners[rng.below(8)];
        if (caller == (theirs ? GUARDIAN : OWNER)) return;
        vm.prank(caller);
        (bool ok,) = address(oracle).call(what);
        check(!ok, "allowed");
        same(oracle.raw(ENTITY), word, "changed");
    }

    function test_owner_cannot_renounce_and_hands_over_in_two_steps() external {
        vm.prank(OWNER);
        vm.expectRevert(IRatingOracle.CannotRenounce.selector);
        oracle.renounceOwnership();
        vm.prank(OWNER);
        oracle.transferOwnership(address(7));
        check(oracle.owner() == OWNER, "at once");
        vm.prank(address(7));
        oracle.acceptOwnership();
        check(oracle.owner() == address(7), "not at all");
    }

    /// @notice Paused, nothing is stored and every read answers as before.
    /// forge-config: default.fuzz.runs = 10000
    function testFuzz_p13_paused(uint256 seed) external {
        Rng memory rng = Rng(seed);
        push(batchOf(3, 1));
        bytes memory entries = batchOf(3, 2);
        bytes memory signatures = sign(entries, soon());
        bytes32 entity = entityOf(rng.below(3));
        uint256 maxAge = rng.below(1000);
        bytes memory before = abi.encode(readAll(entity, maxAge));
        vm.prank(GUARDIAN);
        oracle.pause();
        check(keccak256(abi.encode(readAll(entity, maxAge))) == keccak256(before), "reads");
        if (rng.chance(50)) {
            vm.expectRevert(IRatingOracle.WritesPaused.selector);
            oracle.push(entries, SIGNED, signatures, soon());
        } else {
            (bytes32 leafEntity, uint256 word) = Trees.entry(entries, 1);
            bytes32[] memory path = Trees.path(entries, 1);
            vm.expectRevert(IRatingOracle.WritesPaused.selector);
            oracle.pull(leafEntity, word, 1, 3, path, SIGNED, signatures, soon());
        }
        check(keccak256(abi.encode(readAll(entity, maxAge))) == keccak256(before), "changed");
        vm.prank(OWNER);
        oracle.unpause();
        same(oracle.push(entries, SIGNED, signatures, soon()), 3, "stored");
    }

    function readAll(bytes32 entity, uint256 maxAge) internal view returns (bytes[5] memory answers) {
        answers[0] = answerTo(abi.encodeCall(oracle.raw, (entity)));
        answers[1] = answerTo(abi.encodeCall(oracle.rating, (entity)));
        answers[2] = answerTo(abi.encodeCall(oracle.ratingFast, (entity, maxAge)));
        answers[3] = answerTo(abi.encodeCall(oracle.ratingNoOlderThan, (entity, maxAge)));
        answers[4] = answerTo(abi.encodeCall(oracle.tryRating, (entity, maxAge)));
    }

    function answerTo(bytes memory question) internal view returns (bytes memory) {
        (bool ok, bytes memory answer) = address(oracle).staticcall(question);
        return abi.encode(ok, answer);
    }

    function test_pause_and_unpause_once() external {
        check(!oracle.paused(), "paused");
        vm.prank(GUARDIAN);
        oracle.pause();
        vm.prank(GUARDIAN);
        vm.expectRevert(IRatingOracle.WritesPaused.selector);
        oracle.pause();
        // Rotation while paused is how a captured quorum is thrown out; it stays paused.
        vm.prank(OWNER);
        oracle.rotateSigners(addresses(keys), 4);
        check(oracle.paused(), "not paused");
        vm.prank(OWNER);
        oracle.unpause();
        vm.prank(OWNER);
        vm.expectRevert(IRatingOracle.NotPaused.selector);
        oracle.unpause();
    }

    function test_models_are_written_once() external {
        vm.prank(OWNER);
        oracle.registerModel(7, keccak256("model"));
        vm.prank(OWNER);
        vm.expectRevert(abi.encodeWithSelector(IRatingOracle.ModelAlreadyRegistered.selector, 7));
        oracle.registerModel(7, keccak256("another"));
        vm.prank(OWNER);
        vm.expectRevert(abi.encodeWithSelector(IRatingOracle.ModelAlreadyRegistered.selector, 8));
        oracle.registerModel(8, 0);
        check(oracle.modelHash(7) == keccak256("model"), "model");
    }

    function test_guardian_can_be_replaced() external {
        vm.prank(OWNER);
        oracle.setGuardian(address(8));
        vm.prank(GUARDIAN);
        vm.expectRevert(abi.encodeWithSelector(IRatingOracle.NotGuardian.selector, GUARDIAN));
        oracle.pause();
        vm.prank(address(8));
        oracle.pause();
    }

    // ------------------------------------------------------------------ standards

    function test_domain_is_eip712() external view {
        (bytes1 fields, string memory name, string memory version, uint256 chainId, address verifier,,) =
            oracle.eip712Domain();
        check(fields == 0x0f && chainId == block.chainid && verifier == address(oracle), "domain");
        bytes32 separator = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Assay"),
                keccak256("1"),
                block.chainid,
                address(oracle)
            )
        );
        check(keccak256(bytes(name)) == keccak256("Assay") && keccak256(bytes(version)) == keccak256("1"), "name");
        check(separator == oracle.domainSeparator(), "separator");
        bytes32 hash = keccak256(
            abi.encode(
                keccak256("RatingBatch(bytes32 root,uint32 count,uint32 epoch,uint40 deadline)"),
                bytes32(uint256(5)),
                uint32(6),
                uint32(7),
                uint40(8)
            )
        );
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", separator, hash));
        check(digest == oracle.batchDigest(bytes32(uint256(5)), 6, 7, 8), "digest");
    }

    function test_interfaces() external view {
        check(oracle.supportsInterface(type(IERC165).interfaceId), "ERC-165");
        check(oracle.supportsInterface(type(IERC5267).interfaceId), "ERC-5267");
        check(oracle.supportsInterface(type(IERC7412).interfaceId), "ERC-7412");
        check(oracle.supportsInterface(type(IRatingOracle).interfaceId), "oracle");
        check(!oracle.supportsInterface(0xffffffff), "none");
        check(oracle.oracleId() == "ASSAY", "id");
    }

    function test_erc7412_is_pull() external {
        bytes memory entries = batchOf(5, 1);
        bytes memory signatures = sign(entries, soon());
        (bytes32 entity, uint256 word) = Trees.entry(entries, 4);
        bytes memory data =
            abi.encode(entity, word, uint32(4), uint32(5), Trees.path(entries, 4), SIGNED, signatures, soon());
        oracle.fulfillOracleQuery(data);
        same(oracle.raw(entity), word, "stored");
        // Again is no error: someone may have been faster.
        oracle.fulfillOracleQuery(data);
        vm.deal(address(this), 1);
        vm.expectRevert(IRatingOracle.NoFeeDue.selector);
        oracle.fulfillOracleQuery{value: 1}(data);
        vm.warp(uint256(soon()) + 1);
        vm.expectRevert(abi.encodeWithSelector(IRatingOracle.Expired.selector, uint40(START + 600)));
        oracle.fulfillOracleQuery(data);
    }
}
