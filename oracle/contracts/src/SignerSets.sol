// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRatingOracle} from "./IRatingOracle.sol";

/// @title SignerSets
/// @author Assay
/// @notice Who signs: one set of signers per epoch, and the check of exactly m of their signatures.
/// @dev A set is the code of a contract that nobody can call (STOP ‖ address ‖ address …): one
///      EXTCODECOPY reads all signers for less than two storage slots would cost. Sets are kept for
///      ever, so that a signature of a past epoch can still convict.
abstract contract SignerSets {
    /// @dev The one slot an update reads besides the rating's own.
    struct Config {
        address table;
        uint32 epoch;
        uint8 threshold;
        uint8 count;
        bool paused;
    }

    Config internal _config;

    mapping(uint32 epoch => address table) private _tableOf;

    /// @dev Installs a set under the next epoch.
    function _rotate(address[] memory signers, uint8 newThreshold) internal {
        uint256 count = signers.length;
        if (count == 0 || count > type(uint8).max) revert IRatingOracle.BadSignerSet();
        if (newThreshold > count || 2 * uint256(newThreshold) <= count) {
            revert IRatingOracle.BadThreshold(newThreshold, count);
        }
        bytes memory packed = new bytes(count * 20);
        address previous = address(0);
        for (uint256 i = 0; i < count; ++i) {
            address signer = signers[i];
            // Ascending from zero: none is zero, none comes twice.
            if (signer <= previous) revert IRatingOracle.BadSignerSet();
            previous = signer;
            assembly ("memory-safe") {
                let at := add(add(packed, 32), mul(i, 20))
                // 20 bytes of address over the upper part of a word whose lower part is kept.
                mstore(at, or(shl(96, signer), and(mload(at), sub(shl(96, 1), 1))))
            }
        }
        uint32 next = _config.epoch + 1;
        address table = _deployTable(packed);
        _config = Config(table, next, newThreshold, uint8(count), _config.paused);
        _tableOf[next] = table;
        emit IRatingOracle.SignersRotated(next, newThreshold, signers);
    }

    /// @dev Reverts unless exactly `threshold` distinct signers of the current epoch signed the digest.
    /// @param config The current configuration, read by the caller, who needs its epoch for the digest.
    function _requireQuorum(Config memory config, bytes32 digest, uint256 bitmap, bytes calldata signatures)
        internal
        view
    {
        address table = config.table;
        uint256 count = config.count;
        if (signatures.length != uint256(config.threshold) * 64 || bitmap >> count != 0) {
            revert IRatingOracle.BadQuorum();
        }
        uint256 failed = type(uint256).max;
        bool complete;
        assembly ("memory-safe") {
            // 0x00 … 0x7f: the precompile's input, 0x80 … 0x9f its output, then the table; all above
            // the free pointer, which is left alone.
            let buffer := mload(0x40)
            let signers := add(buffer, 0xa0)
            extcodecopy(table, signers, 1, mul(count, 20))
            mstore(buffer, digest)
            let from := signatures.offset
            let limit := add(from, signatures.length)
            for { let index := 0 } bitmap {
                bitmap := shr(1, bitmap)
                index := add(index, 1)
            } {
                if and(bitmap, 1) {
                    // More bits than signatures.
                    if eq(from, limit) { break }
                    let vs := calldataload(add(from, 32))
                    mstore(add(buffer, 0x20), add(27, shr(255, vs)))
                    calldatacopy(add(buffer, 0x40), from, 32)
                    mstore(add(buffer, 0x60), shr(1, shl(1, vs)))
                    // A failed recovery returns nothing and leaves the zero, which is nobody's address.
                    mstore(add(buffer, 0x80), 0)
                    pop(staticcall(gas(), 1, buffer, 0x80, add(buffer, 0x80), 0x20))
                    if iszero(eq(mload(add(buffer, 0x80)), shr(96, mload(add(signers, mul(index, 20)))))) {
                        failed := index
                        break
                    }
                    from := add(from, 64)
                }
            }
            // Fewer bits than signatures leave some unread, more leave bits.
            complete := and(iszero(bitmap), eq(from, limit))
        }
        if (failed != type(uint256).max) revert IRatingOracle.BadSignature(failed);
        if (!complete) revert IRatingOracle.BadQuorum();
    }

    /// @dev The signer at an index of an epoch, past or present.
    function _signerAt(uint32 ofEpoch, uint8 index) internal view returns (address signer) {
        address table = _tableOf[ofEpoch];
        // The table's first byte is STOP.
        if (uint256(index) * 20 + 21 > table.code.length) revert IRatingOracle.UnknownSigner(ofEpoch, index);
        assembly ("memory-safe") {
            mstore(0, 0)
            extcodecopy(table, 12, add(1, mul(index, 20)), 20)
            signer := mload(0)
        }
    }

    /// @dev All signers of an epoch, past or present.
    function _signersAt(uint32 ofEpoch) internal view returns (address[] memory signers) {
        uint256 size = _tableOf[ofEpoch].code.length;
        if (size == 0) revert IRatingOracle.UnknownSigner(ofEpoch, 0);
        signers = new address[]((size - 1) / 20);
        for (uint256 i = 0; i < signers.length; ++i) {
            signers[i] = _signerAt(ofEpoch, uint8(i));
        }
    }

    /// @dev Deploys the table: eleven bytes that return what follows them, then STOP and the addresses.
    function _deployTable(bytes memory packed) private returns (address table) {
        bytes memory code = bytes.concat(hex"600b5981380380925939f300", packed);
        assembly ("memory-safe") {
            table := create(0, add(code, 32), mload(code))
        }
        // Only an exhausted nonce or a lack of gas could make it fail.
        assert(table != address(0));
    }
}
