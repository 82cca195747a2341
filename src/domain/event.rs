//! Everything that can have happened, in the past tense and in EigenLayer's own words.
//!
//! An event is stored for ever: add a variant, never change one.
//! A variant's number is its type-and-version tag, the first byte of its canonical bytes; a new
//! shape of an old event is a new variant with a new number.
//! Numbers: 1 to 29 DelegationManager, 30 to 59 AllocationManager, 60 to 69 StrategyManager,
//! 70 to 89 EigenPodManager, 90 to 94 AVSDirectory, 95 to 98 PermissionController,
//! 100 to 129 liquid restaking tokens and prices, 130 to 149 Symbiotic, 150 to 159 the beacon
//! chain, 160 to 169 RewardsCoordinator, 170 to 179 EigenPods, 180 to 189 who can change a contract,
//! 190 to 199 kept as they came, 200 and up Assay's own, of which 205 to 219 signed messages, and 230
//! to 239 what was read beside the log.
//! An event of a liquid restaking token says the same of every protocol; which contract's log says
//! it is in `src/chain/manifests`. `asset: None` is native ether.

use alloy_primitives::{Address, B256, Bytes, I256, U256};
use borsh::{BorshDeserialize, BorshSerialize};

use crate::attestation::{
    AdministratorAppointment, Attestation, MethodologyAdoption, Revocation, Signed,
    SignerRegistration, SignerRemoval,
};
use crate::block::{BlockRef, ChainId};
use crate::id::{AvsId, LrtId, OperatorId, OperatorSetId, RatedEntity, StakerId, StrategyId};
use crate::text::UntrustedText;

/// The first number that belongs to Assay's own events; everything below came from a chain.
pub const OWN_EVENTS_FROM: u8 = 200;

/// The numbers of signed messages: our own, and part of the canonical log.
pub const SIGNED_MESSAGES: std::ops::RangeInclusive<u8> = 205..=219;

/// Selector of `AllocationManager.slashOperator(address,(address,uint32,address[],uint256[],string))`.
pub const SLASH_OPERATOR: [u8; 4] = [0x36, 0x35, 0x20, 0x57];

