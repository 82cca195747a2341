//! From a slashed validator to its pod, the pod's owner, and the operator's record.

use std::sync::Arc;

use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use assay::event_store::{Batch, EventStore};
use assay::rater::Rater;
use assay_domain::event::PodValidator;
use assay_domain::methodology::Methodology;
use assay_domain::state::experience::BEACON_CHAIN_ETH;
use assay_domain::state::pod::{INCIDENT_WINDOW_SLOTS, withdrawal_address};
use assay_domain::{
    AvsId, BlockRef, Event, Fact, OperatorId, OperatorSetId, RatedEntity, StakerId, State,
};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::chain_shared::shared;
use crate::support::{self, TestDatabase};

/// A real validator.
#[derive(Debug, Deserialize)]
struct Validator {
    index: u64,
    pubkey: Bytes,
    withdrawal_credentials: B256,
    operator: Address,
}

impl Validator {
    fn pubkey_hash(&self) -> B256 {
        B256::new(Sha256::new().chain_update(&self.pubkey).chain_update([0; 16]).finalize().into())
    }

    fn pod(&self) -> Address {
        withdrawal_address(&self.withdrawal_credentials).unwrap()
    }

    /// Whoever deployed the pod, here.
    fn owner(&self) -> StakerId {
        StakerId(Address::from_slice(&keccak256(self.pod())[12..]))
    }

    fn slashed(&self, slot: u64) -> [Event; 2] {
        let observed = Event::BeaconValidatorObserved {
            slot,
            validator: self.index,
            pubkey_hash: self.pubkey_hash(),
            withdrawal_credentials: self.withdrawal_credentials,
            effective_balance_gwei: 32_000_000_000,
            withdrawable_epoch: 400_000,
        };
        [Event::BeaconAttesterSlashed { slot, validators: vec![self.index] }, observed]
    }
}

/// A block's facts; pods emit their own.
fn block(number: u64, events: Vec<(Address, Event)>) -> Vec<Fact> {
    let hash = B256::left_padding_from(&number.to_be_bytes());
    let block = BlockRef { number, hash, timestamp: 1_750_000_000 + 12 * number };
    let fact = |(log_index, (emitter, event))| Fact {
        chain_id: 1,
        block,
        tx_hash: B256::repeat_byte(3),
        log_index,
        emitter,
        event,
    };
    (0..).zip(events).map(fact).collect()
}

async fn rated(facts: &[Fact]) -> (TestDatabase, EventStore) {
    let database = support::database().await;
    let store = database.store().await;
    let finalized = facts.last().map(|fact| fact.block);
    let batch = Batch { chain_id: 1, facts: facts.to_vec(), finalized, ..Batch::default() };
    store.append(&batch).await.unwrap();
    rater(&store).catch_up().await.unwrap();
    (database, store)
}

fn rater(store: &EventStore) -> Rater {
    Rater::new(store.clone(), Arc::new(Methodology::version_1().unwrap()))
}

