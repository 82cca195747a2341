//! A first-loss reserve of a token: who must say what for it to bear losses, and what it bears.

use std::sync::LazyLock;

use alloy::primitives::{Address, B256, U256, keccak256};
use assay_domain::assess::{Opinion, When, assess, sensitivities};
use assay_domain::attestation::{
    AdministratorAppointment, Attestation, Claim, Message, SignerRegistration,
};
use assay_domain::attribution::Attribution;
use assay_domain::block::BlockRef;
use assay_domain::decimal::Ppt;
use assay_domain::mitigation::VerificationLevel;
use assay_domain::operator_set::SlasherAuthority;
use assay_domain::rationale::rationale;
use assay_domain::sensitivity::Change;
use assay_domain::state::ChainState;
use assay_domain::tail::{Tail, loss_model};
use assay_domain::uncertainty::Uncertainty;
use assay_domain::{AvsId, Event, OperatorId, OperatorSetId, RatedEntity};

use crate::lrt::{WORLD, five, methodology, token};

const ADMINISTRATOR: Address = Address::repeat_byte(0xad);
pub(crate) const THIRD_PARTY: Address = Address::repeat_byte(0x71);
pub(crate) const ANYBODY: Address = Address::repeat_byte(0x72);
/// It belongs to the token it speaks of.
pub(crate) const ISSUER: Address = Address::repeat_byte(0x73);
pub(crate) const NOW: u64 = 1_746_600_000;

static FIVE: LazyLock<ChainState> =
    LazyLock::new(|| five().state().chains.remove(&1).expect("the chain they speak on"));

fn event(signer: Address, digest: u8, message: Message) -> Event {
    message.into_event(B256::repeat_byte(digest), signer, [0; 65])
}

/// Somebody says something, for thirty days.
pub(crate) fn said(signer: Address, level: VerificationLevel, claim: Claim) -> Event {
    said_at(NOW, signer, level, claim)
}

/// The same from a time on.
pub(crate) fn said_at(time: u64, signer: Address, level: VerificationLevel, claim: Claim) -> Event {
    let message = Attestation {
        evidence: B256::ZERO,
        observed_at: time,
        effective_block: 1,
        expires_at: time + 30 * 86_400,
        level,
        claim,
    };
    let digest = keccak256(format!("{signer} {:?}", message.claim));
    let message = Message::Attestation(message);
    assert_eq!(message.fault(), None);
    message.into_event(digest, signer, [0; 65])
}

/// The one who may sign at a level.
fn admitted(signer: Address, level: VerificationLevel, digest: u8) -> Event {
    let affiliations = [].into();
    let message = SignerRegistration { signer, level, affiliations, effective_block: 1 };
    event(ADMINISTRATOR, digest, Message::SignerRegistration(message))
}

/// The one who may sign as a third party, of others.
fn affiliated(signer: Address, with: Address, digest: u8) -> Event {
    let (level, affiliations) = (VerificationLevel::SignedThirdParty, [with].into());
    let message = SignerRegistration { signer, level, affiliations, effective_block: 1 };
    event(ADMINISTRATOR, digest, Message::SignerRegistration(message))
}

/// A reserve of so many parts per million of Kelp's net asset value, as somebody claims it.
fn reserve(signer: Address, level: VerificationLevel, ppm: u64, is_automatic: bool) -> Event {
    let nav = kelp(&[]).lrt.unwrap().look_through.nav;
    let claim = Claim::FirstLossReserve {
        token: token("kelp"),
        reserve: Address::repeat_byte(0x55),
        // One wei more than the whole bp, which rounding down may not lose.
        wei: nav * U256::from(ppm) / U256::from(1_000_000) + U256::ONE,
        is_automatic,
    };
    said(signer, level, claim)
}

/// What is said of Kelp's token when these claims count.
fn kelp(claims: &[Event]) -> Opinion {
    opinion("kelp", claims, 0)
}

/// An administrator, a third party, and somebody whose word earns nothing.
pub(crate) fn registry() -> Vec<Event> {
    let appointed = AdministratorAppointment { administrator: ADMINISTRATOR, effective_block: 1 };
    vec![
        event(ADMINISTRATOR, 1, Message::AdministratorAppointment(appointed)),
        admitted(THIRD_PARTY, VerificationLevel::SignedThirdParty, 2),
        admitted(ANYBODY, VerificationLevel::SelfClaim, 3),
    ]
}