/// One thing that happened. Amounts are in the contracts' own units: shares in wei of the
/// strategy, magnitudes and wads in 1e-18.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Event {
    /// `DelegationManager.OperatorRegistered` (and its form with `OperatorDetails`, to v0.4.3).
    OperatorRegistered {
        /// Who registered.
        operator: OperatorId,
        /// Who must approve each delegation; zero means nobody.
        delegation_approver: Address,
    } = 1,
    /// `DelegationManager.DelegationApproverUpdated` (`OperatorDetailsModified` to v0.4.3).
    DelegationApproverUpdated {
        /// The operator.
        operator: OperatorId,
        /// Its new approver.
        delegation_approver: Address,
    } = 2,
    /// `DelegationManager.OperatorMetadataURIUpdated`.
    OperatorMetadataUriUpdated {
        /// The operator.
        operator: OperatorId,
        /// Where its metadata is said to be.
        metadata_uri: UntrustedText,
    } = 3,
    /// `DelegationManager.StakerDelegated`.
    StakerDelegated {
        /// Who delegated.
        staker: StakerId,
        /// To whom.
        operator: OperatorId,
    } = 4,
    /// `DelegationManager.StakerUndelegated`.
    StakerUndelegated {
        /// Who left.
        staker: StakerId,
        /// Whom.
        operator: OperatorId,
    } = 5,
    /// `DelegationManager.StakerForceUndelegated`: always beside a `StakerUndelegated`.
    StakerForceUndelegated {
        /// Who was put out.
        staker: StakerId,
        /// By whom.
        operator: OperatorId,
    } = 6,
    /// `DelegationManager.OperatorSharesIncreased`.
    OperatorSharesIncreased {
        /// The operator.
        operator: OperatorId,
        /// The staker whose shares they are.
        staker: StakerId,
        /// The strategy.
        strategy: StrategyId,
        /// Shares added.
        shares: U256,
    } = 7,
    /// `DelegationManager.OperatorSharesDecreased`; staker zero means a slash.
    OperatorSharesDecreased {
        /// The operator.
        operator: OperatorId,
        /// The staker whose shares they were.
        staker: StakerId,
        /// The strategy.
        strategy: StrategyId,
        /// Shares taken away.
        shares: U256,
    } = 8,
    /// `DelegationManager.OperatorSharesSlashed`: operator shares and still slashable queue.
    OperatorSharesSlashed {
        /// The operator.
        operator: OperatorId,
        /// The strategy.
        strategy: StrategyId,
        /// Shares slashed, from the operator and from queued withdrawals.
        total_slashed_shares: U256,
    } = 9,
    /// `DelegationManager.DepositScalingFactorUpdated`.
    DepositScalingFactorUpdated {
        /// The staker.
        staker: StakerId,
        /// The strategy.
        strategy: StrategyId,
        /// The new factor, 1e-18.
        new_deposit_scaling_factor: U256,
    } = 10,
    /// `DelegationManager.SlashingWithdrawalQueued`.
    SlashingWithdrawalQueued {
        /// Hash of the withdrawal.
        withdrawal_root: B256,
        /// The withdrawal itself.
        withdrawal: Withdrawal,
        /// Shares the staker would get if nothing more is slashed, a strategy each.
        shares_to_withdraw: Vec<U256>,
    } = 11,
    /// `DelegationManager.SlashingWithdrawalCompleted`.
    SlashingWithdrawalCompleted {
        /// Hash of the withdrawal.
        withdrawal_root: B256,
    } = 12,
    /// `DelegationManager.WithdrawalQueued` (to v0.4.3): before slashing existed.
    WithdrawalQueued {
        /// Hash of the withdrawal.
        withdrawal_root: B256,
        /// The withdrawal itself; its shares are not scaled.
        withdrawal: Withdrawal,
    } = 13,
    /// `DelegationManager.WithdrawalCompleted` (to v0.4.3).
    WithdrawalCompleted {
        /// Hash of the withdrawal.
        withdrawal_root: B256,
    } = 14,

    /// `AllocationManager.AllocationDelaySet`.
    AllocationDelaySet {
        /// The operator.
        operator: OperatorId,
        /// Blocks between an allocation and its effect.
        delay_blocks: u32,
        /// First block at which the new delay holds.
        effect_block: u32,
    } = 30,
    /// `AllocationManager.AllocationUpdated`.
    AllocationUpdated {
        /// The operator.
        operator: OperatorId,
        /// The operator set allocated to.
        operator_set: OperatorSetId,
        /// The strategy.
        strategy: StrategyId,
        /// Magnitude, 1e-18, from `effect_block` on.
        magnitude: u64,
        /// First block at which it holds.
        effect_block: u32,
    } = 31,
    /// `AllocationManager.EncumberedMagnitudeUpdated`.
    EncumberedMagnitudeUpdated {
        /// The operator.
        operator: OperatorId,
        /// The strategy.
        strategy: StrategyId,
        /// Magnitude promised to any set, 1e-18.
        encumbered_magnitude: u64,
    } = 32,
    /// `AllocationManager.MaxMagnitudeUpdated`.
    MaxMagnitudeUpdated {
        /// The operator.
        operator: OperatorId,
        /// The strategy.
        strategy: StrategyId,
        /// Magnitude left after every slash, 1e-18.
        max_magnitude: u64,
    } = 33,
    /// `AllocationManager.OperatorSlashed`.
    OperatorSlashed {
        /// The operator.
        operator: OperatorId,
        /// The operator set that slashed.
        operator_set: OperatorSetId,
        /// Strategies slashed.
        strategies: Vec<StrategyId>,
        /// Slashed share of the operator's *whole* stake before the slash, a strategy each, 1e-18.
        wad_slashed: Vec<U256>,
        /// What the AVS says about it.
        description: UntrustedText,
    } = 34,
    /// `AllocationManager.OperatorSetCreated`.
    OperatorSetCreated {
        /// The new set.
        operator_set: OperatorSetId,
    } = 35,
    /// `AllocationManager.OperatorAddedToOperatorSet`.
    OperatorAddedToOperatorSet {
        /// The operator.
        operator: OperatorId,
        /// The set.
        operator_set: OperatorSetId,
    } = 36,
    /// `AllocationManager.OperatorRemovedFromOperatorSet`; slashable for 100,800 blocks more.
    OperatorRemovedFromOperatorSet {
        /// The operator.
        operator: OperatorId,
        /// The set.
        operator_set: OperatorSetId,
    } = 37,
    /// `AllocationManager.StrategyAddedToOperatorSet`.
    StrategyAddedToOperatorSet {
        /// The set.
        operator_set: OperatorSetId,
        /// The strategy: allocations to it become slashable at once.
        strategy: StrategyId,
    } = 38,
    /// `AllocationManager.StrategyRemovedFromOperatorSet`.
    StrategyRemovedFromOperatorSet {
        /// The set.
        operator_set: OperatorSetId,
        /// The strategy.
        strategy: StrategyId,
    } = 39,
    /// `AllocationManager.RedistributionAddressSet`: once, at the set's creation.
    RedistributionAddressSet {
        /// The set.
        operator_set: OperatorSetId,
        /// Who receives what is slashed.
        redistribution_recipient: Address,
    } = 40,
    /// `AllocationManager.SlasherUpdated` (from v1.9.0).
    SlasherUpdated {
        /// The set.
        operator_set: OperatorSetId,
        /// Who may slash.
        slasher: Address,
        /// First block at which it may.
        effect_block: u32,
    } = 41,
    /// `AllocationManager.SlasherMigrated` (from v1.9.0).
    SlasherMigrated {
        /// The set.
        operator_set: OperatorSetId,
        /// Who may slash.
        slasher: Address,
    } = 42,
    /// `AllocationManager.AVSRegistrarSet`.
    AvsRegistrarSet {
        /// The AVS.
        avs: AvsId,
        /// The contract that admits operators.
        registrar: Address,
    } = 43,
    /// `AVSMetadataURIUpdated`, of the AllocationManager or the older AVSDirectory.
    AvsMetadataUriUpdated {
        /// The AVS.
        avs: AvsId,
        /// Where its metadata is said to be.
        metadata_uri: UntrustedText,
    } = 44,

    /// `StrategyManager.Deposit`, in both forms (token and amount are not kept).
    Deposit {
        /// Who deposited.
        staker: StakerId,
        /// Into what.
        strategy: StrategyId,
        /// Shares minted.
        shares: U256,
    } = 60,
    /// `StrategyManager.BurnOrRedistributableSharesIncreased` (from v1.5.0).
    BurnOrRedistributableSharesIncreased {
        /// The set that slashed.
        operator_set: OperatorSetId,
        /// The slash's number within the set.
        slash_id: U256,
        /// The strategy.
        strategy: StrategyId,
        /// Shares to burn or hand over.
        shares: U256,
    } = 61,
    /// `StrategyManager.BurnOrRedistributableSharesDecreased` (from v1.5.0).
    BurnOrRedistributableSharesDecreased {
        /// The set that slashed.
        operator_set: OperatorSetId,
        /// The slash's number within the set.
        slash_id: U256,
        /// The strategy.
        strategy: StrategyId,
        /// Shares burnt or handed over.
        shares: U256,
    } = 62,

    /// `EigenPodManager.PodDeployed`.
    PodDeployed {
        /// The pod.
        eigen_pod: Address,
        /// Whose it is.
        pod_owner: StakerId,
    } = 70,
    /// `EigenPodManager.PodSharesUpdated`.
    PodSharesUpdated {
        /// Whose pod.
        pod_owner: StakerId,
        /// Change of its shares, wei.
        #[borsh(serialize_with = "write_i256", deserialize_with = "read_i256")]
        shares_delta: I256,
    } = 71,
    /// `EigenPodManager.NewTotalShares`.
    NewTotalShares {
        /// Whose pod.
        pod_owner: StakerId,
        /// Its shares now, wei; below zero after losses.
        #[borsh(serialize_with = "write_i256", deserialize_with = "read_i256")]
        new_total_shares: I256,
    } = 72,
    /// `EigenPodManager.BeaconChainSlashingFactorDecreased`.
    BeaconChainSlashingFactorDecreased {
        /// Whose pod.
        staker: StakerId,
        /// The factor before, 1e-18.
        previous_factor: u64,
        /// The factor now, 1e-18.
        new_factor: u64,
    } = 73,
    /// `EigenPodManager.BurnableETHSharesIncreased`.
    BurnableEthSharesIncreased {
        /// Native shares slashed, wei.
        shares: U256,
    } = 74,

    /// `AVSDirectory.OperatorAVSRegistrationStatusUpdated`: membership without slashable stake.
    OperatorAvsRegistrationStatusUpdated {
        /// The operator.
        operator: OperatorId,
        /// The AVS.
        avs: AvsId,
        /// Whether it is a member now.
        is_registered: bool,
    } = 90,

    /// `PermissionController.AppointeeSet`: before v1.9.0 the way to appoint a slasher.
    AppointeeSet {
        /// Who appoints.
        account: Address,
        /// Whom.
        appointee: Address,
        /// On which contract.
        target: Address,
        /// For which function.
        selector: [u8; 4],
    } = 95,
    /// `PermissionController.AppointeeRemoved`.
    AppointeeRemoved {
        /// Who appointed.
        account: Address,
        /// Whom.
        appointee: Address,
        /// On which contract.
        target: Address,
        /// For which function.
        selector: [u8; 4],
    } = 96,
    /// `PermissionController.AdminSet`.
    AdminSet {
        /// The account.
        account: Address,
        /// Who may act for it.
        admin: Address,
    } = 97,
    /// `PermissionController.AdminRemoved`.
    AdminRemoved {
        /// The account.
        account: Address,
        /// Who may no longer act for it.
        admin: Address,
    } = 98,

    /// Contracts that restake for a token: EigenLayer knows them as stakers.
    LrtStakersAdded {
        /// The token.
        token: LrtId,
        /// Operator delegators, node delegators, nodes, staker proxies, modules.
        stakers: Vec<StakerId>,
    } = 100,
    /// Contracts that restake for a token no more; what they still hold is still the token's.
    LrtStakersRemoved {
        /// The token.
        token: LrtId,
        /// Who.
        stakers: Vec<StakerId>,
    } = 101,
    /// The protocol states what a token is worth.
    LrtRateUpdated {
        /// The token.
        token: LrtId,
        /// Wei of ether a whole token.
        rate: U256,
        /// All that the holders own, wei, where the event says.
        total_assets: Option<U256>,
    } = 102,
    /// The protocol states what all tokens together are worth, and how many there are.
    LrtTotalsUpdated {
        /// The token.
        token: LrtId,
        /// All that the holders own, wei.
        total_assets: U256,
        /// Tokens, 1e-18.
        total_shares: U256,
    } = 103,
    /// Assets came in; shares were minted for them at the rate of the time.
    LrtMinted {
        /// The token.
        token: LrtId,
        /// What came in.
        asset: Option<Address>,
        /// How much, in its own unit.
        assets: U256,
        /// Tokens minted, 1e-18, where the event says.
        shares: Option<U256>,
    } = 104,
    /// Ether left and shares were burnt.
    LrtBurned {
        /// The token.
        token: LrtId,
        /// Wei that left.
        assets: U256,
    } = 105,
    /// The protocol states how many tokens there are.
    LrtSupplyRecorded {
        /// The token.
        token: LrtId,
        /// Tokens, 1e-18.
        supply: U256,
    } = 106,
    /// The protocol's oracle states the reserves it counted.
    LrtReservesRecorded {
        /// The token.
        token: LrtId,
        /// Wei counted.
        assets: U256,
    } = 107,
    /// Tokens wait to be redeemed.
    LrtWithdrawalRequested {
        /// The token.
        token: LrtId,
        /// The request's number, where it has one.
        request: Option<U256>,
        /// Tokens that wait, 1e-18.
        shares: U256,
    } = 108,
    /// A redemption was paid or called off: its tokens wait no longer.
    LrtWithdrawalSettled {
        /// The token.
        token: LrtId,
        /// The request's number, where it has one.
        request: Option<U256>,
        /// Tokens redeemed, 1e-18, where the event says.
        shares: Option<U256>,
        /// What was paid.
        asset: Option<Address>,
        /// How much of it left the buffer, where it is paid from one.
        paid: Option<U256>,
    } = 109,
    /// Assets were set aside to redeem at once.
    LrtBufferIncreased {
        /// The token.
        token: LrtId,
        /// What.
        asset: Option<Address>,
        /// How much.
        amount: U256,
    } = 110,
    /// Assets set aside were taken away again.
    LrtBufferDecreased {
        /// The token.
        token: LrtId,
        /// What.
        asset: Option<Address>,
        /// How much.
        amount: U256,
    } = 111,
    /// How long a redemption waits at least.
    LrtWithdrawalDelaySet {
        /// The token.
        token: LrtId,
        /// Seconds, or blocks.
        delay: U256,
        /// Whether it is in blocks.
        is_in_blocks: bool,
    } = 112,
    /// How much one report may move the rate: a larger loss cannot be recognised at once.
    LrtNavGuardSet {
        /// The token.
        token: LrtId,
        /// Share of the rate, 1e-18.
        limit: U256,
    } = 113,
    /// Redemptions were stopped, or go on.
    LrtRedemptionsPaused {
        /// The token.
        token: LrtId,
        /// Whether they are stopped.
        is_paused: bool,
    } = 114,
    /// A price feed answered: a Chainlink-style `AnswerUpdated`.
    PriceUpdated {
        /// What is priced: a strategy by its share, or a token.
        asset: Address,
        /// Wei of ether for 1e18 of it; zero or less is no price.
        price: U256,
    } = 120,

    /// A registry or factory of Symbiotic has a new member: `AddEntity`.
    SymbioticEntityAdded {
        /// What it is.
        kind: SymbioticEntity,
        /// Where it is.
        entity: Address,
    } = 130,
    /// An operator opts in to, or out of, a vault or a network: `OptIn`, `OptOut`.
    SymbioticOptInUpdated {
        /// The operator.
        operator: Address,
        /// A vault or a network.
        to: SymbioticEntity,
        /// Which.
        entity: Address,
        /// Whether it is in now.
        is_in: bool,
    } = 131,
    /// `NetworkMiddlewareService.SetMiddleware`: who may slash for a network.
    SymbioticMiddlewareSet {
        /// The network.
        network: Address,
        /// The contract that slashes for it.
        middleware: Address,
    } = 132,
    /// `Vault.SetDelegator`.
    SymbioticDelegatorSet {
        /// The vault.
        vault: Address,
        /// The contract that says who may use its stake.
        delegator: Address,
    } = 133,
    /// `Vault.SetSlasher`.
    SymbioticSlasherSet {
        /// The vault.
        vault: Address,
        /// The contract that slashes it.
        slasher: Address,
    } = 134,
    /// `Vault.Deposit`.
    SymbioticDeposited {
        /// The vault.
        vault: Address,
        /// Collateral, in its own unit.
        amount: U256,
    } = 135,
    /// `Vault.Withdraw`: slashable until the end of the next epoch.
    SymbioticWithdrawn {
        /// The vault.
        vault: Address,
        /// Collateral, in its own unit.
        amount: U256,
    } = 136,
    /// `Vault.OnSlash`, in both forms.
    SymbioticVaultSlashed {
        /// The vault.
        vault: Address,
        /// Collateral taken, in its own unit.
        amount: U256,
    } = 137,
    /// `Slasher.Slash`: at once, without a veto.
    SymbioticSlashed {
        /// The slasher.
        slasher: Address,
        /// The network (upper 20 bytes) and its number.
        subnetwork: B256,
        /// The operator.
        operator: Address,
        /// Collateral taken, in its own unit.
        amount: U256,
        /// When the stake was captured, seconds.
        capture_time: u64,
    } = 138,
    /// `VetoSlasher.RequestSlash`.
    SymbioticSlashRequested {
        /// The slasher.
        slasher: Address,
        /// The request's number.
        index: U256,
        /// The network (upper 20 bytes) and its number.
        subnetwork: B256,
        /// The operator.
        operator: Address,
        /// Collateral asked for, in its own unit.
        amount: U256,
        /// When the stake was captured, seconds.
        capture_time: u64,
        /// Until when it can be vetoed, seconds.
        veto_deadline: u64,
    } = 139,
    /// `VetoSlasher.ExecuteSlash`.
    SymbioticSlashExecuted {
        /// The slasher.
        slasher: Address,
        /// The request's number.
        index: U256,
        /// Collateral taken, in its own unit.
        amount: U256,
    } = 140,
    /// `VetoSlasher.VetoSlash`.
    SymbioticSlashVetoed {
        /// The slasher.
        slasher: Address,
        /// The request's number.
        index: U256,
        /// Who vetoed.
        resolver: Address,
    } = 141,
    /// `VetoSlasher.SetResolver`.
    SymbioticResolverSet {
        /// The slasher.
        slasher: Address,
        /// The network (upper 20 bytes) and its number.
        subnetwork: B256,
        /// Who may veto its slashes.
        resolver: Address,
    } = 142,
    /// How much of a vault's stake a network may use: `SetNetworkLimit`, `SetMaxNetworkLimit`.
    SymbioticNetworkLimitSet {
        /// The delegator.
        delegator: Address,
        /// The network (upper 20 bytes) and its number.
        subnetwork: B256,
        /// Collateral, in its own unit.
        amount: U256,
        /// Whether the network set it as the most it accepts; else the vault's curator did.
        is_maximum: bool,
    } = 143,
    /// How much of it an operator may use: `SetOperatorNetworkLimit`, `SetOperatorNetworkShares`.
    SymbioticOperatorLimitSet {
        /// The delegator.
        delegator: Address,
        /// The network (upper 20 bytes) and its number.
        subnetwork: B256,
        /// The operator.
        operator: Address,
        /// Collateral in its own unit, or shares.
        amount: U256,
        /// Whether it is shares of the network's limit.
        is_shares: bool,
    } = 144,

    /// A beacon block proves that a validator proposed two blocks in one slot. The fact's block is
    /// the one in the beacon block's execution payload.
    BeaconProposerSlashed {
        /// The slot of the beacon block that holds the proof.
        slot: u64,
        /// The validator's index.
        validator: u64,
    } = 150,
    /// A beacon block proves that validators attested to two contradictory votes.
    BeaconAttesterSlashed {
        /// The slot of the beacon block that holds the proof.
        slot: u64,
        /// Indices of those who signed both, rising.
        validators: Vec<u64>,
    } = 151,
    /// Who a slashed validator is, in the state after the block that slashed it.
    BeaconValidatorObserved {
        /// The slot of that state.
        slot: u64,
        /// The validator's index.
        validator: u64,
        /// SHA-256 of its public key, padded, as EigenPods name it.
        pubkey_hash: B256,
        /// Its withdrawal credentials: with the prefix 1 or 2 the last 20 bytes are an address,
        /// for a restaked validator its EigenPod.
        withdrawal_credentials: B256,
        /// Effective balance, gwei.
        effective_balance_gwei: u64,
        /// First epoch at which its stake can be withdrawn.
        withdrawable_epoch: u64,
    } = 152,

    /// `RewardsCoordinator`: an amount for all who earn it by a rule.
    RewardsSubmitted {
        /// Who earns it.
        rule: RewardsRule,
        /// What, and for which time.
        submission: RewardsSubmission,
        /// How much, in the token's own unit.
        amount: U256,
    } = 160,
    /// `RewardsCoordinator.OperatorDirected…RewardsSubmissionCreated`: an amount for each operator
    /// named, and those who delegate to it.
    OperatorDirectedRewardsSubmitted {
        /// What the operators did it for.
        service: RewardedService,
        /// What, and for which time.
        submission: RewardsSubmission,
        /// How much each gets, in the token's own unit.
        operator_rewards: Vec<(OperatorId, U256)>,
        /// What the AVS says about it.
        description: UntrustedText,
    } = 161,
    /// `RewardsCoordinator`: how much of its rewards an operator keeps.
    OperatorSplitSet {
        /// Who set it.
        caller: Address,
        /// The operator.
        operator: OperatorId,
        /// Of which rewards; `None`: of the protocol's own incentives.
        service: Option<RewardedService>,
        /// From when on, seconds since the Unix epoch.
        activated_at: u32,
        /// The share until then, 1/10,000.
        old_bips: u16,
        /// The share from then on, 1/10,000.
        new_bips: u16,
    } = 162,
    /// `RewardsCoordinator.DefaultOperatorSplitBipsSet` (`GlobalCommissionBipsSet` to v0.4.3): the
    /// share of operators that set none.
    DefaultOperatorSplitSet {
        /// The share before, 1/10,000.
        old_bips: u16,
        /// The share now, 1/10,000.
        new_bips: u16,
    } = 163,
    /// `EigenPod.ValidatorRestaked`, in both forms: a validator's withdrawal credentials were proven
    /// to be the pod. Of all events of pods: the pod is the fact's emitter.
    PodValidatorRestaked {
        /// The validator.
        validator: PodValidator,
    } = 170,
    /// `EigenPod.ValidatorBalanceUpdated`, in both forms.
    PodValidatorBalanceUpdated {
        /// The validator.
        validator: PodValidator,
        /// When it had this balance, seconds.
        balance_time: u64,
        /// Its balance, gwei.
        balance_gwei: u64,
    } = 171,
    /// `EigenPod.ValidatorWithdrawn`, in both forms: a checkpoint found its balance to be zero.
    PodValidatorWithdrawn {
        /// When the checkpoint began, seconds.
        checkpoint_time: u64,
        /// The validator.
        validator: PodValidator,
    } = 172,
    /// `EigenPod.CheckpointFinalized`.
    PodCheckpointFinalized {
        /// When the checkpoint began, seconds.
        checkpoint_time: u64,
        /// What it changed of the owner's shares, wei.
        #[borsh(serialize_with = "write_i256", deserialize_with = "read_i256")]
        share_delta_wei: I256,
    } = 173,
    /// `EigenPod.RestakedBeaconChainETHWithdrawn`: ether left the pod.
    PodEthWithdrawn {
        /// Who got it.
        recipient: Address,
        /// Wei.
        amount: U256,
    } = 174,
    /// `EigenPod.ExitRequested`: the pod told a validator to exit (EIP-7002).
    PodExitRequested {
        /// Hash of the validator's key.
        pubkey_hash: B256,
    } = 175,
    /// `EigenPod.ConsolidationRequested`: the stake of one validator is to go to another (EIP-7251).
    PodConsolidationRequested {
        /// Hash of the key of the validator that ends.
        source: B256,
        /// Hash of the key of the validator that goes on.
        target: B256,
    } = 176,

    /// A proxy or a beacon has other code: EIP-1967's `Upgraded`, a Safe's `ChangedMasterCopy`.
    ContractUpgraded {
        /// Why the contract is read.
        of: Governed,
        /// The proxy.
        contract: Address,
        /// Where its code is now.
        implementation: Address,
    } = 180,
    /// `TimelockController.MinDelayChange`, Compound's `NewDelay`.
    TimelockDelayChanged {
        /// Why the timelock is read.
        of: Governed,
        /// The timelock.
        timelock: Address,
        /// Seconds before, where the event says.
        old_delay: Option<U256>,
        /// Seconds between what is scheduled and its execution.
        new_delay: U256,
    } = 181,
    /// `Safe.AddedOwner`.
    SafeOwnerAdded {
        /// Why the Safe is read.
        of: Governed,
        /// The Safe.
        safe: Address,
        /// Whose signature counts now.
        owner: Address,
    } = 182,
    /// `Safe.RemovedOwner`.
    SafeOwnerRemoved {
        /// Why the Safe is read.
        of: Governed,
        /// The Safe.
        safe: Address,
        /// Whose signature counts no more.
        owner: Address,
    } = 183,
    /// `Safe.ChangedThreshold`.
    SafeThresholdChanged {
        /// Why the Safe is read.
        of: Governed,
        /// The Safe.
        safe: Address,
        /// Signatures that it takes.
        threshold: U256,
    } = 184,
    /// Somebody else may change a contract: EIP-1967's `AdminChanged`, `OwnershipTransferred`.
    ContractAdminChanged {
        /// Why the contract is read.
        of: Governed,
        /// The contract.
        contract: Address,
        /// Who could until now; zero where the contract is new.
        previous: Address,
        /// Who can.
        admin: Address,
    } = 185,
    /// `Safe.EnabledModule`: a contract that acts for the Safe without its owners' signatures.
    SafeModuleEnabled {
        /// Why the Safe is read.
        of: Governed,
        /// The Safe.
        safe: Address,
        /// The module.
        module: Address,
    } = 186,
    /// `TimelockController.CallScheduled`, Compound's `QueueTransaction`.
    TimelockCallScheduled(Box<ScheduledCall>) = 187,
    /// `TimelockController.CallExecuted`, Compound's `ExecuteTransaction`.
    TimelockCallExecuted {
        /// Why the timelock is read.
        of: Governed,
        /// The timelock.
        timelock: Address,
        /// The operation's id, or Compound's hash of the transaction.
        operation: B256,
        /// Place in the operation; zero with Compound's.
        index: U256,
        /// What was called.
        target: Address,
    } = 188,
    /// `TimelockController.Cancelled`, Compound's `CancelTransaction`.
    TimelockOperationCancelled {
        /// Why the timelock is read.
        of: Governed,
        /// The timelock.
        timelock: Address,
        /// The operation's id, or Compound's hash of the transaction.
        operation: B256,
    } = 189,

    /// A chain log that moves no rating, or whose topic nobody knows: kept byte for byte.
    Unmapped {
        /// Its topics.
        topics: Vec<B256>,
        /// Its data.
        data: Bytes,
    } = 190,

    /// The chain will not go back behind this fact's block any more.
    FinalityAdvanced = 200,
    /// The chain went back to this fact's block: these blocks never happened.
    BlocksReverted {
        /// Hashes of the blocks taken back, oldest first.
        orphaned: Vec<B256>,
    } = 201,
    /// These blocks, taken back before, are part of the chain again; this fact's block is the
    /// newest of them.
    BlocksRestored {
        /// Hashes of the blocks, oldest first.
        restored: Vec<B256>,
    } = 204,
    /// Facts arrived that belong before what was already rated; ratings from there on are made
    /// anew. Every rating action before this event rests on the storage positions up to `known`.
    Restated {
        /// The last storage position that the ratings before this event rest on.
        known: u64,
    } = 202,
    /// Somebody was made administrator of the registry of signers.
    AdministratorAppointed(Signed<AdministratorAppointment>) = 205,
    /// A key was admitted to sign attestations.
    SignerRegistered(Signed<SignerRegistration>) = 206,
    /// A key was struck off.
    SignerRemoved(Signed<SignerRemoval>) = 207,
    /// Somebody signed a claim.
    Attested(Box<Signed<Attestation>>) = 208,
    /// A signer took a claim back.
    AttestationRevoked(Signed<Revocation>) = 209,
    /// A methodology was adopted.
    MethodologyAdopted(Signed<MethodologyAdoption>) = 210,
    /// A rating was assigned, affirmed, changed or withdrawn. This fact's block is the one it was
    /// assessed at; its hash is zero where an epoch ended in a block without any event.
    RatingAction(RatingAction) = 203,
    /// An oracle contract stored a rating, in a block that will not go away. This fact's chain and
    /// block are the contract's.
    RatingStored {
        /// The contract.
        oracle: Address,
        /// Key of the entity in the contract.
        entity_key: B256,
        /// Counter of the rating.
        seq: u32,
        /// The stored word, `lag` filled in by the contract.
        word: U256,
        /// The transaction, whoever sent it.
        tx_hash: B256,
    } = 220,
    /// A metadata document was read at an address that operators or AVSs may name. What it says is
    /// shown and decides nothing.
    MetadataDocumentRecorded {
        /// Where it was.
        uri: UntrustedText,
        /// SHA-256 of its bytes.
        hash: B256,
        /// What it calls whoever named it.
        name: UntrustedText,
        /// The website it names.
        website: Option<UntrustedText>,
    } = 230,
    /// A contract was asked at this fact's block. Asked of nodes, and not provable by itself.
    ViewObserved {
        /// What the list of questions calls it.
        name: String,
        /// The contract.
        contract: Address,
        /// What it was asked: selector and arguments.
        input: Bytes,
        /// What it answered.
        answer: Bytes,
    } = 231,
    /// An account at this fact's block, proven against the block's state root.
    AccountProven {
        /// What the list of questions calls it.
        name: String,
        /// The account.
        account: Address,
        /// Wei.
        balance: U256,
        /// Transactions it sent, or contracts it made.
        nonce: u64,
        /// Hash of its code.
        code_hash: B256,
        /// Storage slots and what they hold.
        slots: Vec<(U256, U256)>,
    } = 232,
}

