//! The system-wide restaking graph of a chain and its slack (methodology §2.5).
//!
//! Its nodes are operators in operator sets, each with the stake that the set can take of it
//! throughout the next exit window; its services are the sets. Under Unique Stake no stake is in
//! two sets, so the graph falls apart into one network a set, and the least slack of these is the
//! slack of all: a coalition over several sets stakes and gains the sum of its parts.
//! Stake that another platform can take too deters nobody here: as if what it secures there were
//! worth just that much, the pooled network of §2.5 at its worst.
//! What nobody attested is no part of it and is named.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::U256;

use super::{Assessor, When, platform};
use crate::decimal::{PPT_ONE, PPT_PER_BP, Ppt};
use crate::hazard::Slack;
use crate::id::{AvsId, OperatorId, OperatorSetId, StrategyId};
use crate::loss::severity::round_to_grid;
use crate::loss::{CELLS, Level, ModelError};
use crate::loss_block::LossProfile;
use crate::lrt::{LookThrough, Place, Position};
use crate::methodology::Methodology;
use crate::mitigation::VerificationLevel;
use crate::network::{
    CASCADE_NODES_MAX, EXACT_VALIDATORS_MAX, Network, NetworkError, Service, loss_bound,
};
use crate::operator::{OperatorInputs, SetPosition, operator_profile};
use crate::ratio::{Ratio, RatioError};
use crate::state::ChainState;
use crate::state::experience::BEACON_CHAIN_ETH;
use crate::tail::loss_model;
use crate::what_if::Tweak;

/// The restaking network of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestakingNetwork {
    /// Sets whose profit from corruption third parties attested, the least slack first.
    pub services: Vec<CoveredSet>,
    /// What could be attacked too and is no part of the slack, most stake first.
    pub uncovered: Vec<Uncovered>,
    /// σ(V), wei: stake of known value that any set can take throughout the exit window.
    pub stake: U256,
    /// The part of it in covered sets, wei.
    pub covered_stake: U256,
    /// ψ: value at risk at 99.9 % of all that stake together, over it.
    pub shock: Result<Ppt, Unbounded>,
    /// (1 + 1/γ) ψ, which the share of stake lost after such a shock stays below; at most one.
    pub loss_bound: Result<Ppt, Unbounded>,
    /// `R_ψ`: the largest share of stake lost after such a shock, and whether it is exact, every shock
    /// and every sequence of attacks tried, or `loss_bound`. Exact up to
    /// [`CASCADE_NODES_MAX`] covered sets and operators in them, and whatever the slack.
    pub worst_loss: Result<(Ppt, bool), Unbounded>,
}

/// A set as a service of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoveredSet {
    /// The set.
    pub set: OperatorSetId,
    /// π, wei: the largest profit that anybody states.
    pub profit: U256,
    /// The least level of the third parties who state it.
    pub level: VerificationLevel,
    /// α: share of the stake that an attack takes.
    pub threshold: Ppt,
    /// Whether α is the methodology's, for want of an attestation.
    pub is_threshold_assumed: bool,
    /// Stake, wei.
    pub stake: U256,
    /// The part of it that other platforms can take too, wei, as attested; none of γ.
    pub pooled: U256,
    /// Operators with stake in it.
    pub operators: usize,
    /// γ, rounded down.
    pub slack: Slack,
    /// Whether γ is exact, every coalition tried, or a lower bound.
    pub is_exact: bool,
}

/// What is not covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uncovered {
    /// What.
    pub service: UncoveredService,
    /// Stake that could be lost with it, wei.
    pub stake: U256,
    /// Why.
    pub reason: NotCovered,
}

/// Something that stake secures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UncoveredService {
    /// An operator set.
    OperatorSet(OperatorSetId),
    /// An AVS that has operators in the older AVSDirectory and no operator set.
    Avs(AvsId),
    /// Ethereum's own consensus, which the native ether among the stake secures too.
    Consensus,
}

/// Why a service is not covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotCovered {
    /// π is unknown.
    #[error("no third party attested a profit from corruption")]
    ProfitUnknown,
    /// There is nothing that it could take, as far as prices are recorded.
    #[error("it can take no stake of known value")]
    NoStake,
    /// Figures too large for the exact arithmetic.
    #[error("its figures are too large")]
    TooLarge,
}

