//! The made-up year as a log comes to know it: stage by stage, with what is signed beside the
//! chain, a claim that arrives late, and a block that the chain takes back.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use alloy::signers::SignerSync as _;
use alloy::signers::local::PrivateKeySigner;
use assay_domain::attestation::{
    AdministratorAppointment, Attestation, Cause, Claim, Message, Revocation, SignerRegistration,
    SlasherKind,
};
use assay_domain::decimal::Ppt;
use assay_domain::methodology::{Methodology, MethodologyError};
use assay_domain::mitigation::VerificationLevel;
use assay_domain::ruleset::{EvidenceKind, Rule, Ruleset};
use assay_domain::{Fact, LrtId};

use super::{
    CHAIN_ID, DOCUMENT, DOCUMENT_URI, MORNING, SLASH_PLACE, WAD, World, WorldError, address,
    block_at, day_of, ether, facts, head, lrt, operator, set, time_at,
};
use crate::attestation::{Document, Recorder, Refused, record};
use crate::documents::{self, DocumentError};
use crate::event_store::{AppendError, Batch, EventStore, Revert, Timeliness};
use crate::observations;
use crate::rater::{CaughtUp, Rater, RaterError};

/// The day of a slash in a block that the chain takes back.
const ORPHANED_DAY: u64 = 348;

/// The day on which a claim is recorded that should have counted since [`LATE_SINCE`].
const LATE_DAY: u64 = 40;
const LATE_SINCE: u64 = 25;

