// SPDX-License-Identifier: MIT OR Apache-2.0
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
            // Above the free pointer, which is left alone: the preimage of a leaf, that of a node, and the
            // level at work, which shrinks in place. Both preimages keep their first byte.
            let leafAt := mload(0x40)
            let nodeAt := add(leafAt, 96)
            let level := add(nodeAt, 96)
            let end := level
            mstore8(leafAt, 0)
            mstore8(nodeAt, 1)
            let entityAt := add(leafAt, 1)
            let leftAt := add(nodeAt, 1)
            let rightAt := add(nodeAt, 33)

            // Two leaves at a time make a node of the lowest level; an odd one is promoted to it.
            let from := entries.offset
            let limit := add(from, entries.length)
            for { let last := sub(limit, ENTRY) } lt(from, last) {} {
                calldatacopy(entityAt, from, ENTRY)
                mstore(leftAt, keccak256(leafAt, 65))
                calldatacopy(entityAt, add(from, ENTRY), ENTRY)
                mstore(rightAt, keccak256(leafAt, 65))
                mstore(end, keccak256(nodeAt, 65))
                end := add(end, 32)
                from := add(from, 128)
            }
            if lt(from, limit) {
                calldatacopy(entityAt, from, ENTRY)
                mstore(end, keccak256(leafAt, 65))
                end := add(end, 32)
            }

            for {} gt(sub(end, level), 32) {} {
                let to := level
                from := level
                for { let last := sub(end, 32) } lt(from, last) {} {
                    mcopy(leftAt, from, 64)
                    mstore(to, keccak256(nodeAt, 65))
                    to := add(to, 32)
                    from := add(from, 64)
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
