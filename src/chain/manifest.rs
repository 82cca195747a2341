//! Contracts beside EigenLayer's own, and what each of their events says, as data.
//!
//! A manifest (`manifests/*.toml`) names a protocol's contracts, the declarations of the events
//! that move a rating, and the domain event each becomes, field by field. A protocol whose events
//! map plainly is added by such a file alone. Everything else those contracts emit is not read.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use alloy::dyn_abi::{DynSolEvent, DynSolValue, Specifier as _};
use alloy::json_abi;
use alloy::primitives::map::AddressMap;
use alloy::primitives::{Address, B256, U256};
use assay_domain::{ChainId, Event, LrtId, StakerId};
use serde::Deserialize;

use super::abi::AbiError;

/// The manifests Assay knows.
const BUILT_IN: [(&str, &str); 6] = [
    ("etherfi", include_str!("manifests/etherfi.toml")),
    ("kelp", include_str!("manifests/kelp.toml")),
    ("prices", include_str!("manifests/prices.toml")),
    ("puffer", include_str!("manifests/puffer.toml")),
    ("renzo", include_str!("manifests/renzo.toml")),
    ("swell", include_str!("manifests/swell.toml")),
];

static MANIFESTS: LazyLock<Result<Vec<Manifest>, ManifestError>> =
    LazyLock::new(|| BUILT_IN.iter().map(|(name, text)| Manifest::parse(name, text)).collect());

/// How native ether is written where a contract needs an address for it.
const NATIVE: Address = Address::repeat_byte(0xee);
/// A basis point in 1e-18.
const WAD_PER_BP: u64 = 100_000_000_000_000;
/// Decimals of a price in wei.
const WEI_DECIMALS: u64 = 18;

/// A manifest that cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ManifestError {
    /// The text is no manifest.
    #[error("manifest {manifest} does not read as TOML: {reason}")]
    Unreadable {
        /// The manifest.
        manifest: String,
        /// What the reader said.
        reason: String,
    },
    /// An event's mapping makes no sense. Correct the manifest.
    #[error("manifest {manifest}, {contract}, event \"{abi}\": {reason}")]
    Event {
        /// The manifest.
        manifest: String,
        /// The contract.
        contract: String,
        /// The declaration.
        abi: String,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    chain_id: ChainId,
    token: Option<Address>,
    contract: Vec<FileContract>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileContract {
    name: String,
    /// The name its declarations have in the sources, where that is another.
    interface: Option<String>,
    address: Address,
    /// The block of its creation; logs before are not its own.
    #[serde(default)]
    start_block: u64,
    event: Vec<FileEvent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEvent {
    abi: String,
    interface: Option<String>,
    /// The standard that declares it, where the protocol's own sources do not.
    standard: Option<String>,
    to: BTreeMap<String, BTreeMap<String, toml::Value>>,
}

/// The contracts of one protocol on one chain.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// What it is called.
    pub name: String,
    /// The chain.
    pub chain_id: ChainId,
    /// The token it is about, if it is about one.
    pub token: Option<LrtId>,
    /// Its contracts.
    pub contracts: Vec<ListedContract>,
}

/// A contract of a manifest.
#[derive(Debug, Clone)]
pub struct ListedContract {
    /// Its name.
    pub name: String,
    /// Where it lives.
    pub address: Address,
    /// The block of its creation, or zero.
    pub start_block: u64,
    /// The events that are read.
    pub events: Vec<ListedEvent>,
}

/// An event of a manifest and what it becomes.
#[derive(Debug, Clone)]
pub struct ListedEvent {
    /// Contract and event, for messages.
    pub name: String,
    /// Who declares it: the interface of the protocol's sources.
    pub interface: String,
    /// The standard that declares it, where the protocol's sources do not.
    pub standard: Option<String>,
    /// Its declaration.
    pub event: json_abi::Event,
    resolved: DynSolEvent,
    target: Target,
    token: Option<LrtId>,
    fields: BTreeMap<String, Source>,
}

/// Where a field of the domain event comes from.
#[derive(Debug, Clone)]
enum Source {
    /// A parameter by its place, and a component of it.
    Parameter(usize, Option<usize>),
    Address(Address),
    Bool(bool),
    Number(u64),
    Word(String),
}

/// The domain events that a manifest can map to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Target {
    LrtStakersAdded,
    LrtStakersRemoved,
    LrtRateUpdated,
    LrtTotalsUpdated,
    LrtMinted,
    LrtBurned,
    LrtSupplyRecorded,
    LrtReservesRecorded,
    LrtWithdrawalRequested,
    LrtWithdrawalSettled,
    LrtBufferIncreased,
    LrtBufferDecreased,
    LrtWithdrawalDelaySet,
    LrtNavGuardSet,
    LrtRedemptionsPaused,
    PriceUpdated,
}

