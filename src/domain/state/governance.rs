//! Who can change the contracts that hold slashing power, as far as events tell.
//!
//! A proxy's upgrade, a Safe's owners and threshold, a timelock's delay. What a contract held before
//! its first event in the log is unknown, and a change from there is taken for the worse.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, U256};

use super::ChainState;
use crate::attestation::SlasherKind;
use crate::event::{Event, Fact, Governed, SLASH_OPERATOR};
use crate::id::{AvsId, LrtId, OperatorSetId};
use crate::surveillance::WatchTrigger;

/// Seconds of a slot: a timelock counts in seconds, the methodology in blocks.
const BLOCK_SECONDS: u64 = 12;

/// Who can change what, of one chain.
#[derive(Debug, Clone, Default)]
pub struct Governance {
    controls: BTreeMap<Address, Control>,
    /// Whom AVSs let slash through the PermissionController.
    appointed: BTreeMap<Address, BTreeSet<AvsId>>,
}

/// What the log says of how a contract is controlled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Control {
    /// Signatures that a Safe takes.
    pub threshold: Option<U256>,
    /// Seconds that a timelock waits.
    pub delay: Option<U256>,
    /// When its code was last replaced, seconds since the Unix epoch.
    pub upgraded_at: Option<u64>,
    /// What the last event puts on watch.
    concern: Option<WatchTrigger>,
}

impl Governance {
    pub(super) fn apply(&mut self, fact: &Fact) {
        match &fact.event {
            Event::AppointeeSet { account, appointee, selector: SLASH_OPERATOR, .. } => {
                self.appointed.entry(*appointee).or_default().insert(AvsId(*account));
            }
            Event::AppointeeRemoved { account, appointee, selector: SLASH_OPERATOR, .. } => {
                if let Some(avss) = self.appointed.get_mut(appointee) {
                    avss.remove(&AvsId(*account));
                }
            }
            event => {
                if let Some((of, contract)) = event.governed() {
                    let control = self.controls.entry(contract).or_default();
                    control.apply(event, fact.block.timestamp);
                    // The platform is upgraded every few weeks: a watch that always stands says
                    // nothing. Its ratings carry the block of what its contracts can lose.
                    let is_routine = control.concern == Some(WatchTrigger::CodeChanged);
                    if of == Governed::Platform && is_routine {
                        control.concern = None;
                    }
                }
            }
        }
    }

    /// What is known of a contract's control.
    pub fn control(&self, contract: Address) -> Option<&Control> {
        self.controls.get(&contract)
    }

    /// An attested slasher as the log shows it: what contradicts the claim counts where it is
    /// worse. Code that nobody can change and that was replaced is anybody's.
    #[must_use]
    pub fn worse(&self, claimed: SlasherKind, slasher: Address) -> SlasherKind {
        let Some(seen) = self.controls.get(&slasher) else { return claimed };
        match claimed {
            SlasherKind::Immutable if seen.upgraded_at.is_some() => SlasherKind::Eoa,
            SlasherKind::Multisig { threshold, signers, timelock_blocks } => {
                let least = |claimed: u64, seen: Option<U256>| {
                    seen.map_or(claimed, |seen| claimed.min(seen.saturating_to()))
                };
                let threshold = least(threshold.into(), seen.threshold);
                let blocks =
                    seen.delay.and_then(|delay| delay.checked_div(U256::from(BLOCK_SECONDS)));
                SlasherKind::Multisig {
                    threshold: u32::try_from(threshold).unwrap_or(u32::MAX),
                    signers,
                    timelock_blocks: least(timelock_blocks, blocks),
                }
            }
            claimed => claimed,
        }
    }
}

impl Control {
    fn apply(&mut self, event: &Event, at: u64) {
        let weakened = |is_weaker: bool| is_weaker.then_some(WatchTrigger::ControlWeakened);
        self.concern = match event {
            Event::ContractUpgraded { .. } => {
                self.upgraded_at = Some(at);
                Some(WatchTrigger::CodeChanged)
            }
            Event::ContractAdminChanged { previous, admin, .. } => {
                weakened(!previous.is_zero() && !admin.is_zero())
            }
            Event::TimelockDelayChanged { old_delay, new_delay, .. } => {
                let before = self.delay.replace(*new_delay).or(*old_delay);
                weakened(before.is_none_or(|before| *new_delay < before))
            }
            Event::SafeThresholdChanged { threshold, .. } => {
                let before = self.threshold.replace(*threshold);
                weakened(before.is_none_or(|before| *threshold < before))
            }
            Event::SafeOwnerRemoved { .. } | Event::SafeModuleEnabled { .. } => weakened(true),
            _ => None,
        };
    }
}

impl ChainState {
    /// The sets whose stake a contract has a say in at a block.
    pub fn sets_under(&self, contract: Address, block: u64) -> impl Iterator<Item = OperatorSetId> {
        let has_say = move |set: &OperatorSetId| self.has_say(contract, *set, block);
        self.operator_sets.keys().copied().filter(has_say)
    }

    /// Whether a contract has a say in a set's stake at a block: it is its AVS, its slasher or will
    /// be, an appointee of its AVS, or gets what it slashes.
    pub(super) fn has_say(&self, contract: Address, id: OperatorSetId, block: u64) -> bool {
        let Some(set) = self.operator_sets.get(&id) else { return false };
        let pending = set.slasher.pending_at(block).map(|(slasher, _)| slasher);
        let empowered =
            [Some(id.avs.0), set.slasher.at(block), pending, set.redistribution_recipient];
        let appointed = self.governance.appointed.get(&contract);
        empowered.contains(&Some(contract)) || appointed.is_some_and(|avss| avss.contains(&id.avs))
    }

    /// The sets that a change of a contract's control concerns, or the call of a timelock, right after
    /// it was folded.
    pub fn sets_concerned(&self, event: &Event) -> BTreeSet<OperatorSetId> {
        if let Some((sets, _)) = self.under_call(event) {
            return sets;
        }
        let contract = event.governed().map(|(_, contract)| contract);
        contract.into_iter().flat_map(|one| self.sets_under(one, self.block_number)).collect()
    }

    /// What a change of a contract's control puts on watch, or a cancelled call takes off it, right
    /// after it was folded, and which tokens: all of them where the platform itself is meant.
    pub fn concern_of(&self, event: &Event) -> Option<(WatchTrigger, Vec<LrtId>)> {
        if let Some((sets, tokens)) = self.under_call(event) {
            let holds = match event {
                Event::TimelockCallScheduled(call) => call.executable_at(self.time).is_some(),
                Event::TimelockOperationCancelled { .. } => true,
                // What it changed its own events say.
                _ => false,
            };
            let is_any = !sets.is_empty() || !tokens.is_empty();
            return (holds && is_any).then_some((WatchTrigger::ChangeScheduled, tokens));
        }
        let (of, contract) = event.governed()?;
        let trigger = self.governance.control(contract)?.concern?;
        let tokens = match of {
            Governed::Platform => self.lrts.keys().copied().collect(),
            Governed::Token(token) if self.lrts.contains_key(&token) => vec![token],
            Governed::Token(_) | Governed::Named => Vec::new(),
        };
        Some((trigger, tokens))
    }
}
