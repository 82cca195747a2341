//! Loss blocks: what can happen, how likely, how bad, to how much. They sum to the expected loss.
//!
//! A profile is a list of blocks in the order of their ids with integers that add up exactly. Where
//! the numbers of a block come from is decided in `operator_set` and `operator`.

use std::fmt;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::decimal::{Atto, Ppt};
use crate::frailty::Hazard;
use crate::grade::ExpectedLossPpt;
use crate::hazard::GammaRate;
use crate::methodology::Methodology;
use crate::mitigation::VerificationLevel;
use crate::severity::Severity;

/// Parts per trillion of a part per trillion: the unit of the rest that rounding hands out.
const PPT_SQUARED: u128 = 1_000_000_000_000_000_000_000_000;

/// Cause of a loss.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
pub enum LossClass {
    /// Attributable signing fault of one operator in one set.
    C1,
    /// The same in all of an operator's sets at once, through shared keys.
    #[serde(rename = "C1w")]
    C1Wide,
    /// Liveness slash.
    C2,
    /// Logic, slasher bug or false positive of a set.
    C3,
    /// Slasher or upgrade authority compromised or abused.
    C4,
    /// Corruption that pays.
    C5,
    /// Base layer: validators, clients, staking tokens.
    C6,
    /// Contracts of the restaking platform.
    C7,
    /// Contracts, governance or bridge of a liquid restaking token.
    C8,
}

impl LossClass {
    /// The name that starts a block's id.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::C1 => "C1",
            Self::C1Wide => "C1w",
            Self::C2 => "C2",
            Self::C3 => "C3",
            Self::C4 => "C4",
            Self::C5 => "C5",
            Self::C6 => "C6",
            Self::C7 => "C7",
            Self::C8 => "C8",
        }
    }

    /// The narrowest scope that counts this class.
    #[must_use]
    pub fn scope(self) -> Scope {
        match self {
            Self::C7 | Self::C8 => Scope::AllIn,
            _ => Scope::Slashing,
        }
    }
}

impl fmt::Display for LossClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Which losses a rating counts. The headline is all-in; slashing explains it.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Slashing and the base layer.
    Slashing,
    /// Also the contracts of the platform and of the token.
    AllIn,
}

/// Where the numbers of a block come from.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Provenance {
    /// Read from the chain, or the worst case was read there.
    Log,
    /// From an attestation of this level that has not lapsed.
    Attested(VerificationLevel),
    /// The methodology's prior: nobody said anything.
    Prior,
}

impl Provenance {
    /// Share of the block that counts as covered.
    #[must_use]
    pub fn coverage(self, methodology: &Methodology) -> Ppt {
        match self {
            Self::Log => Ppt::ONE,
            Self::Attested(level) => level.weight(&methodology.levels).to_ppt(),
            Self::Prior => Ppt::ZERO,
        }
    }
}

/// The group whose rate a block shares, and how uncertain that rate is.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, BorshSerialize, BorshDeserialize,
)]
pub struct SharedGroup {
    /// The group: class, vertical, platform.
    pub id: String,
    /// Squared coefficient of variation of the group's rate.
    pub cv2: Atto,
}

/// How the share that is lost is distributed: all of it, or a part around a mean.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
pub struct LossShape {
    /// Probability that it is the most there can be, ppt.
    pub full: Ppt,
    /// That most, ppt of the exposure.
    pub full_loss: Ppt,
    /// Mean of any other loss, ppt of the exposure.
    pub partial: Ppt,
}

impl LossShape {
    /// Always the same share.
    #[must_use]
    pub fn certain(share: Ppt) -> Self {
        Self { full: Ppt::ZERO, full_loss: Ppt::ONE, partial: share }
    }
}

impl From<&Severity> for LossShape {
    fn from(severity: &Severity) -> Self {
        let Severity { full, full_loss, partial, .. } = *severity;
        Self { full, full_loss, partial }
    }
}

/// One thing that can happen, on one exposure.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, BorshSerialize, BorshDeserialize,
)]
pub struct LossBlock {
    /// Class and what it is about, `C3|<set>`. Unique within a profile.
    pub id: String,
    /// Cause.
    pub class: LossClass,
    /// Probability within a year, ppt.
    pub hazard: Ppt,
    /// Mean share of the exposure that is lost, ppt.
    pub severity: Ppt,
    /// How that share is distributed.
    pub shape: LossShape,
    /// Share of what is rated that is exposed, ppt.
    pub exposure: Ppt,
    /// The block's part of the expected loss, ppt. Set by [`LossProfile::settle`].
    pub expected_loss: ExpectedLossPpt,
    /// Where the numbers come from.
    pub provenance: Provenance,
    /// The yearly rate behind the probability; `None` where it is a formula.
    pub rate: Option<GammaRate>,
    /// Group that shares the rate.
    pub group: Option<SharedGroup>,
    /// Squared coefficient of variation that is the block's own: frailty and severity.
    pub own_cv2: Atto,
    /// Credibility of own data in the rate, ppt.
    pub credibility: Ppt,
}

impl LossBlock {
    /// A block on the whole exposure with an estimated rate.
    #[must_use]
    pub fn of_hazard(
        class: LossClass,
        about: &str,
        hazard: &Hazard,
        severity: &Severity,
        provenance: Provenance,
    ) -> Self {
        Self {
            id: format!("{class}|{about}"),
            class,
            hazard: hazard.rate.predictive(Atto::ONE),
            severity: severity.mean,
            shape: severity.into(),
            exposure: Ppt::ONE,
            expected_loss: ExpectedLossPpt::ZERO,
            provenance,
            rate: Some(hazard.rate),
            group: None,
            own_cv2: product_cv2(hazard.own_cv2, severity.cv2),
            credibility: hazard.credibility,
        }
    }

