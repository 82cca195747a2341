//! The root of every subscription: what is new, in the order in which it was committed.
//!
//! A subscription is answered in turns, each like a request of its own with a session of its own
//! (see `live`). A turn yields what the feed holds beyond the place where the last one ended, so
//! nothing is missed and nothing comes twice, whether a turn follows the other within a second or
//! after a reconnection.

use std::sync::{Mutex, PoisonError};

use async_graphql::{Context, Enum, SimpleObject, Subscription};
use futures_util::stream::{self, Stream};
use sqlx::QueryBuilder;

use crate::action::{ActionFilter, RatingAction, RatingActionWhere};
use crate::error::ApiError;
use crate::id::NodeId;
use crate::limit::TURN_MESSAGES_MAX;
use crate::publication::{Publication, PublicationStatus};
use crate::scalar::FeedPosition;
use crate::scope::Scope;
use crate::session::{Reader, Session};
use crate::slashing::SlashingEvent;

/// The root of every subscription.
#[derive(Debug)]
pub struct Subscription;

/// A rating action.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct RatingActionMessage {
    /// The place to resume from after it.
    pub position: FeedPosition,
    /// Whether it had been there before the subscription began.
    pub is_replay: bool,
    /// What was said. Null when the revision that it belongs to was written anew.
    pub rating_action: Option<RatingAction>,
}

/// How far a slash has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum SlashingStatus {
    /// Its block is not final: a reorganisation may still take it back.
    Provisional,
    /// Its block is final.
    Final,
    /// Its block was taken back.
    Reverted,
}

impl SlashingStatus {
    fn from_word(word: &str) -> Result<Self, ApiError> {
        match word {
            "provisional" => Ok(Self::Provisional),
            "final" => Ok(Self::Final),
            "reverted" => Ok(Self::Reverted),
            _ => Err(ApiError::Corrupt("a slash of unknown status")),
        }
    }
}

/// A slash that was seen, became final or was taken back.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct SlashingMessage {
    /// The place to resume from after it.
    pub position: FeedPosition,
    /// Whether it had been there before the subscription began.
    pub is_replay: bool,
    /// What became of it. The slash tells how it stands now.
    pub status: SlashingStatus,
    /// What happened. Null when its block was taken back since.
    pub slashing: Option<SlashingEvent>,
}

/// A publication that was included, became final or was taken back.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct PublicationMessage {
    /// The place to resume from after it.
    pub position: FeedPosition,
    /// Whether it had been there before the subscription began.
    pub is_replay: bool,
    /// What became of it. The publication tells how it stands now.
    pub status: PublicationStatus,
    /// The publication.
    pub publication: Option<Publication>,
}

/// What a line of the feed is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum NewsKind {
    /// A rating action.
    RatingAction,
    /// A slash.
    Slashing,
    /// A publication.
    Publication,
}

/// Anything that any of the other subscriptions tells, without its particulars.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct News {
    /// The place to resume from after it.
    pub position: FeedPosition,
    /// Whether it had been there before the subscription began.
    pub is_replay: bool,
    /// What it is about.
    pub kind: NewsKind,
    /// Its global id.
    pub id: async_graphql::ID,
}

/// Every stream takes `afterPosition`: what came after it is replayed first, then it goes on live,
/// without a gap and without a duplicate. `status.feedPosition` and every message name a place to
/// resume from. Without `afterPosition` a stream begins now.
#[Subscription]
impl Subscription {
    /// What is said about anyone.
    async fn rating_actions(
        &self,
        ctx: &Context<'_>,
        r#where: Option<RatingActionWhere>,
        after_position: Option<FeedPosition>,
    ) -> Result<impl Stream<Item = RatingActionMessage> + use<>, ApiError> {
        let filter = ActionFilter::new(r#where)?;
        let scope = Scope::resolve(ctx, None).await?;
        let mut messages = Vec::new();
        for line in Turn::lines(ctx, NewsKind::RatingAction, after_position).await? {
            let Some(NodeId::Action(place)) = line.node()? else { continue };
            let action = RatingAction::by_id(ctx, &scope, place).await?;
            let entity = match &action {
                Some(action) => action.rated(ctx).await?,
                None => None,
            };
            if action.as_ref().is_none_or(|action| action.matches(&filter, entity.as_ref())) {
                messages.push(RatingActionMessage {
                    position: line.position,
                    is_replay: line.is_replay,
                    rating_action: action,
                });
            }
        }
        Ok(stream::iter(messages))
    }

    /// What is slashed: when it is seen, again when it is final, and if it is taken back.
    async fn slashings(
        &self,
        ctx: &Context<'_>,
        after_position: Option<FeedPosition>,
    ) -> Result<impl Stream<Item = SlashingMessage> + use<>, ApiError> {
        let scope = Scope::resolve(ctx, None).await?;
        let mut messages = Vec::new();
        for line in Turn::lines(ctx, NewsKind::Slashing, after_position).await? {
            let Some(NodeId::Slashing { chain, block_hash, log_index }) = line.node()? else {
                continue;
            };
            let key = (chain, block_hash, log_index);
            messages.push(SlashingMessage {
                position: line.position,
                is_replay: line.is_replay,
                status: SlashingStatus::from_word(&line.status)?,
                slashing: SlashingEvent::by_id(ctx, &scope, key).await?,
            });
        }
        Ok(stream::iter(messages))
    }

    /// What becomes of ratings on their way to oracle contracts.
    async fn publications(
        &self,
        ctx: &Context<'_>,
        after_position: Option<FeedPosition>,
    ) -> Result<impl Stream<Item = PublicationMessage> + use<>, ApiError> {
        let scope = Scope::resolve(ctx, None).await?;
        let mut messages = Vec::new();
        for line in Turn::lines(ctx, NewsKind::Publication, after_position).await? {
            let Some(NodeId::Publication { chain, oracle, entity_key, seq }) = line.node()? else {
                continue;
            };
            let key = (chain, oracle, entity_key, seq);
            messages.push(PublicationMessage {
                position: line.position,
                is_replay: line.is_replay,
                status: PublicationStatus::from_word(&line.status)?,
                publication: Publication::by_id(ctx, &scope, key).await?,
            });
        }
        Ok(stream::iter(messages))
    }

    /// All of it, for those who only want to know that there is something new.
    async fn news(
        &self,
        ctx: &Context<'_>,
        after_position: Option<FeedPosition>,
    ) -> Result<impl Stream<Item = News> + use<>, ApiError> {
        let mut messages = Vec::new();
        for line in Turn::lines(ctx, None, after_position).await? {
            let Some(node) = line.node()? else { continue };
            messages.push(News {
                position: line.position,
                is_replay: line.is_replay,
                kind: kind(line.kind)?,
                id: node.into(),
            });
        }
        Ok(stream::iter(messages))
    }
}

impl NewsKind {
    const fn number(self) -> i16 {
        match self {
            Self::RatingAction => 1,
            Self::Slashing => 2,
            Self::Publication => 3,
        }
    }
}

fn kind(number: i16) -> Result<NewsKind, ApiError> {
    [NewsKind::RatingAction, NewsKind::Slashing, NewsKind::Publication]
        .into_iter()
        .find(|kind| kind.number() == number)
        .ok_or(ApiError::Corrupt("a line of the feed of a kind outside 1 to 3"))
}

/// Where one subscription stands, from turn to turn.
#[derive(Debug, Default)]
pub(crate) struct Turn(Mutex<Place>);

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    /// The last line seen. `None` before the first turn.
    pub(crate) seen: Option<i64>,
    /// The end of the feed when the subscription began.
    began: i64,
}

