//! Calls that a timelock holds: read in the shapes of both kinds of timelock, an early warning of what
//! they change, which ends where they are cancelled.

use alloy::primitives::{Address, B256, Bytes, U256, address, keccak256};
use alloy::sol_types::{SolCall as _, SolValue as _};
use assay::chain::scripted::Emission;
use assay::chain::{Contract, Topics};
use assay_domain::event::{Governed, ScheduledCall, TimelockWait};
use assay_domain::{Event, LrtId, RatedEntity};
use serde_json::json;

use crate::chain_decode::address_of;
use crate::governance::{CHAIN, SET, SLASHER, ask, decoded, rated_at, who};

/// EigenLayer's timelock, the one before it, and a token, as the manifests list them.
const TIMELOCK: Address = address!("c06fd4f821eac1ff1ae8067b36342899b57baa2d");
const COMPOUND: Address = address!("a6db1a8c5a981d1536266d2a393c5f8ddb210eaf");
const RSWETH: Address = address!("fae103dc9cf190ed75350761e95403b7b8afa6c0");

alloy::sol! {
    function upgrade(address proxy, address implementation);
    function upgradeAndCall(address proxy, address implementation, bytes data);
}

fn emission(by: Address, signature: &str, indexed: &[B256], data: Vec<u8>) -> Emission {
    let topics = [&[keccak256(signature)], indexed].concat();
    Emission { address: by, topics: Topics::new(&topics).unwrap(), data }
}

fn scheduled(target: Address, data: &[u8]) -> Emission {
    let signature = "CallScheduled(bytes32,uint256,address,uint256,bytes,bytes32,uint256)";
    let data = Bytes::copy_from_slice(data);
    let fields = (target, U256::from(5), data, B256::repeat_byte(6), U256::from(7));
    let indexed = [B256::repeat_byte(1), U256::from(2).into()];
    emission(TIMELOCK, signature, &indexed, fields.abi_encode_params())
}

/// Compound's three events have one shape.
fn compound(name: &str, target: B256, signature: &[u8], data: &[u8]) -> Emission {
    let text = format!("{name}(bytes32,address,uint256,string,bytes,uint256)");
    let (value, eta) = (U256::from(5), U256::from(1_700_000_600_u64));
    let [signature, data] = [signature, data].map(Bytes::copy_from_slice);
    let data = (value, signature, data, eta).abi_encode_params();
    emission(COMPOUND, &text, &[B256::repeat_byte(1), target], data)
}

#[test]
fn a_call_is_read_with_what_it_is_about() {
    let of = Governed::Platform;
    let manager = address_of(Contract::AllocationManager);
    let proxy_admin = who(1);
    let upgrade = upgradeCall { proxy: RSWETH, implementation: who(2) }.abi_encode();
    let also = upgradeAndCallCall { proxy: manager, implementation: who(2), data: "x".into() };
    let token = Some(Governed::Token(LrtId(RSWETH)));
    for (target, data, about, about_of) in [
        (manager, vec![1, 2, 3, 4, 5], manager, Some(of)),
        (manager, vec![1, 2, 3], manager, Some(of)),
        (who(9), vec![], who(9), None),
        (proxy_admin, upgrade.clone(), RSWETH, token),
        (proxy_admin, also.abi_encode(), manager, Some(of)),
        // Cut short, or no address: it is about the target.
        (proxy_admin, upgrade[..35].to_vec(), proxy_admin, None),
        (proxy_admin, [&upgrade[..4], &[0xff; 64]].concat(), proxy_admin, None),
        // However long it is, little of it is kept.
        (proxy_admin, vec![7; 100_000], proxy_admin, None),
    ] {
        let expected = ScheduledCall {
            of,
            timelock: TIMELOCK,
            operation: B256::repeat_byte(1),
            index: U256::from(2),
            target,
            value: U256::from(5),
            selector: data.first_chunk().copied(),
            data_hash: keccak256(&data),
            predecessor: B256::repeat_byte(6),
            wait: TimelockWait::Delay(U256::from(7)),
            about,
            about_of,
        };
        let event = decoded(scheduled(target, &data)).unwrap();
        assert_eq!(event, Event::TimelockCallScheduled(Box::new(expected.clone())));
        assert!(event.to_canonical_bytes().len() < 400);

        // Compound's writes the function's signature beside the data, or leaves it out.
        let (text, arguments) = (b"setDelay(uint256)", U256::from(9).abi_encode());
        let whole = [&keccak256(text)[..4], &arguments].concat();
        for (signature, given, whole) in [(&text[..], &arguments, &whole), (&[], &data, &data)] {
            let about = if signature.is_empty() { about } else { target };
            let expected = ScheduledCall {
                timelock: COMPOUND,
                index: U256::ZERO,
                predecessor: B256::ZERO,
                wait: TimelockWait::Until(U256::from(1_700_000_600_u64)),
                selector: whole.first_chunk().copied(),
                data_hash: keccak256(whole),
                about,
                about_of: if about == target && target != manager { None } else { about_of },
                ..expected.clone()
            };
            let log = compound("QueueTransaction", target.into_word(), signature, given);
            assert_eq!(decoded(log), Some(Event::TimelockCallScheduled(Box::new(expected))));
        }
    }
}

