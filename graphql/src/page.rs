//! Pages: Relay connections over keyset cursors, for root lists and for lists below many parents
//! alike.
//!
//! A [`List`] says which rows there are and in what order; everything else is here.
//! One statement fetches a page for every parent of the request, one more counts if somebody
//! selected `totalCount`.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_graphql::connection::{Connection, CursorType, Edge};
use async_graphql::{Context, Object, OutputType};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Postgres, QueryBuilder, Row};

use crate::error::ApiError;
use crate::limit::{PAGE_DEFAULT, PAGE_MAX};
use crate::scope::Scope;
use crate::session::{Batch, Reader, Session};

/// What a page's rows are and how they are ordered.
pub(crate) trait List: Send + Sync + 'static {
    /// Which of them.
    type Filter: Ord + Clone + Send + Sync + 'static;
    /// One of them.
    type Row: for<'r> FromRow<'r, PgRow> + Clone + Send + Sync + Unpin + 'static;

    /// The columns that order the rows, and tell any two apart.
    fn order(filter: &Self::Filter) -> Order;

    /// Pushes a SELECT of all rows there are in this scope. It may refer to the parent as
    /// `p(entity_id, chain_id, address, operator_set_id, entity_key)`.
    fn push_rows(query: &mut QueryBuilder<Postgres>, source: &Source<'_, Self::Filter>);
}

/// What [`List::push_rows`] has to know.
pub(crate) struct Source<'a, F> {
    /// As of when.
    pub(crate) scope: &'a Scope,
    /// Which rows.
    pub(crate) filter: &'a F,
    /// `ASC` or `DESC`: the direction in which rows are read. A `DISTINCT ON` has to follow it.
    pub(crate) direction: &'static str,
}

/// The order of a list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    /// Stands in the cursor, so that a cursor of another order is noticed.
    pub(crate) name: &'static str,
    /// Columns of the rows, the most significant first.
    pub(crate) columns: &'static [Column],
    /// Whether the largest comes first.
    pub(crate) is_descending: bool,
}

/// A column that orders a list.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Column {
    /// A bigint.
    Integer(&'static str),
    /// A bytea.
    Bytes(&'static str),
}

/// The entity a list hangs below; [`Parent::default`] for a root list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Parent {
    pub(crate) entity_id: i64,
    pub(crate) chain_id: i64,
    pub(crate) address: Vec<u8>,
    pub(crate) operator_set_id: i64,
    pub(crate) entity_key: Vec<u8>,
}

/// The arguments of a connection.
#[derive(Debug, Default)]
pub(crate) struct PageArgs {
    pub(crate) first: Option<i32>,
    pub(crate) after: Option<String>,
    pub(crate) last: Option<i32>,
    pub(crate) before: Option<String>,
}

/// A page of a list.
pub(crate) type Page<N> = Connection<Cursor, N, Totals>;

/// A place in a list: the scope, the order's name and the row's order columns.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Cursor {
    #[serde(rename = "s")]
    scope: Scope,
    #[serde(rename = "o")]
    order: String,
    #[serde(rename = "k")]
    key: Vec<String>,
}

impl CursorType for Cursor {
    type Error = ApiError;

    fn decode_cursor(text: &str) -> Result<Self, ApiError> {
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| ApiError::BadCursor("it is not a cursor of this server"))?;
        serde_json::from_slice(&bytes)
            .map_err(|_| ApiError::BadCursor("it is not a cursor of this server"))
    }

    fn encode_cursor(&self) -> String {
        // A cursor holds numbers and strings alone: writing it cannot fail.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum KeyPart {
    Integer(i64),
    Bytes(Vec<u8>),
}

/// All that pages of one statement share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PageQuery<F> {
    scope: Scope,
    filter: F,
    rows: i64,
    is_backward: bool,
    after: Option<Vec<KeyPart>>,
    before: Option<Vec<KeyPart>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Listed<R> {
    parent: i64,
    key: Vec<String>,
    row: R,
}

