//! What a manifest can make of an event: the domain events, filled from a log's parameters.

use std::collections::BTreeMap;

use alloy::dyn_abi::DynSolValue;
use alloy::json_abi;
use alloy::primitives::{Address, U256};
use assay_domain::event::SymbioticEntity;
use assay_domain::{Event, LrtId, StakerId};
use serde::Deserialize;

use super::abi::AbiError;

/// How native ether is written where a contract needs an address for it.
const NATIVE: Address = Address::repeat_byte(0xee);
/// A basis point in 1e-18.
const WAD_PER_BP: u64 = 100_000_000_000_000;
/// Decimals of a price in wei.
const WEI_DECIMALS: u64 = 18;

/// Where a field of the domain event comes from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// A parameter by its place, and a component of it.
    Parameter(usize, Option<usize>),
    Address(Address),
    Bool(bool),
    Number(u64),
    Word(String),
    /// What Symbiotic calls it.
    Entity(SymbioticEntity),
    /// The contract that emitted the log.
    Emitter,
}

/// The domain events that a manifest can map to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Target {
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
    SymbioticEntityAdded,
    SymbioticOptInUpdated,
    SymbioticMiddlewareSet,
    SymbioticDelegatorSet,
    SymbioticSlasherSet,
    SymbioticDeposited,
    SymbioticWithdrawn,
    SymbioticVaultSlashed,
    SymbioticSlashed,
    SymbioticSlashRequested,
    SymbioticSlashExecuted,
    SymbioticSlashVetoed,
    SymbioticResolverSet,
    SymbioticNetworkLimitSet,
    SymbioticOperatorLimitSet,
}

impl Target {
    /// Fields it must have, and fields it may have.
    pub(super) const fn fields(self) -> (&'static [&'static str], &'static [&'static str]) {
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
            Self::SymbioticEntityAdded => (&["kind", "entity"], &[]),
            Self::SymbioticOptInUpdated => (&["operator", "kind", "entity", "is_in"], &[]),
            Self::SymbioticMiddlewareSet => (&["network", "middleware"], &[]),
            Self::SymbioticDelegatorSet => (&["vault", "delegator"], &[]),
            Self::SymbioticSlasherSet => (&["vault", "slasher"], &[]),
            Self::SymbioticDeposited | Self::SymbioticWithdrawn | Self::SymbioticVaultSlashed => {
                (&["vault", "amount"], &[])
            }
            Self::SymbioticSlashed => {
                (&["slasher", "subnetwork", "operator", "amount", "capture_time"], &[])
            }
            Self::SymbioticSlashRequested => (
                &[
                    "slasher",
                    "index",
                    "subnetwork",
                    "operator",
                    "amount",
                    "capture_time",
                    "veto_deadline",
                ],
                &[],
            ),
            Self::SymbioticSlashExecuted => (&["slasher", "index", "amount"], &[]),
            Self::SymbioticSlashVetoed => (&["slasher", "index", "resolver"], &[]),
            Self::SymbioticResolverSet => (&["slasher", "subnetwork", "resolver"], &[]),
            Self::SymbioticNetworkLimitSet => {
                (&["delegator", "subnetwork", "amount", "is_maximum"], &[])
            }
            Self::SymbioticOperatorLimitSet => {
                (&["delegator", "subnetwork", "operator", "amount", "is_shares"], &[])
            }
        }
    }

    /// Whether the event is about the token of its manifest.
    pub(super) const fn is_about_the_token(self) -> bool {
        matches!(
            self,
            Self::LrtStakersAdded
                | Self::LrtStakersRemoved
                | Self::LrtRateUpdated
                | Self::LrtTotalsUpdated
                | Self::LrtMinted
                | Self::LrtBurned
                | Self::LrtSupplyRecorded
                | Self::LrtReservesRecorded
                | Self::LrtWithdrawalRequested
                | Self::LrtWithdrawalSettled
                | Self::LrtBufferIncreased
                | Self::LrtBufferDecreased
                | Self::LrtWithdrawalDelaySet
                | Self::LrtNavGuardSet
                | Self::LrtRedemptionsPaused
        )
    }
}

