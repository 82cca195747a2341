//! Signed claims: what somebody says that no chain tells, and what became of it.

use async_graphql::{Context, Enum, Object, SimpleObject};
use futures_util::future::try_join_all;
use serde::Deserialize;
use sqlx::{FromRow, Postgres, QueryBuilder};

use crate::entity::RatedEntity;
use crate::error::ApiError;
use crate::page::{Column, List, Order, Source};
use crate::rating::big;
use crate::scalar::{Address, BigInt, Bytes32, DateTime, LogPosition};
use crate::scope::{Block, Scope};

/// How well a claim is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum VerificationLevel {
    /// The rated party says so.
    SelfClaim,
    /// A third party signed it.
    SignedThirdParty,
    /// A remote attestation bound to the operator's keys.
    VerifiedRemote,
    /// Verified on chain or by proof.
    VerifiedOnChain,
}

/// What became of a claim, as of the position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum AttestationStanding {
    /// It counts, and may move a rating either way.
    Verified,
    /// It counts, but only where it makes a rating worse: its signer is concerned.
    Claimed,
    /// It expired.
    Expired,
    /// Its signer said something newer on the same topic.
    Superseded,
    /// Its signer took it back.
    Revoked,
    /// Its signer is not registered for its level, or no more.
    SignerNotEntitled,
}

/// A part of what is claimed.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub(crate) struct ClaimDetail {
    /// Which part: `kind.multisig.threshold`.
    pub name: String,
    /// Its value, as the signer wrote it; escaped for display. Shares are in 1e-12.
    pub untrusted_value: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Attestation {
    row: AttestationRow,
    scope: Scope,
}

#[derive(Debug, Clone, FromRow)]
pub(crate) struct AttestationRow {
    digest: Vec<u8>,
    position: i64,
    chain_id: i64,
    block_number: i64,
    block_time: i64,
    subjects: Vec<i64>,
    claim: String,
    details: String,
    level: i16,
    evidence: Vec<u8>,
    signer: Vec<u8>,
    observed_at: i64,
    effective_block: i64,
    expires_at: i64,
    standing: Option<i16>,
    is_expired: bool,
}

impl Attestation {
    pub(crate) fn new(row: AttestationRow, scope: &Scope) -> Self {
        Self { row, scope: scope.clone() }
    }
}

/// A signed claim. It is sent in by `recordAttestation` or
/// `POST /v1/attestations` and counts from the end of an epoch
/// that it names itself; before that it is in no answer.
#[Object]
impl Attestation {
    /// Its name for ever: the EIP-712 digest of what was signed.
    async fn digest(&self) -> Result<Bytes32, ApiError> {
        Bytes32::from_row(&self.row.digest)
    }

    /// Type of the claim, as it is signed: `SlasherProfileAttested`.
    async fn claim(&self) -> &str {
        &self.row.claim
    }

    /// What is claimed.
    async fn details(&self) -> Result<Vec<ClaimDetail>, ApiError> {
        let lines: Vec<(String, String)> = serde_json::from_str(&self.row.details)
            .map_err(|_| ApiError::Corrupt("the shape of a claim"))?;
        Ok(lines
            .into_iter()
            .map(|(name, untrusted_value)| ClaimDetail { name, untrusted_value })
            .collect())
    }

    /// Whom it is about, as far as they are entities. None: it is the price of a strategy.
    async fn subjects(&self, ctx: &Context<'_>) -> Result<Vec<RatedEntity>, ApiError> {
        let find = |id: &i64| RatedEntity::by_row_id(ctx, &self.scope, *id);
        let found = try_join_all(self.row.subjects.iter().map(find)).await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// What became of it.
    async fn standing(&self) -> Result<AttestationStanding, ApiError> {
        Ok(match (self.row.standing, self.row.is_expired) {
            (Some(1 | 2), true) => AttestationStanding::Expired,
            (Some(1), false) => AttestationStanding::Verified,
            (Some(2), false) => AttestationStanding::Claimed,
            (Some(3), _) => AttestationStanding::Superseded,
            (Some(4), _) => AttestationStanding::Revoked,
            (Some(5), _) => AttestationStanding::SignerNotEntitled,
            _ => return Err(ApiError::Corrupt("a standing outside 1 to 5")),
        })
    }

    /// How well it is verified, by its own word.
    async fn level(&self) -> Result<VerificationLevel, ApiError> {
        Ok(match self.row.level {
            0 => VerificationLevel::SelfClaim,
            1 => VerificationLevel::SignedThirdParty,
            2 => VerificationLevel::VerifiedRemote,
            3 => VerificationLevel::VerifiedOnChain,
            _ => return Err(ApiError::Corrupt("a level outside 0 to 3")),
        })
    }

    /// Hash of the evidence.
    async fn evidence(&self) -> Result<Bytes32, ApiError> {
        Bytes32::from_row(&self.row.evidence)
    }

    /// Who signed it.
    async fn signer(&self) -> Result<Address, ApiError> {
        Address::from_row(&self.row.signer)
    }

    /// When it was observed.
    async fn observed_at(&self) -> DateTime {
        DateTime::from_seconds(self.row.observed_at)
    }

    /// The block that was signed: it counts from the first epoch end a day after it.
    async fn effective_block(&self) -> BigInt {
        big(self.row.effective_block)
    }

    /// When it stops counting.
    async fn expires_at(&self) -> DateTime {
        DateTime::from_seconds(self.row.expires_at)
    }

    /// The position from which it counts.
    async fn position(&self) -> LogPosition {
        LogPosition(self.row.position)
    }

    /// The block from whose end it counts.
    async fn block(&self) -> Block {
        Block::new(self.row.chain_id, self.row.block_number, self.row.block_time)
    }
}

/// Claims, the newest first: all, or those about the parent.
pub(crate) struct Attestations;

impl List for Attestations {
    /// Whether only those about the parent.
    type Filter = bool;
    type Row = AttestationRow;

    fn order(_: &bool) -> Order {
        Order { name: "attestations", columns: &[Column::Integer("position")], is_descending: true }
    }

    fn push_rows(query: &mut QueryBuilder<Postgres>, source: &Source<'_, bool>) {
        push_claims(query, source.scope);
        if *source.filter {
            query.push(" AND x.subjects @> ARRAY[p.entity_id]");
        }
    }
}

/// Pushes the claims `x` that a scope knows, with what became of each.
pub(crate) fn push_claims(query: &mut QueryBuilder<Postgres>, scope: &Scope) {
    query.push(
        "SELECT x.digest, x.position, x.chain_id, x.block_number, x.block_time, x.subjects,
                x.claim, x.details::text AS details, x.level, x.evidence, x.signer,
                x.observed_at, x.effective_block, x.expires_at,
                (SELECT s.standing FROM read_model.attestation_standings s
                  WHERE s.digest = x.digest AND s.position <= ",
    );
    query.push_bind(scope.position);
    query.push(
        " ORDER BY s.position DESC LIMIT 1) AS standing,
          x.expires_at <= greatest((SELECT b.time FROM read_model.blocks b
              WHERE b.chain_id = x.chain_id AND b.last_position <= ",
    );
    query.push_bind(scope.position);
    query.push(" ORDER BY b.last_position DESC LIMIT 1), ");
    query.push_bind(scope.time.unwrap_or_default());
    query.push(") AS is_expired FROM read_model.attestations x WHERE x.position <= ");
    query.push_bind(scope.position);
}
