//! The file `assay loss` reads: blocks and a factor, in the form vector V09 states them.
//!
//! Numbers are JSON numbers or text; text keeps every digit. Unknown keys beside `blocks` and
//! `factor` are ignored, so that a whole record of `vectors.json` can be fed in; inside a block
//! they are refused, since a misspelt `lam` would otherwise be a block that never happens.

use serde_json::{Map, Value};

use super::block::{Block, BlockId, BlockProblem, Severity};
use super::factor::{Factor, Hazard};
use super::fixed::{Probability, ProbabilityError};
use super::model::{BLOCKS_MAX, LossModel, ModelError};

/// Largest file read, bytes. The largest portfolio allowed is a tenth of it.
pub const BYTES_MAX: usize = 4 << 20;
/// Keys of a block.
const BLOCK_KEYS: [&str; 7] = ["id", "lam", "k", "r", "p", "beta", "severity_bp"];
/// Weights given in a file may differ from the stored ones by 2⁻⁶³, since they are cut decimals.
const WEIGHT_SLACK_Q127: u128 = 1 << 64;

/// Why a file is no portfolio.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The file is larger than [`BYTES_MAX`].
    #[error("the file has {found} bytes, expected at most {BYTES_MAX}")]
    TooLarge {
        /// Its size.
        found: usize,
    },
    /// The file is no JSON. The message names line and column.
    #[error("the file is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// There is no list of blocks.
    #[error("expected an object with a list \"blocks\", as in vector V09")]
    NoBlocks,
    /// A block has a key that means nothing.
    #[error(
        "block {block}: unknown key \"{key}\", expected id, severity_bp, beta \
         and one of lam, p, k with r"
    )]
    UnknownKey {
        /// The block's id, or its place in the list.
        block: String,
        /// The key.
        key: String,
    },
    /// A value is missing or of the wrong kind.
    #[error("block {block}: {field} is {found}, expected {expected}")]
    Field {
        /// The block's id, or its place in the list.
        block: String,
        /// The key.
        field: String,
        /// What was found, shortened.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A block's numbers are out of range.
    #[error("block {block}: {problem}")]
    Block {
        /// The block's id, or its place in the list.
        block: String,
        /// What is wrong and what to do.
        problem: BlockProblem,
    },
    /// The factor is none of those with stored quadrature constants.
    #[error("factor: {field} is {found}, expected {expected}")]
    Factor {
        /// The key.
        field: &'static str,
        /// What was found, shortened.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// The blocks do not fit together.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Reads a portfolio from JSON.
///
/// # Errors
/// When the text is no portfolio; the message names the block and says what to change.
pub fn parse(json: &[u8]) -> Result<LossModel, InputError> {
    if json.len() > BYTES_MAX {
        return Err(InputError::TooLarge { found: json.len() });
    }
    let file: Value = serde_json::from_slice(json)?;
    let blocks = file.get("blocks").and_then(Value::as_array).ok_or(InputError::NoBlocks)?;
    if blocks.len() > BLOCKS_MAX {
        return Err(ModelError::TooManyBlocks { found: blocks.len() }.into());
    }
    let factor = factor(file.get("factor").unwrap_or(&Value::Null))?;
    let blocks = blocks.iter().zip(1_u32..).map(|(value, place)| block(value, place));
    Ok(LossModel::new(blocks.collect::<Result<_, _>>()?, factor)?)
}

/// The fields of one block and its name for messages.
struct Fields<'a> {
    name: String,
    map: &'a Map<String, Value>,
}

fn block(value: &Value, place: u32) -> Result<Block, InputError> {
    let unnamed = format!("number {place}");
    let missing = || InputError::Field {
        block: unnamed.clone(),
        field: "id".to_owned(),
        found: shown(if value.is_object() {
            value.get("id").unwrap_or(&Value::Null)
        } else {
            value
        }),
        expected: "a text that names the block",
    };
    let map = value.as_object().ok_or_else(missing)?;
    let id = map.get("id").and_then(Value::as_str).ok_or_else(missing)?;
    let fields = Fields { name: if id.is_empty() { unnamed.clone() } else { id.to_owned() }, map };
    if let Some(key) = map.keys().find(|key| !BLOCK_KEYS.contains(&key.as_str())) {
        return Err(InputError::UnknownKey { block: fields.name, key: key.clone() });
    }
    let id = BlockId::new(id).map_err(|problem| fields.problem(problem))?;
    let beta = match map.get("beta") {
        Some(value) => fields.real("beta", value)?,
        None => 0.0,
    };
    let severity = fields.severity()?;
    let hazard = fields.hazard()?;
    Block::new(id, hazard, beta, severity).map_err(|problem| fields.problem(problem))
}

impl Fields<'_> {
    fn hazard(&self) -> Result<Hazard, InputError> {
        let get = |key: &str| self.map.get(key).filter(|value| !value.is_null());
        match (get("lam"), get("p"), get("k"), get("r")) {
            (Some(rate), None, None, None) => {
                Ok(Hazard::Rate { per_year: self.real("lam", rate)? })
            }
            (None, Some(p), None, None) => Ok(Hazard::Fixed(self.probability("p", p)?)),
            (None, None, Some(k), Some(r)) => {
                Ok(Hazard::Predictive { shape: self.real("k", k)?, years: self.real("r", r)? })
            }
            _ => Err(InputError::Field {
                block: self.name.clone(),
                field: "the hazard".to_owned(),
                found: "none, or more than one".to_owned(),
                expected: "one of lam (events a year), p (probability), or k with r (Gamma)",
            }),
        }
    }

    fn severity(&self) -> Result<Severity, InputError> {
        let value = self.map.get("severity_bp").unwrap_or(&Value::Null);
        let expected = "an object of losses in bp and their probabilities, as {\"150\": \"0.8\"}";
        let map = value.as_object().ok_or_else(|| self.wrong("severity_bp", value, expected))?;
        let mut losses = Vec::with_capacity(map.len());
        for (key, value) in map {
            let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_digit());
            let wrong = || {
                let key = Value::String(key.clone());
                self.wrong("a loss in severity_bp", &key, "a whole number from 1 to 10000")
            };
            let loss: u16 = key.parse().ok().filter(|_| plain).ok_or_else(wrong)?;
            losses.push((loss, self.probability(&format!("severity_bp.{key}"), value)?));
        }
        Severity::new(losses).map_err(|problem| self.problem(problem))
    }

    fn real(&self, field: &str, value: &Value) -> Result<f64, InputError> {
        let parsed = text(value).and_then(|text| text.parse::<f64>().ok());
        parsed
            .filter(|x| x.is_finite())
            .ok_or_else(|| self.wrong(field, value, "a finite number, as 0.012 or \"0.012\""))
    }

    fn probability(&self, field: &str, value: &Value) -> Result<Probability, InputError> {
        let text = text(value).ok_or(ProbabilityError::NotDecimal);
        text.and_then(|text| Probability::parse(&text)).map_err(|error| match error {
            ProbabilityError::NotDecimal => {
                self.wrong(field, value, "a decimal number of at most 38 digits, from 0 to 1")
            }
            ProbabilityError::OutOfRange => self.wrong(field, value, "a number from 0 to 1"),
        })
    }

    fn wrong(&self, field: &str, value: &Value, expected: &'static str) -> InputError {
        let (block, field) = (self.name.clone(), field.to_owned());
        InputError::Field { block, field, found: shown(value), expected }
    }

    fn problem(&self, problem: BlockProblem) -> InputError {
        InputError::Block { block: self.name.clone(), problem }
    }
}