/// The world could not be told to a log.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// The story itself.
    #[error(transparent)]
    World(#[from] WorldError),
    /// A made-up key does not sign.
    #[error("a made-up key does not sign")]
    Key(#[from] alloy::signers::Error),
    /// The log refused facts. Is it another chain's?
    #[error("the log does not take the made-up chain")]
    Append(#[from] AppendError),
    /// The made-up metadata document is none.
    #[error("the made-up metadata document is none")]
    Document(#[from] DocumentError),
    /// The log refused a message.
    #[error("the log does not take a made-up message")]
    Refused(#[from] Refused),
    /// The file of the methodology does not read.
    #[error(transparent)]
    Methodology(#[from] MethodologyError),
    /// The ratings could not be made.
    #[error(transparent)]
    Rater(#[from] RaterError),
}

/// What somebody signed, and the day on which the log hears of it.
struct Said {
    day: u64,
    document: Document,
    timeliness: Timeliness,
}

/// Tells days of the made-up year to a log that holds the days before, and rates them. Stages
/// that the log holds are not told again.
pub async fn play(
    store: &EventStore,
    rater: &mut Rater,
    days: RangeInclusive<u64>,
) -> Result<CaughtUp, PlayError> {
    let all = facts()?;
    let mut said = BTreeMap::<u64, Vec<Said>>::new();
    let world = World::new()?;
    for one in messages(world.token("etherfi"), world.token("kelp"))? {
        said.entry(one.day).or_default().push(one);
    }
    let stages: BTreeSet<u64> = said.keys().copied().chain([ORPHANED_DAY, *days.end()]).collect();
    let mut next = *days.start();
    let known = store.cursor(CHAIN_ID).await?.and_then(|cursor| cursor.finalized);
    for stage in stages.into_iter().filter(|stage| days.contains(stage)) {
        let new = all.iter().filter(|fact| (next..=stage).contains(&day_of(fact.block.number)));
        let facts: Vec<Fact> = new.cloned().collect();
        let end = head(&facts);
        next = stage + 1;
        if known.is_some_and(|known| known.number >= end.number) {
            continue;
        }
        let finalized = Some(end);
        let batch = Batch { chain_id: CHAIN_ID, facts, finalized, ..Batch::default() };
        store.append(&batch).await?;
        for Said { document, timeliness, .. } in said.remove(&stage).unwrap_or_default() {
            if timeliness == Timeliness::Restates {
                rater.catch_up().await?;
            }
            record(store, document, Recorder::Owner, timeliness).await?;
        }
        if stage == ORPHANED_DAY {
            take_back(store, &batch.facts).await?;
        }
    }
    let named = documents::Document::parse(DOCUMENT_URI, DOCUMENT.as_bytes())?;
    documents::record(store, CHAIN_ID, &[named]).await?;
    let end = head(&all);
    if day_of(end.number) <= *days.end() {
        observations::record(store, CHAIN_ID, end, World::new()?.token_names()).await?;
    }
    Ok(rater.catch_up().await?)
}

/// A slash is seen in a block above `known`, and the block is none of the chain's any more.
async fn take_back(store: &EventStore, known: &[Fact]) -> Result<(), PlayError> {
    let mut world = World::told(ORPHANED_DAY)?;
    let told = world.facts.len();
    world.slash(5, 3, 1, 40, "a slash that never was (DEMO)");
    let mut facts = world.facts.split_off(told);
    let hash = keccak256("assay-demo orphaned block");
    for fact in &mut facts {
        fact.block.hash = hash;
    }
    store.append(&Batch { chain_id: CHAIN_ID, facts, ..Batch::default() }).await?;
    let revert = Some(Revert { to: head(known), orphaned: vec![hash] });
    store.append(&Batch { chain_id: CHAIN_ID, revert, ..Batch::default() }).await?;
    Ok(())
}

/// The block that what is signed on a day names.
const fn effective(day: u64) -> u64 {
    block_at(day, MORNING)
}

/// A made-up key: known to everybody who reads this, and worth nothing.
fn key(of: &str) -> Result<PrivateKeySigner, PlayError> {
    let secret = keccak256(format!("assay-demo key {of}"));
    Ok(PrivateKeySigner::from_bytes(&secret).map_err(alloy::signers::Error::from)?)
}

fn signed(by: &PrivateKeySigner, day: u64, message: Message) -> Result<Said, PlayError> {
    let signer = by.address();
    let mut document =
        Document { chain_id: CHAIN_ID, message, signer: Some(signer), signature: None };
    let signature = by.sign_hash_sync(&document.digest(signer))?;
    document.signature = Some(Bytes::from(signature.as_bytes().to_vec()));
    Ok(Said { day, document, timeliness: Timeliness::Required })
}

fn registration(day: u64, key: Address, level: VerificationLevel, of: Option<Address>) -> Message {
    Message::SignerRegistration(SignerRegistration {
        signer: key,
        level,
        affiliations: of.into_iter().collect(),
        effective_block: effective(day),
    })
}

fn claim(day: u64, valid_days: u64, level: VerificationLevel, claim: Claim) -> Message {
    Message::Attestation(Attestation {
        evidence: keccak256(format!("assay-demo evidence {day} {}", claim.name())),
        claim,
        level,
        observed_at: time_at(day, MORNING) - 3_600,
        effective_block: effective(day),
        expires_at: time_at(day, MORNING) + valid_days * 86_400,
    })
}

/// Who administers, an auditor, an AVS that speaks for itself, and all that they say.
fn messages(river: Option<LrtId>, heath: Option<LrtId>) -> Result<Vec<Said>, PlayError> {
    const THIRD: VerificationLevel = VerificationLevel::SignedThirdParty;
    const REMOTE: VerificationLevel = VerificationLevel::VerifiedRemote;
    const SELF: VerificationLevel = VerificationLevel::SelfClaim;
    let (administrator, auditor, kestrel) = (key("administrator")?, key("auditor")?, key("avs")?);
    let appointed = Message::AdministratorAppointment(AdministratorAppointment {
        administrator: administrator.address(),
        effective_block: effective(10),
    });
    let slasher = |avs: usize, id: u32, kind: SlasherKind| Claim::SlasherProfile {
        set: set(avs, id),
        slasher: address("slasher", avs),
        kind,
        code_hash: Some(keccak256(format!("assay-demo slasher code {avs}"))),
        max_slash: Some(Ppt(200_000_000_000)),
    };
    let council = SlasherKind::Multisig { threshold: 5, signers: 9, timelock_blocks: 50_400 };
    let rule = Rule {
        id: "R1".to_owned(),
        text: "two attestations of one height (DEMO)".to_owned(),
        evidence: EvidenceKind::Deterministic,
        needs_history: false,
        external_data: false,
        slashes_liveness: false,
        machine_policy: true,
        max_slash: Ppt(200_000_000_000),
        dispute_window_blocks: 50_400,
        verifier_code_hash: None,
    };
    let ruleset = Ruleset { redistributing: false, rules: vec![rule] };
    let published = Methodology::version_1()?.rulesets.standards;
    let storing = published.into_iter().find(|one| one.name == "DA-1").map(|one| one.ruleset);
    let storing = storing.unwrap_or_else(|| ruleset.clone());
    let covered = BTreeSet::from([ruleset.hash(), storing.hash()]);
    let (turnstone, wei) = (set(5, 0), ether(900));
    let well_kept = [
        Claim::Ruleset { set: turnstone, ruleset },
        slasher(5, 0, SlasherKind::Immutable),
        Claim::ProfitFromCorruption {
            set: turnstone,
            wei,
            method: "an estimate (DEMO)".to_owned(),
        },
        Claim::CorruptionThreshold { set: turnstone, alpha: Ppt(333_333_333_333) },
    ];
    let veto = Claim::Veto { set: set(3, 0), independent_signers: 5, window_blocks: 50_400 };
    let remote = |number: usize| Claim::Infrastructure {
        operator: operator(number),
        has_remote_signer: true,
        has_dvt: number == 0,
        has_doppelganger_detection: true,
    };
    let anti_slasher = Claim::AntiSlasher {
        operator: operator(0),
        signing_keys: keccak256("assay-demo signing keys"),
        policy: keccak256("assay-demo policy"),
        rulesets: covered,
    };
    let liveness = Claim::Cause {
        operator: operator(6),
        set: set(2, 0),
        block: block_at(120, SLASH_PLACE),
        cause: Cause::Liveness,
    };
    let price = Claim::Price { strategy: lrt::unpriced(), wei: U256::from(WAD / 100 * 104) };
    let uptime = Claim::Uptime { operator: operator(3), uptime: Ppt(995_000_000_000) };
    let profit = |avs: usize, id: u32, wei: U256| Claim::ProfitFromCorruption {
        set: set(avs, id),
        wei,
        method: "what it could withdraw in a day (DEMO)".to_owned(),
    };
    let threshold = Claim::CorruptionThreshold { set: set(3, 0), alpha: Ppt(333_333_333_334) };
    let cushion = river.map(|token| Claim::FirstLossReserve {
        token,
        reserve: address("reserve", 0),
        wei: ether(250),
        is_automatic: true,
    });
    let traded =
        heath.map(|token| Claim::DexDepth { token, cost: Ppt(4_500_000_000), wei: ether(900) });
    let looped = heath.map(|token| Claim::LendingExposure {
        token,
        looped: Ppt(140_000_000_000),
        loan_to_value: Ppt(880_000_000_000),
        liquidation_threshold: Ppt(930_000_000_000),
    });
    let by = |key: &PrivateKeySigner, day: u64, valid_days: u64, level, said: Claim| {
        signed(key, day, claim(day, valid_days, level, said))
    };
    let taken_back = by(&auditor, 80, 600, THIRD, remote(1))?;
    let attestation: B256 = taken_back.document.digest(auditor.address());
    let revocation =
        Message::Revocation(Revocation { attestation, effective_block: effective(200) });
    let late = Said {
        day: LATE_DAY,
        timeliness: Timeliness::Restates,
        ..by(&auditor, LATE_SINCE, 700, THIRD, slasher(0, 0, SlasherKind::Immutable))?
    };
    let own = Some(address("avs", 3));
    let cushion = cushion.map(|claim| by(&auditor, 320, 600, THIRD, claim));
    let market = traded.into_iter().chain(looped);
    let market: Vec<_> = market.map(|claim| by(&auditor, 330, 600, THIRD, claim)).collect();
    let well_kept = well_kept.map(|claim| by(&auditor, 12, 700, REMOTE, claim));
    let mut all = vec![
        signed(&administrator, 10, appointed)?,
        signed(&administrator, 10, registration(10, auditor.address(), REMOTE, None))?,
        signed(&administrator, 10, registration(10, kestrel.address(), SELF, own))?,
        by(&auditor, 12, 700, THIRD, Claim::Ruleset { set: set(3, 0), ruleset: storing })?,
        by(&auditor, 12, 700, THIRD, slasher(3, 0, council))?,
        by(&auditor, 12, 700, THIRD, veto)?,
        late,
        // It has expired since.
        by(&auditor, 60, 120, THIRD, uptime)?,
        taken_back,
        signed(&auditor, 200, revocation)?,
        by(&auditor, 90, 600, THIRD, remote(0))?,
        by(&auditor, 90, 600, THIRD, anti_slasher)?,
        by(&auditor, 125, 700, THIRD, liveness)?,
        by(&kestrel, 140, 700, SELF, slasher(3, 1, SlasherKind::Immutable))?,
        by(&auditor, 300, 600, THIRD, profit(3, 0, ether(700)))?,
        by(&auditor, 300, 600, THIRD, threshold)?,
        by(&auditor, 300, 600, THIRD, profit(0, 0, ether(2_500)))?,
        by(&auditor, lrt::UNPRICED_DAY + 18, 60, THIRD, price)?,
    ];
    for one in well_kept.into_iter().chain(cushion).chain(market) {
        all.push(one?);
    }
    Ok(all)
}
