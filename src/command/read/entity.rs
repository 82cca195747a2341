//! Which entity is meant: its slug, or a part of it that no other has.

use serde_json::{Value, json};

use super::source::Source;
use super::text::{clean, text};
use crate::command::failure::Failure;

const FIND: &str = include_str!("find.graphql");
const NEAREST: &str = include_str!("nearest.graphql");

/// Characters of the longest slug, and some.
const NAME_CHARS_MAX: usize = 100;

/// An entity that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) slug: String,
    /// As the API writes it.
    pub(crate) kind: String,
}

impl Source {
    /// The entity that a user means by a slug, a part of one, or a shortened one (`avs-1-0x12b75d5e…`).
    pub(crate) async fn find(&self, name: &str, as_of: &Value) -> anyhow::Result<Found> {
        let name = name.trim().to_lowercase().replace("...", "…");
        let (part, end) = name.split_once('…').unwrap_or((&name, ""));
        if part.len() < 3 || name.chars().count() > NAME_CHARS_MAX {
            let message = format!("{} names no entity: give a slug or a part of one", clean(&name));
            return Err(Failure::NotFound(message).into());
        }
        let variables = json!({ "slug": name, "part": part, "asOf": as_of });
        let answer = self.ask(FIND, variables).await?;
        if !answer.data["entity"].is_null() {
            return Ok(found(&answer.data["entity"]));
        }
        let nodes = answer.data["entities"]["nodes"].as_array().cloned().unwrap_or_default();
        let mut fitting: Vec<Found> =
            nodes.iter().map(found).filter(|one| one.slug.ends_with(end)).collect();
        // An address means whoever lives there; its operator sets have it in their slugs too.
        let is_set = |one: &Found| one.kind == "OPERATOR_SET";
        if fitting.iter().filter(|one| !is_set(one)).count() == 1 {
            fitting.retain(|one| !is_set(one));
        }
        let mut fitting = fitting.into_iter();
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => Err(self.unknown(&name, as_of).await?.into()),
            (Some(first), Some(second)) => {
                let others = [first, second].into_iter().chain(fitting);
                let slugs: Vec<String> = others.take(3).map(|one| one.slug).collect();
                let message = format!("{} fits several: {}, …", clean(&name), slugs.join(", "));
                Err(Failure::NotFound(message).into())
            }
        }
    }

    /// Says what is nearest to a name that is none.
    async fn unknown(&self, name: &str, as_of: &Value) -> anyhow::Result<Failure> {
        let letters: Vec<char> = name.chars().collect();
        let mut thirds = letters.chunks(letters.len().div_ceil(3)).map(String::from_iter);
        let mut third = || thirds.next().unwrap_or_else(|| name.to_owned());
        let variables =
            json!({ "head": third(), "middle": third(), "tail": third(), "asOf": as_of });
        let answer = self.ask(NEAREST, variables).await?;
        let mut near: Vec<(usize, String)> = ["head", "middle", "tail"]
            .iter()
            .flat_map(|part| answer.data[part]["nodes"].as_array().into_iter().flatten())
            .map(|node| text(&node["slug"]))
            .map(|slug| (strsim::damerau_levenshtein(name, &slug), slug))
            .collect();
        near.sort();
        near.dedup();
        let nearest: Vec<String> = near.into_iter().take(3).map(|(_, slug)| slug).collect();
        let hint = match nearest.is_empty() {
            true => "`assay ls` lists what there is".to_owned(),
            false => format!("the nearest: {}", nearest.join(", ")),
        };
        let when = if as_of.is_null() { "" } else { " as of then" };
        Ok(Failure::NotFound(format!("there is no entity {}{when}; {hint}", clean(name))))
    }
}

fn found(node: &Value) -> Found {
    Found { slug: text(&node["slug"]), kind: text(&node["kind"]) }
}
