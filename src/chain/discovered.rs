//! Contracts that nobody listed: others announced them, in the log.
//!
//! An address counts from the block of its announcement on. Taken back with its block, it is
//! forgotten again. At a start they are learned from the store, before anything is asked.
//! Few are of a manifest's kinds, and are asked about by address. Many are EigenPods: their events
//! are asked for by topic once there is one, and here is known which emitters are pods.
//! AVSs, slashers, their appointees and recipients of what is slashed are named by anybody, and may
//! be anything: of them only the events of `governance` are asked for. What else an address is, it
//! stays.

use std::sync::{PoisonError, RwLock};

use alloy::primitives::Address;
use alloy::primitives::map::AddressMap;

/// An announced contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Announced {
    /// Where it lives.
    pub(crate) address: Address,
    /// What it is.
    pub(crate) kind: Kind,
    /// The block of its announcement.
    pub(crate) since: u64,
}

/// What an announced contract is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of the kind in this place of the manifests.
    Listed(usize),
    /// An EigenPod.
    Pod,
    /// Anything that was given a say in what is slashed, whatever else it is.
    Named,
}

/// The announced contracts of one chain.
#[derive(Debug, Default)]
pub(crate) struct Discovered(RwLock<Known>);

#[derive(Debug, Clone, Default)]
struct Known {
    /// Those that are asked about by address, in the order in which they were learned.
    in_order: Vec<Announced>,
    by_address: AddressMap<Announced>,
    named: AddressMap<Announced>,
    /// The block of the first announcement of an EigenPod.
    first_pod: Option<u64>,
    /// No announcement lies above this block.
    newest: u64,
}

impl Clone for Discovered {
    /// A copy that learns by itself.
    fn clone(&self) -> Self {
        Self(RwLock::new(self.read(Known::clone)))
    }
}

impl Discovered {
    /// Learns of a contract; the earliest announcement counts.
    pub(crate) fn learn(&self, announced: Announced) {
        self.write(|known| {
            let like_it = match announced.kind {
                Kind::Named => &mut known.named,
                Kind::Listed(_) | Kind::Pod => &mut known.by_address,
            };
            match like_it.get_mut(&announced.address) {
                Some(before) if before.since <= announced.since => return,
                Some(before) => before.since = announced.since,
                None => drop(like_it.insert(announced.address, announced)),
            }
            known.newest = known.newest.max(announced.since);
            if announced.kind == Kind::Pod {
                let first = known.first_pod.unwrap_or(announced.since);
                known.first_pod = Some(first.min(announced.since));
            } else {
                known.in_order.push(announced);
            }
        });
    }

    /// Forgets what was announced above a block, and says what that was.
    pub(crate) fn forget_above(&self, number: u64) -> Vec<Announced> {
        self.write(|known| {
            if known.newest <= number {
                return Vec::new();
            }
            known.newest = number;
            known.in_order.retain(|one| one.since <= number);
            known.first_pod = known.first_pod.filter(|since| *since <= number);
            let announced = known.by_address.extract_if(|_, one| one.since > number);
            let named = known.named.extract_if(|_, one| one.since > number);
            announced.chain(named).map(|(_, one)| one).collect()
        })
    }

    /// Forgets everything.
    pub(crate) fn forget_all(&self) {
        self.write(|known| *known = Known::default());
    }

    /// What is known of a contract at a block.
    pub(crate) fn at(&self, address: &Address, block: u64) -> Option<Announced> {
        self.read(|known| known.by_address.get(address).copied().filter(|one| one.since <= block))
    }

    /// Whether an address has been given a say in what is slashed, up to a block.
    pub(crate) fn is_named(&self, address: &Address, block: u64) -> bool {
        self.read(|known| known.named.get(address).is_some_and(|one| one.since <= block))
    }

    /// How many have been given a say in what is slashed.
    pub(crate) fn named(&self) -> usize {
        self.read(|known| known.named.len())
    }

    /// Whether there is an EigenPod at a block.
    pub(crate) fn has_pods(&self, block: u64) -> bool {
        self.read(|known| known.first_pod.is_some_and(|since| since <= block))
    }

    /// Those to ask about by address learned after the first `count`, and how many there are now.
    pub(crate) fn after(&self, count: usize) -> (Vec<Announced>, usize) {
        self.read(|known| {
            (known.in_order.get(count..).unwrap_or_default().to_vec(), known.in_order.len())
        })
    }

    // Nothing that is done under the lock can panic half-way.
    fn read<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}
