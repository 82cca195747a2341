//! What one request may ask for, and the gate that measures a document before anything looks
//! at it closely.
//!
//! async-graphql walks fragments again for each spread while it checks depth, so sixty lines of
//! nested spreads would keep it busy for hours. Everything here is linear in the document:
//! each fragment is measured once.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, Field, FragmentDefinition, OperationDefinition,
    OperationType, Selection, SelectionSet,
};
use async_graphql::parser::{Positioned, parse_query};
use async_graphql::{Name, Value, Variables};

use crate::arrange::Shape;
use crate::error::ApiError;
use crate::execute::graphql_object;

/// Bytes of a request body. The largest saved operation has 1 kB, introspection 2 kB.
pub const BODY_BYTES_MAX: usize = 100_000;
/// Bytes of a body too large that are still read, so that its sender hears of it.
pub const BODY_BYTES_DISCARDED: usize = 4_000_000;
/// Seconds within which a body must be here: a client that drips bytes holds a connection no longer.
pub const BODY_SECONDS_MAX: u64 = 5;
/// Seconds within which the head of a request must be here, the wait for the next one included.
pub const HEAD_SECONDS_MAX: u64 = 30;
/// Connections open at once; the next one waits.
pub const CONNECTIONS_MAX: usize = 2_000;
/// Points that a stranger may spend in an hour, by address. Nobody on the same machine is counted.
pub const POINTS_AN_HOUR: NonZeroU32 = NonZeroU32::new(50_000).unwrap();
/// Points of one rating asked for by its path.
pub const RATING_POINTS: u64 = 20;
/// Points of a feed.
pub const FEED_POINTS: u64 = 200;
/// Points of an export, however long.
pub const EXPORT_POINTS: u64 = 1_000;
/// Points of introspection, which is long and asks the database nothing.
pub const INTROSPECTION_POINTS: u64 = 100;
/// How often a document may ask for `__schema` and `__type`.
pub const INTROSPECTIONS_MAX: u64 = 5;
/// Lists of the schema nested in one another: fields of types of fields multiply. Introspection by
/// GraphiQL needs one.
pub const INTROSPECTION_DEPTH_MAX: u64 = 2;
/// Errors in one answer. A document of nothing but unknown fields is not worth more.
pub const ERRORS_MAX: usize = 20;
/// Characters of an error's message.
pub const MESSAGE_CHARS_MAX: usize = 500;
/// Answers that are kept for those who ask the same at the same moment.
pub const RECENT_MAX: usize = 512;
/// Bytes of an answer that is kept so.
pub const RECENT_BYTES_MAX: usize = 100_000;
/// Seconds that an answer is kept so: what its header allows a cache anyway.
pub const RECENT_SECONDS_MAX: u64 = 2;
/// Documents that clients have registered, at most.
pub const REGISTERED_MAX: usize = 1_000;
/// Bytes of a document that can be registered.
pub const REGISTERED_BYTES_MAX: usize = 10_000;
/// Lexical tokens of a document. Some validation rules are quadratic in the document; introspection
/// has about 250 tokens.
pub const TOKENS_MAX: u64 = 3_000;
/// Characters of one name. The longest in the schema has 33; error messages repeat names.
pub const NAME_CHARS_MAX: u64 = 100;
/// Brackets open at once. The parser recurses; the deepest useful document has about 20.
pub const NESTING_MAX: u64 = 50;
/// Fields nested in one another. Introspection by GraphiQL needs exactly this many.
pub const DEPTH_MAX: u64 = 15;
/// Fields once all fragments are written out.
pub const FIELDS_MAX: u64 = 1_000;
/// Points of a request: an object is 1, a scalar 0, and a page multiplies what it holds.
pub const COST_MAX: u64 = 5_000;
/// How often one selection may name the same field under different aliases.
pub const ALIASES_MAX: u64 = 30;
/// Directives in a document.
pub const DIRECTIVES_MAX: u64 = 20;
/// Rows of a page, at most.
pub const PAGE_MAX: i64 = 100;
/// Rows of a page unless told.
pub const PAGE_DEFAULT: i64 = 20;
/// Values in one list of a filter: what a page can show.
pub const FILTER_VALUES_MAX: usize = 100;
/// Seconds a single SQL statement may take. Points never model a plan gone wrong, so the database
/// keeps its own limit.
pub const STATEMENT_SECONDS_MAX: u64 = 2;
/// Seconds a request may take, all statements and the wait for a connection together.
pub const REQUEST_SECONDS_MAX: u64 = 5;
/// Exports under way at once: each takes a connection for a page at a time.
pub const EXPORTS_MAX: usize = 4;
/// WebSockets open at once; the next one is told to come back.
pub const SOCKETS_MAX: usize = 500;
/// Subscriptions open on one WebSocket.
pub const SUBSCRIPTIONS_PER_SOCKET_MAX: usize = 10;
/// Turns of subscriptions run at once: less than a pool has connections, so that subscribers who
/// all wake together leave some for those who ask.
pub const TURNS_MAX: usize = 3;
/// Messages of one turn of a subscription. What is left comes in the next.
pub const TURN_MESSAGES_MAX: i64 = 100;
/// GraphQL requests answered at once; the next one is told to come back. Each holds one database
/// connection while it runs and a pool has about ten.
pub const CONCURRENT_REQUESTS_MAX: usize = 64;

