// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title BatchTree
/// @author Assay
/// @notice The Merkle tree of a batch of ratings.
/// @dev Leaf `keccak256(0x00 ‖ entity ‖ word)`, node `keccak256(0x01 ‖ left ‖ right)`; the last node of
///      a level of odd length moves up as it is. The prefix keeps leaves and nodes apart (without it a
///      64-byte leaf could be read as a node), and the number of leaves is signed with the root, so a
///      tree has one shape and a proof one length.
library BatchTree {
    /// @dev Bytes of one packed entry: entity ‖ word.
    uint256 internal constant ENTRY = 64;

    /// @notice Hash of one entry.
    function leaf(bytes32 entity, uint256 word) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let at := mload(0x40)
            mstore8(at, 0)
            mstore(add(at, 1), entity)
            mstore(add(at, 33), word)
            hash := keccak256(at, 65)
        }
    }

    /// @notice Root of a batch.
    /// @param entries Packed entries; the caller has checked that the length is a positive multiple of 64.
    function root(bytes calldata entries) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            // Level by level in place, above the free pointer, which is left alone: the 65 bytes from
            // `buffer` hold the preimage at work, the level starts at `level`.
            let buffer := mload(0x40)
            let level := add(buffer, 96)
            let end := level
            mstore8(buffer, 0)
            for {
                let from := entries.offset
                let limit := add(from, entries.length)
            } lt(from, limit) { from := add(from, ENTRY) } {
                calldatacopy(add(buffer, 1), from, ENTRY)
                mstore(end, keccak256(buffer, 65))
                end := add(end, 32)
            }
            mstore8(buffer, 1)
            for {} gt(sub(end, level), 32) {} {
                let to := level
                let from := level
                // Whole pairs, then the odd one if there is one.
                for { let limit := sub(end, 32) } lt(from, limit) { from := add(from, 64) } {
                    mcopy(add(buffer, 1), from, 64)
                    mstore(to, keccak256(buffer, 65))
                    to := add(to, 32)
                }
                if lt(from, end) {
                    mstore(to, mload(from))
                    to := add(to, 32)
                }
                end := to
            }
            hash := mload(level)
        }
    }

    /// @notice Root that a leaf and its path lead to.
    /// @param hash The leaf.
    /// @param index Position of the leaf.
    /// @param count Number of leaves.
    /// @param path Siblings from the leaf up; levels at which the node is promoted have none.
    /// @return ok False when `index` is outside the tree or the path has another length than its shape asks.
    /// @return top The root.
    function climb(bytes32 hash, uint256 index, uint256 count, bytes32[] calldata path)
        internal
        pure
        returns (bool ok, bytes32 top)
    {
        if (index >= count) return (false, 0);
        assembly ("memory-safe") {
            let buffer := mload(0x40)
            let from := path.offset
            let limit := add(from, shl(5, path.length))
            ok := 1
            mstore8(buffer, 1)
            for {} gt(count, 1) {} {
                if lt(xor(index, 1), count) {
                    if eq(from, limit) {
                        ok := 0
                        break
                    }
                    let right := and(index, 1)
                    // The node goes to the side its index says, the sibling to the other.
                    mstore(add(add(buffer, 1), shl(5, right)), hash)
                    mstore(add(add(buffer, 1), shl(5, xor(right, 1))), calldataload(from))
                    hash := keccak256(buffer, 65)
                    from := add(from, 32)
                }
                index := shr(1, index)
                count := shr(1, add(count, 1))
            }
            ok := and(ok, eq(from, limit))
            top := hash
        }
    }
}