    /// The same block with its rate shared by a group. Faults in one set and in all sets at once
    /// have one rate in common, so they are one group.
    #[must_use]
    pub fn in_group(self, id: &str, hazard: &Hazard) -> Self {
        let class = if self.class == LossClass::C1Wide { LossClass::C1 } else { self.class };
        let id = format!("{class}|{id}");
        Self { group: Some(SharedGroup { id, cv2: hazard.group_cv2 }), ..self }
    }

    /// The same block on `share` of its exposure.
    #[must_use]
    pub fn on(self, share: Ppt) -> Self {
        Self { exposure: self.exposure.times(share), ..self }
    }

    /// Probability × severity × exposure, exactly: whole ppt and the rest of one in 1e-24.
    fn exact_loss(&self) -> (u128, u128) {
        let product = u128::from(self.hazard.0)
            .saturating_mul(self.severity.0.into())
            .saturating_mul(self.exposure.0.into());
        let whole = product.checked_div(PPT_SQUARED).unwrap_or(0);
        let rest = product.checked_rem(PPT_SQUARED).unwrap_or(0);
        (whole, rest)
    }
}

/// Squared variation of a product of two independent factors.
fn product_cv2(a: Atto, b: Atto) -> Atto {
    a.saturating_add(b).saturating_add(a.saturating_mul(b))
}

/// Blocks that add up: the expected loss is their integer sum, by construction.
#[derive(
    Debug,
    Clone,
    Default,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
pub struct LossProfile {
    blocks: Vec<LossBlock>,
    expected_loss: ExpectedLossPpt,
}

impl LossProfile {
    /// Orders the blocks by id and sets their expected losses.
    ///
    /// The exact sum is rounded half-even to a part per trillion once; the parts that rounding
    /// leaves over go to the blocks with the largest rests, ties by id. So each block is within one
    /// part of its product and the sum is the rounded total.
    #[must_use]
    pub fn settle(mut blocks: Vec<LossBlock>) -> Self {
        let key = |block: &LossBlock| (block.hazard, block.severity, block.exposure);
        blocks.sort_by(|a, b| a.id.cmp(&b.id).then_with(|| key(a).cmp(&key(b))));
        let exact: Vec<(u128, u128)> = blocks.iter().map(LossBlock::exact_loss).collect();
        let rests = exact.iter().fold(0_u128, |sum, (_, rest)| sum.saturating_add(*rest));
        let handed_out = crate::decimal::mul_div_half_even(rests, 1, PPT_SQUARED);
        let mut order: Vec<usize> = (0..blocks.len()).collect();
        order.sort_by_key(|index| {
            (std::cmp::Reverse(exact.get(*index).map_or(0, |(_, rest)| *rest)), *index)
        });
        let winners = usize::try_from(handed_out).unwrap_or(usize::MAX);
        let winners: std::collections::BTreeSet<usize> = order.into_iter().take(winners).collect();

        let mut total: u64 = 0;
        for ((index, block), (whole, _)) in blocks.iter_mut().enumerate().zip(&exact) {
            let extra = u64::from(winners.contains(&index));
            let loss = u64::try_from(*whole).unwrap_or(u64::MAX).saturating_add(extra);
            block.expected_loss = ExpectedLossPpt(loss);
            total = total.saturating_add(loss);
        }
        Self { blocks, expected_loss: ExpectedLossPpt(total) }
    }

    /// The blocks, by id.
    #[must_use]
    pub fn blocks(&self) -> &[LossBlock] {
        &self.blocks
    }

    /// The sum of the blocks.
    #[must_use]
    pub fn expected_loss(&self) -> ExpectedLossPpt {
        self.expected_loss
    }

    /// The blocks that a scope counts, settled again.
    #[must_use]
    pub fn within(&self, scope: Scope) -> Self {
        let counted = self.blocks.iter().filter(|block| block.class.scope() <= scope);
        Self::settle(counted.cloned().collect())
    }

    /// With more blocks, settled again.
    #[must_use]
    pub fn with(mut self, blocks: impl IntoIterator<Item = LossBlock>) -> Self {
        self.blocks.extend(blocks);
        Self::settle(self.blocks)
    }
}

/// Class C7: the platform's contracts fail, on all that is restaked there.
#[must_use]
pub fn platform_block(platform: &str, live_years: Atto, methodology: &Methodology) -> LossBlock {
    let prior = methodology.priors.c7.into();
    let severity = Severity::fixed(methodology.severity.platform);
    contract_block(LossClass::C7, platform, prior, live_years, &severity)
}

/// Class C8: the contracts, governance or bridge of a liquid restaking token fail, on all of it.
#[must_use]
pub fn lrt_contract_block(lrt: &str, live_years: Atto, methodology: &Methodology) -> LossBlock {
    let prior = methodology.priors.c8.into();
    let severity = Severity::fixed(methodology.severity.lrt_contract);
    contract_block(LossClass::C8, lrt, prior, live_years, &severity)
}

fn contract_block(
    class: LossClass,
    about: &str,
    prior: GammaRate,
    live_years: Atto,
    severity: &Severity,
) -> LossBlock {
    let hazard = Hazard::of_avs(prior, Atto::ZERO, live_years);
    LossBlock::of_hazard(class, about, &hazard, severity, Provenance::Prior)
}