/// What a contract is to Symbiotic.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum SymbioticEntity {
    /// Holds stake of one collateral.
    Vault = 0,
    /// Says which networks and operators may use a vault's stake.
    Delegator = 1,
    /// Slashes a vault.
    Slasher = 2,
    /// What an AVS is to EigenLayer.
    Network = 3,
    /// Runs networks' services.
    Operator = 4,
}

/// Why a contract is read whose code or whose keepers changed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum Governed {
    /// It is the restaking platform's own, or governs it.
    Platform = 0,
    /// It is a liquid restaking token's.
    Token(LrtId) = 1,
    /// Another contract names it: an AVS, a slasher, a recipient of what is slashed.
    Named = 2,
}

/// A call that a timelock holds back. Of its data, which anybody makes as long as he likes, the hash
/// is kept.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ScheduledCall {
    /// Why the timelock is read.
    pub of: Governed,
    /// The timelock.
    pub timelock: Address,
    /// The operation's id, or Compound's hash of the transaction.
    pub operation: B256,
    /// Place in the operation; zero with Compound's.
    pub index: U256,
    /// What is called.
    pub target: Address,
    /// Wei that it is sent.
    pub value: U256,
    /// The function that is called; none where the data are shorter.
    pub selector: Option<[u8; 4]>,
    /// Keccak-256 of the data it is called with, selector included.
    pub data_hash: B256,
    /// The operation that must have run before, or zero.
    pub predecessor: B256,
    /// How long it is held back.
    pub wait: TimelockWait,
    /// What the call is about: the proxy that a call of `ProxyAdmin` names, else the target.
    pub about: Address,
    /// Why that is read, if it is the platform's or a token's.
    pub about_of: Option<Governed>,
}

