// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

/// @notice Why a signed rating was not stored. Skipping, unlike reverting, cannot be used to hold up
///         the rest of a batch.
enum SkipReason {
    /// @dev Not skipped.
    None,
    /// @dev `seq` is not above the stored one: a replay, or someone was faster.
    NotNewer,
    /// @dev `logPos` is not above the stored one.
    LogPositionNotRising,
    /// @dev `asOf` is below the stored one.
    ObservationOlder,
    /// @dev `seq` rises by more than `MAX_SEQ_STEP`.
    SeqStep,
    /// @dev `logPos` rises by more than `MAX_LOG_POS_STEP`.
    LogPositionStep,
    /// @dev Observed longer ago than a word can say (194 days).
    TooOld,
    /// @dev Observed more than `MAX_FUTURE` ahead of the chain's clock.
    Future,
    /// @dev An improvement within `DWELL` of the last stored rating.
    Dwell,
    /// @dev An improvement by more than `MAX_NOTCHES_UP`.
    NotchStep
}

/// @title IRatingOracle
/// @author Assay
/// @notice Ratings of restaking entities, signed by m of n signers, one storage slot each.
/// @dev `entity` is `keccak256(abi.encode(uint8 kind, uint256 chainId, address account, uint32 operatorSetId))`.
///      The layout of a `word` is documented in `RatingWord`. Lower grades and scores are safer.
interface IRatingOracle {
    /// @notice A rating, unpacked.
    /// @param asOf Observation time.
    /// @param lag Seconds from the observation to its inclusion.
    /// @param logPos Canonical position in Assay's event log.
    /// @param seq Number of the rating, per entity.
    /// @param model Index in the model registry, see `modelHash`.
    /// @param flags 0x01 watch positive, 0x02 watch negative, 0x04 under review, 0x08 defaulted,
    ///        0x10 withdrawn, 0x20 manual override, 0x80 suspended by the guardian.
    /// @param grade 1 = AAA, 2 = AA+, … 19 = CCC−, 20 = D.
    /// @param score Milli-notch, 0 (AAA) … 19 000 (D).
    /// @param pd P(one-year loss > 1 %) in 1e-9.
    /// @param el Expected one-year loss in 1e-9.
    struct Rating {
        uint40 asOf;
        uint24 lag;
        uint48 logPos;
        uint32 seq;
        uint16 model;
        uint8 flags;
        uint8 grade;
        uint16 score;
        uint32 pd;
        uint32 el;
    }

    /// @notice One signature over one batch, and the place of one rating in it: half of a fraud proof.
    /// @param domain EIP-712 domain separator it was signed for.
    /// @param word The rating as signed.
    /// @param epoch Epoch it was signed for.
    /// @param count Number of ratings in the batch.
    /// @param index Position of the rating in the batch.
    /// @param deadline Deadline of the batch.
    /// @param r First half of the EIP-2098 signature.
    /// @param vs Second half of the EIP-2098 signature.
    /// @param path Siblings from the leaf up.
    struct Statement {
        bytes32 domain;
        uint256 word;
        uint32 epoch;
        uint32 count;
        uint32 index;
        uint40 deadline;
        bytes32 r;
        bytes32 vs;
        bytes32[] path;
    }

    /// @notice A rating was stored.
    /// @param entity Whose.
    /// @param seq Its number.
    /// @param word The word as stored: the signed one with `lag` filled in and SUSPENDED carried over.
    event Rated(bytes32 indexed entity, uint32 indexed seq, uint256 word);

    /// @notice A signed rating was not stored.
    event Skipped(bytes32 indexed entity, uint32 seq, SkipReason reason);

    /// @notice New signers. Whatever the old ones signed and nobody submitted is void.
    event SignersRotated(uint32 indexed epoch, uint8 threshold, address[] signers);

    /// @notice Updates are stopped.
    event Paused(address indexed by);

    /// @notice Updates are possible again.
    event Unpaused();

