//! Who can change what holds slashing power: what puts whom on watch, and what a claim is worth that
//! the chain contradicts.

use alloy_primitives::{Address, B256, U256};
use assay_domain::assess::{When, assess};
use assay_domain::attestation::{
    AdministratorAppointment, Attestation, Claim, Signed, SignerRegistration, SlasherKind,
};
use assay_domain::decimal::Ppt;
use assay_domain::event::{Governed, SLASH_OPERATOR};
use assay_domain::methodology::Methodology;
use assay_domain::mitigation::VerificationLevel;
use assay_domain::surveillance::WatchTrigger;
use assay_domain::{AvsId, BlockRef, Event, Fact, LrtId, OperatorSetId, RatedEntity, State};

const SLASHER: Address = Address::repeat_byte(4);
const SET: OperatorSetId = OperatorSetId { avs: AvsId(Address::repeat_byte(3)), id: 0 };
const OTHER: OperatorSetId = OperatorSetId { avs: AvsId(Address::repeat_byte(5)), id: 0 };
const TOKEN: LrtId = LrtId(Address::repeat_byte(6));
const NAMED: Governed = Governed::Named;

fn at(number: u64) -> BlockRef {
    let hash = B256::left_padding_from(&number.to_be_bytes());
    BlockRef { number, hash, timestamp: 1_700_000_000 + 12 * number }
}

fn tell(state: &mut State, number: u64, event: Event) {
    let (emitter, tx_hash) = (Address::ZERO, B256::ZERO);
    let fact = Fact { chain_id: 1, block: at(number), tx_hash, log_index: 0, emitter, event };
    state.apply(&fact).unwrap();
}

fn told(events: Vec<Event>) -> State {
    let mut state = State::default();
    for (number, event) in (10..).zip(events) {
        tell(&mut state, number, event);
    }
    state
}

/// What the last of some events puts on watch.
fn concern(events: &[Event]) -> Option<(WatchTrigger, Vec<LrtId>)> {
    let mut all = vec![Event::LrtSupplyRecorded { token: TOKEN, supply: U256::ZERO }];
    all.extend_from_slice(events);
    told(all).chains[&1].concern_of(events.last().unwrap())
}

fn threshold(of: Governed, threshold: u64) -> Event {
    Event::SafeThresholdChanged { of, safe: SLASHER, threshold: U256::from(threshold) }
}

fn delay(old_delay: Option<u64>, new_delay: u64) -> Event {
    let (old_delay, new_delay) = (old_delay.map(U256::from), U256::from(new_delay));
    Event::TimelockDelayChanged { of: NAMED, timelock: SLASHER, old_delay, new_delay }
}

fn upgraded(of: Governed) -> Event {
    Event::ContractUpgraded { of, contract: SLASHER, implementation: Address::repeat_byte(9) }
}

fn admin(previous: Address, admin: Address) -> Event {
    Event::ContractAdminChanged { of: NAMED, contract: SLASHER, previous, admin }
}

#[test]
fn what_makes_a_change_easier_is_a_concern_and_what_makes_it_harder_is_none() {
    let weaker = Some((WatchTrigger::ControlWeakened, Vec::new()));
    let one = Address::repeat_byte(0x11);
    let removed = Event::SafeOwnerRemoved { of: NAMED, safe: SLASHER, owner: one };
    let added = Event::SafeOwnerAdded { of: NAMED, safe: SLASHER, owner: one };
    let module = Event::SafeModuleEnabled { of: NAMED, safe: SLASHER, module: one };
    let cases = [
        (vec![upgraded(NAMED)], Some((WatchTrigger::CodeChanged, Vec::new()))),
        (vec![threshold(NAMED, 4), threshold(NAMED, 5)], None),
        (vec![threshold(NAMED, 5), threshold(NAMED, 5)], None),
        (vec![threshold(NAMED, 5), threshold(NAMED, 4)], weaker.clone()),
        // From what it fell is not known, so it may have fallen.
        (vec![threshold(NAMED, 5)], weaker.clone()),
        (vec![delay(Some(100), 99)], weaker.clone()),
        (vec![delay(Some(100), 100)], None),
        (vec![delay(None, 100), delay(None, 101)], None),
        (vec![delay(None, 100), delay(None, 99)], weaker.clone()),
        (vec![removed], weaker.clone()),
        (vec![added], None),
        (vec![module], weaker.clone()),
        // A contract that is new, another administrator, and none any more.
        (vec![admin(Address::ZERO, one)], None),
        (vec![admin(one, SLASHER)], weaker),
        (vec![admin(one, Address::ZERO)], None),
    ];
    for (events, expected) in cases {
        assert_eq!(concern(&events), expected, "{events:?}");
    }
    // Code that was replaced once is no concern of the next event.
    assert_eq!(concern(&[upgraded(NAMED), threshold(NAMED, 3), threshold(NAMED, 4)]), None);
}

