//! As of when a field is answered: the ways to say it, and the one thing they become.
//!
//! A [`Scope`] is a position of the canonical log, with a ceiling where a position alone would
//! say too much: ratings are assessed at ends of epochs that lie after the position's last fact.

use async_graphql::{Context, InputObject, OneofObject, SimpleObject};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, Postgres, QueryBuilder};

use crate::error::ApiError;
use crate::scalar::{BlockNumber, Bytes32, ChainId, DateTime, LogPosition, hex_of};
use crate::session::{Reader, Session};

/// As of when to answer. Exactly one field. Without it everything in a request is answered at the
/// newest position, which `extensions.assay` names.
#[derive(Debug, Clone, OneofObject)]
pub(crate) enum AsOf {
    /// A position of the canonical log: everything up to and including it.
    Position(LogPosition),
    /// The end of a block: its chain's facts and ratings up to it, and what other chains had
    /// shown by the last fact of that chain.
    Block(BlockPoint),
    /// The end of the block with this hash, if it has facts: the record knows no other by its hash.
    BlockHash(Bytes32),
    /// A time on the chains' clocks: every block whose time is at or before it. History imported
    /// later answers for its own days.
    Time(DateTime),
    /// A time on Assay's own clock: the ratings that Assay had given by then, whatever it has
    /// learned since. All but ratings is answered at the position of the last of them.
    RecordedAt(DateTime),
}

/// A block of a chain.
#[derive(Debug, Clone, InputObject)]
pub(crate) struct BlockPoint {
    /// The chain.
    pub chain_id: ChainId,
    /// The block's number. A block without facts stands for the last one before it that has some.
    pub number: BlockNumber,
}

/// The point of the canonical log that an answer was computed at.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct Snapshot {
    /// The position. Zero while the log is empty.
    pub position: LogPosition,
    /// The block of the last fact at that position. Null while the log is empty.
    pub block: Option<Block>,
    /// How often ratings were made anew because older facts arrived. Positions are comparable
    /// within one revision.
    pub revision: i32,
    /// Hash of the methodology that ratings are made with. Null while the log is empty.
    pub methodology_hash: Option<Bytes32>,
}

/// A block of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SimpleObject)]
pub(crate) struct Block {
    /// The chain.
    pub chain_id: ChainId,
    /// The block's number.
    pub number: BlockNumber,
    /// The block's time.
    pub time: DateTime,
}

/// What a field is answered at. Goes into cursors, so that pages of one walk never differ in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Scope {
    /// Facts at positions up to this one.
    #[serde(rename = "p")]
    pub(crate) position: i64,
    #[serde(rename = "v")]
    pub(crate) revision: i32,
    /// On this chain, ratings up to this block.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub(crate) block: Option<(i64, i64)>,
    /// Ratings of blocks up to this time, in seconds.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub(crate) time: Option<i64>,
    /// Ratings given up to this time, in microseconds.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub(crate) recorded_at: Option<i64>,
    /// The newest: what is not final yet is shown too.
    #[serde(rename = "h", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_head: bool,
    /// Nothing that will be learned changes the answer.
    #[serde(skip)]
    pub(crate) is_settled: bool,
}

impl Scope {
    /// The scope of a root field.
    pub(crate) async fn resolve(ctx: &Context<'_>, as_of: Option<AsOf>) -> Result<Self, ApiError> {
        let session = Session::of(ctx)?;
        let mut reader = session.reader().await;
        let pin = reader.pin().await?;
        let scope = match as_of {
            None => Self::head(&pin),
            Some(_) if pin.position == 0 => {
                return Err(ApiError::BeforeFirstPosition("anything: the log is empty".to_owned()));
            }
            Some(AsOf::Position(position)) => Self::at_position(&pin, position.0)?,
            Some(AsOf::Block(point)) => Self::at_block(&mut reader, &pin, &point).await?,
            Some(AsOf::BlockHash(hash)) => Self::at_block_hash(&mut reader, &pin, hash).await?,
            Some(AsOf::Time(time)) => Self::at_time(&mut reader, &pin, time).await?,
            Some(AsOf::RecordedAt(time)) => Self::at_recording(&mut reader, &pin, time).await?,
        };
        session.used(&scope);
        Ok(scope)
    }

    /// The scope of the newest position.
    pub(crate) fn head(pin: &Pin) -> Self {
        Self {
            position: pin.position,
            revision: pin.revision,
            block: None,
            time: None,
            recorded_at: None,
            is_head: true,
            is_settled: false,
        }
    }