/// Loss distributions computed at once, each in some milliseconds of one core.
pub const DISTRIBUTIONS_AT_ONCE_MAX: usize = 2;
/// Operators, operator sets and prices that one scenario of one's own may hit.
pub const SHOCKS_MAX: usize = 20;

/// Points of a frontier: each is a linear program.
pub const FRONTIER_POINTS_MAX: u16 = 41;

/// Fields that compute or change something, with their points beside those of what they hold.
const DEAR_FIELDS: [(&str, u64); 6] = [
    ("lossDistribution", 40),
    ("stress", 1_000),
    ("whatIf", 500),
    ("frontier", 1_000),
    ("network", 500),
    ("recordAttestation", 100),
];

/// A document that may be run.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// The parsed document.
    pub(crate) document: ExecutableDocument,
    /// Its cost in points.
    pub(crate) cost: u64,
    /// What the chosen operation is.
    pub(crate) kind: OperationType,
    /// Its fields, in order.
    pub(crate) shape: Shape,
}

/// What a document asks for, before limits are held against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weight {
    /// Its cost in points, as quotas count them; [`COST_MAX`] at most.
    pub cost: u64,
    /// Fields nested in one another; [`DEPTH_MAX`] at most.
    pub depth: u64,
    /// Fields once all fragments are written out; [`FIELDS_MAX`] at most.
    pub fields: u64,
}

/// Weighs a document without running it, and says why it would be refused, if it would be. There
/// is no weight where it is refused unread. Whether its fields exist is not looked at.
pub fn weigh(
    query: &str,
    variables: serde_json::Map<String, serde_json::Value>,
) -> (Option<Weight>, Result<(), ApiError>) {
    let variables = Variables::from_value(graphql_object(variables));
    let mut weight = None;
    let admitted = admit_weighed(query, None, &variables, &mut weight);
    (weight, admitted.map(drop))
}

/// Parses a document if it is within all limits.
pub(crate) fn admit(
    query: &str,
    operation_name: Option<&str>,
    variables: &Variables,
) -> Result<Admitted, ApiError> {
    admit_weighed(query, operation_name, variables, &mut None)
}

/// The same; the weight is told as soon as it is known.
fn admit_weighed(
    query: &str,
    operation_name: Option<&str>,
    variables: &Variables,
    weight: &mut Option<Weight>,
) -> Result<Admitted, ApiError> {
    scan(query)?;
    let document = parse_query(query).map_err(|error| ApiError::ParseFailed(error.to_string()))?;
    let operation = choose(&document, operation_name)?;
    check_variables(operation, variables)?;
    let mut gauge = Gauge {
        fragments: &document.fragments,
        operation,
        variables,
        measured: BTreeMap::new(),
        directives: 0,
        introspections: 0,
    };
    let measure = gauge.selection_set(&operation.selection_set.node)?;
    *weight = Some(Weight { cost: measure.cost, depth: measure.depth, fields: measure.fields });
    at_most("the number of directives", gauge.directives, DIRECTIVES_MAX)?;
    at_most("the number of introspections", gauge.introspections, INTROSPECTIONS_MAX)?;
    at_most("the number of fields", measure.fields, FIELDS_MAX)?;
    if measure.depth > DEPTH_MAX {
        return Err(ApiError::DepthExceeded { found: measure.depth, limit: DEPTH_MAX });
    }
    if measure.cost > COST_MAX {
        return Err(ApiError::CostExceeded {
            what: "the cost in points",
            found: measure.cost,
            limit: COST_MAX,
            dearest: gauge.dearest(&operation.selection_set.node)?,
        });
    }
    let shape = Shape::of(&operation.selection_set.node, &document.fragments);
    Ok(Admitted { cost: measure.cost, kind: operation.ty, shape, document })
}