impl<'r, R: FromRow<'r, PgRow>> FromRow<'r, PgRow> for Listed<R> {
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            parent: row.try_get("parent_ordinal")?,
            key: row.try_get("order_key")?,
            row: R::from_row(row)?,
        })
    }
}

/// The scope that a root list is answered at: `asOf`'s, or else the cursor's, so that following
/// `endCursor` stays where the walk began.
pub(crate) async fn root_scope(
    ctx: &Context<'_>,
    as_of: Option<crate::scope::AsOf>,
    args: &PageArgs,
) -> Result<Scope, ApiError> {
    let is_given = as_of.is_some();
    let scope = Scope::resolve(ctx, as_of).await?;
    match args.cursor()? {
        Some(cursor) if !is_given => cursor.scope_from(&scope),
        _ => Ok(scope),
    }
}

/// The page of a list that `args` asks for.
pub(crate) async fn page<L: List, N: OutputType>(
    ctx: &Context<'_>,
    scope: &Scope,
    filter: L::Filter,
    parent: Parent,
    args: PageArgs,
    node: impl Fn(L::Row, &Scope) -> Result<N, ApiError>,
) -> Result<Page<N>, ApiError> {
    let session = Session::of(ctx)?;
    let query = args.query::<L>(scope, filter)?;
    let found = session.load::<Pages<L>>(query.clone(), parent.clone()).await?;
    let mut rows = found.map(|rows| rows.as_ref().clone()).unwrap_or_default();
    let wanted = usize::try_from(query.rows).unwrap_or_default();
    let is_cut = rows.len() > wanted;
    rows.truncate(wanted);
    if query.is_backward {
        rows.reverse();
    }
    let (has_previous, has_next) = match query.is_backward {
        false => (query.after.is_some(), is_cut),
        true => (is_cut, query.before.is_some()),
    };
    let order = L::order(&query.filter).name;
    let scope = query.scope.clone();
    let totals = Totals(Box::new(Total::<L> { scope: query.scope, filter: query.filter, parent }));
    let mut page = Connection::with_additional_fields(has_previous, has_next, totals);
    for listed in rows {
        let cursor = Cursor { scope: scope.clone(), order: order.to_owned(), key: listed.key };
        page.edges.push(Edge::new(cursor, node(listed.row, &scope)?));
    }
    Ok(page)
}

impl PageArgs {
    fn cursor(&self) -> Result<Option<Cursor>, ApiError> {
        let text = self.after.as_deref().or(self.before.as_deref());
        text.map(Cursor::decode_cursor).transpose()
    }

    fn query<L: List>(
        &self,
        scope: &Scope,
        filter: L::Filter,
    ) -> Result<PageQuery<L::Filter>, ApiError> {
        let (rows, is_backward) = match (self.first, self.last) {
            (Some(_), Some(_)) => {
                return Err(ApiError::BadArgument("give first or last, not both".to_owned()));
            }
            (None, Some(last)) => (i64::from(last), true),
            (Some(first), None) => (i64::from(first), false),
            (None, None) => (PAGE_DEFAULT, self.before.is_some() && self.after.is_none()),
        };
        if rows > PAGE_MAX {
            return Err(ApiError::PageTooLarge { asked: rows, limit: PAGE_MAX });
        }
        if rows < 0 {
            return Err(ApiError::BadArgument("first and last are not negative".to_owned()));
        }
        let order = L::order(&filter);
        let mut scope = scope.clone();
        let mut place = |text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => {
                let cursor = Cursor::decode_cursor(text)?;
                scope = cursor.scope_from(&scope)?;
                cursor.place(order).map(Some)
            }
        };
        let after = place(&self.after)?;
        let before = place(&self.before)?;
        Ok(PageQuery { scope, filter, rows, is_backward, after, before })
    }
}