    /// Whether two scopes give the same answers.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let mut other = other.clone();
        other.is_settled = self.is_settled;
        *self == other
    }

    fn at_position(pin: &Pin, position: i64) -> Result<Self, ApiError> {
        if position > pin.position {
            return Err(ApiError::PositionInFuture {
                asked: format!("position {position}"),
                last: format!("position {}", pin.position),
            });
        }
        if position < 1 {
            return Err(ApiError::BeforeFirstPosition(format!("position {position}")));
        }
        let is_settled = position < pin.position;
        Ok(Self { position, is_head: false, is_settled, ..Self::head(pin) })
    }

    async fn at_block(
        reader: &mut Reader,
        pin: &Pin,
        point: &BlockPoint,
    ) -> Result<Self, ApiError> {
        let (chain, number) = (point.chain_id.0, point.number.0);
        let mut query = QueryBuilder::new(
            "SELECT greatest((SELECT finalized_number FROM read_model.chains WHERE chain_id = ",
        );
        query.push_bind(chain);
        query.push("), (SELECT max(number) FROM read_model.blocks WHERE chain_id = ");
        query.push_bind(chain);
        query.push(")) AS last, (SELECT last_position FROM read_model.blocks WHERE chain_id = ");
        query.push_bind(chain).push(" AND number <= ").push_bind(number);
        query.push(" ORDER BY number DESC LIMIT 1) AS position");
        let found: Vec<(Option<i64>, Option<i64>)> = reader.rows(query).await?;
        let asked = format!("block {number} of chain {chain}");
        match found.first() {
            Some((Some(last), _)) if number > *last => Err(ApiError::PositionInFuture {
                asked,
                last: format!("block {last} of chain {chain}"),
            }),
            Some((Some(_), Some(position))) => Ok(Self {
                position: *position,
                block: Some((chain, number)),
                is_head: false,
                is_settled: true,
                ..Self::head(pin)
            }),
            Some((Some(_), None)) => Err(ApiError::BeforeFirstPosition(asked)),
            _ => Err(ApiError::NotFound(format!("chain {chain} is not followed"))),
        }
    }

    async fn at_block_hash(
        reader: &mut Reader,
        pin: &Pin,
        hash: Bytes32,
    ) -> Result<Self, ApiError> {
        let mut query = QueryBuilder::new(
            "SELECT chain_id, number, last_position FROM read_model.blocks WHERE hash = ",
        );
        query.push_bind(hash.0.to_vec()).push(" ORDER BY chain_id LIMIT 1");
        let found: Vec<(i64, i64, i64)> = reader.rows(query).await?;
        match found.first() {
            Some((chain, number, position)) => Ok(Self {
                position: *position,
                block: Some((*chain, *number)),
                is_head: false,
                is_settled: true,
                ..Self::head(pin)
            }),
            None => Err(ApiError::NotFound(format!(
                "no final block with facts has the hash {}; of another give chain and number",
                hex_of(&hash.0)
            ))),
        }
    }

    async fn at_time(reader: &mut Reader, pin: &Pin, time: DateTime) -> Result<Self, ApiError> {
        let seconds = time.seconds();
        let mut query =
            QueryBuilder::new("SELECT (SELECT last_position FROM read_model.blocks WHERE time <= ");
        // The canonical log is ordered by block time.
        query.push_bind(seconds).push(" ORDER BY time DESC, last_position DESC LIMIT 1");
        query.push(") AS position, coalesce((SELECT min(finalized_time) >= ");
        query.push_bind(seconds).push(" FROM read_model.chains), false) AS is_settled, ");
        query.push_bind(seconds).push(" > extract(epoch FROM now()) AS is_ahead");
        let found: Vec<(Option<i64>, bool, bool)> = reader.rows(query).await?;
        match found.first() {
            Some((_, _, true)) => {
                Err(ApiError::PositionInFuture { asked: time.to_string(), last: "now".to_owned() })
            }
            Some((Some(position), is_settled, _)) => Ok(Self {
                position: *position,
                time: Some(seconds),
                is_head: false,
                is_settled: *is_settled,
                ..Self::head(pin)
            }),
            _ => Err(ApiError::BeforeFirstPosition(time.to_string())),
        }
    }

    async fn at_recording(
        reader: &mut Reader,
        pin: &Pin,
        time: DateTime,
    ) -> Result<Self, ApiError> {
        let mut query = QueryBuilder::new(
            "SELECT (SELECT position FROM read_model.rating_actions WHERE recorded_at <= ",
        );
        push_micros(&mut query, time.micros);
        query.push(" ORDER BY storage_position DESC LIMIT 1) AS position, ");
        push_micros(&mut query, time.micros);
        // A transaction that began before this moment may still commit an older time.
        query.push(" < now() - interval '1 minute' AS is_settled, ");
        push_micros(&mut query, time.micros);
        query.push(" > now() AS is_ahead");
        let found: Vec<(Option<i64>, bool, bool)> = reader.rows(query).await?;
        match found.first() {
            Some((_, _, true)) => {
                Err(ApiError::PositionInFuture { asked: time.to_string(), last: "now".to_owned() })
            }
            Some((Some(position), is_settled, _)) => Ok(Self {
                // A rating made before older facts arrived may lie beyond today's numbering.
                position: (*position).min(pin.position),
                recorded_at: Some(time.micros),
                is_head: false,
                is_settled: *is_settled,
                ..Self::head(pin)
            }),
            _ => Err(ApiError::BeforeFirstPosition(time.to_string())),
        }
    }

    /// What the scope is, for people.
    pub(crate) async fn snapshot(&self, ctx: &Context<'_>) -> Result<Snapshot, ApiError> {
        let mut reader = Session::of(ctx)?.reader().await;
        let pin = reader.pin().await?;
        if self.position == pin.position {
            return Ok(pin.snapshot());
        }
        let block = block_at(&mut reader, self.position).await?;
        Ok(Snapshot { position: LogPosition(self.position), block, ..pin.snapshot() })
    }
}

