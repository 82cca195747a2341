//! Rulesets of operator sets: what can be slashed, and how much can go wrong in deciding it.
//!
//! A ruleset is a record committed to by its hash. Complexity is counted in quarters, so that it is
//! exact. The standards themselves are in the methodology file.

use alloy_primitives::B256;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::decimal::{Atto, Ppt};

/// Atto in a quarter.
const QUARTER_ATTO: u128 = 250_000_000_000_000_000;

/// Complexity K of a ruleset, in quarters: each whole point doubles the prior rate of class C3.
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
#[serde(transparent)]
pub struct Complexity {
    /// Quarters of a point.
    pub quarters: u16,
}

impl Complexity {
    /// K as a decimal.
    #[must_use]
    pub fn to_atto(self) -> Atto {
        Atto(u128::from(self.quarters).saturating_mul(QUARTER_ATTO))
    }
}

/// How a violation is established.
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
pub enum EvidenceKind {
    /// A contract verifies it from the message pair alone. No points.
    Deterministic,
    /// Somebody must challenge, and the challenge can be lost. One point.
    Challenge,
    /// People or nodes vote. Two points.
    Committee,
}

/// One slashing rule.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, BorshSerialize, BorshDeserialize,
)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Short name inside the ruleset: `R1`.
    pub id: String,
    /// What the rule forbids.
    pub text: String,
    /// How a violation is established.
    pub evidence: EvidenceKind,
    /// Evidence needs history beyond one message pair: half a point.
    #[serde(default)]
    pub needs_history: bool,
    /// Evidence needs data from outside the messages: half a point.
    #[serde(default)]
    pub external_data: bool,
    /// Slashes for being absent, not only for lying: one point, and class C2 applies.
    #[serde(default)]
    pub slashes_liveness: bool,
    /// A policy engine can refuse to sign a violation: half a point less.
    #[serde(default)]
    pub machine_policy: bool,
    /// Largest share of the allocation the rule may take.
    #[serde(default = "whole_allocation")]
    pub max_slash: Ppt,
    /// Blocks in which a slash can be disputed.
    #[serde(default)]
    pub dispute_window_blocks: u64,
    /// Code hash of the verifier contract, where there is one.
    #[serde(default)]
    pub verifier_code_hash: Option<B256>,
}

fn whole_allocation() -> Ppt {
    Ppt::ONE
}

impl Rule {
    /// Points of the rule in quarters, at least zero.
    #[must_use]
    pub fn quarters(&self) -> u16 {
        let evidence: u16 = match self.evidence {
            EvidenceKind::Deterministic => 0,
            EvidenceKind::Challenge => 4,
            EvidenceKind::Committee => 8,
        };
        let added = [(self.needs_history, 2), (self.external_data, 2), (self.slashes_liveness, 4)];
        let sum = added
            .iter()
            .filter(|(applies, _)| *applies)
            .fold(evidence, |sum, (_, quarters)| sum.saturating_add(*quarters));
        sum.saturating_sub(if self.machine_policy { 2 } else { 0 })
    }
}

/// The rules of one operator set, or of a published standard.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, BorshSerialize, BorshDeserialize,
)]
#[serde(deny_unknown_fields)]
pub struct Ruleset {
    /// Slashed stake is paid out instead of burned.
    pub redistributing: bool,
    /// The rules, in their published order.
    pub rules: Vec<Rule>,
}

impl Ruleset {
    /// The commitment: sha256 of the Borsh bytes of the record.
    #[must_use]
    pub fn hash(&self) -> B256 {
        let mut hasher = Sha256Writer(Sha256::new());
        // Writing into a hasher cannot fail, so the result says nothing.
        let written = borsh::to_writer(&mut hasher, self);
        debug_assert!(written.is_ok(), "hashing is infallible");
        B256::from(<[u8; 32]>::from(hasher.0.finalize()))
    }

    /// Complexity: points of the rules plus `extra_rule_quarters` for each rule after the first.
    #[must_use]
    pub fn complexity(&self, extra_rule_quarters: u16) -> Complexity {
        let extra = self.rules.iter().skip(1).map(|_| extra_rule_quarters);
        let quarters =
            self.rules.iter().map(Rule::quarters).chain(extra).fold(0, u16::saturating_add);
        Complexity { quarters }
    }

    /// Whether absence alone can be slashed.
    #[must_use]
    pub fn slashes_liveness(&self) -> bool {
        self.rules.iter().any(|rule| rule.slashes_liveness)
    }
}

struct Sha256Writer(Sha256);

impl borsh::io::Write for Sha256Writer {
    fn write(&mut self, bytes: &[u8]) -> borsh::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> borsh::io::Result<()> {
        Ok(())
    }
}

/// A published standard: a name, a ruleset and the complexity it is worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesetStandard {
    /// `BFT-1`, `DA-1` …
    pub name: String,
    /// The complexity stated by the methodology.
    #[serde(rename = "quarters")]
    pub complexity: Complexity,
    /// The commitment.
    pub hash: B256,
    /// The rules.
    pub ruleset: Ruleset,
}