impl Target {
    /// Fields it must have, and fields it may have.
    const fn fields(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::LrtStakersAdded | Self::LrtStakersRemoved => (&["stakers"], &[]),
            Self::LrtRateUpdated => (&["rate"], &["total_assets"]),
            Self::LrtTotalsUpdated => (&["total_assets", "total_shares"], &[]),
            Self::LrtMinted => (&["assets"], &["asset", "shares"]),
            Self::LrtBurned | Self::LrtReservesRecorded => (&["assets"], &[]),
            Self::LrtSupplyRecorded => (&["supply"], &[]),
            Self::LrtWithdrawalRequested => (&["shares"], &["request"]),
            Self::LrtWithdrawalSettled => (&[], &["request", "shares", "asset", "paid"]),
            Self::LrtBufferIncreased | Self::LrtBufferDecreased => (&["amount"], &["asset"]),
            Self::LrtWithdrawalDelaySet => (&[], &["seconds", "blocks"]),
            Self::LrtNavGuardSet => (&["limit", "unit"], &[]),
            Self::LrtRedemptionsPaused => (&["is_paused"], &[]),
            Self::PriceUpdated => (&["asset", "price", "decimals"], &[]),
        }
    }
}

impl Manifest {
    /// Reads a manifest; `file` names it in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self, ManifestError> {
        let read: File = toml::from_str(text).map_err(|error| ManifestError::Unreadable {
            manifest: file.to_owned(),
            reason: error.to_string(),
        })?;
        let token = read.token.map(LrtId);
        let contract = |contract: FileContract| {
            let event = |event: FileEvent| {
                let abi = event.abi.clone();
                ListedEvent::new(&contract.name, contract.interface.as_deref(), event, token)
                    .map_err(|reason| ManifestError::Event {
                        manifest: file.to_owned(),
                        contract: contract.name.clone(),
                        abi,
                        reason,
                    })
            };
            Ok(ListedContract {
                address: contract.address,
                start_block: contract.start_block,
                events: contract.event.into_iter().map(event).collect::<Result<_, _>>()?,
                name: contract.name,
            })
        };
        Ok(Self {
            name: read.name,
            chain_id: read.chain_id,
            token,
            contracts: read.contract.into_iter().map(contract).collect::<Result<_, _>>()?,
        })
    }

    /// The manifests built in.
    pub fn built_in() -> Result<&'static [Self], ManifestError> {
        MANIFESTS.as_deref().map_err(Clone::clone)
    }
}