/// Pushes a time in microseconds as a timestamp. Seconds and their fraction are bound apart:
/// a double would lose the last digits.
pub(crate) fn push_micros(query: &mut QueryBuilder<Postgres>, micros: i64) {
    query.push("('epoch'::timestamptz + ").push_bind(micros.div_euclid(1_000_000));
    query.push(" * interval '1 second' + ").push_bind(micros.rem_euclid(1_000_000));
    query.push(" * interval '1 microsecond')");
}

/// Pushes the newest block that is known of a chain as of a scope: what is scheduled for a block up
/// to it is in force.
pub(crate) fn push_known_block(query: &mut QueryBuilder<Postgres>, scope: &Scope, chain: &str) {
    query.push("coalesce(");
    if let Some((of_chain, number)) = scope.block {
        query.push(format_args!("CASE {chain} WHEN ")).push_bind(of_chain);
        query.push(" THEN ").push_bind(number).push(" END, ");
    }
    query.push(format_args!(
        "greatest((SELECT max(b.number) FROM read_model.blocks b WHERE b.chain_id = {chain}
            AND b.last_position <= "
    ));
    query.push_bind(scope.position).push(")");
    if scope.is_head {
        query.push(format_args!(
            ", (SELECT head_number FROM read_model.chains WHERE chain_id = {chain})"
        ));
    }
    query.push("), 0)");
}

/// The block of the last fact at `position`.
pub(crate) async fn block_at(
    reader: &mut Reader,
    position: i64,
) -> Result<Option<Block>, ApiError> {
    let mut query = QueryBuilder::new(
        "SELECT chain_id, number, time FROM read_model.blocks WHERE last_position <= ",
    );
    query.push_bind(position).push(" ORDER BY last_position DESC LIMIT 1");
    let found: Vec<(i64, i64, i64)> = reader.rows(query).await?;
    Ok(found.first().map(|(chain, number, time)| Block::new(*chain, *number, *time)))
}

impl Block {
    /// A block, from its columns.
    pub(crate) const fn new(chain_id: i64, number: i64, time: i64) -> Self {
        Self {
            chain_id: ChainId(chain_id),
            number: BlockNumber(number),
            time: DateTime::from_seconds(time),
        }
    }
}

/// The newest state of the read model, read once in a request.
#[derive(Debug, Clone)]
pub(crate) struct Pin {
    /// The newest canonical position; 0 while there is none.
    pub(crate) position: i64,
    pub(crate) revision: i32,
    /// The storage position that the read model reflects.
    pub(crate) storage_position: i64,
    pub(crate) methodology_hash: Option<Bytes32>,
    /// The block of the last fact.
    pub(crate) block: Option<Block>,
}

#[derive(FromRow)]
struct PinRow {
    storage_position: i64,
    canonical_position: i64,
    revision: i32,
    methodology_hash: Vec<u8>,
    chain_id: Option<i64>,
    number: Option<i64>,
    time: Option<i64>,
}

impl Pin {
    /// What it is, for people.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            position: LogPosition(self.position),
            block: self.block,
            revision: self.revision,
            methodology_hash: self.methodology_hash,
        }
    }

    /// Reads the newest state.
    pub(crate) async fn read(reader: &mut Reader) -> Result<Self, ApiError> {
        let query = QueryBuilder::new(
            "SELECT c.storage_position, c.canonical_position, c.revision, c.methodology_hash,
                    b.chain_id, b.number, b.time
               FROM read_model.checkpoint c
               LEFT JOIN LATERAL (SELECT chain_id, number, time FROM read_model.blocks
                                   WHERE last_position <= c.canonical_position
                                   ORDER BY last_position DESC LIMIT 1) b ON true",
        );
        let rows: Vec<PinRow> = reader.rows(query).await?;
        let Some(row) = rows.into_iter().next() else {
            return Ok(Self {
                position: 0,
                revision: 0,
                storage_position: 0,
                methodology_hash: None,
                block: None,
            });
        };
        let block = match (row.chain_id, row.number, row.time) {
            (Some(chain), Some(number), Some(time)) => Some(Block::new(chain, number, time)),
            _ => None,
        };
        Ok(Self {
            position: row.canonical_position,
            revision: row.revision,
            storage_position: row.storage_position,
            methodology_hash: Some(Bytes32::from_row(&row.methodology_hash)?),
            block,
        })
    }
}
