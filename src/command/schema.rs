//! `assay schema`: the GraphQL schema, and what a change of it breaks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::Context as _;
use async_graphql_parser::parse_schema;
use async_graphql_parser::types::{
    BaseType, FieldDefinition, InputValueDefinition, Type, TypeDefinition, TypeKind,
    TypeSystemDefinition,
};
use async_graphql_parser::{Positioned, types::ServiceDocument};
use clap::Args;
use serde_json::json;

use super::failure::Failure;

const INTROSPECTION: &str = include_str!("introspection.graphql");

#[derive(Debug, Args)]
pub(super) struct SchemaArgs {
    /// Compare this older schema with the one of this binary; exit code 9 if a document that
    /// was valid may not be any more.
    #[arg(long, value_name = "FILE")]
    diff: Option<PathBuf>,
    /// Print JSON: the differences, or else the answer to the introspection query, as
    /// graphql-codegen and others read it.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &SchemaArgs) -> anyhow::Result<()> {
    let new = assay_graphql::sdl();
    let Some(file) = &args.diff else {
        let answer = assay_graphql::schema().execute(INTROSPECTION);
        super::say(&if args.json { serde_json::to_string(&answer.await)? } else { new });
        return Ok(());
    };
    let old = parse_schema(super::read_file(file)?)
        .with_context(|| format!("{} is no GraphQL schema", file.display()))?;
    let changes = diff(&old, &parse_schema(new).context("the schema of this binary is wrong")?);
    let (breaking, safe): (Vec<_>, Vec<_>) = changes.into_iter().partition(|one| one.is_breaking);
    let lines = |of: &[Change]| of.iter().map(|one| one.text.clone()).collect::<Vec<_>>();
    if args.json {
        super::say(&json!({ "breaking": lines(&breaking), "safe": lines(&safe) }).to_string());
    } else {
        for (kind, of) in [("breaking", &breaking), ("safe", &safe)] {
            lines(of).iter().for_each(|line| super::say(&format!("{kind}: {line}")));
        }
    }
    match breaking.len() {
        0 => Ok(()),
        count => Err(Failure::Breaking(format!("{count} breaking change(s)")).into()),
    }
}

/// A difference between two schemas.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    text: String,
    is_breaking: bool,
}

/// Something a document may rest on.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// A type by its kind, a value, a membership, a directive with where it may stand.
    Thing(String),
    /// A field: what answers give.
    Output(Type),
    /// An argument or a field of an input: what documents give, and its default.
    Input(Type, Option<String>),
}

impl Part {
    /// What is always to be given.
    const fn is_required(&self) -> bool {
        matches!(self, Self::Input(Type { nullable: false, .. }, None))
    }
}

/// What a part belongs to, and its own name: a part goes and comes with its owner.
type Parts = BTreeMap<(String, String), Part>;

/// Every difference, as graphql-js has them for breaking or not.
fn diff(old: &ServiceDocument, new: &ServiceDocument) -> Vec<Change> {
    let (old, new) = (parts(old), parts(new));
    let names = |parts: &Parts| -> BTreeSet<String> {
        parts.keys().map(|(owner, name)| format!("{owner}{name}")).collect()
    };
    let (had, has) = (names(&old), names(&new));
    let is_there =
        |names: &BTreeSet<String>, owner: &str| owner.is_empty() || names.contains(owner);
    let mut changes = Vec::new();
    for ((owner, name), was) in &old {
        let (text, is_breaking) = match new.get(&(owner.clone(), name.clone())) {
            None if !is_there(&has, owner) => continue,
            None => ("is gone".to_owned(), true),
            Some(is) if is == was => continue,
            Some(is) => changed(was, is),
        };
        changes.push(Change { text: format!("{owner}{name} {text}"), is_breaking });
    }
    for ((owner, name), is) in &new {
        if old.contains_key(&(owner.clone(), name.clone())) || !is_there(&had, owner) {
            continue;
        }
        let is_breaking = is.is_required();
        let text = if is_breaking { "is new and required" } else { "is new" };
        changes.push(Change { text: format!("{owner}{name} {text}"), is_breaking });
    }
    changes.sort();
    changes
}