impl ListedEvent {
    fn new(
        contract: &str,
        interface: Option<&str>,
        read: FileEvent,
        token: Option<LrtId>,
    ) -> Result<Self, String> {
        let event = json_abi::Event::parse(&read.abi).map_err(|error| error.to_string())?;
        let resolved = event.resolve().map_err(|error| error.to_string())?;
        let mut to = read.to.into_iter();
        let (Some((target, fields)), None) = (to.next(), to.next()) else {
            return Err("\"to\" must name one domain event".to_owned());
        };
        let target = Target::deserialize(toml::Value::String(target.clone()))
            .map_err(|_| format!("\"{target}\" is no domain event"))?;
        if token.is_none() && target != Target::PriceUpdated {
            return Err("the manifest names no token that the event could be about".to_owned());
        }
        let (required, optional) = target.fields();
        if let Some(missing) = required.iter().find(|name| !fields.contains_key(**name)) {
            return Err(format!("the field {missing} is missing"));
        }
        let source = |(name, value): (String, toml::Value)| {
            if !required.contains(&name.as_str()) && !optional.contains(&name.as_str()) {
                return Err(format!("the domain event has no field {name}"));
            }
            Ok((name.clone(), Source::new(&name, &value, &event)?))
        };
        Ok(Self {
            name: format!("{contract}.{}", event.name),
            interface: read.interface.unwrap_or_else(|| interface.unwrap_or(contract).to_owned()),
            standard: read.standard,
            fields: fields.into_iter().map(source).collect::<Result<_, _>>()?,
            resolved,
            target,
            token,
            event,
        })
    }

    /// The domain event that a log states.
    pub(crate) fn decode(&self, topics: &[B256], data: &[u8]) -> Result<Event, AbiError> {
        let decoded = self
            .resolved
            .decode_log_parts(topics.iter().copied(), data)
            .map_err(|error| AbiError::NotTheEncoding { reason: error.to_string() })?;
        // What was read must be all there is: encoded again it gives the same bytes.
        let words = decoded.indexed.iter().map(DynSolValue::as_word);
        let is_indexed_clean = words
            .zip(topics.iter().skip(1))
            .all(|(word, topic)| word.is_none_or(|word| word == *topic));
        if !is_indexed_clean || DynSolValue::Tuple(decoded.body.clone()).abi_encode_params() != data
        {
            let reason = "something is left that the declaration does not explain".to_owned();
            return Err(AbiError::NotTheEncoding { reason });
        }
        let (mut indexed, mut body) = (decoded.indexed.into_iter(), decoded.body.into_iter());
        let inputs = self.event.inputs.iter();
        let values: Vec<DynSolValue> = inputs
            .filter_map(|input| if input.indexed { indexed.next() } else { body.next() })
            .collect();
        Values { values: &values, fields: &self.fields }.event(self.target, self.token)
    }
}

impl Source {
    fn new(field: &str, value: &toml::Value, event: &json_abi::Event) -> Result<Self, String> {
        match value {
            toml::Value::Boolean(value) => Ok(Self::Bool(*value)),
            toml::Value::Integer(value) => u64::try_from(*value)
                .map(Self::Number)
                .map_err(|_| format!("{field} is {value}, expected a number not below zero")),
            toml::Value::String(text) if field == "unit" => match text.as_str() {
                "bp" | "wad" => Ok(Self::Word(text.clone())),
                _ => Err(format!("the unit is \"{text}\", expected bp or wad")),
            },
            toml::Value::String(text) if text.starts_with("0x") => text
                .parse()
                .map(Self::Address)
                .map_err(|_| format!("{field} is \"{text}\", which is no address")),
            toml::Value::String(text) => {
                let (name, component) = match text.split_once('.') {
                    Some((name, component)) => (name, Some(component)),
                    None => (text.as_str(), None),
                };
                let place = event.inputs.iter().position(|input| input.name == name);
                let place = place.ok_or_else(|| format!("it has no parameter {name}"))?;
                let component = component.map(|text| {
                    let count = event.inputs.get(place).map_or(0, |input| input.components.len());
                    let component = text.parse().ok().filter(|component| *component < count);
                    component.ok_or_else(|| format!("{name} has no component {text}"))
                });
                Ok(Self::Parameter(place, component.transpose()?))
            }
            other => Err(format!("{field} is {other}, expected the name of a parameter")),
        }
    }
}