fn at_most(what: &'static str, found: u64, limit: u64) -> Result<(), ApiError> {
    if found <= limit {
        return Ok(());
    }
    Err(ApiError::CostExceeded { what, found, limit, dearest: String::new() })
}

/// Counts tokens, brackets and the characters of names without building anything.
fn scan(query: &str) -> Result<(), ApiError> {
    let bytes = query.as_bytes();
    let (mut tokens, mut open, mut at) = (0_u64, 0_u64, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        at = match byte {
            b'#' => skip(bytes, at, |byte| byte != b'\n' && byte != b'\r'),
            b'"' => {
                tokens += 1;
                string_end(bytes, at)
            }
            b'_' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => {
                tokens += 1;
                let end = skip(bytes, at, |byte| byte == b'_' || byte.is_ascii_alphanumeric());
                let length = u64::try_from(end - at).unwrap_or(u64::MAX);
                at_most("the length of a name", length, NAME_CHARS_MAX)?;
                end
            }
            b' ' | b'\t' | b'\n' | b'\r' | b',' => at + 1,
            other => {
                tokens += 1;
                match other {
                    b'{' | b'[' | b'(' => open += 1,
                    b'}' | b']' | b')' => open = open.saturating_sub(1),
                    _ => {}
                }
                at_most("the number of open brackets", open, NESTING_MAX)?;
                at + 1
            }
        };
        at_most("the number of tokens", tokens, TOKENS_MAX)?;
    }
    Ok(())
}

fn skip(bytes: &[u8], from: usize, accept: impl Fn(u8) -> bool) -> usize {
    from + bytes[from..].iter().take_while(|byte| accept(**byte)).count()
}

/// Where the string that starts at `from` ends; the end of the document if it never does.
fn string_end(bytes: &[u8], from: usize) -> usize {
    let is_block = bytes[from..].starts_with(b"\"\"\"");
    let mut at = from + if is_block { 3 } else { 1 };
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' if !is_block => return at + 1,
            b'"' if bytes[at..].starts_with(b"\"\"\"") => return at + 3,
            b'\n' if !is_block => return at,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn choose<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Result<&'a OperationDefinition, ApiError> {
    let refuse = |message: &str| Err(ApiError::ValidationFailed(message.to_owned()));
    match (&document.operations, name) {
        (DocumentOperations::Single(operation), None) => Ok(&operation.node),
        (DocumentOperations::Single(_), Some(_)) => {
            refuse("operationName is given, the document's only operation has no name")
        }
        (DocumentOperations::Multiple(operations), Some(name)) => match operations.get(name) {
            Some(operation) => Ok(&operation.node),
            None => refuse("the document has no operation of that name"),
        },
        (DocumentOperations::Multiple(operations), None) => {
            match (operations.len(), operations.values().next()) {
                (1, Some(operation)) => Ok(&operation.node),
                _ => refuse("the document has several operations: say operationName"),
            }
        }
    }
}

/// A variable that must be given is given. async-graphql would notice only in the middle of the
/// answer, when it is too late to refuse the request as a whole.
fn check_variables(operation: &OperationDefinition, variables: &Variables) -> Result<(), ApiError> {
    for definition in &operation.variable_definitions {
        let definition = &definition.node;
        let given = variables.get(&definition.name.node);
        let is_missing = match given {
            None => definition.default_value.is_none(),
            Some(value) => *value == Value::Null,
        };
        if is_missing && !definition.var_type.node.nullable {
            return Err(ApiError::ValidationFailed(format!(
                "the variable ${} of type {} has no value",
                definition.name.node, definition.var_type.node
            )));
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, Default)]
struct Measure {
    fields: u64,
    depth: u64,
    cost: u64,
    /// Lists of the schema within one another.
    lists: u64,
    /// Holds `nodes` or `edges`: the object is a page.
    is_page: bool,
}

struct Gauge<'a> {
    fragments: &'a std::collections::HashMap<Name, Positioned<FragmentDefinition>>,
    operation: &'a OperationDefinition,
    variables: &'a Variables,
    /// `None` while the fragment is being measured: meeting it again is a cycle.
    measured: BTreeMap<&'a str, Option<Measure>>,
    directives: u64,
    introspections: u64,
}

