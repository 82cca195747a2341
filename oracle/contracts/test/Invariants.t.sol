// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {SkipReason} from "../src/IRatingOracle.sol";
import {Handler} from "./utils/Handler.sol";
import {vm} from "./utils/MiniVm.sol";

/// @dev Long random lives of one oracle, see `Handler`; runs × depth calls for each property.
contract InvariantTest {
    /// @dev How forge asks for the functions to call.
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Handler internal handler;

    function setUp() external {
        handler = new Handler();
        handler.setUp();
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), new bytes4[](10));
        // What stores comes more often.
        targets[0].selectors[0] = Handler.honestPush.selector;
        targets[0].selectors[1] = Handler.replay.selector;
        targets[0].selectors[2] = Handler.pullOne.selector;
        targets[0].selectors[3] = Handler.forge.selector;
        targets[0].selectors[4] = Handler.wait.selector;
        targets[0].selectors[5] = Handler.govern.selector;
        targets[0].selectors[6] = Handler.intrude.selector;
        targets[0].selectors[7] = Handler.accuse.selector;
        targets[0].selectors[8] = Handler.honestPush.selector;
        targets[0].selectors[9] = Handler.honestPush.selector;
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function holds(uint256 property) internal view {
        string memory what = handler.broken(property);
        require(bytes(what).length == 0, what);
    }

    /// @notice `seq` and `logPos` rise strictly, `asOf` never falls.
    function invariant_p01_order() external view {
        holds(1);
    }

    /// @notice Only `push` and `pull` change a rating; owner, guardian and strangers never do.
    function invariant_p02_only_signed_words_change_ratings() external view {
        holds(2);
    }

    /// @notice What is stored is what was signed, plus the lag and the carried flag; exactly what a model stores.
    function invariant_p03_stored_is_signed() external view {
        holds(3);
    }

    /// @notice Nothing lands without exactly m signers of the epoch, or after its time.
    function invariant_p04_p05_quorum_and_replay() external view {
        holds(4);
        holds(5);
    }

    /// @notice The lag is the time since the observation.
    function invariant_p06_lag() external view {
        holds(6);
    }

    /// @notice Improvements wait and move three notches at most; deteriorations land at once (`p03` too: the
    ///         model knows no wait for them).
    function invariant_p07_breaker() external view {
        holds(7);
    }

    /// @notice What a quorum signed does not revert before its deadline, whatever came before it, and stores as
    ///         many ratings as one by one.
    function invariant_p08_p09_signed_batches_land() external view {
        holds(8);
        holds(9);
    }

    /// @notice Nobody who signs one word per number is ever convicted.
    function invariant_p10_the_honest_stay_unconvicted() external view {
        holds(10);
    }

    /// @notice Feeds say what the oracle says.
    function invariant_p11_feeds_agree() external view {
        holds(11);
    }

    /// @notice Paused, nothing changes.
    function invariant_p13_paused() external view {
        holds(13);
    }

    /// @notice Signers are sorted, none is zero, a majority must sign.
    function invariant_p14_signers() external view {
        require(handler.signersAreSound(), "signers");
    }

    /// @notice Lives as long as those above get to every outcome and put every property to the test, so that
    ///         the invariants say something.
    function test_lives_are_eventful() external {
        uint256[14] memory tested;
        uint256[10] memory outcomes;
        for (uint256 life = 0; life < 20; ++life) {
            handler = new Handler();
            handler.setUp();
            for (uint256 i = 0; i < 128; ++i) {
                act(uint256(keccak256(abi.encode(life, i))));
            }
            for (uint256 property = 1; property < 14; ++property) {
                holds(property);
                tested[property] += handler.tested(property);
            }
            for (uint256 reason = 0; reason < 10; ++reason) {
                outcomes[reason] += handler.outcomes(SkipReason(reason));
            }
        }
        for (uint256 property = 1; property < 14; ++property) {
            // A proof of inclusion is not among the things the handler tries; see `Tree.t.sol`.
            require(property == 12 || tested[property] >= 200, string.concat("property ", vm.toString(property)));
        }
        for (uint256 reason = 0; reason < 10; ++reason) {
            require(
                outcomes[reason] >= 3,
                string.concat("reason ", vm.toString(reason), ": ", vm.toString(outcomes[reason]))
            );
        }
    }

    function act(uint256 seed) internal {
        uint256 way = seed % 10;
        if (way < 3) handler.honestPush(seed);
        if (way == 3) handler.replay(seed);
        if (way == 4) handler.pullOne(seed);
        if (way == 5) handler.forge(seed);
        if (way == 6) handler.wait(seed);
        if (way == 7) handler.govern(seed);
        if (way == 8) handler.intrude(seed);
        if (way == 9) handler.accuse(seed);
    }
}
