//! Who can change a contract: the events of proxies, Safes and timelocks, whoever emits them.
//!
//! EIP-1967 (`Upgraded`, `AdminChanged`), ERC-173 (`OwnershipTransferred`), Safe
//! (`contracts/base/OwnerManager.sol` and `ModuleManager.sol`; `ChangedMasterCopy` of its first
//! releases), OpenZeppelin's `TimelockController` and Compound's `Timelock`. But for the calls of
//! timelocks (`timelock`) all their fields are words, and in every release either none or the first
//! ones are indexed: topics, then data, hold the fields in order. A log of another shape is no such
//! event: anybody may be asked about, and nobody can stop ingestion with a log of his own making.

use std::sync::LazyLock;

use alloy::primitives::{Address, B256, U256, keccak256};
use assay_domain::Event;
use assay_domain::event::Governed;

use super::chain_log::ChainLog;
use super::timelock;

/// What each event becomes of its fields; `None`: they are not its fields.
type Read = fn(Governed, Address, &[B256]) -> Option<Event>;

const EVENTS: [(&str, Read); 10] = [
    ("Upgraded(address)", upgraded),
    ("ChangedMasterCopy(address)", upgraded),
    ("AdminChanged(address,address)", admin_changed),
    ("OwnershipTransferred(address,address)", admin_changed),
    ("MinDelayChange(uint256,uint256)", |of, timelock, fields| {
        let [old, new] = fields else { return None };
        let (old_delay, new_delay) = (Some((*old).into()), (*new).into());
        Some(Event::TimelockDelayChanged { of, timelock, old_delay, new_delay })
    }),
    ("NewDelay(uint256)", |of, timelock, fields| {
        let new_delay = only(fields)?.into();
        Some(Event::TimelockDelayChanged { of, timelock, old_delay: None, new_delay })
    }),
    ("AddedOwner(address)", |of, safe, fields| {
        Some(Event::SafeOwnerAdded { of, safe, owner: address(only(fields)?)? })
    }),
    ("RemovedOwner(address)", |of, safe, fields| {
        Some(Event::SafeOwnerRemoved { of, safe, owner: address(only(fields)?)? })
    }),
    ("ChangedThreshold(uint256)", |of, safe, fields| {
        Some(Event::SafeThresholdChanged {
            of,
            safe,
            threshold: U256::from_be_bytes(only(fields)?.0),
        })
    }),
    ("EnabledModule(address)", |of, safe, fields| {
        Some(Event::SafeModuleEnabled { of, safe, module: address(only(fields)?)? })
    }),
];

static SIGNATURES: LazyLock<Vec<(B256, &str)>> = LazyLock::new(|| {
    let signatures = EVENTS.iter().map(|(signature, _)| *signature);
    signatures.chain(timelock::SIGNATURES).map(|one| (keccak256(one), one)).collect()
});

static TOPICS: LazyLock<Vec<B256>> =
    LazyLock::new(|| SIGNATURES.iter().map(|(topic, _)| *topic).collect());

/// First topics of these events.
pub(crate) fn topics() -> &'static [B256] {
    &TOPICS
}

/// What the event with this first topic is called.
pub(crate) fn name(topic: &B256) -> Option<&'static str> {
    let (_, signature) = SIGNATURES.iter().find(|(known, _)| known == topic)?;
    signature.split('(').next()
}

/// What a log says of who can change its emitter, if it is such an event. `followed`: why a contract
/// is read, if it is the platform's or a token's.
pub(crate) fn decode(
    of: Governed,
    log: &ChainLog,
    followed: impl Fn(&Address) -> Option<Governed>,
) -> Option<Event> {
    let (topic, indexed) = log.topics.as_slice().split_first()?;
    let place = SIGNATURES.iter().position(|(known, _)| known == topic)?;
    let Some((_, read)) = EVENTS.get(place) else {
        let (_, signature) = SIGNATURES.get(place)?;
        return timelock::decode(signature, of, log, followed);
    };
    let (words, rest) = log.data.as_chunks::<32>();
    let fields: Vec<B256> = indexed.iter().copied().chain(words.iter().map(B256::from)).collect();
    read(of, log.address, &fields).filter(|_| rest.is_empty())
}

fn upgraded(of: Governed, contract: Address, fields: &[B256]) -> Option<Event> {
    Some(Event::ContractUpgraded { of, contract, implementation: address(only(fields)?)? })
}

fn admin_changed(of: Governed, contract: Address, fields: &[B256]) -> Option<Event> {
    let [previous, admin] = fields else { return None };
    let (previous, admin) = (address(*previous)?, address(*admin)?);
    Some(Event::ContractAdminChanged { of, contract, previous, admin })
}

fn only(fields: &[B256]) -> Option<B256> {
    match fields {
        [field] => Some(*field),
        _ => None,
    }
}

/// An address, whose upper bytes are zero.
pub(super) fn address(word: B256) -> Option<Address> {
    let address = Address::from_word(word);
    (address.into_word() == word).then_some(address)
}
