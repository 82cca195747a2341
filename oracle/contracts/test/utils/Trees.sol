// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

/// @dev The Merkle tree once more, straight from its definition and with arrays, to check `BatchTree`.
library Trees {
    function leaves(bytes memory entries) internal pure returns (bytes32[] memory level) {
        level = new bytes32[](entries.length / 64);
        for (uint256 i = 0; i < level.length; ++i) {
            (bytes32 entity, uint256 word) = entry(entries, i);
            level[i] = keccak256(abi.encodePacked(bytes1(0), entity, word));
        }
    }

    function entry(bytes memory entries, uint256 i) internal pure returns (bytes32 entity, uint256 word) {
        assembly {
            entity := mload(add(add(entries, 32), mul(i, 64)))
            word := mload(add(add(entries, 64), mul(i, 64)))
        }
    }

    function root(bytes memory entries) internal pure returns (bytes32) {
        bytes32[] memory level = leaves(entries);
        while (level.length > 1) {
            level = above(level);
        }
        return level[0];
    }

    function above(bytes32[] memory level) internal pure returns (bytes32[] memory next) {
        next = new bytes32[]((level.length + 1) / 2);
        for (uint256 i = 0; i < next.length; ++i) {
            next[i] = 2 * i + 1 < level.length
                ? keccak256(abi.encodePacked(bytes1(0x01), level[2 * i], level[2 * i + 1]))
                : level[2 * i];
        }
    }

    function path(bytes memory entries, uint256 index) internal pure returns (bytes32[] memory siblings) {
        bytes32[] memory level = leaves(entries);
        bytes32[] memory all = new bytes32[](32);
        uint256 depth;
        while (level.length > 1) {
            uint256 sibling = index % 2 == 0 ? index + 1 : index - 1;
            if (sibling < level.length) all[depth++] = level[sibling];
            level = above(level);
            index /= 2;
        }
        siblings = new bytes32[](depth);
        for (uint256 i = 0; i < depth; ++i) {
            siblings[i] = all[i];
        }
    }
}
