//! Calls that timelocks hold back: OpenZeppelin's `TimelockController`, whose events are the same from
//! release 3.3 to 5, and Compound's `Timelock`.

use alloy::primitives::{Address, B256, FixedBytes, U256, keccak256};
use alloy::sol_types::{SolType, sol_data};
use assay_domain::Event;
use assay_domain::event::{Governed, ScheduledCall, TimelockWait};

use super::chain_log::ChainLog;
use super::governance::address;

const SCHEDULED: &str = "CallScheduled(bytes32,uint256,address,uint256,bytes,bytes32,uint256)";
const EXECUTED: &str = "CallExecuted(bytes32,uint256,address,uint256,bytes)";
const CANCELLED: &str = "Cancelled(bytes32)";
const QUEUED: &str = "QueueTransaction(bytes32,address,uint256,string,bytes,uint256)";
const RUN: &str = "ExecuteTransaction(bytes32,address,uint256,string,bytes,uint256)";
const DROPPED: &str = "CancelTransaction(bytes32,address,uint256,string,bytes,uint256)";

pub(super) const SIGNATURES: [&str; 6] = [SCHEDULED, EXECUTED, CANCELLED, QUEUED, RUN, DROPPED];

type Word = sol_data::FixedBytes<32>;
type Number = sol_data::Uint<256>;
type Scheduled = (sol_data::Address, Number, sol_data::Bytes, Word, Number);
type Executed = (sol_data::Address, Number, sol_data::Bytes);
/// The text is read as bytes: it may be anything.
type Queued = (Number, sol_data::Bytes, sol_data::Bytes, Number);

/// `upgrade(address,address)` and `upgradeAndCall(address,address,bytes)` of `ProxyAdmin`.
const OF_PROXY_ADMIN: [[u8; 4]; 2] = [[0x99, 0xa8, 0x8e, 0xc4], [0x96, 0x23, 0x60, 0x9d]];

/// What a log with one of the signatures says; `None`: it is not of their shape.
pub(super) fn decode(
    signature: &str,
    of: Governed,
    log: &ChainLog,
    followed: impl Fn(&Address) -> Option<Governed>,
) -> Option<Event> {
    let timelock = log.address;
    let [_, operation, indexed @ ..] = log.topics.as_slice() else { return None };
    let operation = *operation;
    let indexed = match indexed {
        [] => None,
        [one] => Some(*one),
        _ => return None,
    };
    let scheduled = |index, target, value, data: &[u8], predecessor, wait| {
        let selector = data.first_chunk().copied();
        let about = proxy_of(data).unwrap_or(target);
        let (data_hash, about_of) = (keccak256(data), followed(&about));
        Some(Event::TimelockCallScheduled(Box::new(ScheduledCall {
            of,
            timelock,
            operation,
            index,
            target,
            value,
            selector,
            data_hash,
            predecessor,
            wait,
            about,
            about_of,
        })))
    };
    match signature {
        SCHEDULED => {
            let (target, value, data, predecessor, delay) = params::<Scheduled>(log)?;
            let wait = TimelockWait::Delay(delay);
            scheduled(indexed?.into(), target, value, &data, predecessor, wait)
        }
        QUEUED => {
            let (value, name, mut data, time) = params::<Queued>(log)?;
            if !name.is_empty() {
                data = [&keccak256(name)[..4], &data].concat().into();
            }
            let (target, wait) = (address(indexed?)?, TimelockWait::Until(time));
            scheduled(U256::ZERO, target, value, &data, B256::ZERO, wait)
        }
        EXECUTED => {
            let (target, _, _) = params::<Executed>(log)?;
            let index = indexed?.into();
            Some(Event::TimelockCallExecuted { of, timelock, operation, index, target })
        }
        RUN => {
            let (_, target) = (params::<Queued>(log)?, address(indexed?)?);
            let index = U256::ZERO;
            Some(Event::TimelockCallExecuted { of, timelock, operation, index, target })
        }
        DROPPED => {
            let _ = (params::<Queued>(log)?, address(indexed?)?);
            Some(Event::TimelockOperationCancelled { of, timelock, operation })
        }
        _ if indexed.is_none() && log.data.is_empty() => {
            Some(Event::TimelockOperationCancelled { of, timelock, operation })
        }
        _ => None,
    }
}

fn params<T>(log: &ChainLog) -> Option<T::RustType>
where
    T: SolType,
    for<'a> T::Token<'a>: alloy::sol_types::abi::TokenSeq<'a>,
{
    T::abi_decode_params_validate(&log.data).ok()
}

/// The proxy that a call of `ProxyAdmin` names.
fn proxy_of(data: &[u8]) -> Option<Address> {
    let (selector, arguments) = data.split_first_chunk()?;
    let proxy = arguments.first_chunk().filter(|_| OF_PROXY_ADMIN.contains(selector))?;
    address(FixedBytes(*proxy))
}
