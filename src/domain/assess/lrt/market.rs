//! What others say of a token's markets and loans, and who can leave before a loss is recognised.
//!
//! Each figure is the worst that anybody states: whoever says so can only make it worse, and what
//! nobody says is the methodology's worst case, which third parties alone can take back.

use alloy_primitives::U256;

use super::{Assessor, ppt_of_wad, share_of};
use crate::attestation::{Claim, DEX_DEPTH, LENDING_EXPOSURE, Topic};
use crate::decimal::{PPT_ONE, Ppt};
use crate::id::LrtId;
use crate::lrt::{Lending, Sale};
use crate::mitigation::VerificationLevel;
use crate::state::lrt::Lrt;
use crate::state::registry::Current;
use crate::tail::{ForcedSale, Run};

impl Assessor<'_> {
    /// The claims of a kind about a token that count.
    pub(super) fn about_token(&self, token: LrtId, kind: u8) -> Vec<Current<'_>> {
        self.chain.registry.current(Topic::Token(token, kind), self.when.time).collect()
    }

    /// What it takes to sell a token.
    pub(super) fn sale(&self, token: LrtId) -> Option<Sale> {
        let claims = self.about_token(token, DEX_DEPTH);
        let said = claims.iter().filter_map(|current| match current.claim {
            Claim::DexDepth { cost, wei, .. } => Some((*cost, *wei, vouched(current))),
            _ => None,
        });
        let depth = said.clone().map(|(_, depth, _)| depth).max()?;
        let (cost, _, level) = said.max_by_key(|(cost, _, level)| (*cost, *level))?;
        let is_depth_vouched = claims.iter().any(|current| current.is_verified);
        Some(Sale { cost, level, depth, is_depth_vouched })
    }

    /// The loans against a token.
    pub(super) fn lending(&self, token: LrtId) -> Option<Lending> {
        let claims = self.about_token(token, LENDING_EXPOSURE);
        let said = claims.iter().filter_map(|current| match current.claim {
            Claim::LendingExposure { looped, loan_to_value, liquidation_threshold, .. } => {
                let from = sold_from(*loan_to_value, *liquidation_threshold);
                Some((*looped, from, vouched(current)))
            }
            _ => None,
        });
        let sold_from = said.clone().map(|(_, from, _)| from).min()?;
        let (looped, _, level) = said.max_by_key(|(looped, _, level)| (*looped, *level))?;
        Some(Lending { looped, sold_from, level })
    }

    /// ρ of methodology §2.6: what is set aside to redeem at once and what markets take, and what
    /// lenders sell, together at most the methodology's share. All of that share leaves where the
    /// log does not tell what is set aside, or no third party what markets take.
    pub(super) fn run(
        &self,
        lrt: &Lrt,
        nav: U256,
        sale: Option<Sale>,
        lending: Option<Lending>,
    ) -> Run {
        let most = self.methodology.lrt.run_share_max;
        let depth = sale.filter(|sale| sale.is_depth_vouched).map(|sale| sale.depth);
        let at_once = lrt.buffer.zip(depth).map(|(buffer, depth)| buffer.saturating_add(depth));
        let redeemed = at_once.map_or(most, |wei| share_of(wei, nav).min(most));
        let room = Ppt(most.0.saturating_sub(redeemed.0));
        let forced = lending
            .map(|lending| ForcedSale { share: lending.looped.min(room), from: lending.sold_from });
        self.tweak.run(Run {
            guard: lrt.nav_guard.map_or(Ppt::ZERO, ppt_of_wad),
            redeemed,
            forced: forced.filter(|forced| forced.share > Ppt::ZERO),
        })
    }
}

/// The level of a third party's claim.
fn vouched(current: &Current<'_>) -> Option<VerificationLevel> {
    current.is_verified.then_some(current.level)
}

/// The fall in value at which a loan reaches its threshold, 1 − loan / threshold, rounded down.
fn sold_from(loan_to_value: Ppt, threshold: Ppt) -> Ppt {
    let loan = u128::from(loan_to_value.0).saturating_mul(PPT_ONE.into());
    let left = loan.checked_add(u128::from(threshold.0).saturating_sub(1));
    let left = left.and_then(|loan| loan.checked_div(threshold.0.into()));
    Ppt(left.and_then(|left| u64::try_from(left).ok()).unwrap_or(PPT_ONE)).complement()
}