    /// @notice The guardian warns against an entity's rating.
    event Suspended(bytes32 indexed entity);

    /// @notice The owner withdraws that warning.
    event Reinstated(bytes32 indexed entity);

    /// @notice There is another guardian.
    event GuardianChanged(address indexed guardian);

    /// @notice A model index was given its meaning, for good.
    event ModelRegistered(uint16 indexed id, bytes32 hash);

    /// @notice Signatures made for this domain do, or no longer, count as evidence.
    event ForeignDomainSet(bytes32 indexed domain, bool allowed);

    /// @notice A signer was proven to have signed two ratings under one number.
    event Equivocated(address indexed signer, bytes32 indexed entity, uint32 seq, uint256 wordA, uint256 wordB);

    /// @notice No rating was ever stored for the entity.
    error UnknownEntity(bytes32 entity);
    /// @notice The rating is older than the caller allows.
    error StaleRating(bytes32 entity, uint256 age, uint256 maxAge);
    /// @notice The guardian warns against the rating.
    error RatingSuspended(bytes32 entity);
    /// @notice The entity is no longer rated.
    error RatingWithdrawn(bytes32 entity);
    /// @notice A signed word has a field out of range.
    error MalformedRating(bytes32 entity, uint256 word);
    /// @notice The entries are not a positive multiple of 64 bytes.
    error BadBatchLength(uint256 length);
    /// @notice The path does not lead from the index to a root.
    error BadProof();
    /// @notice The batch has expired.
    error Expired(uint40 deadline);
    /// @notice Not exactly as many signatures as the threshold, or the bitmap does not say whose.
    error BadQuorum();
    /// @notice A signature is not the one of the signer the bitmap names.
    error BadSignature(uint256 signerIndex);
    /// @notice Updates are stopped.
    error WritesPaused();
    /// @notice Updates are not stopped.
    error NotPaused();
    /// @notice Only the guardian may do this.
    error NotGuardian(address caller);
    /// @notice The signers are not strictly ascending, zero is among them, or there are too many or none.
    error BadSignerSet();
    /// @notice The threshold is not a majority of the signers.
    error BadThreshold(uint256 threshold, uint256 signers);
    /// @notice There is no such epoch, or no such signer in it.
    error UnknownSigner(uint32 epoch, uint256 signerIndex);
    /// @notice The model index has its meaning already, or the hash is zero.
    error ModelAlreadyRegistered(uint16 id);
    /// @notice Signatures for this domain are no evidence here.
    error UnknownDomain(bytes32 domain);
    /// @notice The statements agree, or speak of different numbers.
    error NoEquivocation();
    /// @notice The oracle takes no money.
    error NoFeeDue();
    /// @notice An oracle without an owner could never replace a lost key.
    error CannotRenounce();

    /// @notice Stores the ratings of a whole batch. Anyone may call it.
    /// @param entries Per rating 64 bytes, nothing between: entity (32) ‖ word (32), in leaf order.
    /// @param bitmap Bit i: signer i of the current epoch signed.
    /// @param signatures EIP-2098 compact signatures (64 bytes each), in ascending order of signer index.
    /// @param deadline Last second at which the batch may land.
    /// @return stored How many were not skipped.
    function push(bytes calldata entries, uint256 bitmap, bytes calldata signatures, uint40 deadline)
        external
        returns (uint256 stored);

    /// @notice Stores one rating of a batch. Anyone may call it.
    /// @param entity Whose rating.
    /// @param word The rating as signed.
    /// @param index Its position in the batch.
    /// @param count Number of ratings in the batch.
    /// @param path Siblings from the leaf up; a level at which the node is promoted has none.
    /// @param bitmap As in `push`.
    /// @param signatures As in `push`.
    /// @param deadline As in `push`.
    /// @return stored False when it was skipped.
    function pull(
        bytes32 entity,
        uint256 word,
        uint32 index,
        uint32 count,
        bytes32[] calldata path,
        uint256 bitmap,
        bytes calldata signatures,
        uint40 deadline
    ) external returns (bool stored);