fn factor(value: &Value) -> Result<Factor, InputError> {
    if value.is_null() {
        return Ok(Factor::Off);
    }
    let get = |field: &str| value.get(field).unwrap_or(&Value::Null);
    let wrong = |field, expected| InputError::Factor { field, found: shown(get(field)), expected };
    let family = get("family");
    if !family.is_null() && family.as_str() != Some("Gamma mean 1") {
        return Err(wrong("family", "\"Gamma mean 1\""));
    }
    let factor = match text(get("sigma2")).and_then(|text| text.parse::<f64>().ok()) {
        Some(1.0) => Factor::GammaUnitVariance,
        Some(0.0) => Factor::Off,
        _ => return Err(wrong("sigma2", "1 (stored constants), or 0 for independent blocks")),
    };
    let stored = factor.nodes();
    let same_node = |(value, node): (&Value, &super::Node)| {
        text(value).and_then(|text| text.parse::<f64>().ok()) == Some(node.climate)
    };
    let same_weight = |(value, node): (&Value, &super::Node)| {
        let weight = text(value).and_then(|text| Probability::parse(&text).ok());
        weight.is_some_and(|w| w.to_q127().abs_diff(node.weight.to_q127()) <= WEIGHT_SLACK_Q127)
    };
    for field in ["nodes", "weights"] {
        let Some(list) = value.get(field) else { continue };
        let list = list.as_array().filter(|list| list.len() == stored.len());
        let same = list.is_some_and(|list| {
            let mut pairs = list.iter().zip(&stored);
            if field == "nodes" { pairs.all(same_node) } else { pairs.all(same_weight) }
        });
        if !same {
            return Err(wrong(field, "the eight stored constants; leave the key out"));
        }
    }
    Ok(factor)
}

/// A number as it was written, from a JSON number or a text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// At most forty characters of a value for a message.
fn shown(value: &Value) -> String {
    let text = if value.is_null() { "missing".to_owned() } else { value.to_string() };
    if text.chars().count() <= 40 { text } else { text.chars().take(39).chain(['…']).collect() }
}
