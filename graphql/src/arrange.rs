//! Puts the fields of an answer in the order of the query.
//!
//! async-graphql writes them in the order in which they were resolved, so that one question would
//! have several answers: none could be kept by its bytes.

use std::collections::HashMap;

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::Positioned;
use async_graphql::parser::types::{FragmentDefinition, Selection, SelectionSet};
use async_graphql::{Name, Value};

/// The fields of an object by the name they have in the answer, in order, and what is in them.
/// Fragments on several types are written out one after the other.
#[derive(Debug, Default)]
pub(crate) struct Shape(IndexMap<Name, Shape>);

type Fragments = HashMap<Name, Positioned<FragmentDefinition>>;

impl Shape {
    /// The shape of a document without cycles, of at most [`crate::FIELDS_MAX`] fields.
    pub(crate) fn of(set: &SelectionSet, fragments: &Fragments) -> Self {
        let mut shape = Self::default();
        shape.add(set, fragments);
        shape
    }

    fn add(&mut self, set: &SelectionSet, fragments: &Fragments) {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => {
                    let inner = self.0.entry(field.node.response_key().node.clone()).or_default();
                    inner.add(&field.node.selection_set.node, fragments);
                }
                Selection::InlineFragment(inline) => {
                    self.add(&inline.node.selection_set.node, fragments);
                }
                Selection::FragmentSpread(spread) => {
                    if let Some(found) = fragments.get(&spread.node.fragment_name.node) {
                        self.add(&found.node.selection_set.node, fragments);
                    }
                }
            }
        }
    }

    /// Puts an answer in order.
    pub(crate) fn arrange(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                let place = |name: &Name| self.0.get_index_of(name);
                if !fields.keys().is_sorted_by_key(place) {
                    fields.sort_by_cached_key(|name, _| place(name));
                }
                for (name, inner) in fields {
                    if let Some(shape) = self.0.get(name) {
                        shape.arrange(inner);
                    }
                }
            }
            Value::List(items) => items.iter_mut().for_each(|item| self.arrange(item)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use async_graphql::parser::types::DocumentOperations;

    use super::*;

    #[test]
    fn an_answer_has_the_order_of_its_query() {
        let document = parse_query(
            "{ b: x { ...f c } a { d } ...g } fragment f on T { e d } fragment g on Q { z a { b } }",
        );
        let document = document.unwrap();
        let DocumentOperations::Single(operation) = &document.operations else { panic!() };
        let shape = Shape::of(&operation.node.selection_set.node, &document.fragments);
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let mut answer = read(
            r#"{"z":[],"a":{"b":"x","d":"y"},"b":[{"c":"x","d":"x","e":"x"},{"d":"x","c":"x"}]}"#,
        );
        shape.arrange(&mut answer);
        let expected =
            r#"{"b":[{"e":"x","d":"x","c":"x"},{"d":"x","c":"x"}],"a":{"d":"y","b":"x"},"z":[]}"#;
        assert_eq!(serde_json::to_string(&answer).unwrap(), expected);
    }
}
