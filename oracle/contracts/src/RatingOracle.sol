// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IERC5267} from "@openzeppelin/contracts/interfaces/IERC5267.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ERC165, IERC165} from "@openzeppelin/contracts/utils/introspection/ERC165.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

import {BatchTree} from "./BatchTree.sol";
import {IERC7412} from "./IERC7412.sol";
import {IRatingOracle, SkipReason} from "./IRatingOracle.sol";
import {RatingWord} from "./RatingWord.sol";
import {SignerSets} from "./SignerSets.sol";
import {UpdateRules} from "./UpdateRules.sol";

/// @title RatingOracle
/// @author Assay
/// @notice Holds the newest rating of each restaking entity, signed by m of n signers.
/// @dev Who can do what:
///      - anyone brings signed ratings (`push`, `pull`) and proofs of equivocation;
///      - m signers together decide what a rating says, within `UpdateRules`;
///      - the guardian can only stop: pause all updates, suspend one entity;
///      - the owner, meant to be a timelock, lifts both, rotates signers, appoints the guardian.
///      Neither owner nor guardian has a way to write a rating, and the code cannot be changed.
contract RatingOracle is IRatingOracle, IERC7412, SignerSets, Ownable2Step, EIP712, ERC165 {
    using RatingWord for uint256;

    /// @dev What signers sign.
    bytes32 private constant BATCH_TYPEHASH =
        keccak256("RatingBatch(bytes32 root,uint32 count,uint32 epoch,uint40 deadline)");

    /// @dev A word in a struct, so that a reference to it can be held: its slot is hashed once per update.
    struct Cell {
        uint256 word;
    }

    mapping(bytes32 entity => Cell) private _cells;

    /// @inheritdoc IRatingOracle
    address public guardian;
    /// @inheritdoc IRatingOracle
    mapping(uint16 id => bytes32 hash) public modelHash;
    /// @inheritdoc IRatingOracle
    mapping(bytes32 domain => bool allowed) public foreignDomain;
    /// @inheritdoc IRatingOracle
    mapping(address signer => uint256 timestamp) public equivocatedAt;

    modifier onlyGuardian() {
        if (msg.sender != guardian) revert NotGuardian(msg.sender);
        _;
    }

    /// @param owner_ Meant to be a timelock.
    /// @param guardian_ Who can stop updates at once.
    /// @param signers Strictly ascending.
    /// @param threshold_ How many must sign: a majority.
    constructor(address owner_, address guardian_, address[] memory signers, uint8 threshold_)
        Ownable(owner_)
        EIP712("Assay", "1")
    {
        _setGuardian(guardian_);
        _rotate(signers, threshold_);
    }

    // ------------------------------------------------------------------ updates

    /// @inheritdoc IRatingOracle
    function push(bytes calldata entries, uint256 bitmap, bytes calldata signatures, uint40 deadline)
        external
        returns (uint256 stored)
    {
        uint256 length = entries.length;
        if (length == 0 || length % BatchTree.ENTRY != 0) revert BadBatchLength(length);
        _authorize(BatchTree.root(entries), length / BatchTree.ENTRY, bitmap, signatures, deadline);
        uint256 from;
        assembly ("memory-safe") {
            from := entries.offset
        }
        unchecked {
            for (uint256 end = from + length; from != end; from += BatchTree.ENTRY) {
                bytes32 entity;
                uint256 word;
                assembly ("memory-safe") {
                    entity := calldataload(from)
                    word := calldataload(add(from, 32))
                }
                stored += _update(entity, word);
            }
        }
    }

    /// @inheritdoc IRatingOracle
    function pull(
        bytes32 entity,
        uint256 word,
        uint32 index,
        uint32 count,
        bytes32[] calldata path,
        uint256 bitmap,
        bytes calldata signatures,
        uint40 deadline
    ) public returns (bool stored) {
        (bool ok, bytes32 root) = BatchTree.climb(BatchTree.leaf(entity, word), index, count, path);
        if (!ok) revert BadProof();
        _authorize(root, count, bitmap, signatures, deadline);
        return _update(entity, word) != 0;
    }

    /// @inheritdoc IERC7412
    /// @dev The data are the arguments of `pull`, ABI-encoded. `pull` asks nothing of its caller, so it
    ///      may as well be this contract.
    function fulfillOracleQuery(bytes calldata signedOffchainData) external payable {
        if (msg.value != 0) revert NoFeeDue();
        (bool ok, bytes memory reason) = address(this).call(bytes.concat(this.pull.selector, signedOffchainData));
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(reason, 32), mload(reason))
            }
        }
    }

    /// @dev Reverts unless the batch is in time, updates are not stopped and a quorum signed it.
    function _authorize(bytes32 root, uint256 count, uint256 bitmap, bytes calldata signatures, uint40 deadline)
        private
        view
    {
        if (block.timestamp > deadline) revert Expired(deadline);
        Config memory config = _config;
        if (config.paused) revert WritesPaused();
        bytes32 digest = _hashTypedDataV4(_structHash(root, count, config.epoch, deadline));
        _requireQuorum(config, digest, bitmap, signatures);
    }

    /// @dev Stores a word that a quorum signed, or says why not.
    /// @return 1 if stored, 0 if skipped; a number, for `push` to count without a branch.
    function _update(bytes32 entity, uint256 word) private returns (uint256) {
        if (!word.wellFormed()) revert MalformedRating(entity, word);
        Cell storage cell = _cells[entity];
        uint256 old = cell.word;
        uint256 seq = word.seq();
        uint256 reason = UpdateRules.judge(old, word, block.timestamp);
        if (reason != 0) {
            emit Skipped(entity, uint32(seq), SkipReason(reason));
            return 0;
        }
        unchecked {
            // `judge` has seen that the lag fits its field; an observation ahead of the clock has none.
            uint256 asOf = word >> RatingWord.AS_OF_SHIFT;
            if (block.timestamp > asOf) word |= (block.timestamp - asOf) << RatingWord.LAG_SHIFT;
        }
        word |= old & RatingWord.SUSPENDED;
        cell.word = word;
        bytes32 topic = Rated.selector;
        assembly ("memory-safe") {
            // emit Rated(entity, uint32(seq), word), without the encoder.
            mstore(0, word)
            log3(0, 32, topic, entity, seq)
        }
        return 1;
    }

    // ------------------------------------------------------------------ reads

    /// @inheritdoc IRatingOracle
    function raw(bytes32 entity) external view returns (uint256 word) {
        return _cells[entity].word;
    }

    /// @inheritdoc IRatingOracle
    function rating(bytes32 entity) external view returns (Rating memory) {
        uint256 word = _cells[entity].word;
        if (word == 0) revert UnknownEntity(entity);
        return _unpack(word);
    }

    /// @inheritdoc IRatingOracle
    function ratingFast(bytes32 entity, uint256 maxAge) external view returns (uint8 grade, uint16 score, uint8 flags) {
        uint256 word = _reliable(entity, maxAge);
        return (uint8(word.grade()), uint16(word.score()), uint8(word.flags()));
    }

    /// @inheritdoc IRatingOracle
    function ratingNoOlderThan(bytes32 entity, uint256 maxAge) external view returns (Rating memory) {
        return _unpack(_reliable(entity, maxAge));
    }

    /// @inheritdoc IRatingOracle
    function tryRating(bytes32 entity, uint256 maxAge) external view returns (bool ok, Rating memory stored) {
        uint256 word = _cells[entity].word;
        ok = word != 0 && word & (RatingWord.SUSPENDED | RatingWord.WITHDRAWN) == 0
            && word.age(block.timestamp) <= maxAge;
        stored = _unpack(word);
    }

    /// @dev The stored word; reverts unless it can be relied on.
    function _reliable(bytes32 entity, uint256 maxAge) private view returns (uint256 word) {
        word = _cells[entity].word;
        if (word == 0) revert UnknownEntity(entity);
        if (word & (RatingWord.SUSPENDED | RatingWord.WITHDRAWN) != 0) {
            if (word & RatingWord.SUSPENDED != 0) revert RatingSuspended(entity);
            revert RatingWithdrawn(entity);
        }
        uint256 age = word.age(block.timestamp);
        if (age > maxAge) revert StaleRating(entity, age, maxAge);
    }

    function _unpack(uint256 word) private pure returns (Rating memory) {
        return Rating({
            asOf: uint40(word.asOf()),
            lag: uint24(word.lag()),
            logPos: uint48(word.logPos()),
            seq: uint32(word.seq()),
            model: uint16(word.model()),
            flags: uint8(word.flags()),
            grade: uint8(word.grade()),
            score: uint16(word.score()),
            pd: uint32(word.pd()),
            el: uint32(word.el())
        });
    }

    // ------------------------------------------------------------------ equivocation

    /// @inheritdoc IRatingOracle
    function reportEquivocation(
        bytes32 entity,
        uint32 signerEpoch,
        uint8 signerIndex,
        Statement calldata a,
        Statement calldata b
    ) external {
        uint256 difference = a.word ^ b.word;
        if (difference & RatingWord.SEQ_MASK != 0 || difference & ~RatingWord.LAG_MASK == 0) revert NoEquivocation();
        address signer = _signerAt(signerEpoch, signerIndex);
        if (_author(entity, a) != signer || _author(entity, b) != signer) revert BadSignature(signerIndex);
        if (equivocatedAt[signer] == 0) equivocatedAt[signer] = block.timestamp;
        emit Equivocated(signer, entity, uint32(a.word.seq()), a.word, b.word);
    }

    /// @dev Who signed a statement; zero, which no signer is, if the signature is none.
    function _author(bytes32 entity, Statement calldata statement) private view returns (address) {
        bytes32 domain = statement.domain;
        if (domain != _domainSeparatorV4() && !foreignDomain[domain]) revert UnknownDomain(domain);
        (bool ok, bytes32 root) =
            BatchTree.climb(BatchTree.leaf(entity, statement.word), statement.index, statement.count, statement.path);
        if (!ok) revert BadProof();
        bytes32 hash = MessageHashUtils.toTypedDataHash(
            domain, _structHash(root, statement.count, statement.epoch, statement.deadline)
        );
        uint256 vs = uint256(statement.vs);
        return ecrecover(hash, uint8(27 + (vs >> 255)), statement.r, bytes32(vs << 1 >> 1));
    }

    // ------------------------------------------------------------------ guardian and owner

    /// @inheritdoc IRatingOracle
    function pause() external onlyGuardian {
        if (_config.paused) revert WritesPaused();
        _config.paused = true;
        emit Paused(msg.sender);
    }

    /// @inheritdoc IRatingOracle
    function suspend(bytes32 entity) external onlyGuardian {
        uint256 word = _cells[entity].word;
        if (word == 0) revert UnknownEntity(entity);
        _cells[entity].word = word | RatingWord.SUSPENDED;
        emit Suspended(entity);
    }

    /// @inheritdoc IRatingOracle
    function unpause() external onlyOwner {
        if (!_config.paused) revert NotPaused();
        _config.paused = false;
        emit Unpaused();
    }

    /// @inheritdoc IRatingOracle
    function reinstate(bytes32 entity) external onlyOwner {
        uint256 word = _cells[entity].word;
        if (word == 0) revert UnknownEntity(entity);
        _cells[entity].word = word & ~RatingWord.SUSPENDED;
        emit Reinstated(entity);
    }

    /// @inheritdoc IRatingOracle
    function rotateSigners(address[] calldata signers, uint8 newThreshold) external onlyOwner {
        _rotate(signers, newThreshold);
    }

    /// @inheritdoc IRatingOracle
    function setGuardian(address newGuardian) external onlyOwner {
        _setGuardian(newGuardian);
    }

    /// @inheritdoc IRatingOracle
    function registerModel(uint16 id, bytes32 hash) external onlyOwner {
        if (modelHash[id] != 0 || hash == 0) revert ModelAlreadyRegistered(id);
        modelHash[id] = hash;
        emit ModelRegistered(id, hash);
    }

    /// @inheritdoc IRatingOracle
    function setForeignDomain(bytes32 domain, bool allowed) external onlyOwner {
        foreignDomain[domain] = allowed;
        emit ForeignDomainSet(domain, allowed);
    }

    /// @notice Ownership can be handed on, in two steps, but not given up.
    function renounceOwnership() public view override onlyOwner {
        revert CannotRenounce();
    }

    function _setGuardian(address newGuardian) private {
        guardian = newGuardian;
        emit GuardianChanged(newGuardian);
    }

    // ------------------------------------------------------------------ what there is to know

    /// @inheritdoc IRatingOracle
    function batchDigest(bytes32 root, uint32 count, uint32 signedEpoch, uint40 deadline)
        external
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(_structHash(root, count, signedEpoch, deadline));
    }

    /// @inheritdoc IRatingOracle
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    /// @inheritdoc IRatingOracle
    function paused() external view returns (bool) {
        return _config.paused;
    }

    /// @inheritdoc IRatingOracle
    function epoch() external view returns (uint32) {
        return _config.epoch;
    }

    /// @inheritdoc IRatingOracle
    function threshold() external view returns (uint8) {
        return _config.threshold;
    }

    /// @inheritdoc IRatingOracle
    function signersAt(uint32 ofEpoch) external view returns (address[] memory) {
        return _signersAt(ofEpoch);
    }

    /// @inheritdoc IERC7412
    function oracleId() external pure returns (bytes32) {
        return "ASSAY";
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) public view override returns (bool) {
        return interfaceId == type(IRatingOracle).interfaceId || interfaceId == type(IERC7412).interfaceId
            || interfaceId == type(IERC5267).interfaceId || super.supportsInterface(interfaceId);
    }

    /// @dev `keccak256(abi.encode(BATCH_TYPEHASH, root, count, signedEpoch, deadline))`
    function _structHash(bytes32 root, uint256 count, uint256 signedEpoch, uint256 deadline)
        private
        pure
        returns (bytes32 hash)
    {
        bytes32 typehash = BATCH_TYPEHASH;
        assembly ("memory-safe") {
            let at := mload(0x40)
            mstore(at, typehash)
            mstore(add(at, 0x20), root)
            mstore(add(at, 0x40), count)
            mstore(add(at, 0x60), signedEpoch)
            mstore(add(at, 0x80), deadline)
            hash := keccak256(at, 0xa0)
        }
    }
}
