//! What a receiver is told of a line of the feed.

use alloy::hex;
use alloy::primitives::U256;
use assay_domain::grade::Grade;
use assay_domain::word::{Flags, Word};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection};

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A grade was assigned, affirmed, changed or withdrawn.
    RatingAction,
    /// The grade stays, and the entity came on watch or off it.
    WatchChange,
    /// An operator was slashed.
    Slash,
    /// A rating in an oracle contract was not said again in time.
    StaleFeed,
}

impl Kind {
    pub(super) const ALL: [Self; 4] =
        [Self::RatingAction, Self::WatchChange, Self::Slash, Self::StaleFeed];

    const fn name(self) -> &'static str {
        match self {
            Self::RatingAction => "rating.action",
            Self::WatchChange => "rating.watch_changed",
            Self::Slash => "operator.slashed",
            Self::StaleFeed => "feed.stale",
        }
    }
}

/// A line of the feed.
#[derive(Debug, FromRow)]
pub(super) struct Line {
    pub(super) position: i64,
    kind: i16,
    subject: String,
    status: String,
    recorded_at: String,
}

/// A line as a receiver is told it. The same line has the same id on every node and at every try.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) kind: Kind,
    /// Whom it is about: messages about one come in order.
    pub(super) entity: String,
    pub(super) body: String,
}

impl Message {
    /// What is said of a line; nothing of a publication that is well, nor of what was written anew
    /// since, nor that a slash was seen which is gone by now.
    pub(super) async fn of(
        line: &Line,
        connection: &mut PgConnection,
    ) -> sqlx::Result<Option<Self>> {
        let told = match line.kind {
            1 => action(line, connection).await?,
            2 => slash(line, connection).await?,
            4 => stale(line, connection).await?,
            _ => None,
        };
        Ok(told.map(|(id, kind, entity, data)| {
            let body = json!({ "type": kind.name(), "timestamp": line.recorded_at, "data": data });
            Self { id, kind, entity, body: body.to_string() }
        }))
    }
}

type Told = Option<(String, Kind, String, Value)>;

#[derive(FromRow)]
struct Action {
    slug: String,
    chain_id: i64,
    kind: i16,
    from_grade: Option<i16>,
    to_grade: Option<i16>,
    position: i64,
    block_number: i64,
    block_time: i64,
    expected_loss_ppt: i64,
    seq: i64,
    word: Vec<u8>,
    said_before: Option<Vec<u8>>,
}

async fn action(line: &Line, connection: &mut PgConnection) -> sqlx::Result<Told> {
    let found: Option<Action> = sqlx::query_as(
        "SELECT e.slug, e.chain_id, a.kind, a.from_grade, a.to_grade, a.position, a.block_number,
                a.block_time, a.expected_loss_ppt, a.seq, a.word, before.word AS said_before
           FROM read_model.rating_actions a
           JOIN read_model.entities e ON e.id = a.entity_id
           LEFT JOIN LATERAL (SELECT word FROM read_model.rating_actions b
                               WHERE b.entity_id = a.entity_id
                                 AND b.storage_position < a.storage_position
                               ORDER BY b.storage_position DESC LIMIT 1) before ON true
          WHERE a.storage_position = $1::bigint",
    )
    .bind(&line.subject)
    .fetch_optional(connection)
    .await?;
    let Some(action) = found else { return Ok(None) };
    let is_watched = |word: &[u8]| {
        let word = U256::try_from_be_slice(word).and_then(|word| Word::unpack(word).ok());
        word.is_some_and(|word| word.fields().flags.contains(Flags::WATCH_NEGATIVE))
    };
    let (now, before) = (is_watched(&action.word), action.said_before.as_deref());
    let is_watch_changed = before.is_some_and(|before| is_watched(before) != now);
    const NAMES: [&str; 5] = ["assigned", "affirmed", "upgraded", "downgraded", "withdrawn"];
    let name = usize::try_from(action.kind - 1).ok().and_then(|place| NAMES.get(place));
    let kind = match (name, is_watch_changed) {
        (Some(&"affirmed"), true) => Kind::WatchChange,
        _ => Kind::RatingAction,
    };
    let letters = |number: Option<i16>| {
        let number = u8::try_from(number?).ok()?;
        Grade::from_number(number).map(Grade::letters)
    };
    let data = json!({
        "entity": action.slug,
        "action": name,
        "fromGrade": letters(action.from_grade),
        "toGrade": letters(action.to_grade),
        "isWatchNegative": now,
        "isWatchChanged": is_watch_changed,
        "expectedLossPpt": action.expected_loss_ppt.to_string(),
        "position": action.position.to_string(),
        "block": { "chainId": action.chain_id, "number": action.block_number,
                   "time": action.block_time },
        "seq": action.seq.to_string(),
        "word": hex::encode_prefixed(&action.word),
    });
    let id = format!("{}-{}-{}", action.position, action.slug, action.seq);
    Ok(Some((id, kind, action.slug, data)))
}