    /// @notice The stored word, as it is: zero for an entity never rated, whatever its age and flags.
    function raw(bytes32 entity) external view returns (uint256 word);

    /// @notice The stored rating, whatever its age and flags. Reverts for an entity never rated.
    function rating(bytes32 entity) external view returns (Rating memory);

    /// @notice The rating, if it can be relied on: observed within `maxAge` seconds, neither suspended nor
    ///         withdrawn. Reverts otherwise. A defaulted entity has a rating one can rely on: D.
    function ratingNoOlderThan(bytes32 entity, uint256 maxAge) external view returns (Rating memory);

    /// @notice What most consumers want of `ratingNoOlderThan`, under the same conditions, for less gas.
    function ratingFast(bytes32 entity, uint256 maxAge) external view returns (uint8 grade, uint16 score, uint8 flags);

    /// @notice `ratingNoOlderThan` that tells instead of reverting.
    /// @return ok Whether the rating can be relied on.
    /// @return stored The rating as stored, even if it cannot; all zero for an entity never rated.
    function tryRating(bytes32 entity, uint256 maxAge) external view returns (bool ok, Rating memory stored);

    /// @notice Proves that a signer signed two different ratings of one entity under one number.
    ///         Anyone may call it. The same rating signed twice, say under two deadlines, is no offence.
    /// @param entity Whose ratings.
    /// @param signerEpoch An epoch in which the signer was one here.
    /// @param signerIndex The signer's index in that epoch.
    /// @param a One statement.
    /// @param b The other one.
    function reportEquivocation(
        bytes32 entity,
        uint32 signerEpoch,
        uint8 signerIndex,
        Statement calldata a,
        Statement calldata b
    ) external;

    /// @notice When the signer was first proven to have equivocated; zero if never.
    function equivocatedAt(address signer) external view returns (uint256);

    /// @notice What a signer signs.
    function batchDigest(bytes32 root, uint32 count, uint32 signedEpoch, uint40 deadline)
        external
        view
        returns (bytes32);

    /// @notice The EIP-712 domain separator.
    function domainSeparator() external view returns (bytes32);

    /// @notice Replaces the signers. Owner only.
    /// @param signers Strictly ascending, 1 to 255.
    /// @param threshold How many must sign: a majority.
    function rotateSigners(address[] calldata signers, uint8 threshold) external;

    /// @notice Stops updates. Guardian only. Reads go on.
    function pause() external;

    /// @notice Lets updates through again. Owner only.
    function unpause() external;

    /// @notice Warns against a rating. Guardian only.
    function suspend(bytes32 entity) external;

    /// @notice Withdraws the warning. Owner only.
    function reinstate(bytes32 entity) external;

    /// @notice Appoints the guardian. Owner only; zero for none.
    function setGuardian(address newGuardian) external;

    /// @notice Says once and for all which model an index stands for. Owner only.
    function registerModel(uint16 id, bytes32 hash) external;

    /// @notice Says whether signatures for another oracle's domain are evidence here. Owner only.
    function setForeignDomain(bytes32 domain, bool allowed) external;

    /// @notice Who may pause and suspend.
    function guardian() external view returns (address);

    /// @notice Whether updates are stopped.
    function paused() external view returns (bool);

    /// @notice The current epoch; the first one is 1.
    function epoch() external view returns (uint32);

    /// @notice How many signatures an update needs, exactly.
    function threshold() external view returns (uint8);

    /// @notice The signers of an epoch, past or present, by index.
    function signersAt(uint32 ofEpoch) external view returns (address[] memory);

    /// @notice Hash of the model an index stands for; zero if none yet.
    function modelHash(uint16 id) external view returns (bytes32);

    /// @notice Whether signatures for another oracle's domain are evidence here.
    function foreignDomain(bytes32 domain) external view returns (bool);
}