/// Why a figure of the whole is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unbounded {
    /// No stake.
    #[error("no operator set can take any stake of known value")]
    NoStake,
    /// No γ.
    #[error("no operator set is covered: attest a profit from corruption")]
    NothingCovered,
    /// γ ≤ 0.
    #[error("the slack is not above zero, so a shock has no bound")]
    NoSlack,
    /// No distribution.
    #[error("the loss distribution of all stake together is not known: {0}")]
    NoDistribution(#[from] ModelError),
    /// A fraction does not fit.
    #[error(transparent)]
    Ratio(#[from] RatioError),
}

impl RestakingNetwork {
    /// γ of the whole and whether it is exact; `None` where no set is covered.
    #[must_use]
    pub fn slack(&self) -> Option<(Slack, bool)> {
        self.services.first().map(|least| (least.slack, least.is_exact))
    }
}

/// The restaking network of a chain at one time.
#[must_use]
pub fn restaking_network(
    chain: &ChainState,
    when: When,
    methodology: &Methodology,
) -> RestakingNetwork {
    Assessor { chain, when, methodology, tweak: Tweak::NONE }.network()
}

/// What an operator has at stake in a set, by strategy.
type Stakes = BTreeMap<(OperatorId, OperatorSetId), BTreeMap<StrategyId, U256>>;

impl Assessor<'_> {
    fn network(&self) -> RestakingNetwork {
        let mut services: Vec<(Ratio, CoveredSet)> = Vec::new();
        let mut uncovered = Vec::new();
        let mut stakes = Stakes::new();
        for set in self.chain.operator_sets.keys().copied() {
            let mut stake = U256::ZERO;
            for (operator, strategy, wei) in self.evidence().stakes_at_risk(set) {
                stake = stake.saturating_add(wei);
                stakes.entry((operator, set)).or_default().insert(strategy, wei);
            }
            match self.service_of(set, stake) {
                Ok(service) => services.push(service),
                Err(reason) => {
                    let service = UncoveredService::OperatorSet(set);
                    uncovered.push(Uncovered { service, stake, reason });
                }
            }
        }
        uncovered.extend(self.elsewhere(&stakes));
        uncovered.sort_by(|a, b| b.stake.cmp(&a.stake).then(a.service.cmp(&b.service)));
        // Of equals an exact one first: it proves that the others are not below it.
        services.sort_by_key(|(slack, found)| (*slack, !found.is_exact, found.set));
        let slack = services.first().map(|(slack, _)| *slack);
        let services: Vec<CoveredSet> = services.into_iter().map(|(_, found)| found).collect();
        let stake = sum(stakes.values().flat_map(BTreeMap::values));
        let shock = self.shock(&stakes, stake);
        let loss_bound = shock.clone().and_then(|shock| bound(slack, shock));
        let exact = shock.as_ref().ok().and_then(|shock| self.exact_loss(&services, stake, *shock));
        RestakingNetwork {
            covered_stake: sum(services.iter().map(|found| &found.stake)),
            worst_loss: exact
                .map_or_else(|| loss_bound.clone().map(|ppt| (ppt, false)), |ppt| Ok((ppt, true))),
            loss_bound,
            shock,
            services,
            uncovered,
            stake,
        }
    }

    /// A set as a network of its own.
    fn service_of(
        &self,
        set: OperatorSetId,
        stake: U256,
    ) -> Result<(Ratio, CoveredSet), NotCovered> {
        let evidence = self.evidence();
        let nodes = evidence.deterring_stakes(set);
        let attested = evidence.profit(set).and_then(|(profit, level)| Some((profit, level?)));
        let (profit, level) = attested.ok_or(NotCovered::ProfitUnknown)?;
        if nodes.is_empty() {
            return Err(NotCovered::NoStake);
        }
        let attested = evidence.threshold(set);
        let threshold = attested.unwrap_or(self.methodology.corruption.default_alpha);
        let deterring = sum(nodes.values());
        let (slack, is_exact) = if deterring.is_zero() {
            (Ratio::ONE.negated(), true)
        } else {
            slack_of(&nodes, profit, threshold).map_err(|_| NotCovered::TooLarge)?
        };
        let found = CoveredSet {
            set,
            profit,
            level,
            threshold,
            is_threshold_assumed: attested.is_none(),
            stake,
            pooled: stake.saturating_sub(deterring),
            operators: nodes.len(),
            slack: Slack(floor_ppt(slack)),
            is_exact,
        };
        Ok((slack, found))
    }

    /// `R_ψ` of the covered sets; `None` where they are too many to try everything, or where another
    /// platform can take stake of theirs too, of which the graph does not know what it deters there.
    fn exact_loss(&self, covered: &[CoveredSet], total: U256, shock: Ppt) -> Option<Ppt> {
        let nodes = covered
            .iter()
            .fold(0_usize, |sum, one| sum.saturating_add(one.operators).saturating_add(1));
        let is_pooled = covered.iter().any(|one| !one.pooled.is_zero());
        if covered.is_empty() || is_pooled || nodes > CASCADE_NODES_MAX {
            return None;
        }
        let (mut stakes, mut services) = (Vec::new(), Vec::new());
        for one in covered {
            let nodes = self.evidence().deterring_stakes(one.set);
            let first = stakes.len();
            for wei in nodes.values() {
                stakes.push(whole(*wei).ok()?);
            }
            let validators = (first..stakes.len()).collect();
            services.push(service(one.profit, one.threshold, validators).ok()?);
        }
        loss_within(&Network::new(stakes, services).ok()?, total, shock).ok()
    }

    /// What stake secures beside operator sets.
    fn elsewhere(&self, stakes: &Stakes) -> Vec<Uncovered> {
        let reason = NotCovered::ProfitUnknown;
        let has_set: BTreeSet<AvsId> = self.chain.operator_sets.keys().map(|set| set.avs).collect();
        let legacy = self
            .chain
            .avss
            .iter()
            .filter(|(id, avs)| avs.directory_operators > 0 && !has_set.contains(id));
        let mut found: Vec<Uncovered> = legacy
            .map(|(id, _)| Uncovered {
                service: UncoveredService::Avs(*id),
                stake: U256::ZERO,
                reason: NotCovered::NoStake,
            })
            .collect();
        let native = stakes.values().filter_map(|stake| stake.get(&BEACON_CHAIN_ETH));
        let stake = sum(native);
        if !stake.is_zero() {
            found.push(Uncovered { service: UncoveredService::Consensus, stake, reason });
        }
        found
    }

    /// ψ, of the exact distribution of what a year can take of all stake together.
    fn shock(&self, stakes: &Stakes, total: U256) -> Result<Ppt, Unbounded> {
        if total.is_zero() {
            return Err(Unbounded::NoStake);
        }
        let model = loss_model(&self.system_profile(stakes, total), None, self.methodology)?;
        let at_risk = model.distribution().value_at_risk(Level::P999);
        Ok(Ppt(u64::from(at_risk).saturating_mul(PPT_PER_BP)))
    }

    /// The loss blocks of all stake together, as those of a token that holds all of it.
    fn system_profile(&self, stakes: &Stakes, total: U256) -> LossProfile {
        let amounts: Vec<U256> = stakes.values().map(|stake| sum(stake.values())).collect();
        let cells = round_to_grid(&amounts, CELLS);
        let mut held: BTreeMap<OperatorId, Vec<SetPosition>> = BTreeMap::new();
        let mut exposed: BTreeMap<OperatorSetId, Ppt> = BTreeMap::new();
        for ((operator, set), cell) in stakes.keys().zip(cells).filter(|(_, cell)| *cell > 0) {
            let allocated = Ppt(u64::from(cell).saturating_mul(PPT_PER_BP));
            let whole = self.whole((*operator, *set));
            let position = whole.map(|whole| SetPosition { allocated, ..whole });
            held.entry(*operator).or_default().extend(position);
            let sum = exposed.entry(*set).or_insert(Ppt::ZERO);
            *sum = sum.capped_add(allocated);
        }
        let mut blocks = Vec::new();
        for (operator, positions) in held {
            let operator = operator.to_string();
            let inputs = OperatorInputs { operator, positions, unencumbered: Ppt::ZERO };
            blocks.extend(operator_profile(&inputs, self.methodology).blocks().iter().cloned());
        }
        blocks.extend(self.shock_blocks(&exposed));
        let positions = stakes.iter().flat_map(|((operator, operator_set), stake)| {
            stake.iter().map(|(strategy, value)| {
                let (operator, operator_set, strategy) = (*operator, *operator_set, *strategy);
                let place = Place::Slashable { operator, operator_set, strategy };
                Position { place, value: *value }
            })
        });
        let positions = positions.collect();
        let all = LookThrough { nav: total, seen: total, positions, ..LookThrough::default() };
        blocks.extend(self.base_layer_blocks(&all));
        blocks.push(platform(self.chain, self.when, self.methodology));
        LossProfile::settle(blocks)
    }
}