impl Cursor {
    /// The scope of the cursor, for a field at `scope`: a field at the newest position follows
    /// the cursor back, a field that was told as of when must agree.
    fn scope_from(&self, scope: &Scope) -> Result<Scope, ApiError> {
        if self.scope.revision != scope.revision {
            return Err(ApiError::BadCursor("ratings were made anew since it was given"));
        }
        if self.scope.is_same(scope) {
            return Ok(scope.clone());
        }
        if !scope.is_head || self.scope.position > scope.position {
            return Err(ApiError::BadCursor("it belongs to another asOf"));
        }
        Ok(self.scope.clone())
    }

    fn place(&self, order: Order) -> Result<Vec<KeyPart>, ApiError> {
        if self.order != order.name || self.key.len() != order.columns.len() {
            return Err(ApiError::BadCursor("it belongs to another list or order"));
        }
        let parts = self.key.iter().zip(order.columns).map(|(text, column)| match column {
            Column::Integer(_) => text.parse().ok().map(KeyPart::Integer),
            Column::Bytes(_) => alloy_primitives::hex::decode(text).ok().map(KeyPart::Bytes),
        });
        parts.collect::<Option<_>>().ok_or(ApiError::BadCursor("its key is damaged"))
    }
}

struct Pages<L>(std::marker::PhantomData<L>);

impl<L: List> Batch for Pages<L> {
    type Group = PageQuery<L::Filter>;
    type Key = Parent;
    type Value = Arc<Vec<Listed<L::Row>>>;

    async fn fetch(
        reader: &mut Reader,
        group: &Self::Group,
        keys: &[Parent],
    ) -> Result<BTreeMap<Parent, Self::Value>, ApiError> {
        let rows: Vec<Listed<L::Row>> = reader.rows(select_page::<L>(group, keys)).await?;
        let mut pages: BTreeMap<Parent, Vec<Listed<L::Row>>> = BTreeMap::new();
        for listed in rows {
            if let Some(parent) = keys.get(usize::try_from(listed.parent - 1).unwrap_or(usize::MAX))
            {
                pages.entry(parent.clone()).or_default().push(listed);
            }
        }
        Ok(pages.into_iter().map(|(parent, rows)| (parent, Arc::new(rows))).collect())
    }
}

fn select_page<L: List>(group: &PageQuery<L::Filter>, keys: &[Parent]) -> QueryBuilder<Postgres> {
    let order = L::order(&group.filter);
    let direction = direction(order.is_descending != group.is_backward);
    let mut query = QueryBuilder::new("SELECT p.ordinal AS parent_ordinal, x.* FROM ");
    push_parents(&mut query, keys);
    query.push(" CROSS JOIN LATERAL (SELECT t.*, ARRAY[");
    for (index, column) in order.columns.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        match column {
            Column::Integer(name) => query.push(format_args!("{comma}t.{name}::text")),
            Column::Bytes(name) => query.push(format_args!("{comma}encode(t.{name}, 'hex')")),
        };
    }
    query.push("] AS order_key FROM (");
    let source = Source { scope: &group.scope, filter: &group.filter, direction };
    L::push_rows(&mut query, &source);
    query.push(") t WHERE true");
    let (beyond, short_of) = if order.is_descending { ("<", ">") } else { (">", "<") };
    push_place(&mut query, order, beyond, group.after.as_deref());
    push_place(&mut query, order, short_of, group.before.as_deref());
    push_order(&mut query, " ORDER BY ", "t", order, direction);
    // One more than the page: whether there is a next one.
    query.push(" LIMIT ").push_bind(group.rows + 1).push(") x");
    push_order(&mut query, " ORDER BY p.ordinal, ", "x", order, direction);
    query
}

const fn direction(is_descending: bool) -> &'static str {
    if is_descending { "DESC" } else { "ASC" }
}