#[tokio::test]
async fn a_slashed_validator_is_on_the_record_of_its_operator() {
    let Some(path) = shared("lrt/etherfi-validators-ebunker.json") else { return };
    let validators: Vec<Validator> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(validators.len(), 40);
    let (first, second, third) = (&validators[0], &validators[1], &validators[2]);
    let operator = OperatorId(first.operator);
    let other = OperatorId(Address::repeat_byte(0x77));
    let shares = U256::from(32_000_000_000_000_000_000_u128);
    let nobody = Address::ZERO;

    let mut facts = Vec::new();
    let mut set_up =
        vec![(nobody, Event::OperatorRegistered { operator, delegation_approver: Address::ZERO })];
    // Something to be rated for; without a rating there is no watch.
    let operator_set = OperatorSetId { avs: AvsId(Address::repeat_byte(0x55)), id: 0 };
    let strategy = BEACON_CHAIN_ETH;
    let (magnitude, effect_block) = (500_000_000_000_000_000, 24_000_000);
    set_up.extend(
        [
            Event::OperatorSetCreated { operator_set },
            Event::StrategyAddedToOperatorSet { operator_set, strategy },
            Event::OperatorAddedToOperatorSet { operator, operator_set },
            Event::AllocationUpdated { operator, operator_set, strategy, magnitude, effect_block },
        ]
        .map(|event| (nobody, event)),
    );
    for (index, one) in validators.iter().enumerate() {
        let (eigen_pod, pod_owner) = (one.pod(), one.owner());
        // Of four pods one is not known, and one validator is named by its key.
        if index == 3 {
            continue;
        }
        if index < 3 {
            set_up.extend([
                (nobody, Event::PodDeployed { eigen_pod, pod_owner }),
                (nobody, Event::StakerDelegated { staker: pod_owner, operator }),
            ]);
        }
        let validator = match index {
            1 => PodValidator::PubkeyHash(one.pubkey_hash()),
            _ => PodValidator::Index(one.index),
        };
        let staker = pod_owner;
        let held = Event::OperatorSharesIncreased { operator, staker, strategy, shares };
        set_up.push((nobody, held));
        // Of the third, nothing but its credentials says whose it is.
        if index != 2 {
            set_up.push((eigen_pod, Event::PodValidatorRestaked { validator }));
        }
    }
    facts.extend(block(24_000_000, set_up));
    let at = |slot, one: &Validator| one.slashed(slot).map(|event| (nobody, event)).to_vec();
    facts.extend(block(24_000_100, at(9_000_000, first)));
    facts.extend(block(24_000_200, at(9_000_000 + INCIDENT_WINDOW_SLOTS, second)));
    let moved = Event::StakerDelegated { staker: third.owner(), operator: other };
    let left = Event::StakerUndelegated { staker: third.owner(), operator };
    facts.extend(block(24_000_250, vec![(nobody, left), (nobody, moved)]));
    facts.extend(block(24_000_300, at(9_000_001 + INCIDENT_WINDOW_SLOTS, third)));
    facts.extend(block(24_000_400, at(9_300_000, &validators[3])));
    facts.extend(block(24_000_500, at(9_300_001, &validators[4])));

    // A watch opens when the epoch ends.
    let registered = Event::OperatorRegistered { operator: other, delegation_approver: nobody };
    facts.extend(block(24_010_000, vec![(nobody, registered)]));

    let mut state = State::default();
    facts.iter().for_each(|fact| state.apply(fact).unwrap());
    let chain = &state.chains[&1];
    let told: Vec<_> = chain
        .validator_slashings
        .iter()
        .map(|one| (one.validator, one.operator, one.incident))
        .collect();
    let index = |at: usize| validators[at].index;
    let expected = [
        (index(0), Some(operator), Some(0)),
        (index(1), Some(operator), Some(0)),
        (index(2), Some(other), Some(1)),
        (index(4), Some(operator), Some(2)),
    ];
    assert_eq!(told, expected);
    let incident = &chain.validator_incidents[0];
    assert_eq!((incident.validators, incident.effective_balance_gwei), (2, 64_000_000_000));
    assert_eq!(incident.stake_wei, Some(shares * U256::from(39)));

    let (database, store) = rated(&facts).await;
    // Whoever it is now, and by which proof.
    let mapped: Vec<(Option<i64>, Option<Vec<u8>>, String)> = sqlx::query_as(
        "SELECT validator_index, operator, provenance FROM read_model.validator_operators
         ORDER BY position",
    )
    .fetch_all(&database.pool().await)
    .await
    .unwrap();
    let of = |provenance: &str| mapped.iter().filter(|row| row.2 == provenance).count();
    assert_eq!((of("ValidatorRestaked"), of("credentials")), (38, 4));
    let row = |at: usize| {
        let index = i64::try_from(index(at)).unwrap();
        mapped.iter().find(|row| row.0 == Some(index)).map(|row| row.1.clone().unwrap())
    };
    assert_eq!(row(0), Some(operator.0.to_vec()));
    assert_eq!(row(2), Some(other.0.to_vec()));
    assert_eq!(row(3), None);

    let slug = RatedEntity::operator(1, operator).to_string();
    let query = "query ($slug: String!) { entity(slug: $slug) { ... on Operator {
        rating { isWatchNegative }
        validatorSlashings { validatorIndex pod podOwner isProvenByPod incidentValidators
            effectiveBalanceGwei block { number } } } } }";
    let ask = async |database: &TestDatabase| -> Value {
        let variables = json!({ "slug": slug });
        let answer = assay_graphql::execute(&database.pool().await, query, variables).await;
        serde_json::from_str(&answer).unwrap()
    };
    let answer = ask(&database).await;
    let said = answer["data"]["entity"]["validatorSlashings"].as_array();
    let said = said.unwrap_or_else(|| panic!("{answer}"));
    let place = |at: usize| {
        said.iter()
            .position(|one| one["validatorIndex"].as_str() == Some(index(at).to_string().as_str()))
    };
    assert_eq!([4, 1, 0, 2].map(place), [Some(0), Some(1), Some(2), None]);
    assert!(said.iter().all(|one| one["isProvenByPod"] == true));
    assert_eq!(said[1]["incidentValidators"], 2);
    assert_eq!(answer["data"]["entity"]["rating"]["isWatchNegative"], true, "{answer}");
    let is_peaceful = |fact: &&Fact| !matches!(fact.event, Event::BeaconValidatorObserved { .. });
    let peaceful: Vec<Fact> = facts.iter().filter(is_peaceful).cloned().collect();
    let (peaceful, _) = rated(&peaceful).await;
    let answer = ask(&peaceful).await;
    assert_eq!(answer["data"]["entity"]["rating"]["isWatchNegative"], false, "{answer}");
    assay::verify::verify(&rater(&store)).await.unwrap();
}