fn sum<'a>(amounts: impl IntoIterator<Item = &'a U256>) -> U256 {
    amounts.into_iter().fold(U256::ZERO, |sum, amount| sum.saturating_add(*amount))
}

/// γ of one set, and whether it is exact.
fn slack_of(
    nodes: &BTreeMap<OperatorId, U256>,
    profit: U256,
    threshold: Ppt,
) -> Result<(Ratio, bool), NetworkError> {
    let stakes = nodes.values().map(|wei| whole(*wei)).collect::<Result<Vec<_>, _>>()?;
    let service = service(profit, threshold, (0..stakes.len()).collect())?;
    let is_exact = stakes.len() <= EXACT_VALIDATORS_MAX;
    let network = Network::new(stakes, vec![service])?;
    let slack = if is_exact { network.slack()? } else { network.slack_lower_bound()? };
    // A profit is attested above zero, so there is something to gain.
    Ok((slack.ok_or(RatioError::DivisionByZero)?, is_exact))
}

fn whole(wei: U256) -> Result<Ratio, RatioError> {
    Ratio::new(i128::try_from(wei).map_err(|_| RatioError::TooLong)?, 1)
}

fn share(ppt: Ppt) -> Result<Ratio, RatioError> {
    Ratio::new(i128::from(ppt.0), u128::from(PPT_ONE))
}