impl Source {
    pub(super) fn new(
        field: &str,
        value: &toml::Value,
        event: &json_abi::Event,
    ) -> Result<Self, String> {
        match value {
            toml::Value::Boolean(value) => Ok(Self::Bool(*value)),
            toml::Value::Integer(value) => u64::try_from(*value)
                .map(Self::Number)
                .map_err(|_| format!("{field} is {value}, expected a number not below zero")),
            toml::Value::String(text) if field == "unit" => match text.as_str() {
                "bp" | "wad" => Ok(Self::Word(text.clone())),
                _ => Err(format!("the unit is \"{text}\", expected bp or wad")),
            },
            toml::Value::String(text) if field == "kind" => match text.as_str() {
                "Vault" => Ok(Self::Entity(SymbioticEntity::Vault)),
                "Delegator" => Ok(Self::Entity(SymbioticEntity::Delegator)),
                "Slasher" => Ok(Self::Entity(SymbioticEntity::Slasher)),
                "Network" => Ok(Self::Entity(SymbioticEntity::Network)),
                "Operator" => Ok(Self::Entity(SymbioticEntity::Operator)),
                _ => Err(format!("the kind is \"{text}\", which Symbiotic does not have")),
            },
            toml::Value::String(text) if text == "@emitter" => Ok(Self::Emitter),
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
pub(super) struct Values<'a> {
    pub(super) values: &'a [DynSolValue],
    pub(super) fields: &'a BTreeMap<String, Source>,
    pub(super) emitter: Address,
}

impl Values<'_> {
    /// The domain event they make.
    pub(super) fn event(&self, target: Target, token: Option<LrtId>) -> Result<Event, AbiError> {
        // Checked when the manifest was read; other events have none.
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
            symbiotic => self.symbiotic(symbiotic)?,
        })
    }

    fn symbiotic(&self, target: Target) -> Result<Event, AbiError> {
        Ok(match target {
            Target::SymbioticOptInUpdated => Event::SymbioticOptInUpdated {
                operator: self.address("operator")?,
                to: self.entity_kind()?,
                entity: self.address("entity")?,
                is_in: self.bool("is_in")?,
            },
            Target::SymbioticMiddlewareSet => Event::SymbioticMiddlewareSet {
                network: self.address("network")?,
                middleware: self.address("middleware")?,
            },
            Target::SymbioticDelegatorSet => Event::SymbioticDelegatorSet {
                vault: self.address("vault")?,
                delegator: self.address("delegator")?,
            },
            Target::SymbioticSlasherSet => Event::SymbioticSlasherSet {
                vault: self.address("vault")?,
                slasher: self.address("slasher")?,
            },
            Target::SymbioticDeposited => Event::SymbioticDeposited {
                vault: self.address("vault")?,
                amount: self.amount("amount")?,
            },
            Target::SymbioticWithdrawn => Event::SymbioticWithdrawn {
                vault: self.address("vault")?,
                amount: self.amount("amount")?,
            },
            Target::SymbioticVaultSlashed => Event::SymbioticVaultSlashed {
                vault: self.address("vault")?,
                amount: self.amount("amount")?,
            },
            Target::SymbioticSlashed => Event::SymbioticSlashed {
                slasher: self.address("slasher")?,
                subnetwork: self.amount("subnetwork")?.into(),
                operator: self.address("operator")?,
                amount: self.amount("amount")?,
                capture_time: self.seconds("capture_time")?,
            },
            Target::SymbioticSlashRequested => Event::SymbioticSlashRequested {
                slasher: self.address("slasher")?,
                index: self.amount("index")?,
                subnetwork: self.amount("subnetwork")?.into(),
                operator: self.address("operator")?,
                amount: self.amount("amount")?,
                capture_time: self.seconds("capture_time")?,
                veto_deadline: self.seconds("veto_deadline")?,
            },
            Target::SymbioticSlashExecuted => Event::SymbioticSlashExecuted {
                slasher: self.address("slasher")?,
                index: self.amount("index")?,
                amount: self.amount("amount")?,
            },
            Target::SymbioticSlashVetoed => Event::SymbioticSlashVetoed {
                slasher: self.address("slasher")?,
                index: self.amount("index")?,
                resolver: self.address("resolver")?,
            },
            Target::SymbioticResolverSet => Event::SymbioticResolverSet {
                slasher: self.address("slasher")?,
                subnetwork: self.amount("subnetwork")?.into(),
                resolver: self.address("resolver")?,
            },
            Target::SymbioticNetworkLimitSet => Event::SymbioticNetworkLimitSet {
                delegator: self.address("delegator")?,
                subnetwork: self.amount("subnetwork")?.into(),
                amount: self.amount("amount")?,
                is_maximum: self.bool("is_maximum")?,
            },
            Target::SymbioticOperatorLimitSet => Event::SymbioticOperatorLimitSet {
                delegator: self.address("delegator")?,
                subnetwork: self.amount("subnetwork")?.into(),
                operator: self.address("operator")?,
                amount: self.amount("amount")?,
                is_shares: self.bool("is_shares")?,
            },
            _ => Event::SymbioticEntityAdded {
                kind: self.entity_kind()?,
                entity: self.address("entity")?,
            },
        })
    }

    fn address(&self, field: &str) -> Result<Address, AbiError> {
        let address = match self.fields.get(field) {
            Some(Source::Emitter) => Some(self.emitter),
            _ => self.value(field).and_then(DynSolValue::as_address),
        };
        address.ok_or_else(|| not_a("an address", field))
    }

    /// A time of 48 bits.
    fn seconds(&self, field: &str) -> Result<u64, AbiError> {
        let seconds = u64::try_from(self.amount(field)?);
        seconds.map_err(|_| not_a("a time", field))
    }

    fn entity_kind(&self) -> Result<SymbioticEntity, AbiError> {
        match self.fields.get("kind") {
            Some(Source::Entity(kind)) => Ok(*kind),
            _ => Err(not_a("a kind", "kind")),
        }
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