#[test]
fn a_call_that_ran_or_was_cancelled_is_read_and_another_shape_is_left_out() {
    let (of, operation, target) = (Governed::Platform, B256::repeat_byte(1), who(1));
    let word = target.into_word();
    let ran = |timelock, index: u64| Event::TimelockCallExecuted {
        of,
        timelock,
        operation,
        index: U256::from(index),
        target,
    };
    let cancelled = |timelock| Event::TimelockOperationCancelled { of, timelock, operation };
    let signature = "CallExecuted(bytes32,uint256,address,uint256,bytes)";
    let fields = (target, U256::from(5), Bytes::from("data")).abi_encode_params();
    let executed = emission(TIMELOCK, signature, &[operation, U256::from(3).into()], fields);
    let taken_back = emission(TIMELOCK, "Cancelled(bytes32)", &[operation], Vec::new());
    let not_text = &[0xff, 0xfe];
    let expected = [
        (executed, ran(TIMELOCK, 3)),
        (taken_back.clone(), cancelled(TIMELOCK)),
        (compound("ExecuteTransaction", word, b"f()", b"data"), ran(COMPOUND, 0)),
        (compound("CancelTransaction", word, not_text, b""), cancelled(COMPOUND)),
    ];
    for (log, event) in expected {
        assert_eq!(decoded(log.clone()), Some(event));
        assert_eq!(decoded(Emission { address: who(3), ..log.clone() }), None, "a stranger's");
        let topics = log.topics.as_slice();
        let fewer = Topics::new(&topics[..topics.len() - 1]).unwrap();
        let more = Topics::new(&[topics, &[word]].concat()).unwrap();
        for topics in [fewer, more] {
            assert_eq!(decoded(Emission { topics, ..log.clone() }), None);
        }
        for length in 0..log.data.len() {
            // The words of a text that is not padded are there.
            if log.data.len() - length >= 32 {
                let data = log.data[..length].to_vec();
                assert_eq!(decoded(Emission { data, ..log.clone() }), None, "{length}");
            }
        }
    }
    let odd = [
        Emission { data: vec![0; 32], ..taken_back },
        compound("QueueTransaction", B256::repeat_byte(0xff), b"f()", b""),
        // A length and a place beyond the end.
        Emission { data: vec![0xff; 320], ..scheduled(target, b"data") },
        Emission { data: vec![0x7f; 320], ..compound("QueueTransaction", word, b"", b"") },
    ];
    for log in odd {
        assert_eq!(decoded(log.clone()), None, "{log:?}");
    }
}

/// A call that the set's own slasher, a timelock, is to make of the platform.
fn held(operation: u8, days: u64) -> Event {
    Event::TimelockCallScheduled(Box::new(ScheduledCall {
        of: Governed::Named,
        timelock: SLASHER,
        operation: B256::repeat_byte(operation),
        index: U256::ZERO,
        target: who(1),
        value: U256::ZERO,
        selector: Some([1, 2, 3, 4]),
        data_hash: B256::ZERO,
        predecessor: B256::ZERO,
        wait: TimelockWait::Delay(U256::from(days * 86_400)),
        about: who(1),
        about_of: Some(Governed::Platform),
    }))
}

fn cancelled(operation: u8) -> Event {
    let operation = B256::repeat_byte(operation);
    Event::TimelockOperationCancelled { of: Governed::Named, timelock: SLASHER, operation }
}

fn executed(operation: u8) -> Event {
    Event::TimelockCallExecuted {
        of: Governed::Named,
        timelock: SLASHER,
        operation: B256::repeat_byte(operation),
        index: U256::ZERO,
        target: who(1),
    }
}

