//! Contracts that others announce: read from their announcement on, however it is come by.

use std::collections::BTreeSet;

use alloy::primitives::{Address, B256, U256, address};
use assay::chain::ScriptedSource;
use assay::chain::scripted::Emission;
use assay::event_store::EventStore;
use assay_domain::Event;
use assay_domain::event::SymbioticEntity;

use crate::chain_pods::{emission, look, read_every_way, resume};
use crate::chain_store::canonical;
use crate::support;

/// The first block of the chain: Symbiotic is there already.
const FIRST: u64 = 21_600_000;

const VAULT_FACTORY: Address = address!("aeb6bdd95c502390db8f52c8909f703e9af6a346");
const DELEGATOR_FACTORY: Address = address!("985ed57af9d475f1d83c1c1c8826a0e5a34e8c7b");
const SLASHER_FACTORY: Address = address!("685c2ed7d59814d2a597409058ee7a92f21e48fd");

fn announced(factory: Address, entity: Address) -> Emission {
    emission(factory, "AddEntity(address)", &[entity.into_word()], &[])
}

fn deposit(vault: Address, amount: u64) -> Emission {
    let who = Address::repeat_byte(7).into_word();
    let (amount, shares) = (U256::from(amount), U256::from(1));
    emission(vault, "Deposit(address,address,uint256,uint256)", &[who, who], &[amount, shares])
}

fn slash(slasher: Address, amount: u64) -> Emission {
    let operator = Address::repeat_byte(8).into_word();
    let subnetwork = B256::repeat_byte(9);
    let data = [U256::from(amount), U256::from(1_755_216_000_u64)];
    let signature = "Slash(bytes32,address,uint256,uint48)";
    emission(slasher, signature, &[subnetwork, operator], &data)
}

fn vault(number: u8) -> Address {
    Address::repeat_byte(0x50 + number)
}

/// What all the amounts of deposits and slashes are, and which contracts are known.
async fn told(store: &EventStore) -> (Vec<u64>, BTreeSet<Address>) {
    let (facts, _) = canonical(store).await;
    let (mut amounts, mut entities) = (Vec::new(), BTreeSet::new());
    for fact in facts {
        match fact.event {
            Event::SymbioticDeposited { vault, amount } => {
                assert_eq!(vault, fact.emitter);
                amounts.push(amount.to());
            }
            Event::SymbioticSlashed { slasher, subnetwork, operator, amount, capture_time } => {
                assert_eq!((slasher, subnetwork), (fact.emitter, B256::repeat_byte(9)));
                assert_eq!((operator, capture_time), (Address::repeat_byte(8), 1_755_216_000));
                amounts.push(amount.to());
            }
            Event::SymbioticEntityAdded { entity, .. } => drop(entities.insert(entity)),
            other => panic!("{other:?}"),
        }
    }
    (amounts, entities)
}

#[tokio::test]
async fn an_announced_contract_is_read_from_its_block_on() {
    let chain = ScriptedSource::new(1, FIRST);
    // A deposit before the announcement is not the vault's; one beside it is.
    chain.push(0, vec![deposit(vault(1), 1)]);
    chain.push(0, vec![deposit(vault(1), 2), announced(VAULT_FACTORY, vault(1))]);
    chain.push(0, vec![deposit(vault(1), 3), deposit(vault(2), 4)]);
    chain.push(0, vec![announced(SLASHER_FACTORY, vault(3)), announced(VAULT_FACTORY, vault(2))]);
    for amount in 5..9 {
        chain.push(0, vec![deposit(vault(2), amount), slash(vault(3), amount * 10)]);
        chain.push(0, vec![deposit(vault(4), 99)]);
    }
    // A delegator makes no deposits: its log of that name is nobody's.
    chain.push(0, vec![announced(DELEGATOR_FACTORY, vault(5)), deposit(vault(5), 98)]);
    let expected = (vec![2, 3, 5, 50, 6, 60, 7, 70, 8, 80], [1, 2, 3, 5].map(vault).into());
    read_every_way(&chain, FIRST, told, expected).await;
}

#[tokio::test]
async fn an_announcement_that_is_taken_back_is_forgotten() {
    let chain = ScriptedSource::new(1, FIRST);
    chain.push(0, vec![announced(VAULT_FACTORY, vault(1))]);
    chain.finalize(FIRST);
    let database = support::database().await;
    let store = database.store().await;
    let mut ingest = resume(&chain, &store, 10).await;
    look(&mut ingest).await;
    for is_restarted in [false, true] {
        chain.rewind(FIRST + 1);
        chain.push(1, vec![announced(VAULT_FACTORY, vault(2)), deposit(vault(2), 1)]);
        look(&mut ingest).await;
        chain.rewind(FIRST + 1);
        chain.push(2, vec![deposit(vault(1), 2), deposit(vault(2), 3)]);
        if is_restarted {
            ingest = resume(&chain, &store, 10).await;
        }
        look(&mut ingest).await;
    }
    chain.finalize(chain.tip().number);
    look(&mut ingest).await;
    assert_eq!(told(&store).await, (vec![2], [vault(1)].into()));
    let announcements = store.announcements(1).await.unwrap();
    let kinds: Vec<_> = announcements.into_iter().map(|fact| fact.event).collect();
    let kind = SymbioticEntity::Vault;
    assert_eq!(kinds, [Event::SymbioticEntityAdded { kind, entity: vault(1) }]);
    store.verify().await.unwrap();
}