/// A line of the feed.
#[derive(Debug, sqlx::FromRow)]
struct Row {
    position: i64,
    kind: i16,
    subject: String,
    status: String,
}

#[derive(Debug)]
struct Line {
    position: FeedPosition,
    is_replay: bool,
    kind: i16,
    subject: String,
    status: String,
}

impl Line {
    fn node(&self) -> Result<Option<NodeId>, ApiError> {
        let prefix = match kind(self.kind)? {
            NewsKind::RatingAction => "action",
            NewsKind::Slashing => "slashing",
            NewsKind::Publication => "publication",
        };
        Ok(NodeId::read(&format!("{prefix}:{}", self.subject)))
    }
}

impl Turn {
    /// Forgets what a turn that failed has seen.
    pub(crate) fn go_back(&self, place: Place) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }

    pub(crate) fn place(&self) -> Place {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lines of this turn, at most [`TURN_MESSAGES_MAX`]; the next turn goes on after them.
    async fn lines(
        ctx: &Context<'_>,
        of: impl Into<Option<NewsKind>>,
        after: Option<FeedPosition>,
    ) -> Result<Vec<Line>, ApiError> {
        let turn = ctx
            .data::<std::sync::Arc<Self>>()
            .map_err(|_| ApiError::BadArgument("subscriptions go over a WebSocket".to_owned()))?;
        let mut reader = Session::of(ctx)?.reader().await;
        let end = feed_end(&mut reader).await?;
        let place = turn.place();
        let (seen, began) = match (place.seen, after) {
            (Some(seen), _) => (seen, place.began),
            (None, Some(FeedPosition(after))) if after > end => {
                return Err(ApiError::PositionInFuture {
                    asked: format!("feed position {after}"),
                    last: format!("feed position {end}"),
                });
            }
            (None, Some(FeedPosition(after))) => (after, end),
            (None, None) => (end, end),
        };
        let mut query = QueryBuilder::new(
            "SELECT position, kind, subject, status FROM read_model.feed WHERE position > ",
        );
        query.push_bind(seen).push(" AND position <= ").push_bind(end);
        match of.into() {
            Some(kind) => query.push(" AND kind = ").push_bind(kind.number()),
            // What is said of publications that grow stale is for webhooks.
            None => query.push(" AND kind <= 3"),
        };
        query.push(" ORDER BY position LIMIT ").push_bind(TURN_MESSAGES_MAX);
        let rows: Vec<Row> = reader.rows(query).await?;
        let is_full = i64::try_from(rows.len()).unwrap_or(i64::MAX) >= TURN_MESSAGES_MAX;
        let seen = rows.last().filter(|_| is_full).map_or(end, |row| row.position);
        *turn.0.lock().unwrap_or_else(PoisonError::into_inner) = Place { seen: Some(seen), began };
        let line = |row: Row| Line {
            position: FeedPosition(row.position),
            is_replay: row.position <= began,
            kind: row.kind,
            subject: row.subject,
            status: row.status,
        };
        Ok(rows.into_iter().map(line).collect())
    }
}

/// The last line of the feed; 0 while it is empty.
pub(crate) async fn feed_end(reader: &mut Reader) -> Result<i64, ApiError> {
    let query = QueryBuilder::new("SELECT coalesce(max(position), 0)::bigint FROM read_model.feed");
    let rows: Vec<(i64,)> = reader.rows(query).await?;
    Ok(rows.first().map_or(0, |row| row.0))
}