/// How long a timelock holds a call back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum TimelockWait {
    /// Seconds from its block on (OpenZeppelin).
    Delay(U256) = 0,
    /// Until this time, seconds since the Unix epoch (Compound).
    Until(U256) = 1,
}

impl ScheduledCall {
    /// From when on a call scheduled at a time can run, seconds since the Unix epoch; none: never.
    pub fn executable_at(&self, scheduled_at: u64) -> Option<u64> {
        let time = match self.wait {
            TimelockWait::Delay(delay) => delay.checked_add(U256::from(scheduled_at))?,
            TimelockWait::Until(time) => time,
        };
        // The last second of the year 9999, beyond which calendars do not go.
        time.try_into().ok().filter(|time| *time <= 253_402_300_799)
    }
}

/// Who earns a reward that names nobody.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum RewardsRule {
    /// Stake of operators registered with an AVS through the AVSDirectory.
    Avs(AvsId) = 0,
    /// Stake allocated to an operator set.
    UniqueStake(OperatorSetId) = 1,
    /// All stake of an operator set's members.
    TotalStake(OperatorSetId) = 2,
    /// All stake of operators that serve any AVS: the protocol's own incentives.
    AllEarners = 3,
    /// All stake: the protocol's own incentives.
    AllStakers = 4,
}

