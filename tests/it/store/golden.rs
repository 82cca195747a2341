//! The stored form of every event: what was written once must read for ever.
//!
//! `ASSAY_BLESS=1` writes the files that are missing; it never changes one that is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use alloy::primitives::{Address, B256, I256, U256, hex};
use assay_domain::attestation::{
    AdministratorAppointment, Attestation, Cause, Claim, Message, MethodologyAdoption, Revocation,
    SignerRegistration, SignerRemoval, SlasherKind,
};
use assay_domain::decimal::Ppt;
use assay_domain::event::{
    Governed, PodValidator, RatingAction, RatingActionKind, RewardedService, RewardsRule,
    RewardsSubmission, ScheduledCall, SymbioticEntity, TimelockWait, Withdrawal,
};
use assay_domain::mitigation::VerificationLevel;
use assay_domain::operator_set::RecipientKind;
use assay_domain::ruleset::{EvidenceKind, Rule, Ruleset};
use assay_domain::{
    AvsId, Event, LrtId, OperatorId, OperatorSetId, RatedEntity, StakerId, StrategyId,
    UntrustedText,
};

fn dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/events")
}

#[test]
fn every_event_is_stored_as_it_always_was() {
    let mut files: BTreeMap<String, String> = fs::read_dir(dir())
        .expect("the golden files")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("a golden file"))
        })
        .collect();
    let mut tags = Vec::new();
    for event in examples() {
        let bytes = event.to_canonical_bytes();
        let shown = format!("{event:?}");
        let variant = shown.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        let name = format!("{:03}_{variant}.hex", bytes[0]);
        tags.push(bytes[0]);
        if std::env::var_os("ASSAY_BLESS").is_some() && !files.contains_key(&name) {
            fs::write(dir().join(&name), wrap(&bytes)).expect("a new golden file");
            files.insert(name.clone(), wrap(&bytes));
        }
        let golden = files.remove(&name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(wrap(&bytes), golden, "{name}: a stored event never changes its form");
        assert_eq!(Event::from_canonical_bytes(&unwrap(&golden)), Ok(event), "{name}");
    }
    // What is not written any more must still be read.
    for (name, golden) in files {
        let bytes = unwrap(&golden);
        let event = Event::from_canonical_bytes(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(event.to_canonical_bytes(), bytes, "{name}");
    }
    assert_eq!(tags, known_tags(), "every variant has an example above");
}

/// Hex in lines of 32 bytes.
fn wrap(bytes: &[u8]) -> String {
    bytes.chunks(32).map(|line| hex::encode(line) + "\n").collect()
}

fn unwrap(golden: &str) -> Vec<u8> {
    hex::decode(golden.split_whitespace().collect::<String>()).expect("hex")
}

/// The tags that the decoder knows.
fn known_tags() -> Vec<u8> {
    let is_known = |tag: &u8| {
        let bytes = [&[*tag][..], &[0; 2_000]].concat();
        let error = Event::from_canonical_bytes(&bytes).expect_err("too many bytes");
        error.reason != format!("Unexpected variant tag: {tag}")
    };
    (0..=255).filter(is_known).collect()
}

/// Values that differ from field to field and from event to event.
struct Values(u8);

impl Values {
    fn address(&mut self) -> Address {
        self.0 += 1;
        Address::repeat_byte(self.0)
    }

    fn hash(&mut self) -> B256 {
        self.0 += 1;
        B256::repeat_byte(self.0)
    }

    fn amount(&mut self) -> U256 {
        self.0 += 1;
        U256::from_be_bytes([self.0; 32]) >> 8
    }

    fn small(&mut self) -> u64 {
        self.0 += 1;
        u64::from_be_bytes([self.0; 8]) >> 4
    }

    fn block(&mut self) -> u32 {
        self.0 += 1;
        u32::from_be_bytes([self.0; 4])
    }

    fn operator(&mut self) -> OperatorId {
        OperatorId(self.address())
    }

    fn staker(&mut self) -> StakerId {
        StakerId(self.address())
    }

    fn strategy(&mut self) -> StrategyId {
        StrategyId(self.address())
    }

    fn avs(&mut self) -> AvsId {
        AvsId(self.address())
    }

    fn set(&mut self) -> OperatorSetId {
        OperatorSetId { avs: self.avs(), id: self.block() }
    }

    fn text(&mut self, text: &[u8]) -> UntrustedText {
        UntrustedText(text.to_vec())
    }

    fn withdrawal(&mut self) -> Withdrawal {
        Withdrawal {
            staker: self.staker(),
            delegated_to: self.operator(),
            withdrawer: self.address(),
            nonce: self.amount(),
            start_block: self.block(),
            strategies: vec![self.strategy(), self.strategy()],
            scaled_shares: vec![self.amount(), self.amount()],
        }
    }
}

fn examples() -> Vec<Event> {
    let mut events = delegation();
    events.extend(allocation());
    events.extend(elsewhere());
    events.extend(liquid());
    events.extend(symbiotic());
    events.extend(beacon());
    events.extend(rewards());
    events.extend(pods());
    events.extend(governance());
    events.extend(our_own());
    events.sort_by_key(|event| event.to_canonical_bytes()[0]);
    events
}

fn delegation() -> Vec<Event> {
    let v = &mut Values(0);
    vec![
        Event::OperatorRegistered { operator: v.operator(), delegation_approver: v.address() },
        Event::DelegationApproverUpdated {
            operator: v.operator(),
            delegation_approver: v.address(),
        },
        Event::OperatorMetadataUriUpdated {
            operator: v.operator(),
            // Not UTF-8, on purpose.
            metadata_uri: v.text(b"ipfs://\xff\xfe/\0"),
        },
        Event::StakerDelegated { staker: v.staker(), operator: v.operator() },
        Event::StakerUndelegated { staker: v.staker(), operator: v.operator() },
        Event::StakerForceUndelegated { staker: v.staker(), operator: v.operator() },
        Event::OperatorSharesIncreased {
            operator: v.operator(),
            staker: v.staker(),
            strategy: v.strategy(),
            shares: v.amount(),
        },
        Event::OperatorSharesDecreased {
            operator: v.operator(),
            staker: v.staker(),
            strategy: v.strategy(),
            shares: v.amount(),
        },
        Event::OperatorSharesSlashed {
            operator: v.operator(),
            strategy: v.strategy(),
            total_slashed_shares: v.amount(),
        },
        Event::DepositScalingFactorUpdated {
            staker: v.staker(),
            strategy: v.strategy(),
            new_deposit_scaling_factor: v.amount(),
        },
        Event::SlashingWithdrawalQueued {
            withdrawal_root: v.hash(),
            withdrawal: v.withdrawal(),
            shares_to_withdraw: vec![v.amount(), v.amount()],
        },
        Event::SlashingWithdrawalCompleted { withdrawal_root: v.hash() },
        Event::WithdrawalQueued { withdrawal_root: v.hash(), withdrawal: v.withdrawal() },
        Event::WithdrawalCompleted { withdrawal_root: v.hash() },
    ]
}

fn allocation() -> Vec<Event> {
    let v = &mut Values(80);
    vec![
        Event::AllocationDelaySet {
            operator: v.operator(),
            delay_blocks: v.block(),
            effect_block: v.block(),
        },
        Event::AllocationUpdated {
            operator: v.operator(),
            operator_set: v.set(),
            strategy: v.strategy(),
            magnitude: v.small(),
            effect_block: v.block(),
        },
        Event::EncumberedMagnitudeUpdated {
            operator: v.operator(),
            strategy: v.strategy(),
            encumbered_magnitude: v.small(),
        },
        Event::MaxMagnitudeUpdated {
            operator: v.operator(),
            strategy: v.strategy(),
            max_magnitude: v.small(),
        },
        Event::OperatorSlashed {
            operator: v.operator(),
            operator_set: v.set(),
            strategies: vec![v.strategy(), v.strategy()],
            wad_slashed: vec![v.amount(), v.amount()],
            description: v.text("a\u{202e}b".as_bytes()),
        },
        Event::OperatorSetCreated { operator_set: v.set() },
        Event::OperatorAddedToOperatorSet { operator: v.operator(), operator_set: v.set() },
        Event::OperatorRemovedFromOperatorSet { operator: v.operator(), operator_set: v.set() },
        Event::StrategyAddedToOperatorSet { operator_set: v.set(), strategy: v.strategy() },
        Event::StrategyRemovedFromOperatorSet { operator_set: v.set(), strategy: v.strategy() },
        Event::RedistributionAddressSet {
            operator_set: v.set(),
            redistribution_recipient: v.address(),
        },
        Event::SlasherUpdated {
            operator_set: v.set(),
            slasher: v.address(),
            effect_block: v.block(),
        },
        Event::SlasherMigrated { operator_set: v.set(), slasher: v.address() },
        Event::AvsRegistrarSet { avs: v.avs(), registrar: v.address() },
        Event::AvsMetadataUriUpdated { avs: v.avs(), metadata_uri: v.text(b"") },
    ]
}

fn elsewhere() -> Vec<Event> {
    let v = &mut Values(150);
    vec![
        Event::Deposit { staker: v.staker(), strategy: v.strategy(), shares: v.amount() },
        Event::BurnOrRedistributableSharesIncreased {
            operator_set: v.set(),
            slash_id: v.amount(),
            strategy: v.strategy(),
            shares: v.amount(),
        },
        Event::BurnOrRedistributableSharesDecreased {
            operator_set: v.set(),
            slash_id: v.amount(),
            strategy: v.strategy(),
            shares: v.amount(),
        },
        Event::PodDeployed { eigen_pod: v.address(), pod_owner: v.staker() },
        Event::PodSharesUpdated {
            pod_owner: v.staker(),
            shares_delta: I256::try_from(-3_i64).expect("small"),
        },
        Event::NewTotalShares {
            pod_owner: v.staker(),
            new_total_shares: I256::try_from(7_i64).expect("small"),
        },
        Event::BeaconChainSlashingFactorDecreased {
            staker: v.staker(),
            previous_factor: v.small(),
            new_factor: v.small(),
        },
        Event::BurnableEthSharesIncreased { shares: v.amount() },
        Event::OperatorAvsRegistrationStatusUpdated {
            operator: v.operator(),
            avs: v.avs(),
            is_registered: true,
        },
        Event::AppointeeSet {
            account: v.address(),
            appointee: v.address(),
            target: v.address(),
            selector: [1, 2, 3, 4],
        },
        Event::AppointeeRemoved {
            account: v.address(),
            appointee: v.address(),
            target: v.address(),
            selector: [5, 6, 7, 8],
        },
        Event::AdminSet { account: v.address(), admin: v.address() },
        Event::AdminRemoved { account: v.address(), admin: v.address() },
        Event::Unmapped { topics: vec![v.hash(), v.hash()], data: vec![1, 2, 3].into() },
    ]
}

fn liquid() -> Vec<Event> {
    let v = &mut Values(100);
    let token = LrtId(v.address());
    vec![
        Event::LrtStakersAdded { token, stakers: vec![v.staker(), v.staker()] },
        Event::LrtStakersRemoved { token, stakers: vec![v.staker()] },
        Event::LrtRateUpdated { token, rate: v.amount(), total_assets: Some(v.amount()) },
        Event::LrtTotalsUpdated { token, total_assets: v.amount(), total_shares: v.amount() },
        Event::LrtMinted { token, asset: None, assets: v.amount(), shares: Some(v.amount()) },
        Event::LrtBurned { token, assets: v.amount() },
        Event::LrtSupplyRecorded { token, supply: v.amount() },
        Event::LrtReservesRecorded { token, assets: v.amount() },
        Event::LrtWithdrawalRequested { token, request: Some(v.amount()), shares: v.amount() },
        Event::LrtWithdrawalSettled {
            token,
            request: None,
            shares: Some(v.amount()),
            asset: Some(v.address()),
            paid: Some(v.amount()),
        },
        Event::LrtBufferIncreased { token, asset: None, amount: v.amount() },
        Event::LrtBufferDecreased { token, asset: Some(v.address()), amount: v.amount() },
        Event::LrtWithdrawalDelaySet { token, delay: v.amount(), is_in_blocks: true },
        Event::LrtNavGuardSet { token, limit: v.amount() },
        Event::LrtRedemptionsPaused { token, is_paused: true },
        Event::PriceUpdated { asset: v.address(), price: v.amount() },
    ]
}

fn governance() -> Vec<Event> {
    let v = &mut Values(180);
    let (of, safe) = (Governed::Named, v.address());
    let contract = v.address();
    vec![
        Event::ContractUpgraded { of: Governed::Platform, contract, implementation: v.address() },
        Event::TimelockDelayChanged {
            of,
            timelock: v.address(),
            old_delay: Some(v.amount()),
            new_delay: v.amount(),
        },
        Event::SafeOwnerAdded { of, safe, owner: v.address() },
        Event::SafeOwnerRemoved { of, safe, owner: v.address() },
        Event::SafeThresholdChanged { of, safe, threshold: v.amount() },
        Event::ContractAdminChanged {
            of: Governed::Token(LrtId(v.address())),
            contract,
            previous: v.address(),
            admin: v.address(),
        },
        Event::SafeModuleEnabled { of, safe, module: v.address() },
        Event::TimelockCallScheduled(Box::new(ScheduledCall {
            of,
            timelock: v.address(),
            operation: v.hash(),
            index: v.amount(),
            target: v.address(),
            value: v.amount(),
            selector: Some([1, 2, 3, 4]),
            data_hash: v.hash(),
            predecessor: v.hash(),
            wait: TimelockWait::Until(v.amount()),
            about: v.address(),
            about_of: Some(Governed::Token(LrtId(v.address()))),
        })),
        Event::TimelockCallExecuted {
            of,
            timelock: v.address(),
            operation: v.hash(),
            index: v.amount(),
            target: v.address(),
        },
        Event::TimelockOperationCancelled { of, timelock: v.address(), operation: v.hash() },
    ]
}

fn symbiotic() -> Vec<Event> {
    let v = &mut Values(130);
    let (vault, slasher, delegator) = (v.address(), v.address(), v.address());
    let (subnetwork, operator) = (v.hash(), v.address());
    vec![
        Event::SymbioticEntityAdded { kind: SymbioticEntity::Slasher, entity: slasher },
        Event::SymbioticOptInUpdated {
            operator,
            to: SymbioticEntity::Network,
            entity: v.address(),
            is_in: true,
        },
        Event::SymbioticMiddlewareSet { network: v.address(), middleware: v.address() },
        Event::SymbioticDelegatorSet { vault, delegator },
        Event::SymbioticSlasherSet { vault, slasher },
        Event::SymbioticDeposited { vault, amount: v.amount() },
        Event::SymbioticWithdrawn { vault, amount: v.amount() },
        Event::SymbioticVaultSlashed { vault, amount: v.amount() },
        Event::SymbioticSlashed {
            slasher,
            subnetwork,
            operator,
            amount: v.amount(),
            capture_time: v.small(),
        },
        Event::SymbioticSlashRequested {
            slasher,
            index: v.amount(),
            subnetwork,
            operator,
            amount: v.amount(),
            capture_time: v.small(),
            veto_deadline: v.small(),
        },
        Event::SymbioticSlashExecuted { slasher, index: v.amount(), amount: v.amount() },
        Event::SymbioticSlashVetoed { slasher, index: v.amount(), resolver: v.address() },
        Event::SymbioticResolverSet { slasher, subnetwork, resolver: v.address() },
        Event::SymbioticNetworkLimitSet {
            delegator,
            subnetwork,
            amount: v.amount(),
            is_maximum: true,
        },
        Event::SymbioticOperatorLimitSet {
            delegator,
            subnetwork,
            operator,
            amount: v.amount(),
            is_shares: false,
        },
    ]
}

fn rewards() -> Vec<Event> {
    let v = &mut Values(160);
    let set = OperatorSetId { avs: v.avs(), id: v.block() };
    let submission = |v: &mut Values| RewardsSubmission {
        submitter: v.address(),
        nonce: v.amount(),
        hash: v.hash(),
        strategies: vec![(v.strategy(), v.small().into()), (v.strategy(), v.small().into())],
        token: v.address(),
        start_timestamp: v.block(),
        duration: v.block(),
    };
    vec![
        Event::RewardsSubmitted {
            rule: RewardsRule::UniqueStake(set),
            submission: submission(v),
            amount: v.amount(),
        },
        Event::OperatorDirectedRewardsSubmitted {
            service: RewardedService::Avs(v.avs()),
            submission: submission(v),
            operator_rewards: vec![(v.operator(), v.amount()), (v.operator(), v.amount())],
            description: v.text(b"for \xff"),
        },
        Event::OperatorSplitSet {
            caller: v.address(),
            operator: v.operator(),
            service: Some(RewardedService::OperatorSet(set)),
            activated_at: v.block(),
            old_bips: 1_000,
            new_bips: 2_500,
        },
        Event::DefaultOperatorSplitSet { old_bips: 1_000, new_bips: 750 },
    ]
}

fn beacon() -> Vec<Event> {
    let v = &mut Values(150);
    vec![
        Event::BeaconProposerSlashed { slot: v.small(), validator: v.small() },
        Event::BeaconAttesterSlashed { slot: v.small(), validators: vec![v.small(), v.small()] },
        Event::BeaconValidatorObserved {
            slot: v.small(),
            validator: v.small(),
            pubkey_hash: v.hash(),
            withdrawal_credentials: v.hash(),
            effective_balance_gwei: v.small(),
            withdrawable_epoch: v.small(),
        },
    ]
}

fn pods() -> Vec<Event> {
    let v = &mut Values(170);
    vec![
        Event::PodValidatorRestaked { validator: PodValidator::Index(v.small()) },
        Event::PodValidatorBalanceUpdated {
            validator: PodValidator::PubkeyHash(v.hash()),
            balance_time: v.small(),
            balance_gwei: v.small(),
        },
        Event::PodValidatorWithdrawn {
            checkpoint_time: v.small(),
            validator: PodValidator::PubkeyHash(v.hash()),
        },
        Event::PodCheckpointFinalized {
            checkpoint_time: v.small(),
            share_delta_wei: -I256::from_raw(v.amount()),
        },
        Event::PodEthWithdrawn { recipient: v.address(), amount: v.amount() },
        Event::PodExitRequested { pubkey_hash: v.hash() },
        Event::PodConsolidationRequested { source: v.hash(), target: v.hash() },
    ]
}

fn our_own() -> Vec<Event> {
    let v = &mut Values(200);
    [
        Event::FinalityAdvanced,
        Event::BlocksReverted { orphaned: vec![v.hash(), v.hash()] },
        Event::Restated { known: v.small() },
        Event::RatingAction(RatingAction {
            entity: RatedEntity::operator_set(1, v.set()),
            kind: RatingActionKind::Downgraded,
            seq: v.block(),
            word: v.amount(),
            expected_loss_ppt: v.small(),
            canonical_position: v.small(),
            canonical_hash: v.hash(),
            methodology_hash: v.hash(),
            assessment_hash: v.hash(),
        }),
        Event::BlocksRestored { restored: vec![v.hash()] },
        Event::RatingStored {
            oracle: v.address(),
            entity_key: v.hash(),
            seq: v.block(),
            word: v.amount(),
            tx_hash: v.hash(),
        },
        Event::MetadataDocumentRecorded {
            uri: UntrustedText(b"https://a.example/metadata.json".to_vec()),
            hash: v.hash(),
            name: UntrustedText("Ankr \u{202e}".as_bytes().to_vec()),
            website: Some(UntrustedText(b"https://a.example".to_vec())),
        },
        Event::ViewObserved {
            name: "total".to_owned(),
            contract: v.address(),
            input: vec![1, 2, 3, 4].into(),
            answer: vec![5; 32].into(),
        },
        Event::AccountProven {
            name: "reserve".to_owned(),
            account: v.address(),
            balance: v.amount(),
            nonce: v.small(),
            code_hash: v.hash(),
            slots: vec![(v.amount(), v.amount())],
        },
    ]
    .into_iter()
    .chain(messages(&mut Values(100)))
    .collect()
}

fn messages(v: &mut Values) -> Vec<Event> {
    let set = v.set();
    let operator = v.operator();
    let rule = Rule {
        id: "R1".to_owned(),
        text: "two votes".to_owned(),
        evidence: EvidenceKind::Challenge,
        needs_history: true,
        external_data: false,
        slashes_liveness: true,
        machine_policy: false,
        max_slash: Ppt(500_000_000_000),
        dispute_window_blocks: 7,
        verifier_code_hash: Some(v.hash()),
    };
    let kind = SlasherKind::Multisig { threshold: 2, signers: 3, timelock_blocks: 100_800 };
    let claims = vec![
        Claim::Ruleset { set, ruleset: Ruleset { redistributing: true, rules: vec![rule] } },
        Claim::SlasherProfile {
            set,
            slasher: v.address(),
            kind,
            code_hash: Some(v.hash()),
            max_slash: Some(Ppt(3)),
        },
        Claim::RecipientProfile {
            set,
            recipient: v.address(),
            kind: RecipientKind::Contract,
            is_delayed: true,
            is_self_controlled: false,
        },
        Claim::Veto { set, independent_signers: 3, window_blocks: 7_200 },
        Claim::ProfitFromCorruption { set, wei: v.amount(), method: "bridge".to_owned() },
        Claim::CorruptionThreshold { set, alpha: Ppt(4) },
        Claim::AntiSlasher {
            operator,
            signing_keys: v.hash(),
            policy: v.hash(),
            rulesets: [v.hash(), v.hash()].into(),
        },
        Claim::Infrastructure {
            operator,
            has_remote_signer: true,
            has_dvt: false,
            has_doppelganger_detection: true,
        },
        Claim::KeyMigration { operator, migrated_at: v.small() },
        Claim::Uptime { operator, uptime: Ppt(5) },
        Claim::Cause { operator, set, block: v.small(), cause: Cause::LogicBug },
        Claim::Price { strategy: v.strategy(), wei: v.amount() },
        Claim::WatchResolution { entity: RatedEntity::operator_set(1, set) },
    ];
    let mut messages = vec![
        Message::AdministratorAppointment(AdministratorAppointment {
            administrator: v.address(),
            effective_block: v.small(),
        }),
        Message::SignerRegistration(SignerRegistration {
            signer: v.address(),
            level: VerificationLevel::VerifiedRemote,
            affiliations: [v.address(), v.address()].into(),
            effective_block: v.small(),
        }),
        Message::SignerRemoval(SignerRemoval { signer: v.address(), effective_block: v.small() }),
    ];
    // The stored form of every claim, one after the other in one golden file.
    assert_eq!(claims.iter().map(Claim::kind).collect::<Vec<_>>(), (1..=13).collect::<Vec<_>>());
    let encoded: Vec<u8> = claims.iter().flat_map(|c| borsh::to_vec(c).expect("memory")).collect();
    messages.push(Message::Attestation(Attestation {
        claim: Claim::ProfitFromCorruption { set, wei: U256::ONE, method: hex::encode(encoded) },
        level: VerificationLevel::VerifiedOnChain,
        evidence: v.hash(),
        observed_at: v.small(),
        effective_block: v.small(),
        expires_at: v.small(),
    }));
    messages.push(Message::Revocation(Revocation {
        attestation: v.hash(),
        effective_block: v.small(),
    }));
    messages.push(Message::MethodologyAdoption(MethodologyAdoption {
        methodology: v.hash(),
        version: "2".to_owned(),
        effective_block: v.small(),
    }));
    messages.into_iter().map(|message| message.into_event(v.hash(), v.address(), [7; 65])).collect()
}

/// Claims that came after the file which holds those above.
#[test]
fn claims_about_tokens_are_stored_as_they_always_were() {
    let v = &mut Values(220);
    let claim = Claim::FirstLossReserve {
        token: LrtId(v.address()),
        reserve: v.address(),
        wei: U256::from(0x0102_0304_u64),
        is_automatic: true,
    };
    let bytes = borsh::to_vec(&claim).expect("memory");
    let expected = [&[32][..], &[221; 20], &[222; 20], &[4, 3, 2, 1], &[0; 28], &[1]];
    assert_eq!(bytes, expected.concat());
    assert_eq!(claim.kind(), 32);

    let (token, wei) = (LrtId(Address::repeat_byte(1)), U256::from(0x0203));
    let claims = [
        Claim::DexDepth { token, cost: Ppt(4), wei },
        Claim::LendingExposure {
            token,
            looped: Ppt(5),
            loan_to_value: Ppt(6),
            liquidation_threshold: Ppt(7),
        },
        Claim::NavView { token, wei },
        Claim::ReserveProof { token, assets: wei, liabilities: U256::ONE, proven_at: 8 },
        Claim::CrossPlatformStake {
            operator: OperatorId(Address::repeat_byte(2)),
            platforms: "K".to_owned(),
            wei,
        },
        Claim::RewardRealisation {
            earner: Address::repeat_byte(3),
            token: Address::repeat_byte(4),
            cumulative: wei,
        },
    ];
    let wei = [&[3, 2][..], &[0; 30]].concat();
    let one = [&[1][..], &[0; 31]].concat();
    let expected = [
        [&[33][..], &[1; 20], &[4, 0, 0, 0, 0, 0, 0, 0], &wei].concat(),
        [&[34][..], &[1; 20], &[5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 7], &[0; 7]]
            .concat(),
        [&[35][..], &[1; 20], &wei].concat(),
        [&[36][..], &[1; 20], &wei, &one, &[8, 0, 0, 0, 0, 0, 0, 0]].concat(),
        [&[37][..], &[2; 20], &[1, 0, 0, 0, b'K'], &wei].concat(),
        [&[38][..], &[3; 20], &[4; 20], &wei].concat(),
    ];
    for (claim, expected) in claims.iter().zip(expected) {
        assert_eq!(borsh::to_vec(claim).expect("memory"), expected, "{}", claim.name());
        assert_eq!(claim.kind(), expected[0]);
        let told = serde_json::to_value(claim).expect("plain data");
        assert_eq!(serde_json::from_value::<Claim>(told).expect("as written"), *claim);
    }
}
