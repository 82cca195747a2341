//! Rows of signed claims, and of what becomes of them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use alloy::primitives::{Address, B256};
use assay_domain::attestation::{Attestation, Claim, Signed, Topic};
use assay_domain::canonical::CanonicalHead;
use assay_domain::methodology::Methodology;
use assay_domain::state::ChainState;
use assay_domain::state::registry::Stands;
use assay_domain::text::UntrustedText;
use assay_domain::{ChainId, Event, Fact, OperatorId, RatedEntity};
use serde_json::{Value, json};

use super::{ReadModel, row_id};

pub(super) const COLUMNS: &str = "digest, position, chain_id, block_number, block_time, subjects, \
    claim, details, level, evidence, signer, observed_at, effective_block, expires_at";

/// Names of the published rulesets, by their commitments.
static STANDARDS: LazyLock<BTreeMap<B256, String>> = LazyLock::new(|| {
    let published =
        Methodology::version_1().map_or_else(|_| Vec::new(), |file| file.rulesets.standards);
    published.into_iter().map(|standard| (standard.hash, standard.name)).collect()
});

/// Of each signer, the claims whose standing may still change, with what was last written of it.
pub(super) type Open = BTreeMap<(ChainId, Address), BTreeMap<Topic, BTreeMap<B256, Stands>>>;

impl ReadModel {
    /// Writes down a claim, and what a message changed of the standing of claims.
    /// `chain` is the state after all messages of the epoch's end.
    pub(super) fn message_folded(&mut self, fact: &Fact, chain: &ChainState, head: CanonicalHead) {
        let (signer, topic) = match &fact.event {
            Event::Attested(signed) => {
                self.write_attestation(fact, signed, head);
                let topic = signed.message.claim.topic();
                let open = self.attestations.entry((fact.chain_id, signed.signer)).or_default();
                // What is written of it yet is nothing: any standing differs from being final.
                open.entry(topic).or_default().insert(signed.digest, Stands::Revoked);
                (signed.signer, Some(topic))
            }
            Event::AttestationRevoked(signed) => (signed.signer, None),
            Event::SignerRegistered(signed) => (signed.message.signer, None),
            Event::SignerRemoved(signed) => (signed.message.signer, None),
            _ => return,
        };
        let Some(topics) = self.attestations.get_mut(&(fact.chain_id, signer)) else { return };
        let concerned = topics.iter_mut().filter(|(of, _)| topic.is_none_or(|it| it == **of));
        for (_, open) in concerned {
            for (digest, written) in open.iter_mut() {
                let stands = chain.registry.stands(digest);
                let is_new = matches!(&fact.event, Event::Attested(one) if one.digest == *digest);
                if (is_new || stands != *written) && head.position > self.written_to {
                    self.tables
                        .attestation_standings
                        .bytes(digest.as_slice())
                        .integer(head.position)
                        .integer(stands as u8)
                        .end();
                }
                *written = stands;
            }
            open.retain(|_, stands| !stands.is_final());
        }
    }

    fn write_attestation(
        &mut self,
        fact: &Fact,
        signed: &Signed<Attestation>,
        head: CanonicalHead,
    ) {
        let said = &signed.message;
        if head.position <= self.written_to {
            return;
        }
        // Being spoken of makes nobody an entity.
        let subjects = subjects(fact.chain_id, &said.claim);
        self.tables
            .attestations
            .bytes(signed.digest.as_slice())
            .integer(head.position)
            .integer(fact.chain_id)
            .integer(fact.block.number)
            .integer(fact.block.timestamp)
            .array(subjects.iter().map(|entity| row_id(entity).to_string()))
            .text(said.claim.name())
            .text(&details(&said.claim).to_string())
            .integer(said.level as u8)
            .bytes(said.evidence.as_slice())
            .bytes(signed.signer.as_slice())
            .integer(said.observed_at)
            .integer(said.effective_block)
            .integer(said.expires_at)
            .end();
    }
}

/// Whom a claim is about. An AVS is concerned by what is said of its sets.
fn subjects(chain_id: ChainId, claim: &Claim) -> Vec<RatedEntity> {
    let set = |id: assay_domain::OperatorSetId| {
        [RatedEntity::operator_set(chain_id, id), RatedEntity::avs(chain_id, id.avs)]
    };
    match claim.topic() {
        Topic::Set(id, _) => set(id).to_vec(),
        Topic::Operator(id, _) => vec![RatedEntity::operator(chain_id, id)],
        Topic::Incident(operator, id, _) => {
            let [set, avs] = set(id);
            vec![RatedEntity::operator(chain_id, operator), set, avs]
        }
        Topic::Price(_) => Vec::new(),
        Topic::Watch(entity) => vec![entity],
        Topic::Token(id, _) => vec![RatedEntity::lrt(chain_id, id)],
        Topic::Earner(earner, _) => vec![RatedEntity::operator(chain_id, OperatorId(earner))],
    }
}

/// A claim as pairs of path and value: `["kind.multisig.threshold", "3"]`. Texts are a stranger's.
/// A ruleset that is a published one is named first: `["standard", "DA-1"]`.
fn details(claim: &Claim) -> Value {
    let mut lines = Vec::new();
    if let Claim::Ruleset { ruleset, .. } = claim
        && let Some(name) = STANDARDS.get(&ruleset.hash())
    {
        lines.push(json!(["standard", name]));
    }
    // The claim as it is written in a document: its kind, then its parts.
    let document = serde_json::to_value(claim).unwrap_or_default();
    for part in document.as_object().into_iter().flat_map(|kinds| kinds.values()) {
        flatten("", part, &mut lines);
    }
    Value::Array(lines)
}

fn flatten(path: &str, value: &Value, lines: &mut Vec<Value>) {
    let below = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    match value {
        Value::Object(parts) => {
            parts.iter().for_each(|(name, part)| flatten(&below(name), part, lines));
        }
        Value::Array(items) => {
            let numbered = items.iter().enumerate();
            numbered.for_each(|(index, part)| flatten(&below(&index.to_string()), part, lines));
        }
        Value::Null => {}
        Value::String(text) => {
            lines.push(json!([path, UntrustedText(text.clone().into_bytes()).to_string()]));
        }
        plain => lines.push(json!([path, plain.to_string()])),
    }
}