/// What operators are paid for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum RewardedService {
    /// An AVS.
    Avs(AvsId) = 0,
    /// An operator set.
    OperatorSet(OperatorSetId) = 1,
}

/// What rewards submissions have in common.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct RewardsSubmission {
    /// Who submitted it.
    pub submitter: Address,
    /// The submitter's counter.
    pub nonce: U256,
    /// Its hash.
    pub hash: B256,
    /// Strategies whose shares earn it, with the multiplier of each.
    pub strategies: Vec<(StrategyId, u128)>,
    /// In what it is paid.
    pub token: Address,
    /// From when it is earned, seconds since the Unix epoch.
    pub start_timestamp: u32,
    /// For how long, seconds.
    pub duration: u32,
}

/// How an EigenPod names a validator.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum PodValidator {
    /// By its index on the beacon chain, to v1.5.0.
    Index(u64) = 0,
    /// By SHA-256 of its public key, padded with 16 zero bytes, since v1.6.0.
    PubkeyHash(B256) = 1,
}

/// `IDelegationManagerTypes.Withdrawal`.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Withdrawal {
    /// Who withdraws.
    pub staker: StakerId,
    /// The operator it was delegated to when it queued.
    pub delegated_to: OperatorId,
    /// Who may complete it.
    pub withdrawer: Address,
    /// The staker's counter.
    pub nonce: U256,
    /// Block it was queued at; slashable through `start_block` + 100,800.
    pub start_block: u32,
    /// Strategies withdrawn from.
    pub strategies: Vec<StrategyId>,
    /// Shares over the slashing factor of the time, a strategy each (plain shares to v0.4.3).
    pub scaled_shares: Vec<U256>,
}

