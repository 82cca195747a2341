// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

/// @title IERC7412
/// @notice On-demand off-chain data, as in ERC-7412 (draft): a consumer that lacks data reverts with
///         `OracleDataRequired`, the client fetches it and sends the call again behind
///         `fulfillOracleQuery`.
interface IERC7412 {
    /// @notice A consumer needs fresher data.
    /// @param oracleContract Whom to hand the data to.
    /// @param oracleQuery What is wanted; for Assay `abi.encode(bytes32 entity, uint256 maxAge)`.
    error OracleDataRequired(address oracleContract, bytes oracleQuery);

    /// @notice The oracle wants to be paid. Assay never does.
    error FeeRequired(uint256 feeAmount);

    /// @notice Names the oracle, so that a client knows where to fetch.
    function oracleId() external view returns (bytes32);

    /// @notice Hands over signed data.
    function fulfillOracleQuery(bytes calldata signedOffchainData) external payable;
}