#[derive(FromRow)]
struct Slash {
    chain_id: i64,
    block_number: i64,
    block_time: i64,
    tx_hash: Vec<u8>,
    log_index: i64,
    operator: Vec<u8>,
    avs: Vec<u8>,
    operator_set_id: i64,
    strategies: Vec<Vec<u8>>,
    wad_slashed: Vec<String>,
    redistribution_recipient: Option<Vec<u8>>,
    position: Option<i64>,
    description: String,
}

async fn slash(line: &Line, connection: &mut PgConnection) -> sqlx::Result<Told> {
    let found: Option<Slash> = sqlx::query_as(
        "SELECT chain_id, block_number, block_time, tx_hash, log_index, operator, avs,
                operator_set_id, strategies, wad_slashed::text[] AS wad_slashed,
                redistribution_recipient, position, description
           FROM read_model.slashing_events
          WHERE chain_id = split_part($1, ':', 1)::bigint
            AND block_hash = decode(substr(split_part($1, ':', 2), 3), 'hex')
            AND log_index = split_part($1, ':', 3)::bigint",
    )
    .bind(&line.subject)
    .fetch_optional(connection)
    .await?;
    let id = format!("{}-{}", line.subject.replace(':', "-"), line.status);
    let Some(slash) = found else {
        // Its row went with its block: what is left is where it was.
        let gone = json!({ "slash": line.subject, "status": line.status });
        let is_reverted = line.status == "reverted";
        return Ok(is_reverted.then(|| (id, Kind::Slash, line.subject.clone(), gone)));
    };
    let address = |bytes: &[u8]| hex::encode_prefixed(bytes);
    let shares: Vec<Value> = slash
        .strategies
        .iter()
        .zip(&slash.wad_slashed)
        .map(|(strategy, wad)| json!({ "strategy": address(strategy), "wadSlashed": wad }))
        .collect();
    let data = json!({
        "slash": line.subject,
        "status": line.status,
        "operator": address(&slash.operator),
        "avs": address(&slash.avs),
        "operatorSetId": slash.operator_set_id,
        "strategies": shares,
        "redistributionRecipient": slash.redistribution_recipient.as_deref().map(address),
        "position": slash.position.map(|position| position.to_string()),
        "block": { "chainId": slash.chain_id, "number": slash.block_number,
                   "time": slash.block_time },
        "txHash": address(&slash.tx_hash),
        "logIndex": slash.log_index,
        "untrustedDescription": slash.description,
    });
    let operator = format!("operator-{}-{}", slash.chain_id, address(&slash.operator));
    Ok(Some((id, Kind::Slash, operator, data)))
}

#[derive(FromRow)]
struct Stale {
    slug: Option<String>,
    oracle_chain_id: i64,
    oracle: Vec<u8>,
    entity_key: Vec<u8>,
    seq: i64,
    recorded_at: String,
}

async fn stale(line: &Line, connection: &mut PgConnection) -> sqlx::Result<Told> {
    let found: Option<Stale> = sqlx::query_as(
        "SELECT e.slug, p.oracle_chain_id, p.oracle, p.entity_key, p.seq,
                to_char(p.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
                    AS recorded_at
           FROM read_model.publications p LEFT JOIN read_model.entities e ON e.key = p.entity_key
          WHERE p.oracle_chain_id = split_part($1, ':', 1)::bigint
            AND p.oracle = decode(substr(split_part($1, ':', 2), 3), 'hex')
            AND p.entity_key = decode(substr(split_part($1, ':', 3), 3), 'hex')
            AND p.seq = split_part($1, ':', 4)::bigint",
    )
    .bind(&line.subject)
    .fetch_optional(connection)
    .await?;
    let Some(stale) = found else { return Ok(None) };
    let key = hex::encode_prefixed(&stale.entity_key);
    let data = json!({
        "entity": stale.slug,
        "entityKey": key,
        "oracleChainId": stale.oracle_chain_id,
        "oracle": hex::encode_prefixed(&stale.oracle),
        "seq": stale.seq.to_string(),
        "publishedAt": stale.recorded_at,
    });
    let id = format!("stale-{}", line.subject.replace(':', "-"));
    Ok(Some((id, Kind::StaleFeed, stale.slug.unwrap_or(key), data)))
}