/// What a rating agency did. The whole rating is in `word`; all else can be computed again.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct RatingAction {
    /// Who is rated.
    pub entity: RatedEntity,
    /// What was done.
    pub kind: RatingActionKind,
    /// The entity's counter of actions and heartbeats, 1 first.
    pub seq: u32,
    /// The signed word of `oracle/contracts`, `lag` zero: grade, score, loss, time, position.
    pub word: U256,
    /// One-year expected loss, 1e-12 of the exposure.
    pub expected_loss_ppt: u64,
    /// Canonical position of the last fact the rating rests on.
    pub canonical_position: u64,
    /// Canonical hash at that position.
    pub canonical_hash: B256,
    /// Hash of the methodology file.
    pub methodology_hash: B256,
    /// Hash of the whole assessment: every block, cap, figure and warning.
    pub assessment_hash: B256,
}

/// What a rating action does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub enum RatingActionKind {
    /// The first rating.
    Assigned = 1,
    /// The same grade, said again because outlook, watch or a flag changed.
    Affirmed = 2,
    /// A better grade.
    Upgraded = 3,
    /// A worse grade.
    Downgraded = 4,
    /// No grade any more.
    Withdrawn = 5,
}

impl Event {
    /// The canonical bytes: tag, then fields in order (borsh, which gives each value one encoding).
    pub fn to_canonical_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128);
        // Writing to memory fails only for a collection of more than 2^32 items, and such an
        // event fits in no block.
        let _infallible = self.serialize(&mut bytes);
        bytes
    }

    /// The type-and-version tag.
    pub fn tag(&self) -> u8 {
        self.to_canonical_bytes().first().copied().unwrap_or_default()
    }

    /// Reads canonical bytes back; every byte must be used.
    pub fn from_canonical_bytes(bytes: &[u8]) -> Result<Self, CorruptEvent> {
        borsh::from_slice(bytes).map_err(|error| CorruptEvent {
            tag: bytes.first().copied(),
            length: bytes.len(),
            reason: error.to_string(),
        })
    }
}