/// The values of one log, by the names of the domain event's fields.
struct Values<'a> {
    values: &'a [DynSolValue],
    fields: &'a BTreeMap<String, Source>,
}

impl Values<'_> {
    fn event(&self, target: Target, token: Option<LrtId>) -> Result<Event, AbiError> {
        // Checked when the manifest was read; prices have none.
        let token = token.unwrap_or(LrtId(Address::ZERO));
        Ok(match target {
            Target::LrtStakersAdded => Event::LrtStakersAdded { token, stakers: self.stakers()? },
            Target::LrtStakersRemoved => {
                Event::LrtStakersRemoved { token, stakers: self.stakers()? }
            }
            Target::LrtRateUpdated => Event::LrtRateUpdated {
                token,
                rate: self.amount("rate")?,
                total_assets: self.optional("total_assets")?,
            },
            Target::LrtTotalsUpdated => Event::LrtTotalsUpdated {
                token,
                total_assets: self.amount("total_assets")?,
                total_shares: self.amount("total_shares")?,
            },
            Target::LrtMinted => Event::LrtMinted {
                token,
                asset: self.asset()?,
                assets: self.amount("assets")?,
                shares: self.optional("shares")?,
            },
            Target::LrtBurned => Event::LrtBurned { token, assets: self.amount("assets")? },
            Target::LrtSupplyRecorded => {
                Event::LrtSupplyRecorded { token, supply: self.amount("supply")? }
            }
            Target::LrtReservesRecorded => {
                Event::LrtReservesRecorded { token, assets: self.amount("assets")? }
            }
            Target::LrtWithdrawalRequested => Event::LrtWithdrawalRequested {
                token,
                request: self.optional("request")?,
                shares: self.amount("shares")?,
            },
            Target::LrtWithdrawalSettled => Event::LrtWithdrawalSettled {
                token,
                request: self.optional("request")?,
                shares: self.optional("shares")?,
                asset: self.asset()?,
                paid: self.optional("paid")?,
            },
            Target::LrtBufferIncreased => Event::LrtBufferIncreased {
                token,
                asset: self.asset()?,
                amount: self.amount("amount")?,
            },
            Target::LrtBufferDecreased => Event::LrtBufferDecreased {
                token,
                asset: self.asset()?,
                amount: self.amount("amount")?,
            },
            Target::LrtWithdrawalDelaySet => {
                let blocks = self.optional("blocks")?;
                let seconds = self.optional("seconds")?;
                Event::LrtWithdrawalDelaySet {
                    token,
                    delay: blocks.or(seconds).unwrap_or_default(),
                    is_in_blocks: blocks.is_some(),
                }
            }
            Target::LrtNavGuardSet => {
                let limit = self.amount("limit")?;
                let is_bp =
                    matches!(self.fields.get("unit"), Some(Source::Word(unit)) if unit == "bp");
                let unit = U256::from(if is_bp { WAD_PER_BP } else { 1 });
                Event::LrtNavGuardSet { token, limit: limit.saturating_mul(unit) }
            }
            Target::LrtRedemptionsPaused => {
                Event::LrtRedemptionsPaused { token, is_paused: self.bool("is_paused")? }
            }
            Target::PriceUpdated => Event::PriceUpdated {
                asset: self.asset()?.unwrap_or(Address::ZERO),
                price: self.price()?,
            },
        })
    }

    fn value(&self, field: &str) -> Option<&DynSolValue> {
        let Some(Source::Parameter(place, component)) = self.fields.get(field) else { return None };
        let value = self.values.get(*place)?;
        match component {
            None => Some(value),
            Some(component) => value.as_tuple()?.get(*component),
        }
    }

    fn optional(&self, field: &str) -> Result<Option<U256>, AbiError> {
        match self.fields.get(field) {
            None => Ok(None),
            Some(_) => self.amount(field).map(Some),
        }
    }

    fn amount(&self, field: &str) -> Result<U256, AbiError> {
        let value = self.value(field).and_then(|value| match value {
            DynSolValue::Uint(value, _) => Some(*value),
            DynSolValue::FixedBytes(value, 32) => Some(U256::from_be_bytes(value.0)),
            _ => None,
        });
        value.ok_or_else(|| not_a("an unsigned number", field))
    }

    fn stakers(&self) -> Result<Vec<StakerId>, AbiError> {
        let address = |value: &DynSolValue| value.as_address().map(StakerId);
        let stakers = self.value("stakers").and_then(|value| match value {
            DynSolValue::Array(values) => values.iter().map(address).collect(),
            one => address(one).map(|one| vec![one]),
        });
        stakers.ok_or_else(|| not_a("an address, or several", "stakers"))
    }

    /// `None` for native ether, however it is written, and where the event names no asset.
    fn asset(&self) -> Result<Option<Address>, AbiError> {
        let asset = match self.fields.get("asset") {
            None => return Ok(None),
            Some(Source::Address(address)) => Some(*address),
            Some(_) => self.value("asset").and_then(DynSolValue::as_address),
        };
        let asset = asset.ok_or_else(|| not_a("an address", "asset"))?;
        Ok(Some(asset).filter(|asset| !asset.is_zero() && *asset != NATIVE))
    }

    fn bool(&self, field: &str) -> Result<bool, AbiError> {
        let value = match self.fields.get(field) {
            Some(Source::Bool(value)) => Some(*value),
            _ => self.value(field).and_then(DynSolValue::as_bool),
        };
        value.ok_or_else(|| not_a("a truth value", field))
    }

    /// Wei; zero where the feed answers zero or less.
    fn price(&self) -> Result<U256, AbiError> {
        let answer = self.value("price").and_then(DynSolValue::as_int);
        let (answer, _) = answer.ok_or_else(|| not_a("a signed number", "price"))?;
        let decimals = match self.fields.get("decimals") {
            Some(Source::Number(decimals)) => *decimals,
            _ => WEI_DECIMALS,
        };
        let answer = if answer.is_negative() { U256::ZERO } else { answer.into_raw() };
        let scale = |exponent: u64| U256::from(10).pow(U256::from(exponent));
        Ok(if decimals <= WEI_DECIMALS {
            answer.saturating_mul(scale(WEI_DECIMALS - decimals))
        } else {
            answer.checked_div(scale(decimals - WEI_DECIMALS)).unwrap_or_default()
        })
    }
}