fn push_parents(query: &mut QueryBuilder<Postgres>, keys: &[Parent]) {
    query.push("unnest(");
    query.push_bind(keys.iter().map(|key| key.entity_id).collect::<Vec<_>>()).push(", ");
    query.push_bind(keys.iter().map(|key| key.chain_id).collect::<Vec<_>>()).push(", ");
    query.push_bind(keys.iter().map(|key| key.address.clone()).collect::<Vec<_>>()).push(", ");
    query.push_bind(keys.iter().map(|key| key.operator_set_id).collect::<Vec<_>>()).push(", ");
    query.push_bind(keys.iter().map(|key| key.entity_key.clone()).collect::<Vec<_>>());
    query.push(
        ") WITH ORDINALITY
            AS p(entity_id, chain_id, address, operator_set_id, entity_key, ordinal)",
    );
}

fn push_place(
    query: &mut QueryBuilder<Postgres>,
    order: Order,
    comparison: &str,
    place: Option<&[KeyPart]>,
) {
    let Some(place) = place else { return };
    query.push(" AND (");
    for (index, column) in order.columns.iter().enumerate() {
        query.push(if index == 0 { "" } else { ", " }).push(format_args!("t.{}", column.name()));
    }
    query.push(format_args!(") {comparison} ("));
    for (index, part) in place.iter().enumerate() {
        query.push(if index == 0 { "" } else { ", " });
        match part {
            KeyPart::Integer(value) => query.push_bind(*value),
            KeyPart::Bytes(value) => query.push_bind(value.clone()),
        };
    }
    query.push(")");
}

fn push_order(
    query: &mut QueryBuilder<Postgres>,
    lead: &str,
    table: &str,
    order: Order,
    direction: &str,
) {
    for (index, column) in order.columns.iter().enumerate() {
        query.push(if index == 0 { lead } else { ", " });
        query.push(format_args!("{table}.{} {direction}", column.name()));
    }
}

impl Column {
    const fn name(self) -> &'static str {
        match self {
            Self::Integer(name) | Self::Bytes(name) => name,
        }
    }
}

/// `totalCount` of any list, counted when somebody asks.
pub(crate) struct Totals(Box<dyn Count>);

type CountFuture<'a> = std::pin::Pin<Box<dyn Future<Output = Result<i64, ApiError>> + Send + 'a>>;

trait Count: Send + Sync {
    fn count<'a>(&'a self, session: &'a Session) -> CountFuture<'a>;
}

struct Total<L: List> {
    scope: Scope,
    filter: L::Filter,
    parent: Parent,
}

impl<L: List> Count for Total<L> {
    fn count<'a>(&'a self, session: &'a Session) -> CountFuture<'a> {
        let group = (self.scope.clone(), self.filter.clone());
        Box::pin(async move {
            let found = session.load::<Counts<L>>(group, self.parent.clone()).await?;
            Ok(found.unwrap_or_default())
        })
    }
}

struct Counts<L>(std::marker::PhantomData<L>);

impl<L: List> Batch for Counts<L> {
    type Group = (Scope, L::Filter);
    type Key = Parent;
    type Value = i64;

    async fn fetch(
        reader: &mut Reader,
        (scope, filter): &Self::Group,
        keys: &[Parent],
    ) -> Result<BTreeMap<Parent, i64>, ApiError> {
        let mut query = QueryBuilder::new("SELECT p.ordinal, x.total FROM ");
        push_parents(&mut query, keys);
        query.push(" CROSS JOIN LATERAL (SELECT count(*) AS total FROM (");
        L::push_rows(&mut query, &Source { scope, filter, direction: "ASC" });
        query.push(") t) x ORDER BY p.ordinal");
        let counted: Vec<(i64, i64)> = reader.rows(query).await?;
        let totals = keys.iter().cloned().zip(counted);
        Ok(totals.map(|(parent, (_, total))| (parent, total)).collect())
    }
}

#[Object]
impl Totals {
    /// How many there are in all, on this page and on all others.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<i32, ApiError> {
        let total = self.0.count(Session::of(ctx)?).await?;
        Ok(i32::try_from(total).unwrap_or(i32::MAX))
    }
}