/// Stored bytes are not an event. The store is damaged, or was written by a newer Assay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes with tag {tag:?} are not a known event: {reason}")]
pub struct CorruptEvent {
    /// First byte, if there is one.
    pub tag: Option<u8>,
    /// Bytes given.
    pub length: usize,
    /// What the decoder said.
    pub reason: String,
}

/// The rated things an event is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Subjects {
    /// The operator, if it names one.
    pub operator: Option<OperatorId>,
    /// The operator set, if it names one.
    pub operator_set: Option<OperatorSetId>,
    /// The AVS, if it names one, by itself or as the owner of the set.
    pub avs: Option<AvsId>,
    /// The liquid restaking token, if it is about one.
    pub lrt: Option<LrtId>,
}

impl Event {
    /// The operator, set, AVS and token the event names.
    pub fn subjects(&self) -> Subjects {
        let operator = match self {
            Self::OperatorRegistered { operator, .. }
            | Self::DelegationApproverUpdated { operator, .. }
            | Self::OperatorMetadataUriUpdated { operator, .. }
            | Self::StakerDelegated { operator, .. }
            | Self::OperatorSharesIncreased { operator, .. }
            | Self::OperatorSharesDecreased { operator, .. }
            | Self::OperatorSharesSlashed { operator, .. }
            | Self::AllocationDelaySet { operator, .. }
            | Self::AllocationUpdated { operator, .. }
            | Self::EncumberedMagnitudeUpdated { operator, .. }
            | Self::MaxMagnitudeUpdated { operator, .. }
            | Self::OperatorSlashed { operator, .. }
            | Self::OperatorAddedToOperatorSet { operator, .. }
            | Self::OperatorRemovedFromOperatorSet { operator, .. }
            | Self::OperatorAvsRegistrationStatusUpdated { operator, .. }
            | Self::OperatorSplitSet { operator, .. } => Some(*operator),
            _ => None,
        };
        let operator_set = match self {
            Self::AllocationUpdated { operator_set, .. }
            | Self::OperatorSlashed { operator_set, .. }
            | Self::OperatorSetCreated { operator_set }
            | Self::OperatorAddedToOperatorSet { operator_set, .. }
            | Self::OperatorRemovedFromOperatorSet { operator_set, .. }
            | Self::StrategyAddedToOperatorSet { operator_set, .. }
            | Self::StrategyRemovedFromOperatorSet { operator_set, .. }
            | Self::RedistributionAddressSet { operator_set, .. }
            | Self::SlasherUpdated { operator_set, .. }
            | Self::SlasherMigrated { operator_set, .. } => Some(*operator_set),
            Self::RewardsSubmitted {
                rule: RewardsRule::UniqueStake(set) | RewardsRule::TotalStake(set),
                ..
            } => Some(*set),
            Self::OperatorDirectedRewardsSubmitted { service, .. }
            | Self::OperatorSplitSet { service: Some(service), .. } => match service {
                RewardedService::OperatorSet(set) => Some(*set),
                RewardedService::Avs(_) => None,
            },
            _ => None,
        };
        let avs = match self {
            Self::AvsRegistrarSet { avs, .. }
            | Self::AvsMetadataUriUpdated { avs, .. }
            | Self::OperatorAvsRegistrationStatusUpdated { avs, .. }
            | Self::RewardsSubmitted { rule: RewardsRule::Avs(avs), .. }
            | Self::OperatorDirectedRewardsSubmitted {
                service: RewardedService::Avs(avs), ..
            }
            | Self::OperatorSplitSet { service: Some(RewardedService::Avs(avs)), .. } => Some(*avs),
            _ => operator_set.map(|set| set.avs),
        };
        Subjects { operator, operator_set, avs, lrt: self.lrt() }
    }