impl<'a> Gauge<'a> {
    fn selection_set(&mut self, set: &'a SelectionSet) -> Result<Measure, ApiError> {
        let mut whole = Measure::default();
        let mut names: BTreeMap<&str, u64> = BTreeMap::new();
        for selection in &set.items {
            let part = match &selection.node {
                Selection::Field(field) => {
                    let count = names.entry(field.node.name.node.as_str()).or_default();
                    *count += 1;
                    at_most("the number of aliases of one field", *count, ALIASES_MAX)?;
                    self.field(&field.node)?
                }
                Selection::InlineFragment(inline) => {
                    self.directives += count(inline.node.directives.len());
                    self.selection_set(&inline.node.selection_set.node)?
                }
                Selection::FragmentSpread(spread) => {
                    self.directives += count(spread.node.directives.len());
                    self.fragment(spread.node.fragment_name.node.as_str())?
                }
            };
            whole.fields = whole.fields.saturating_add(part.fields);
            whole.cost = whole.cost.saturating_add(part.cost);
            whole.depth = whole.depth.max(part.depth);
            whole.lists = whole.lists.max(part.lists);
            whole.is_page |= part.is_page;
        }
        Ok(whole)
    }

    fn fragment(&mut self, name: &'a str) -> Result<Measure, ApiError> {
        match self.measured.get(name) {
            Some(Some(measure)) => return Ok(*measure),
            Some(None) => {
                return Err(ApiError::ValidationFailed(format!(
                    "the fragment \"{name}\" contains itself"
                )));
            }
            None => {}
        }
        let Some(fragment) = self.fragments.get(name) else {
            // Validation says so, with the place.
            return Ok(Measure::default());
        };
        self.measured.insert(name, None);
        let measure = self.selection_set(&fragment.node.selection_set.node)?;
        self.measured.insert(name, Some(measure));
        Ok(measure)
    }

    fn field(&mut self, field: &'a Field) -> Result<Measure, ApiError> {
        self.directives += count(field.directives.len());
        let inner = self.selection_set(&field.selection_set.node)?;
        let name = field.name.node.as_str();
        let dear = DEAR_FIELDS.iter().find(|(dear, _)| *dear == name).map_or(0, |(_, cost)| *cost);
        let is_object = !field.selection_set.node.items.is_empty();
        let mut own = u64::from(is_object).saturating_add(dear);
        let is_list = matches!(name, "fields" | "inputFields" | "interfaces" | "possibleTypes");
        let lists = inner.lists + u64::from(is_list);
        if matches!(name, "__schema" | "__type") {
            let what = "the number of lists of the schema within one another";
            at_most(what, lists, INTROSPECTION_DEPTH_MAX)?;
            self.introspections += 1;
            own = INTROSPECTION_POINTS;
        }
        let rows = if inner.is_page { self.page_rows(field)? } else { 1 };
        // `nodes` and `edges` stand for their rows, which the page has counted already.
        let is_page = matches!(name, "nodes" | "edges");
        Ok(Measure {
            fields: inner.fields.saturating_add(1),
            depth: inner.depth + 1,
            lists,
            cost: inner.cost.saturating_mul(rows).saturating_add(own),
            is_page,
        })
    }

    /// How many rows the page `field` may hold. A page too large is refused here already, before
    /// it makes everything else look too dear.
    fn page_rows(&self, field: &Field) -> Result<u64, ApiError> {
        let given = ["first", "last"].into_iter().find_map(|name| {
            let value = field.get_argument(name)?;
            let value = value.node.clone().into_const_with(|name| self.variable(&name).ok_or(()));
            match value {
                Ok(Value::Number(number)) => number.as_u64(),
                _ => None,
            }
        });
        let rows = given.unwrap_or_else(|| PAGE_DEFAULT.unsigned_abs());
        if rows > PAGE_MAX.unsigned_abs() {
            let asked = i64::try_from(rows).unwrap_or(i64::MAX);
            return Err(ApiError::PageTooLarge { asked, limit: PAGE_MAX });
        }
        Ok(rows)
    }

    fn variable(&self, name: &Name) -> Option<Value> {
        self.variables.get(name).cloned().or_else(|| {
            let mut definitions = self.operation.variable_definitions.iter();
            let definition = definitions.find(|one| one.node.name.node == *name)?;
            definition.node.default_value.as_ref().map(|value| value.node.clone())
        })
    }