/// What is said of a protocol's token so many days after these claims count.
pub(crate) fn opinion(name: &str, claims: &[Event], days: u64) -> Opinion {
    let mut chain = FIVE.clone();
    let mut events = registry();
    events.push(affiliated(ISSUER, token(name).0, 4));
    events.extend_from_slice(claims);
    chain.fold_messages(&events.iter().collect::<Vec<_>>(), NOW);
    let (number, timestamp) = (chain.block_number + days * 7_200, NOW + days * 86_400);
    // Nothing else happens in these days.
    chain.block_number = number;
    let at = BlockRef { number, timestamp, ..BlockRef::default() };
    assess(&chain, &RatedEntity::lrt(1, token(name)), When::at(at), &methodology())
}

fn verified(ppm: u64) -> Event {
    reserve(THIRD_PARTY, VerificationLevel::SignedThirdParty, ppm, true)
}

#[test]
fn a_verified_reserve_bears_the_first_loss_of_the_exact_distribution() {
    let methodology = methodology();
    let plain = kelp(&[]);
    let run = Some(plain.lrt.as_ref().unwrap().run);
    let model = loss_model(&plain.profile, run, &methodology).unwrap();
    let gross = Tail::of(&model, 0);
    let mut before = plain.profile.expected_loss();
    for (ppm, bp) in [(5_000, 50_u16), (10_000, 100), (30_000, 300)] {
        let found = kelp(&[verified(ppm)]);
        let lrt = found.lrt.as_ref().unwrap();
        let first_loss = lrt.first_loss.clone().unwrap();
        assert_eq!((first_loss.bp, first_loss.level), (bp, VerificationLevel::SignedThirdParty));
        // The blocks sum to E[(L - d)+], but for a ppt each.
        let net = found.profile.expected_loss();
        let exact = gross.after_reserve.iter().find(|(of, _)| *of == bp).unwrap().1;
        assert!(net.0.abs_diff(exact.0) <= 100, "{bp}: {net:?}, expected {exact}");
        assert!(net < before, "a larger reserve leaves less");
        before = net;
        assert_eq!(first_loss.borne.0, plain.profile.expected_loss().0 - net.0);
        let sum: u64 = found.profile.blocks().iter().map(|block| block.expected_loss.0).sum();
        assert_eq!(sum, net.0);
        // The reserve is a line of its own: the blocks are those of the token without it.
        let scale = &methodology.scale;
        let attribution = Attribution::after(Some(&first_loss), &found.profile, &found.caps, scale);
        let points: u32 = attribution.blocks.iter().map(|line| u32::from(line.points)).sum();
        let ceilings: u32 = attribution.caps.iter().map(|cap| u32::from(cap.points)).sum();
        let line = attribution.reserve.clone().unwrap();
        assert_eq!(points + ceilings - u32::from(line.points), u32::from(attribution.score.0));
        assert_eq!(points - u32::from(line.points), u32::from(attribution.model_score.0));
        let without = Attribution::of(&plain.profile, &plain.caps, scale);
        assert_eq!((&attribution.blocks, without.reserve), (&without.blocks, None));
        let blocks: u64 = attribution.blocks.iter().map(|line| line.expected_loss.0).sum();
        assert_eq!(blocks - line.expected_loss.0, net.0);
        assert_eq!(
            (line.bp, line.expected_loss, net),
            (bp, first_loss.borne, attribution.expected_loss)
        );
        assert!(line.points > 0 && attribution.model_score < without.model_score);
        let uncertainty = Uncertainty::of(&found.profile, &methodology);
        let grade = attribution.grade;
        let told = rationale(grade, &attribution, &uncertainty, &[], &methodology);
        let said = format!("A reserve of {} % of its value", Ppt(u64::from(bp) * 10_000_000_000));
        assert!(told.drivers.iter().any(|line| line.starts_with(&said)), "{told:?}");
        // What a single cause would have to come to depends on all: nothing is said of it.
        assert!(!told.raises.iter().any(|line| line.contains("would have to fall")), "{told:?}");
        // What is published of the tail is the holders' too.
        let tail = Tail::of(&model, bp);
        assert!(tail.expected_loss.0.abs_diff(exact.0) <= 1);
        let [_, (at_risk, shortfall), _] = tail.levels;
        let [_, (gross_at_risk, gross_shortfall), _] = gross.levels;
        assert_eq!(at_risk, gross_at_risk - bp, "beyond the reserve all moves by it");
        let moved = u64::from(bp) * 100_000_000;
        assert!((gross_shortfall.0 - shortfall.0).abs_diff(moved) <= 2);
        let sum: u64 = tail.contributions.iter().map(|(_, part)| part.0).sum();
        assert_eq!(sum, shortfall.0);
        assert_eq!(tail.worst, gross.worst - bp);
    }
}