#[test]
fn a_platform_concerns_tokens_where_it_is_weakened_and_a_token_its_own() {
    use Governed::{Platform, Token};
    let tokens = || vec![TOKEN];
    let stranger = Token(LrtId(Address::repeat_byte(0x66)));
    let cases = [
        (vec![upgraded(Platform)], None),
        (vec![threshold(Platform, 6), threshold(Platform, 7)], None),
        (
            vec![threshold(Platform, 6), threshold(Platform, 3)],
            Some((WatchTrigger::ControlWeakened, tokens())),
        ),
        (vec![upgraded(Token(TOKEN))], Some((WatchTrigger::CodeChanged, tokens()))),
        (vec![upgraded(stranger)], Some((WatchTrigger::CodeChanged, Vec::new()))),
    ];
    for (events, expected) in cases {
        assert_eq!(concern(&events), expected, "{events:?}");
    }
}

#[test]
fn a_contract_concerns_the_sets_that_it_has_a_say_in() {
    let (appointee, recipient, soon) =
        (Address::repeat_byte(0x21), Address::repeat_byte(0x22), Address::repeat_byte(0x23));
    let appointed = |appointee, selector| Event::AppointeeSet {
        account: SET.avs.0,
        appointee,
        target: Address::repeat_byte(0x24),
        selector,
    };
    let mut state = told(vec![
        Event::OperatorSetCreated { operator_set: SET },
        Event::OperatorSetCreated { operator_set: OTHER },
        Event::SlasherMigrated { operator_set: SET, slasher: SLASHER },
        Event::SlasherUpdated { operator_set: SET, slasher: soon, effect_block: 1_000 },
        Event::RedistributionAddressSet { operator_set: SET, redistribution_recipient: recipient },
        appointed(appointee, SLASH_OPERATOR),
        appointed(Address::repeat_byte(0x25), [1, 2, 3, 4]),
    ]);
    let under = |state: &State, contract, block| {
        state.chains[&1].sets_under(contract, block).collect::<Vec<_>>()
    };
    for contract in [SET.avs.0, SLASHER, soon, recipient, appointee] {
        assert_eq!(under(&state, contract, 100), [SET], "{contract}");
    }
    assert_eq!(under(&state, OTHER.avs.0, 100), [OTHER]);
    for contract in [Address::repeat_byte(0x24), Address::repeat_byte(0x25), Address::ZERO] {
        assert!(under(&state, contract, 100).is_empty(), "{contract}");
    }
    // The slasher that was is none of it any more, nor is an appointee who was dismissed.
    assert!(under(&state, SLASHER, 1_000).is_empty());
    let (account, target) = (SET.avs.0, Address::repeat_byte(0x24));
    let selector = SLASH_OPERATOR;
    tell(&mut state, 50, Event::AppointeeRemoved { account, appointee, target, selector });
    assert!(under(&state, appointee, 100).is_empty());
}

fn signed<T>(message: T, number: u8) -> Signed<T> {
    let (digest, signer) = (B256::repeat_byte(number), Address::repeat_byte(0xad));
    Signed { message, digest, signer, signature: [0; 65] }
}