fn changed(was: &Part, is: &Part) -> (String, bool) {
    match (was, is) {
        (Part::Output(was), Part::Output(is)) => {
            (format!("was {was} and is {is}"), !gives(was, is))
        }
        (Part::Input(was, old), Part::Input(is, new)) if was == is => {
            let text = |default: &Option<String>| default.clone().unwrap_or("none".to_owned());
            let is_required = !is.nullable && new.is_none();
            (format!("had the default {} and has {}", text(old), text(new)), is_required)
        }
        (Part::Input(was, _), Part::Input(is, _)) => {
            (format!("was {was} and is {is}"), !gives(is, was))
        }
        (Part::Thing(was), Part::Thing(is)) => (format!("was {was} and is {is}"), true),
        _ => ("is something else".to_owned(), true),
    }
}

/// Whether who can read `was` can read `is`. Turned around: whether `was` can be given for `is`.
fn gives(was: &Type, is: &Type) -> bool {
    let is_same = match (&was.base, &is.base) {
        (BaseType::Named(was), BaseType::Named(is)) => was == is,
        (BaseType::List(was), BaseType::List(is)) => gives(was, is),
        _ => false,
    };
    is_same && (was.nullable || !is.nullable)
}

fn parts(document: &ServiceDocument) -> Parts {
    let mut parts = Parts::new();
    let mut add = |owner: &str, name: &str, part| {
        parts.insert((owner.to_owned(), name.to_owned()), part);
    };
    for definition in &document.definitions {
        match definition {
            TypeSystemDefinition::Type(definition) => add_type(&mut add, &definition.node),
            TypeSystemDefinition::Schema(roots) => {
                let roots = &roots.node;
                let of = [("query", &roots.query), ("mutation", &roots.mutation)];
                for (name, root) in of.into_iter().chain([("subscription", &roots.subscription)]) {
                    if let Some(root) = root {
                        add("", &format!("schema {name}"), Part::Thing(root.to_string()));
                    }
                }
            }
            TypeSystemDefinition::Directive(definition) => {
                let directive = &definition.node;
                let name = format!("@{}", directive.name);
                add("", &name, Part::Thing("a directive".to_owned()));
                for place in &directive.locations {
                    add(&name, &format!(" on {:?}", place.node), Part::Thing(String::new()));
                }
                if directive.is_repeatable {
                    add(&name, " repeatable", Part::Thing(String::new()));
                }
                add_inputs(&mut add, &name, ["(", ":)"], &directive.arguments);
            }
        }
    }
    parts
}

fn add_type(add: &mut impl FnMut(&str, &str, Part), definition: &TypeDefinition) {
    let name = definition.name.node.as_str();
    let mut thing = |part: String| add(name, &part, Part::Thing(String::new()));
    let kind = match &definition.kind {
        TypeKind::Scalar => "a scalar",
        TypeKind::Object(_) => "an object",
        TypeKind::Interface(_) => "an interface",
        TypeKind::Union(union) => {
            union.members.iter().for_each(|member| thing(format!(" = {member}")));
            "a union"
        }
        TypeKind::Enum(of) => {
            of.values.iter().for_each(|value| thing(format!(".{}", value.node.value)));
            "an enum"
        }
        // Of a oneOf input exactly one field is given.
        TypeKind::InputObject(_)
            if definition.directives.iter().any(|one| one.node.name.node == "oneOf") =>
        {
            "an input of one field"
        }
        TypeKind::InputObject(_) => "an input",
    };
    let (implements, fields): (&[_], &[Positioned<FieldDefinition>]) = match &definition.kind {
        TypeKind::Object(of) => (&of.implements, &of.fields),
        TypeKind::Interface(of) => (&of.implements, &of.fields),
        _ => (&[], &[]),
    };
    implements.iter().for_each(|interface| thing(format!(" implements {interface}")));
    add("", name, Part::Thing(kind.to_owned()));
    for field in fields {
        let own = format!(".{}", field.node.name);
        add(name, &own, Part::Output(field.node.ty.node.clone()));
        add_inputs(add, &format!("{name}{own}"), ["(", ":)"], &field.node.arguments);
    }
    if let TypeKind::InputObject(input) = &definition.kind {
        add_inputs(add, name, [".", ""], &input.fields);
    }
}