#[tokio::test]
async fn a_held_call_is_a_watch_until_it_is_cancelled_or_21_days_after_it_could_run() {
    let (of, contract) = (Governed::Named, SLASHER);
    let upgraded = Event::ContractUpgraded { of, contract, implementation: who(2) };
    // Ends of epochs: the first after block 20,000, and some later.
    let day = |number: u64| 21_599 + number * 7_200;
    let (now, soon) = (20_000, 20_100);
    for (changes, until, is_on_watch) in [
        (vec![(now, held(1, 30))], now, true),
        // It waits for thirty days; after that, 21 clean days.
        (vec![(now, held(1, 30))], day(29), true),
        (vec![(now, held(1, 30))], day(49), true),
        (vec![(now, held(1, 30))], day(50), false),
        // Cancelled at once, and weeks later.
        (vec![(now, held(1, 30)), (now, cancelled(1))], now, false),
        (vec![(now, held(1, 30)), (soon, cancelled(1))], soon, false),
        (vec![(now, held(1, 90)), (day(40), cancelled(1))], day(40) - 1, true),
        (vec![(now, held(1, 90)), (day(40), cancelled(1))], day(40), false),
        // Another call holds it, or another reason.
        (vec![(now, held(1, 30)), (now, held(2, 1)), (soon, cancelled(1))], soon, true),
        (vec![(now, held(1, 30)), (now, upgraded), (soon, cancelled(1))], soon, true),
        (vec![(now, held(1, 30)), (soon, cancelled(2))], soon, true),
        // It ran: what it did may show yet.
        (vec![(now, held(1, 1)), (day(2), executed(1))], day(2), true),
        (vec![(now, held(1, 1)), (day(2), executed(1))], day(22), false),
    ] {
        let (database, rater) = rated_at(changes.clone(), until).await;
        let query = "{ entities { nodes { slug rating { isWatchNegative } } } }";
        let data = ask(&database, query).await;
        let entities = data["entities"]["nodes"].as_array().unwrap();
        assert_eq!(entities.len(), 3, "the operator, the set and its AVS");
        for entity in entities {
            let told = &entity["rating"]["isWatchNegative"];
            assert_eq!(told, is_on_watch, "{changes:?} until {until}: {entity}");
        }
        assay::verify::verify(&rater).await.unwrap();
    }
}

#[tokio::test]
async fn the_api_tells_what_is_held_and_from_when_on_it_can_run() {
    let changes = vec![
        (20_000, held(1, 30)),
        (20_010, held(2, 0)),
        (20_020, executed(2)),
        (20_030, cancelled(1)),
    ];
    let (database, rater) = rated_at(changes, 30_000).await;
    let query = "{ governanceChanges(first: 4) { nodes {
        kind party operation executableAt opensWatch summary subjects { slug } } } }";
    let data = ask(&database, query).await;
    let (timelock, target) = (format!("{SLASHER:#x}"), format!("{:#x}", who(1)));
    let party = who(1).to_checksum(None);
    let [avs, set] = [RatedEntity::avs(CHAIN, SET.avs), RatedEntity::operator_set(CHAIN, SET)];
    let row =
        |kind: &str, party: Option<&str>, operation: u8, from: Option<&str>, summary: &str| {
            json!({
                "kind": kind, "party": party, "operation": B256::repeat_byte(operation),
                "executableAt": from, "opensWatch": kind == "CALL_SCHEDULED", "summary": summary,
                "subjects": [{ "slug": avs.to_string() }, { "slug": set.to_string() }],
            })
        };
    let (later, at_once) = ("2023-12-17T16:53:20Z", "2023-11-17T16:55:20Z");
    let holds = |from| {
        format!("The timelock {timelock} holds a call of {target}, which can run from {from} on.")
    };
    let over = format!("{:#x}", B256::repeat_byte(1));
    let expected = json!([
        row(
            "CALL_CANCELLED",
            None,
            1,
            None,
            &format!("The timelock {timelock} has cancelled its operation {over}.")
        ),
        row(
            "CALL_EXECUTED",
            Some(&party),
            2,
            None,
            &format!("The timelock {timelock} has called {target}, as it was scheduled.")
        ),
        row("CALL_SCHEDULED", Some(&party), 2, Some(at_once), &holds(at_once)),
        row("CALL_SCHEDULED", Some(&party), 1, Some(later), &holds(later)),
    ]);
    assert_eq!(data["governanceChanges"]["nodes"], expected);
    // Written anew from the log, it is the same.
    assay::verify::verify(&rater).await.unwrap();
}
