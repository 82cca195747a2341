//! The restaking network of a chain: its slack, and how far a shock can spread.

use std::sync::Arc;

use assay_domain::assess::network::{self, CoveredSet, Uncovered, UncoveredService};
use assay_domain::mitigation::VerificationLevel as Level;
use assay_domain::{OperatorSetId, RatedEntity};
use async_graphql::{Context, SimpleObject};

use crate::attestation::VerificationLevel;
use crate::error::ApiError;
use crate::limit::PAGE_MAX;
use crate::scalar::{Address, BigInt, ChainId};
use crate::scope::Scope;
use crate::stress::{moment_of, simulator_of};

/// The network that was found, and on which chain.
pub type FoundNetwork = (u64, Arc<network::RestakingNetwork>);

/// Every operator set of a chain with the stake that it can take throughout the next 14 days, and
/// how far above what corrupting it would gain that stake is. A set counts once a third party
/// attested that gain; all figures are as if corrupting the others gained nothing.
#[derive(Debug, SimpleObject)]
pub(crate) struct RestakingNetwork {
    /// The chain.
    pub chain_id: ChainId,
    /// The slack of the covered sets together, 1e-12, rounded down: whoever can attack stakes at
    /// least one and this much times what there is to gain. Null where no set is covered.
    pub slack_ppt: Option<BigInt>,
    /// Whether the slack is exact, every coalition tried, or a lower bound of it (Durvasula and
    /// Roughgarden). Null where there is none.
    pub is_slack_exact: Option<bool>,
    /// The shock: what is lost of all stake together within a year in all but one year of a
    /// thousand, 1e-12 of it. Null where it is not known.
    pub shock_ppt: Option<BigInt>,
    /// The most of the stake that such a shock and all attacks that it makes pay can take, 1e-12:
    /// the shock times one and one over the slack, at most all. Null where nothing bounds it.
    pub loss_bound_ppt: Option<BigInt>,
    /// The most of the stake that is lost, 1e-12: exact where the covered sets and the operators in
    /// them are at most twelve, else `lossBoundPpt`. Null where neither is known.
    pub worst_loss_ppt: Option<BigInt>,
    /// Whether it is exact, every shock and every sequence of attacks tried, or the bound.
    pub is_worst_loss_exact: Option<bool>,
    /// Why `lossBoundPpt` is null.
    pub unbounded_reason: Option<String>,
    /// Stake of known value that any set can take, wei.
    pub stake_wei: BigInt,
    /// The part of it in covered sets, wei.
    pub covered_stake_wei: BigInt,
    /// How many sets are covered.
    pub covered_count: i32,
    /// How many services are not.
    pub uncovered_count: i32,
    /// The covered sets, the least slack first, 100 at most.
    pub covered: Vec<NetworkService>,
    /// What is not covered, most stake first, 100 at most.
    pub uncovered: Vec<UncoveredNetworkService>,
}

/// An operator set whose corruption has an attested gain.
#[derive(Debug, SimpleObject)]
pub(crate) struct NetworkService {
    /// Its slug.
    pub slug: String,
    /// Its AVS.
    pub avs_address: Address,
    /// Its number within the AVS.
    pub operator_set_id: i64,
    /// The largest gain that anybody states, wei.
    pub profit_wei: BigInt,
    /// The least level of the third parties who state one.
    pub level: VerificationLevel,
    /// The share of its stake that an attack takes, 1e-12.
    pub threshold_ppt: BigInt,
    /// Whether that is the methodology's, for want of an attestation.
    pub is_threshold_assumed: bool,
    /// Its stake, wei.
    pub stake_wei: BigInt,
    /// The part of it that other platforms can take too, wei, as attested: no part of the slack.
    pub pooled_wei: BigInt,
    /// Operators with stake in it.
    pub operators: i32,
    /// Its own slack, 1e-12.
    pub slack_ppt: BigInt,
    /// Whether that is exact, or a lower bound.
    pub is_slack_exact: bool,
}