/// Expected loss of the set by an attested slasher, ppt.
fn loss(kind: SlasherKind, events: Vec<Event>, observed_at: u64) -> u64 {
    let mut all = vec![
        Event::OperatorSetCreated { operator_set: SET },
        Event::SlasherMigrated { operator_set: SET, slasher: SLASHER },
    ];
    all.extend(events);
    let mut state = told(all);
    let signer = Address::repeat_byte(0xad);
    let level = VerificationLevel::SignedThirdParty;
    let (effective_block, max_slash) = (1, Some(Ppt(100_000_000_000)));
    let code_hash = Some(B256::repeat_byte(0xc0));
    let claim = Claim::SlasherProfile { set: SET, slasher: SLASHER, kind, code_hash, max_slash };
    let appointed = AdministratorAppointment { administrator: signer, effective_block };
    let affiliations = Default::default();
    let registered = SignerRegistration { signer, level, affiliations, effective_block };
    let said = Attestation {
        claim,
        level,
        evidence: B256::ZERO,
        observed_at,
        effective_block,
        expires_at: u64::MAX,
    };
    let messages = [
        Event::AdministratorAppointed(signed(appointed, 1)),
        Event::SignerRegistered(signed(registered, 2)),
        Event::Attested(Box::new(signed(said, 3))),
    ];
    let chain = state.chains.get_mut(&1).unwrap();
    chain.fold_messages(&messages.iter().collect::<Vec<_>>(), at(7_199).timestamp);
    let methodology = Methodology::version_1().unwrap();
    let set = RatedEntity::operator_set(1, SET);
    let opinion = assess(chain, &set, When::at(at(7_199)), &methodology);
    opinion.profile.expected_loss().0
}

#[test]
fn a_claim_that_the_chain_contradicts_counts_where_it_is_worse() {
    let (long_ago, since) = (at(1).timestamp, at(5_000).timestamp);
    let multisig = |threshold, timelock_blocks| SlasherKind::Multisig {
        threshold,
        signers: 7,
        timelock_blocks,
    };
    let said = |kind| loss(kind, Vec::new(), long_ago);
    let seen = |kind, events| loss(kind, events, long_ago);
    let anybody = said(SlasherKind::Eoa);
    let (council, slow) = (multisig(4, 0), multisig(4, 200_000));
    assert!(said(SlasherKind::Immutable) < said(slow) && said(slow) < said(council));
    assert!(said(council) < anybody);

    // One signature is one key, whatever was claimed; two are still several.
    assert_eq!(seen(council, vec![threshold(NAMED, 1)]), anybody);
    assert_eq!(seen(council, vec![threshold(NAMED, 2)]), said(council));
    // More signatures than were claimed lift nothing, and what was lowered can be raised again.
    assert_eq!(seen(multisig(1, 0), vec![threshold(NAMED, 6)]), anybody);
    assert_eq!(seen(council, vec![threshold(NAMED, 1), threshold(NAMED, 4)]), said(council));
    // A delay of ten days is not the fourteen that were claimed.
    let day = 86_400;
    assert_eq!(seen(slow, vec![delay(Some(15 * day), 10 * day)]), said(council));
    assert_eq!(seen(slow, vec![delay(Some(15 * day), 40 * day)]), said(slow));
    assert_eq!(seen(multisig(4, 0), vec![delay(None, 40 * day)]), said(council));

    // Code that nobody can change was changed: whoever says so since is no more to be believed.
    assert!(seen(SlasherKind::Immutable, vec![upgraded(NAMED)]) > said(SlasherKind::Eoa));
    assert!(loss(SlasherKind::Immutable, vec![upgraded(NAMED)], since) >= anybody);
    // And the bound of a slash is that of the code which was looked at.
    let unbounded = seen(council, vec![upgraded(NAMED)]);
    assert!(unbounded > said(council));
    assert_eq!(loss(council, vec![upgraded(NAMED)], since), loss(council, Vec::new(), since));
}