#[cold]
fn not_a(expected: &str, field: &str) -> AbiError {
    AbiError::NotTheEncoding {
        reason: format!("what the manifest takes {field} from is not {expected}"),
    }
}

/// The listed contracts of one chain, by address.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listed {
    contracts: AddressMap<ListedContract>,
}

impl Listed {
    /// The contracts of all manifests of a chain. One address listed twice keeps both lists.
    pub(crate) fn new(chain_id: ChainId, manifests: &[Manifest]) -> Self {
        let mut contracts = AddressMap::<ListedContract>::default();
        let here = manifests.iter().filter(|manifest| manifest.chain_id == chain_id);
        for contract in here.flat_map(|manifest| &manifest.contracts) {
            match contracts.get_mut(&contract.address) {
                Some(known) => known.events.extend(contract.events.iter().cloned()),
                None => {
                    contracts.insert(contract.address, contract.clone());
                }
            }
        }
        Self { contracts }
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = Address> {
        self.contracts.keys().copied()
    }

    /// The listed event of a log.
    pub(crate) fn event(
        &self,
        emitter: &Address,
        topics: &[B256],
        block: u64,
    ) -> Option<&ListedEvent> {
        let contract = self.contracts.get(emitter)?;
        let topic = topics.first().filter(|_| block >= contract.start_block)?;
        contract.events.iter().find(|listed| listed.event.selector() == *topic)
    }
}