    /// The contract that the event makes known: what it is, its announcer's role or manifest says.
    pub const fn announced(&self) -> Option<Address> {
        match self {
            Self::PodDeployed { eigen_pod, .. } => Some(*eigen_pod),
            Self::SymbioticEntityAdded { entity, .. } => Some(*entity),
            _ => None,
        }
    }

    /// The address that the event gives a say in what is slashed, or who gets it.
    pub fn empowered(&self) -> Option<Address> {
        match self {
            Self::OperatorSetCreated { operator_set } => Some(operator_set.avs.0),
            Self::RedistributionAddressSet { redistribution_recipient, .. } => {
                Some(*redistribution_recipient)
            }
            Self::SlasherUpdated { slasher, .. } | Self::SlasherMigrated { slasher, .. } => {
                Some(*slasher)
            }
            Self::AppointeeSet { appointee, selector: SLASH_OPERATOR, .. } => Some(*appointee),
            _ => None,
        }
    }

    /// The contract that can be changed otherwise than before, or the timelock of a call, and why it
    /// is read.
    pub const fn governed(&self) -> Option<(Governed, Address)> {
        match self {
            Self::ContractUpgraded { of, contract, .. }
            | Self::ContractAdminChanged { of, contract, .. } => Some((*of, *contract)),
            Self::TimelockDelayChanged { of, timelock, .. }
            | Self::TimelockCallExecuted { of, timelock, .. }
            | Self::TimelockOperationCancelled { of, timelock, .. } => Some((*of, *timelock)),
            Self::TimelockCallScheduled(call) => Some((call.of, call.timelock)),
            Self::SafeOwnerAdded { of, safe, .. }
            | Self::SafeOwnerRemoved { of, safe, .. }
            | Self::SafeThresholdChanged { of, safe, .. }
            | Self::SafeModuleEnabled { of, safe, .. } => Some((*of, *safe)),
            _ => None,
        }
    }

    /// The liquid restaking token the event is about.
    pub const fn lrt(&self) -> Option<LrtId> {
        match self {
            Self::LrtStakersAdded { token, .. }
            | Self::LrtStakersRemoved { token, .. }
            | Self::LrtRateUpdated { token, .. }
            | Self::LrtTotalsUpdated { token, .. }
            | Self::LrtMinted { token, .. }
            | Self::LrtBurned { token, .. }
            | Self::LrtSupplyRecorded { token, .. }
            | Self::LrtReservesRecorded { token, .. }
            | Self::LrtWithdrawalRequested { token, .. }
            | Self::LrtWithdrawalSettled { token, .. }
            | Self::LrtBufferIncreased { token, .. }
            | Self::LrtBufferDecreased { token, .. }
            | Self::LrtWithdrawalDelaySet { token, .. }
            | Self::LrtNavGuardSet { token, .. }
            | Self::LrtRedemptionsPaused { token, .. } => Some(*token),
            _ => None,
        }
    }

    /// Whether ratings are made anew at the block of this event, and not only at the epoch's end:
    /// the triggers of methodology §2.9 that this event alone can tell, and the birth of a set.
    pub fn is_trigger(&self) -> bool {
        match self {
            Self::SlasherUpdated { .. }
            | Self::SlasherMigrated { .. }
            | Self::OperatorSlashed { .. }
            | Self::StrategyAddedToOperatorSet { .. }
            | Self::AvsMetadataUriUpdated { .. }
            | Self::OperatorSetCreated { .. }
            | Self::RedistributionAddressSet { .. }
            | Self::LrtNavGuardSet { .. }
            | Self::LrtRedemptionsPaused { .. }
            | Self::BeaconValidatorObserved { .. } => true,
            Self::AllocationDelaySet { delay_blocks, .. } => {
                u64::from(*delay_blocks) < crate::state::operator_set::DEALLOCATION_DELAY_BLOCKS
            }
            _ => self.governed().is_some(),
        }
    }
}

fn write_i256<W: borsh::io::Write>(value: &I256, writer: &mut W) -> borsh::io::Result<()> {
    BorshSerialize::serialize(&value.into_raw(), writer)
}

fn read_i256<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<I256> {
    Ok(I256::from_raw(U256::deserialize_reader(reader)?))
}

/// An event with its place in the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// The chain it happened on.
    pub chain_id: ChainId,
    /// The block it happened in.
    pub block: BlockRef,
    /// Its transaction; the digest of a signed message; zero for Assay's other events.
    pub tx_hash: B256,
    /// Its place in the block.
    pub log_index: u32,
    /// The contract that emitted it; zero for Assay's own events.
    pub emitter: Address,
    /// What happened.
    pub event: Event,
}

/// The canonical order of facts (block time, chain, block, log index): the same on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FactKey {
    /// Block time, seconds.
    pub timestamp: u64,
    /// Chain.
    pub chain_id: ChainId,
    /// Block number.
    pub block_number: u64,
    /// Place in the block.
    pub log_index: u32,
}

impl Fact {
    /// The fact's place in the canonical order.
    pub const fn key(&self) -> FactKey {
        FactKey {
            timestamp: self.block.timestamp,
            chain_id: self.chain_id,
            block_number: self.block.number,
            log_index: self.log_index,
        }
    }
}