#[test]
fn only_what_a_third_party_vouches_for_and_what_pays_by_itself_counts() {
    let plain = kelp(&[]);
    let claimed = reserve(ANYBODY, VerificationLevel::SelfClaim, 10_000, true);
    let found = kelp(&[claimed]);
    assert_eq!((found.profile, found.lrt.unwrap().first_loss), (plain.profile.clone(), None));
    // At somebody's discretion it is worth nothing, and is told so.
    let discretionary = reserve(THIRD_PARTY, VerificationLevel::SignedThirdParty, 10_000, false);
    let found = kelp(&[discretionary]);
    assert_eq!(found.profile, plain.profile);
    assert_eq!(found.lrt.unwrap().first_loss.unwrap().bp, 0);
    // Anybody may say that there is less, nobody but a third party that there is more.
    for (ppm, bp) in [(4_000, 40), (90_000, 100)] {
        let other = reserve(ANYBODY, VerificationLevel::SelfClaim, ppm, true);
        let found = kelp(&[verified(10_000), other]);
        assert_eq!(found.lrt.unwrap().first_loss.unwrap().bp, bp);
    }
}

#[test]
fn a_token_is_told_what_would_raise_and_lower_it_with_numbers_and_without_raw_ids() {
    let methodology = methodology();
    let state = five().state();
    let chain = &state.chains[&1];
    let entity = RatedEntity::lrt(1, token("kelp"));
    let when = When::newest(chain);
    let opinion = assess(chain, &entity, when, &methodology);
    let found = sensitivities(chain, &entity, when, &methodology);
    let base = opinion.profile.expected_loss();
    let loss = |wanted: Change| {
        let one = found.iter().find(|one| one.change == wanted);
        one.unwrap_or_else(|| panic!("{wanted:?} moves nothing")).expected_loss
    };
    // 300 bp is what the exact distribution leaves after 300 bp.
    let model = loss_model(&opinion.profile, Some(opinion.lrt.as_ref().unwrap().run), &methodology);
    let exact = model.unwrap().distribution().expected_loss_after(300).to_ppt();
    assert!(loss(Change::FirstLoss(300)).0.abs_diff(exact) <= 100);
    assert!(loss(Change::FirstLoss(300)) < loss(Change::FirstLoss(100)));
    // What nobody leaves with is what the opinion says without the run, but for the grid.
    let without = opinion.lrt.as_ref().unwrap().loss_without_run.0;
    assert!(loss(Change::Redeemed(Ppt::ZERO)).0.abs_diff(without) <= 100);
    assert!(loss(Change::Redeemed(Ppt::ZERO)) < loss(Change::Redeemed(Ppt(100_000_000_000))));
    let x1 = OperatorSetId { avs: AvsId(WORLD.x), id: 1 };
    let y7 = OperatorSetId { avs: AvsId(WORLD.y), id: 7 };
    assert!(loss(Change::SetLeft(x1)) < base);
    assert!(loss(Change::AuthorityOf(y7, SlasherAuthority::TimelockedMultisig)) < base);
    assert!(loss(Change::OneMoreIncidentOf(OperatorId(WORLD.a))) > base);
    let attribution = Attribution::of(&opinion.profile, &opinion.caps, &methodology.scale);
    let uncertainty = Uncertainty::of(&opinion.profile, &methodology);
    let told = rationale(attribution.grade, &attribution, &uncertainty, &found, &methodology);
    let sentences = [told.drivers, told.raises, told.lowers].concat();
    let all = sentences.join(" ");
    assert!(!all.contains('|') && !all.contains(&WORLD.x.to_string()), "{all}");
    assert!(all.contains("If set 0xc1c1…c1c1:1 could slash none of it, "), "{all}");
    assert!(all.contains("bore the first loss, the expected loss would be "), "{all}");
}