fn add_inputs(
    add: &mut impl FnMut(&str, &str, Part),
    owner: &str,
    [open, close]: [&str; 2],
    inputs: &[Positioned<InputValueDefinition>],
) {
    for input in inputs {
        let input = &input.node;
        let default = input.default_value.as_ref().map(|value| value.node.to_string());
        let part = Part::Input(input.ty.node.clone(), default);
        add(owner, &format!("{open}{}{close}", input.name), part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str =
        "type Query implements Node { id: ID! a(x: Int, y: [Int!]): [Int] b: B! u: U }
        interface Node { id: ID! } type B { c: Int } union U = B | Query
        enum E { ONE TWO } input I { a: Int! b: E = ONE } scalar S
        directive @d(x: Int) on FIELD | OBJECT";

    fn changes(new: &str) -> Vec<(String, bool)> {
        let [old, new] = [OLD, new].map(|sdl| parse_schema(sdl).unwrap());
        diff(&old, &new).into_iter().map(|one| (one.text, one.is_breaking)).collect()
    }

    /// The old schema with one text for another: the one change that is found.
    #[track_caller]
    fn change(from: &str, to: &str) -> (String, bool) {
        assert!(OLD.contains(from), "{from}");
        let mut found = changes(&OLD.replacen(from, to, 1));
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    #[test]
    fn what_breaks_documents_is_named_and_what_does_not_is_safe() {
        assert_eq!(changes(OLD), []);
        for (from, to, text) in [
            ("u: U", "", "Query.u is gone"),
            ("scalar S", "", "S is gone"),
            ("interface Node", "type Node", "Node was an interface and is an object"),
            ("b: B!", "b: B", "Query.b was B! and is B"),
            ("[Int] b", "Int b", "Query.a was [Int] and is Int"),
            ("x: Int, ", "", "Query.a(x:) is gone"),
            ("x: Int, ", "x: Int!, ", "Query.a(x:) was Int and is Int!"),
            ("x: Int, ", "x: Int, z: Int!, ", "Query.a(z:) is new and required"),
            ("x: Int, ", "x: ID, ", "Query.a(x:) was Int and is ID"),
            ("a: Int!", "a: Int! z: Int!", "I.z is new and required"),
            ("TWO", "", "E.TWO is gone"),
            ("= B | Query", "= B", "U = Query is gone"),
            ("Query implements Node", "Query", "Query implements Node is gone"),
            ("FIELD | OBJECT", "FIELD", "@d on Object is gone"),
            ("input I", "input I @oneOf", "I was an input and is an input of one field"),
        ] {
            assert_eq!(change(from, to), (text.to_owned(), true), "{from} to {to}");
        }
        for (from, to, text) in [
            ("u: U", "u: U v: U!", "Query.v is new"),
            ("scalar S", "scalar S scalar T", "T is new"),
            ("[Int] b", "[Int!]! b", "Query.a was [Int] and is [Int!]!"),
            ("y: [Int!]", "y: [Int]", "Query.a(y:) was [Int!] and is [Int]"),
            ("x: Int, ", "x: Int, z: Int! = 1, ", "Query.a(z:) is new"),
            ("a: Int!", "a: Int", "I.a was Int! and is Int"),
            ("E = ONE", "E = TWO", "I.b had the default ONE and has TWO"),
            ("TWO", "TWO THREE", "E.THREE is new"),
            ("type B {", "type B implements Node {", "B implements Node is new"),
        ] {
            assert_eq!(change(from, to), (text.to_owned(), false), "{from} to {to}");
        }
        // A type goes with all it has, and is named once.
        let gone = OLD.replace("enum E { ONE TWO }", "").replace(" b: E = ONE", "");
        let gone: Vec<_> = changes(&gone).into_iter().map(|(text, _)| text).collect();
        assert_eq!(gone, ["E is gone", "I.b is gone"]);
    }
}