fn service(profit: U256, threshold: Ppt, validators: Vec<usize>) -> Result<Service, RatioError> {
    Ok(Service { profit: whole(profit)?, threshold: share(threshold)?, validators })
}

/// `R_ψ` where the network is a part of all stake and the rest of it secures nothing: a shock gains
/// nothing there, so all of it falls on the network.
fn loss_within(network: &Network, total: U256, shock: Ppt) -> Result<Ppt, NetworkError> {
    let (shock, part) = (share(shock)?, network.total_stake()?.over(whole(total)?)?);
    let within = shock.over(part)?;
    let cascade = network.worst_case_loss(within)?.minus(within)?.times(part)?;
    Ok(rounded_up(shock.plus(cascade)?))
}

/// A share, at most one, in ppt rounded up: minus the floor of what is negative.
fn rounded_up(share: Ratio) -> Ppt {
    Ppt(floor_ppt(share.min(Ratio::ONE).negated()).unsigned_abs())
}

fn bound(slack: Option<Ratio>, shock: Ppt) -> Result<Ppt, Unbounded> {
    let slack = slack.ok_or(Unbounded::NothingCovered)?;
    let bound = loss_bound(slack, share(shock)?)?.ok_or(Unbounded::NoSlack)?;
    Ok(rounded_up(bound))
}

/// ppt, rounded down; the nearest that fits.
fn floor_ppt(ratio: Ratio) -> i64 {
    let scaled = ratio.numerator().unsigned_abs().saturating_mul(U256::from(PPT_ONE));
    let ppt = if ratio.is_negative() {
        scaled.div_ceil(ratio.denominator())
    } else {
        scaled.checked_div(ratio.denominator()).unwrap_or_default()
    };
    let ppt = i64::try_from(ppt).unwrap_or(i64::MAX);
    if ratio.is_negative() { ppt.saturating_neg() } else { ppt }
}