/// What could be attacked too and is no part of the slack.
#[derive(Debug, SimpleObject)]
pub(crate) struct UncoveredNetworkService {
    /// Its slug. Null for Ethereum's own consensus.
    pub slug: Option<String>,
    /// Its AVS. Null for Ethereum's own consensus.
    pub avs_address: Option<Address>,
    /// Its number within the AVS. Null for an AVS of the older AVSDirectory, which has no set.
    pub operator_set_id: Option<i64>,
    /// Stake that could be lost with it, wei.
    pub stake_wei: BigInt,
    /// Why it is not covered.
    pub reason: String,
}

/// Answers the field.
pub(crate) async fn network(
    ctx: &Context<'_>,
    scope: Scope,
    chain_id: Option<ChainId>,
) -> Result<RestakingNetwork, ApiError> {
    let simulator = simulator_of(ctx)?;
    let moment = moment_of(ctx, &scope, chain_id.map(|chain| chain.0.cast_unsigned())).await?;
    let (chain_id, found) = simulator.network(moment).await?;
    Ok(told(chain_id, &found))
}

fn told(chain_id: u64, found: &network::RestakingNetwork) -> RestakingNetwork {
    let shown = usize::try_from(PAGE_MAX).unwrap_or(usize::MAX);
    let slack = found.slack();
    let ppt = |share: &assay_domain::decimal::Ppt| text(share.0);
    RestakingNetwork {
        chain_id: ChainId(chain_id.cast_signed()),
        slack_ppt: slack.map(|(slack, _)| text(slack.0)),
        is_slack_exact: slack.map(|(_, is_exact)| is_exact),
        shock_ppt: found.shock.as_ref().ok().map(ppt),
        loss_bound_ppt: found.loss_bound.as_ref().ok().map(ppt),
        worst_loss_ppt: found.worst_loss.as_ref().ok().map(|(share, _)| ppt(share)),
        is_worst_loss_exact: found.worst_loss.as_ref().ok().map(|(_, is_exact)| *is_exact),
        unbounded_reason: found.loss_bound.as_ref().err().map(ToString::to_string),
        stake_wei: text(found.stake),
        covered_stake_wei: text(found.covered_stake),
        covered_count: count(found.services.len()),
        uncovered_count: count(found.uncovered.len()),
        covered: found.services.iter().take(shown).map(|one| covered(chain_id, one)).collect(),
        uncovered: found.uncovered.iter().take(shown).map(|one| uncovered(chain_id, one)).collect(),
    }
}

fn covered(chain_id: u64, found: &CoveredSet) -> NetworkService {
    NetworkService {
        slug: slug(chain_id, found.set),
        avs_address: found.set.avs.0.into(),
        operator_set_id: found.set.id.into(),
        profit_wei: text(found.profit),
        level: match found.level {
            Level::SelfClaim => VerificationLevel::SelfClaim,
            Level::SignedThirdParty => VerificationLevel::SignedThirdParty,
            Level::VerifiedRemote => VerificationLevel::VerifiedRemote,
            Level::VerifiedOnChain => VerificationLevel::VerifiedOnChain,
        },
        threshold_ppt: text(found.threshold.0),
        is_threshold_assumed: found.is_threshold_assumed,
        stake_wei: text(found.stake),
        pooled_wei: text(found.pooled),
        operators: count(found.operators),
        slack_ppt: text(found.slack.0),
        is_slack_exact: found.is_exact,
    }
}

fn uncovered(chain_id: u64, found: &Uncovered) -> UncoveredNetworkService {
    let (slug, avs, set) = match found.service {
        UncoveredService::OperatorSet(set) => (Some(slug(chain_id, set)), Some(set.avs), Some(set)),
        UncoveredService::Avs(avs) => {
            (Some(RatedEntity::avs(chain_id, avs).to_string()), Some(avs), None)
        }
        UncoveredService::Consensus => (None, None, None),
    };
    UncoveredNetworkService {
        slug,
        avs_address: avs.map(|avs| avs.0.into()),
        operator_set_id: set.map(|set| set.id.into()),
        stake_wei: text(found.stake),
        reason: found.reason.to_string(),
    }
}

fn slug(chain_id: u64, set: OperatorSetId) -> String {
    RatedEntity::operator_set(chain_id, set).to_string()
}

fn text(figure: impl ToString) -> BigInt {
    BigInt(figure.to_string())
}

fn count(found: usize) -> i32 {
    i32::try_from(found).unwrap_or(i32::MAX)
}
