// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRatingOracle, SkipReason} from "../../src/IRatingOracle.sol";
import {RatingFeed} from "../../src/RatingFeed.sol";
import {Gen} from "./Gen.sol";
import {vm} from "./MiniVm.sol";
import {OracleTest} from "./OracleTest.sol";
import {Plain} from "./Plain.sol";
import {Rng} from "./Rng.sol";
import {Trees} from "./Trees.sol";
import {Words} from "./Words.sol";

/// @dev Lives with one oracle: signs honestly, attacks, governs, waits, and after every call compares the
///      oracle with a model of it. Whatever does not agree is written down in `broken`, by property.
contract Handler is OracleTest {
    uint256 internal constant ENTITIES = 5;
    uint256 internal constant SUSPENDED = 0x80 << 88;

    struct Batch {
        bytes entries;
        uint256 bitmap;
        bytes signatures;
        uint40 deadline;
        uint32 epoch;
    }

    /// @dev What was found wrong, by property.
    mapping(uint256 property => string) public broken;
    /// @dev How often a property was put to the test.
    mapping(uint256 property => uint256) public tested;
    /// @dev How often each reason to skip came up; index 0 counts what was stored.
    mapping(SkipReason => uint256) public outcomes;

    uint256[] internal universe;
    mapping(uint32 epoch => uint256[]) internal keysAt;
    mapping(bytes32 entity => mapping(uint256 seq => uint256 word)) internal signedWord;
    mapping(bytes32 entity => uint256 word) internal model;
    Batch[] internal pool;
    RatingFeed[] internal feeds;

    function setUp() public override {
        super.setUp();
        universe = sortedKeys(8, 5);
        keysAt[1] = keys;
        for (uint256 i = 0; i < ENTITIES; ++i) {
            feeds.push(new RatingFeed(oracle, entityOf(i)));
        }
    }

    // ------------------------------------------------------------------ what may happen

    /// @dev Honest signers sign a new batch and it is pushed at once; or it is kept for later.
    function honestPush(uint256 seed) external observed(true) {
        Rng memory rng = Rng(seed);
        Batch memory batch = newBatch(rng);
        pool.push(batch);
        if (rng.chance(80)) deliver(batch);
    }

    /// @dev Anyone pushes what was signed at some time.
    function replay(uint256 seed) external observed(true) {
        if (pool.length > 0) deliver(recent(Rng(seed)));
    }

    /// @dev Anyone pulls one rating of what was signed at some time.
    function pullOne(uint256 seed) external observed(true) {
        if (pool.length == 0) return;
        Rng memory rng = Rng(seed);
        Batch memory batch = recent(rng);
        uint256 index = rng.below(batch.entries.length / 64);
        (bytes32 entity, uint256 word) = Trees.entry(batch.entries, index);
        bytes memory call = abi.encodeCall(
            oracle.pull,
            (
                entity,
                word,
                uint32(index),
                uint32(batch.entries.length / 64),
                Trees.path(batch.entries, index),
                batch.bitmap,
                batch.signatures,
                batch.deadline
            )
        );
        if (rng.chance(20)) {
            bytes memory query = new bytes(call.length - 4);
            for (uint256 i = 0; i < query.length; ++i) {
                query[i] = call[i + 4];
            }
            call = abi.encodeCall(oracle.fulfillOracleQuery, (query));
        }
        bool expected = valid(batch);
        (bool ok,) = address(oracle).call(call);
        note(expected ? 8 : 5, ok == expected, "pull: reverted, or did not");
        if (ok) apply_(entity, word);
    }

    /// @dev Somebody without a quorum pushes.
    function forge(uint256 seed) external observed(false) {
        Rng memory rng = Rng(seed);
        Batch memory batch = newBatch(rng);
        bytes32 digest = digestOf(batch.entries, batch.deadline);
        uint256 way = rng.below(6);
        if (way == 0) batch.bitmap = batch.bitmap & (batch.bitmap - 1);
        if (way == 1) batch.signatures = bytes.concat(batch.signatures, signOne(keys[0], digest));
        if (way == 2) batch.signatures[rng.below(batch.signatures.length)] ^= bytes1(uint8(rng.between(1, 255)));
        if (way == 3) batch.entries[rng.below(batch.entries.length)] ^= bytes1(uint8(rng.between(1, 255)));
        if (way == 4) batch.deadline += uint40(rng.between(1, 1 days));
        if (way == 5) batch.bitmap ^= 1 << rng.below(256);
        (bool ok,) = send(batch);
        note(4, !ok, "landed without a quorum");
    }

    /// @dev Time passes.
    function wait(uint256 seed) external observed(false) {
        Rng memory rng = Rng(seed);
        uint256 way = rng.below(20);
        uint256 by = rng.below(way < 8 ? 60 : way < 14 ? 2 hours : way < 19 ? 12 hours : 60 days);
        if (way == 18) by = 6 hours;
        vm.warp(block.timestamp + by);
    }

    /// @dev Guardian and owner do what is theirs to do.
    function govern(uint256 seed) external observed(false) {
        Rng memory rng = Rng(seed);
        uint256 way = rng.below(10);
        bytes32 entity = entityOf(rng.below(ENTITIES));
        bool paused = oracle.paused();
        if (way < 3) {
            // A pause does not last, or nothing would be tried.
            if (!paused && way != 0) return;
            vm.prank(paused ? OWNER : GUARDIAN);
            if (paused) oracle.unpause();
            else oracle.pause();
        } else if (way < 5) {
            if (model[entity] == 0) return;
            model[entity] |= SUSPENDED;
            vm.prank(GUARDIAN);
            oracle.suspend(entity);
        } else if (way < 8) {
            if (model[entity] == 0) return;
            model[entity] &= ~SUSPENDED;
            vm.prank(OWNER);
            oracle.reinstate(entity);
        } else if (way == 8) {
            rotate(rng);
        } else {
            vm.prank(OWNER);
            oracle.setForeignDomain(bytes32(rng.next()), true);
        }
    }

    /// @dev Somebody tries what is not theirs to do.
    function intrude(uint256 seed) external observed(false) {
        Rng memory rng = Rng(seed);
        bytes32 entity = entityOf(rng.below(ENTITIES));
        bytes[6] memory calls = [
            abi.encodeCall(oracle.pause, ()),
            abi.encodeCall(oracle.suspend, (entity)),
            abi.encodeCall(oracle.unpause, ()),
            abi.encodeCall(oracle.reinstate, (entity)),
            abi.encodeCall(oracle.rotateSigners, (addresses(universe), 5)),
            abi.encodeCall(oracle.setGuardian, (address(this)))
        ];
        uint256 way = rng.below(6);
        // The owner tries the guardian's, the guardian the owner's, a stranger both.
        address caller = rng.chance(50) ? address(uint160(rng.next())) : way < 2 ? OWNER : GUARDIAN;
        vm.prank(caller);
        (bool ok,) = address(oracle).call(calls[way]);
        note(2, !ok, "a call by somebody it is not for");
    }

    /// @dev Somebody accuses an honest signer, by two statements about one number where there are two.
    function accuse(uint256 seed) external observed(false) {
        if (pool.length == 0) return;
        Rng memory rng = Rng(seed);
        (uint32 epoch, uint8 index, uint256 key) = someSigner(rng);
        Batch memory one = recent(rng);
        uint256 at = rng.below(one.entries.length / 64);
        (bytes32 entity, uint256 word) = Trees.entry(one.entries, at);
        IRatingOracle.Statement memory a = statementOf(one, at, key);
        IRatingOracle.Statement memory b = a;
        for (uint256 i = pool.length; i > 0 && i + 12 > pool.length; --i) {
            Batch memory two = pool[i - 1];
            for (uint256 j = 0; j < two.entries.length / 64; ++j) {
                (bytes32 other, uint256 otherWord) = Trees.entry(two.entries, j);
                if (other == entity && (otherWord ^ word) << 112 >> 224 == 0) b = statementOf(two, j, key);
            }
        }
        (bool ok,) = address(oracle).call(abi.encodeCall(oracle.reportEquivocation, (entity, epoch, index, a, b)));
        note(10, !ok && oracle.equivocatedAt(vm.addr(key)) == 0, "an honest signer convicted");
    }

    // ------------------------------------------------------------------ how

    function newBatch(Rng memory rng) internal returns (Batch memory batch) {
        for (uint256 left = rng.between(1, 4); left > 0; --left) {
            bytes32 entity = entityOf(rng.below(ENTITIES));
            uint256 word = Words.pack(Gen.after_(rng, model[entity], block.timestamp));
            // Honest signers sign one word per entity and number.
            uint256 seq = Words.unpack(word).seq;
            if (signedWord[entity][seq] == 0) signedWord[entity][seq] = word;
            batch.entries = bytes.concat(batch.entries, abi.encodePacked(entity, signedWord[entity][seq]));
        }
        batch.epoch = oracle.epoch();
        batch.deadline = uint40(block.timestamp + (rng.chance(80) ? 600 : rng.below(2 days)));
        uint256 missing = oracle.threshold();
        while (missing > 0) {
            uint256 bit = 1 << rng.below(keys.length);
            if (batch.bitmap & bit != 0) continue;
            batch.bitmap |= bit;
            --missing;
        }
        batch.signatures = signBy(keys, digestOf(batch.entries, batch.deadline), batch.bitmap);
    }

    function recent(Rng memory rng) internal view returns (Batch memory) {
        uint256 back = rng.below(rng.chance(70) && pool.length > 4 ? 4 : pool.length);
        return pool[pool.length - 1 - back];
    }

    function valid(Batch memory batch) internal view returns (bool) {
        return batch.epoch == oracle.epoch() && block.timestamp <= batch.deadline && !oracle.paused();
    }

    function send(Batch memory batch) internal returns (bool ok, bytes memory answer) {
        return address(oracle)
            .call(abi.encodeCall(oracle.push, (batch.entries, batch.bitmap, batch.signatures, batch.deadline)));
    }

    /// @dev Pushes, and does to the model what should be done to the oracle.
    function deliver(Batch memory batch) internal {
        bool expected = valid(batch);
        (bool ok, bytes memory answer) = send(batch);
        note(expected ? 8 : 5, ok == expected, "push: reverted, or did not");
        if (!ok) return;
        uint256 stored;
        for (uint256 i = 0; i < batch.entries.length / 64; ++i) {
            (bytes32 entity, uint256 word) = Trees.entry(batch.entries, i);
            if (apply_(entity, word)) ++stored;
        }
        note(9, abi.decode(answer, (uint256)) == stored, "push: another count");
    }

    function apply_(bytes32 entity, uint256 word) internal returns (bool) {
        SkipReason reason = Plain.judge(model[entity], word, block.timestamp);
        ++outcomes[reason];
        if (reason != SkipReason.None) return false;
        model[entity] = Plain.stored(model[entity], word, block.timestamp);
        return true;
    }

    function rotate(Rng memory rng) internal {
        uint256 count = rng.between(1, universe.length);
        uint256[] memory chosen = new uint256[](count);
        uint256 at;
        for (uint256 i = 0; at < count; ++i) {
            // As many of those left as are still wanted, in their order.
            if (rng.below(universe.length - i) < count - at) chosen[at++] = universe[i];
        }
        uint8 threshold = uint8(rng.between(count / 2 + 1, count));
        vm.prank(OWNER);
        oracle.rotateSigners(addresses(chosen), threshold);
        keys = chosen;
        keysAt[oracle.epoch()] = chosen;
    }

    function someSigner(Rng memory rng) internal view returns (uint32 epoch, uint8 index, uint256 key) {
        epoch = uint32(rng.between(1, oracle.epoch()));
        index = uint8(rng.below(keysAt[epoch].length));
        key = keysAt[epoch][index];
    }

    function statementOf(Batch memory batch, uint256 index, uint256 key)
        internal
        view
        returns (IRatingOracle.Statement memory s)
    {
        s.domain = oracle.domainSeparator();
        (, s.word) = Trees.entry(batch.entries, index);
        s.epoch = batch.epoch;
        s.count = uint32(batch.entries.length / 64);
        s.index = uint32(index);
        s.deadline = batch.deadline;
        s.path = Trees.path(batch.entries, index);
        (s.r, s.vs) = vm.signCompact(key, oracle.batchDigest(Trees.root(batch.entries), s.count, s.epoch, s.deadline));
    }

    // ------------------------------------------------------------------ what must hold

    function note(uint256 property, bool holds, string memory what) internal {
        ++tested[property];
        if (!holds && bytes(broken[property]).length == 0) broken[property] = what;
    }

    /// @dev Compares all entities before and after a call.
    /// @param mayWrite Whether the call is one that may change ratings.
    modifier observed(bool mayWrite) {
        uint256[ENTITIES] memory before;
        bool paused = oracle.paused();
        for (uint256 i = 0; i < ENTITIES; ++i) {
            before[i] = oracle.raw(entityOf(i));
        }
        _;
        for (uint256 i = 0; i < ENTITIES; ++i) {
            bytes32 entity = entityOf(i);
            uint256 now_ = oracle.raw(entity);
            bool changed = (now_ ^ before[i]) & ~SUSPENDED != 0;
            note(2, !changed || mayWrite, "changed by something else than push and pull");
            note(13, !changed || !paused, "changed while paused");
            note(3, now_ == model[entity], "not what the model stores");
            if (changed) compare(entity, before[i], now_);
            compareFeed(i, now_);
        }
    }

    function compare(bytes32 entity, uint256 oldWord, uint256 word) internal {
        IRatingOracle.Rating memory old = Words.unpack(oldWord);
        IRatingOracle.Rating memory r = Words.unpack(word);
        note(1, r.seq > old.seq && r.logPos > old.logPos && r.asOf >= old.asOf, "out of order");
        note(6, r.lag == (block.timestamp > r.asOf ? block.timestamp - r.asOf : 0), "lag");
        note(3, (word ^ oldWord) & SUSPENDED == 0, "the flag was not carried over");
        (r.lag, r.flags) = (0, r.flags & 0x7f);
        note(3, Words.pack(r) == signedWord[entity][r.seq], "not what was signed");
        if (oldWord == 0) return;
        note(7, r.grade + 3 >= old.grade, "better by more than three notches");
        if (block.timestamp >= uint256(old.asOf) + old.lag + 6 hours) return;
        note(7, r.grade >= old.grade, "a better grade within the dwell");
        note(7, Plain.worsens(oldWord, word) || !Plain.betters(oldWord, word), "better within the dwell");
    }

    function compareFeed(uint256 i, uint256 word) internal {
        try feeds[i].latestRoundData() returns (
            uint80 id, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredIn
        ) {
            IRatingOracle.Rating memory r = Words.unpack(word);
            note(11, id == r.seq && answeredIn == id && answer == int256(uint256(r.score)) * 1e5, "another answer");
            note(11, startedAt == r.asOf && updatedAt == uint256(r.asOf) + r.lag, "other times");
            note(11, r.flags & 0x90 == 0, "answers though suspended or withdrawn");
        } catch {
            note(11, word == 0 || word >> 88 & 0x90 != 0, "does not answer");
        }
    }

    /// @dev The signers are in order, none is zero, and a majority must sign.
    function signersAreSound() external view returns (bool) {
        uint32 epoch = oracle.epoch();
        address[] memory signers = oracle.signersAt(epoch);
        address previous = address(0);
        for (uint256 i = 0; i < signers.length; ++i) {
            if (signers[i] <= previous) return false;
            previous = signers[i];
        }
        return signers.length == keysAt[epoch].length && 2 * uint256(oracle.threshold()) > signers.length
            && oracle.threshold() <= signers.length;
    }
}