    /// The three dearest root fields, with their points.
    fn dearest(&mut self, set: &'a SelectionSet) -> Result<String, ApiError> {
        let mut costs = Vec::new();
        for selection in &set.items {
            if let Selection::Field(field) = &selection.node {
                costs.push((self.field(&field.node)?.cost, field.node.response_key().node.clone()));
            }
        }
        costs.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        let shown = costs.iter().take(3).map(|(cost, name)| format!("{name} {cost}"));
        Ok(shown.collect::<Vec<_>>().join(", "))
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(query: &str) -> &'static str {
        match admit(query, None, &Variables::default()) {
            Ok(_) => "admitted",
            Err(error) => error.code(),
        }
    }

    fn cost(query: &str) -> u64 {
        admit(query, None, &Variables::default()).unwrap().cost
    }

    #[test]
    fn a_page_multiplies_what_it_holds() {
        assert_eq!(cost("{ status { a } }"), 1);
        assert_eq!(cost("{ entities { totalCount } }"), 1);
        // What is computed has points of its own.
        assert_eq!(cost("{ stress { a } whatIf { a } }"), 1_502);
        // One page, 20 rows of one node each.
        assert_eq!(cost("{ entities { nodes { slug } } }"), 21);
        assert_eq!(cost("{ entities(first: 3) { nodes { rating { score } } } }"), 7);
        assert_eq!(
            cost(
                "query($n: Int = 5) { entities(first: $n) { ...p } }
            fragment p on C { edges { node { slug } } }"
            ),
            11
        );
    }

    #[test]
    fn hostile_documents_are_refused_before_they_are_understood() {
        let nested = |open: &str, close: &str, n| open.repeat(n) + "a" + &close.repeat(n);
        assert_eq!(code(&nested("{a", "}", 20)), "DEPTH_EXCEEDED");
        assert_eq!(code(&nested("{a", "}", 20_000)), "COST_EXCEEDED");
        assert_eq!(code(&format!("{{a(b:{})}}", nested("[", "]", 20_000))), "COST_EXCEEDED");
        assert_eq!(code(&format!("{{{}}}", "x".repeat(100_000))), "COST_EXCEEDED");
        let aliases: String = (0..31).map(|i| format!("a{i}:status{{b}} ")).collect();
        assert_eq!(code(&format!("{{{aliases}}}")), "COST_EXCEEDED");
        assert_eq!(code(&format!("{{a {}}}", "@skip(if:true)".repeat(21))), "COST_EXCEEDED");
        let types = |inner: &str| format!("{{__schema{{types{{fields{{type{{{inner}}}}}}}}}}}");
        assert_eq!(code(&types("fields{name}")), "admitted");
        assert_eq!(code(&types("fields{type{interfaces{name}}}")), "COST_EXCEEDED");
        let storm: String = (0..6).map(|i| format!("a{i}:__schema{{types{{name}}}} ")).collect();
        assert_eq!(code(&format!("{{{storm}}}")), "COST_EXCEEDED");
        let page = "entities(first:100){nodes{h(first:100){nodes{a}}}}";
        assert_eq!(code(&format!("{{{page}}}")), "COST_EXCEEDED");
        assert_eq!(code("{...a} fragment a on Q{...b} fragment b on Q{...a}"), VALIDATION);
        assert_eq!(code("{ a: \"unfinished"), "GRAPHQL_PARSE_FAILED");
        assert_eq!(code(""), "GRAPHQL_PARSE_FAILED");
    }

    #[test]
    fn fragments_that_double_forty_times_are_counted_and_not_walked() {
        let mut document = "{...f0}".to_owned();
        for i in 0..40 {
            document += &format!("fragment f{i} on Q{{...f{0} ...f{0}}}", i + 1);
        }
        document += "fragment f40 on Q{a}";
        assert_eq!(code(&document), "COST_EXCEEDED");
    }

    #[test]
    fn brackets_and_quotes_inside_strings_and_comments_do_not_count() {
        let document = format!(
            "{{a(b:\"{}\\\"\", c:\"\"\"{}\"\"\") }} # {}",
            "{".repeat(100),
            "\"[".repeat(100),
            "(".repeat(100)
        );
        assert_eq!(code(&document), "admitted");
    }

    const VALIDATION: &str = "GRAPHQL_VALIDATION_FAILED";
}
