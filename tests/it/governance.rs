//! Who can change a contract: read of those that are listed and of those that are given a say in
//! what is slashed, from then on, in every shape the events have had, and of nobody else.

use std::sync::Arc;

use alloy::dyn_abi::DynSolValue;
use alloy::primitives::{Address, B256, Bytes, U256, address, hex, keccak256};
use alloy::providers::{Provider as _, RootProvider};
use alloy::sol_types::SolCall;
use assay::chain::scripted::Emission;
use assay::chain::{Contract, ScriptedSource, Topics};
use assay::event_store::{Batch, EventStore};
use assay::rater::Rater;
use assay_domain::event::{Governed, SLASH_OPERATOR, ScheduledCall, TimelockWait};
use assay_domain::methodology::Methodology;
use assay_domain::state::experience::BEACON_CHAIN_ETH;
use assay_domain::{AvsId, BlockRef, Event, Fact, LrtId, OperatorId, OperatorSetId, RatedEntity};
use assay_oracle::anvil::Anvil;
use serde_json::{Value, json};

use crate::chain_decode::{address_of, mainnet};
use crate::chain_pods::{ALLOCATIONS, emission, emit, follow, look, read_every_way, resume};
use crate::chain_store::canonical;
use crate::chain_world::FIRST;
use crate::oracle_world::{World, anvil_path, oracle_folder};
use crate::support;

/// Swell's rswETH, and EigenLayer's operations multisig.
const RSWETH: Address = address!("fae103dc9cf190ed75350761e95403b7b8afa6c0");
const OPERATIONS: Address = address!("be1685c81aa44ff9fb319dd389addd9374383e90");

pub(crate) fn who(number: u64) -> Address {
    Address::from_word(keccak256(number.to_be_bytes()))
}

/// An event whose fields are all indexed, or none.
fn said(by: Address, signature: &str, fields: &[B256], is_indexed: bool) -> Emission {
    let words: Vec<U256> = fields.iter().map(|field| (*field).into()).collect();
    match is_indexed {
        true => emission(by, signature, fields, &[]),
        false => emission(by, signature, &[], &words),
    }
}

pub(crate) fn decoded(emission: Emission) -> Option<Event> {
    let Emission { address, topics, data } = emission;
    let log = crate::chain_decode::log(address, topics.as_slice(), data);
    Some(mainnet().decode(log, 1_700_000_000).unwrap()?.event)
}

#[test]
fn each_event_is_read_in_both_its_shapes() {
    let (a, b) = (who(1), who(2));
    let number = |number: u64| B256::from(U256::from(number));
    let manager = address_of(Contract::DelegationManager);
    let token = Governed::Token(LrtId(RSWETH));
    for (contract, of) in
        [(manager, Governed::Platform), (RSWETH, token), (OPERATIONS, Governed::Platform)]
    {
        let (safe, timelock, implementation) = (contract, contract, a);
        let delay = |old_delay: Option<u64>, new_delay: u64| Event::TimelockDelayChanged {
            of,
            timelock,
            old_delay: old_delay.map(U256::from),
            new_delay: U256::from(new_delay),
        };
        let upgraded = Event::ContractUpgraded { of, contract, implementation };
        let admin = Event::ContractAdminChanged { of, contract, previous: a, admin: b };
        let threshold = Event::SafeThresholdChanged { of, safe, threshold: U256::from(3) };
        let (one, two) = (a.into_word(), b.into_word());
        let expected: [(&str, &[B256], Event); 10] = [
            ("Upgraded(address)", &[one], upgraded.clone()),
            ("ChangedMasterCopy(address)", &[one], upgraded),
            ("AdminChanged(address,address)", &[one, two], admin.clone()),
            ("OwnershipTransferred(address,address)", &[one, two], admin),
            ("MinDelayChange(uint256,uint256)", &[number(9), number(5)], delay(Some(9), 5)),
            ("NewDelay(uint256)", &[number(7)], delay(None, 7)),
            ("AddedOwner(address)", &[one], Event::SafeOwnerAdded { of, safe, owner: a }),
            ("RemovedOwner(address)", &[one], Event::SafeOwnerRemoved { of, safe, owner: a }),
            ("ChangedThreshold(uint256)", &[number(3)], threshold),
            ("EnabledModule(address)", &[one], Event::SafeModuleEnabled { of, safe, module: a }),
        ];
        for (signature, fields, event) in expected {
            for is_indexed in [true, false] {
                let log = said(contract, signature, fields, is_indexed);
                assert_eq!(decoded(log).as_ref(), Some(&event), "{signature}");
            }
            // Of another shape: kept of EigenLayer's contracts, left out of all others.
            let more = [fields, &[one]].concat();
            let dirty = B256::repeat_byte(0xff);
            let is_number = signature.contains("uint256");
            let mut odd = vec![said(contract, signature, &more, false)];
            odd.extend((!is_number).then(|| said(contract, signature, &[dirty], true)));
            odd.push(Emission { data: vec![1], ..said(contract, signature, fields, true) });
            odd.push(said(contract, signature, &[], true));
            for log in odd {
                match decoded(log.clone()) {
                    Some(Event::Unmapped { topics, data }) => {
                        assert_eq!(contract, manager);
                        assert_eq!(
                            (&topics[..], &data[..]),
                            (log.topics.as_slice(), &log.data[..])
                        );
                    }
                    other => assert!(other.is_none() && contract != manager, "{other:?}"),
                }
            }
            assert_eq!(decoded(said(who(3), signature, fields, true)), None, "a stranger's");
        }
    }
}

fn upgraded(by: Address, number: u64) -> Emission {
    said(by, "Upgraded(address)", &[who(number).into_word()], true)
}

/// A slasher is announced for a set.
fn slasher(slasher: Address) -> Emission {
    let slasher = U256::from_be_bytes(slasher.into_word().0);
    let set = [U256::from_be_bytes(who(500).into_word().0), U256::from(1)];
    let data = [set[0], set[1], slasher, U256::from(126_000)];
    let signature = "SlasherUpdated((address,uint32),address,uint32)";
    emission(address_of(Contract::AllocationManager), signature, &[], &data)
}

/// An AVS lets somebody call a function of the AllocationManager.
fn appointed(appointee: Address, selector: [u8; 4]) -> Emission {
    let target = address_of(Contract::AllocationManager);
    let mut word = B256::ZERO;
    word[..4].copy_from_slice(&selector);
    let data = [U256::from_be_bytes(target.into_word().0), word.into()];
    let indexed = [who(500).into_word(), appointee.into_word()];
    let signature = "AppointeeSet(address,address,address,bytes4)";
    emission(address_of(Contract::PermissionController), signature, &indexed, &data)
}

/// Who was upgraded, and to what.
async fn told(store: &EventStore) -> Vec<(Address, Address)> {
    let (facts, _) = canonical(store).await;
    let upgrades = facts.into_iter().filter_map(|fact| match fact.event {
        Event::ContractUpgraded { of, contract, implementation } => {
            assert_eq!((of, contract), (Governed::Named, fact.emitter));
            Some((contract, implementation))
        }
        Event::SlasherUpdated { .. } | Event::AppointeeSet { .. } => None,
        other => panic!("{other:?}"),
    });
    upgrades.collect()
}

#[test]
fn the_selector_is_that_of_slash_operator() {
    let signature = "slashOperator(address,(address,uint32,address[],uint256[],string))";
    assert_eq!(keccak256(signature)[..4], SLASH_OPERATOR);
}

#[tokio::test]
async fn whoever_may_slash_is_read_from_its_appointment_on() {
    let chain = ScriptedSource::new(1, FIRST);
    let (first, second, third) = (who(1), who(2), who(3));
    chain.push(0, vec![upgraded(first, 10), upgraded(second, 11)]);
    chain.push(0, vec![upgraded(first, 12), slasher(first)]);
    // Everything else that it says, or says in the wrong shape, is its own business.
    let transfer = emission(first, "Transfer(address,address,uint256)", &[B256::ZERO; 2], &[]);
    let odd = Emission {
        topics: Topics::new(&[keccak256("Upgraded(address)"), B256::repeat_byte(1)]).unwrap(),
        ..transfer.clone()
    };
    chain.push(0, vec![transfer, odd, upgraded(first, 13)]);
    chain.push(0, vec![appointed(third, [1, 2, 3, 4]), upgraded(third, 14)]);
    chain.push(0, vec![upgraded(second, 15), appointed(second, SLASH_OPERATOR)]);
    for number in 16..20 {
        chain.push(0, vec![upgraded(second, number), upgraded(third, 90)]);
        chain.push(0, vec![upgraded(first, number)]);
    }
    let mut expected = vec![(first, who(12)), (first, who(13)), (second, who(15))];
    expected.extend((16..20).flat_map(|number| [(second, who(number)), (first, who(number))]));
    read_every_way(&chain, FIRST, told, expected).await;
}

#[tokio::test]
async fn an_appointment_that_is_taken_back_is_forgotten() {
    let chain = ScriptedSource::new(1, FIRST);
    chain.push(0, vec![slasher(who(1))]);
    chain.finalize(FIRST);
    let database = support::database().await;
    let store = database.store().await;
    let mut ingest = resume(&chain, &store, 10).await;
    look(&mut ingest).await;
    for is_restarted in [false, true] {
        chain.rewind(FIRST + 1);
        chain.push(1, vec![slasher(who(2)), upgraded(who(2), 7)]);
        look(&mut ingest).await;
        chain.rewind(FIRST + 1);
        chain.push(2, vec![upgraded(who(1), 8), upgraded(who(2), 9)]);
        if is_restarted {
            ingest = resume(&chain, &store, 10).await;
        }
        look(&mut ingest).await;
    }
    chain.finalize(chain.tip().number);
    look(&mut ingest).await;
    assert_eq!(told(&store).await, [(who(1), who(8))]);
    store.verify().await.unwrap();
}

/// More than can be asked about by address: what is recorded is the same.
#[tokio::test]
async fn any_number_of_slashers_is_read() {
    let chain = ScriptedSource::new(1, FIRST);
    for block in 0..11 {
        let named = (0..100).map(|number| slasher(who(1_000 + block * 100 + number)));
        chain.push(0, named.collect());
        chain.push(0, vec![upgraded(who(1_000), block), upgraded(who(2_099), block)]);
    }
    let mut expected: Vec<_> = (0..11).map(|block| (who(1_000), who(block))).collect();
    expected.push((who(2_099), who(10)));
    for blocks in [1, 7, 50] {
        let database = support::database().await;
        let store = database.store().await;
        chain.finalize(FIRST + 9);
        look(&mut resume(&chain, &store, blocks).await).await;
        chain.finalize(chain.tip().number);
        look(&mut resume(&chain, &store, blocks).await).await;
        assert_eq!(told(&store).await, expected, "ranges of {blocks}");
    }
}

/// A contract of OpenZeppelin's, as npm brings it, on a real chain.
async fn deployed(node: &RootProvider, name: &str, arguments: DynSolValue) -> Address {
    let package = "node_modules/@openzeppelin/contracts/build/contracts";
    let path = oracle_folder().join(package).join(format!("{name}.json"));
    let artifact: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let code = artifact["bytecode"].as_str().unwrap();
    let data = format!("{code}{}", hex::encode(arguments.abi_encode_params()));
    sent(node, json!({ "data": data })).await["contractAddress"].as_str().unwrap().parse().unwrap()
}

/// The receipt of a transaction of the node's first account.
async fn sent(node: &RootProvider, mut transaction: Value) -> Value {
    let accounts: Value = node.raw_request("eth_accounts".into(), ()).await.unwrap();
    transaction["from"] = accounts[0].clone();
    transaction["gas"] = "0x4c4b40".into();
    let hash: Value = node.raw_request("eth_sendTransaction".into(), (transaction,)).await.unwrap();
    let _: Value = node.raw_request("evm_mine".into(), ()).await.unwrap();
    let receipt: Value =
        node.raw_request("eth_getTransactionReceipt".into(), (hash,)).await.unwrap();
    assert_eq!(receipt["status"], "0x1", "{receipt}");
    receipt
}

async fn call(node: &RootProvider, to: Address, call: impl SolCall) {
    sent(node, json!({ "to": to, "input": hex::encode_prefixed(call.abi_encode()) })).await;
}

alloy::sol! {
    function upgradeTo(address newImplementation);
    function transferOwnership(address newOwner);
    function updateDelay(uint256 newDelay);
    function schedule(address target, uint256 value, bytes data, bytes32 predecessor, bytes32 salt, uint256 delay);
    function execute(address target, uint256 value, bytes payload, bytes32 predecessor, bytes32 salt);
    function scheduleBatch(address[] targets, uint256[] values, bytes[] payloads, bytes32 predecessor, bytes32 salt, uint256 delay);
    function cancel(bytes32 id);
    function hashOperation(address target, uint256 value, bytes data, bytes32 predecessor, bytes32 salt);
    function hashOperationBatch(address[] targets, uint256[] values, bytes[] payloads, bytes32 predecessor, bytes32 salt);
}

/// Contracts of OpenZeppelin's that an AVS appoints, and logs of a Safe's two shapes, every block
/// proven by its receipts.
#[tokio::test]
async fn slashers_of_a_real_chain_are_read_and_proven() {
    let anvil = Anvil::start(&anvil_path(), &["--chain-id", "31337"]).unwrap();
    let node = World::node_of(&anvil);
    let database = support::database().await;
    let store = database.store().await;
    let account = sent(&node, json!({ "to": who(7) })).await["from"].as_str().unwrap().to_owned();
    let account: Address = account.parse().unwrap();
    let proposers = DynSolValue::Array(vec![account.into()]);
    let none = DynSolValue::Uint(U256::ZERO, 256);
    let arguments = [none, proposers.clone(), proposers, Address::ZERO.into()];
    let timelock =
        deployed(&node, "TimelockController", DynSolValue::Tuple(arguments.into())).await;
    let arguments = DynSolValue::Tuple(vec![timelock.into(), account.into()]);
    let beacon = deployed(&node, "UpgradeableBeacon", arguments).await;

    let at = |emission: Emission| Emission { address: ALLOCATIONS, ..emission };
    let safe = who(2);
    let removed = said(safe, "RemovedOwner(address)", &[who(8).into_word()], true);
    let lowered = said(safe, "ChangedThreshold(uint256)", &[U256::from(2).into()], false);
    let named = [timelock, beacon].map(|contract| at(slasher(contract)));
    emit(&node, [&named[..], std::slice::from_ref(&removed)].concat()).await;
    emit(&node, vec![at(slasher(safe)), removed, lowered]).await;
    call(&node, beacon, upgradeToCall { newImplementation: beacon }).await;
    call(&node, beacon, transferOwnershipCall { newOwner: timelock }).await;
    let (target, value, day) = (timelock, U256::ZERO, U256::from(86_400));
    for (salt, delay, new_delay) in [(1, U256::ZERO, day), (2, day, U256::from(3_600))] {
        let data: Bytes = updateDelayCall { newDelay: new_delay }.abi_encode().into();
        let (predecessor, salt) = (B256::ZERO, B256::repeat_byte(salt));
        let payload = data.clone();
        let scheduled = scheduleCall { target, value, data, predecessor, salt, delay };
        call(&node, timelock, scheduled).await;
        let _: Value = node.raw_request("evm_increaseTime".into(), (delay,)).await.unwrap();
        call(&node, timelock, executeCall { target, value, payload, predecessor, salt }).await;
    }
    // Two calls of a batch, which are cancelled together.
    let (targets, values) = (vec![beacon, timelock], vec![U256::from(1), U256::ZERO]);
    let upgrade = upgradeToCall { newImplementation: beacon }.abi_encode();
    let payloads: Vec<Bytes> = vec![upgrade.clone().into(), Bytes::new()];
    let (predecessor, salt) = (B256::repeat_byte(9), B256::ZERO);
    let batch = keccak256(
        hashOperationBatchCall {
            targets: targets.clone(),
            values: values.clone(),
            payloads: payloads.clone(),
            predecessor,
            salt,
        }
        .abi_encode()
        .split_off(4),
    );
    let delay = U256::from(7_200);
    let scheduled = scheduleBatchCall { targets, values, payloads, predecessor, salt, delay };
    call(&node, timelock, scheduled).await;
    call(&node, timelock, cancelCall { id: batch }).await;
    follow(&anvil, &store).await;
    let _: Value = node.raw_request("anvil_mine".into(), ("0x60",)).await.unwrap();
    follow(&anvil, &store).await;

    let (facts, _) = canonical(&store).await;
    let events = facts.into_iter().map(|fact| fact.event);
    let governed: Vec<Event> = events.filter(|event| event.governed().is_some()).collect();
    let of = Governed::Named;
    let delay = |old: U256, new_delay: U256| Event::TimelockDelayChanged {
        of,
        timelock,
        old_delay: Some(old),
        new_delay,
    };
    let held = |salt, delay: U256, new_delay: U256| {
        let data: Bytes = updateDelayCall { newDelay: new_delay }.abi_encode().into();
        let (predecessor, salt) = (B256::ZERO, B256::repeat_byte(salt));
        let hash = hashOperationCall { target, value, data: data.clone(), predecessor, salt };
        ScheduledCall {
            of,
            timelock,
            operation: keccak256(&hash.abi_encode()[4..]),
            index: U256::ZERO,
            target,
            value,
            selector: data.first_chunk().copied(),
            data_hash: keccak256(data),
            predecessor,
            wait: TimelockWait::Delay(delay),
            about: target,
            about_of: None,
        }
    };
    let scheduled = |call: &ScheduledCall| Event::TimelockCallScheduled(Box::new(call.clone()));
    let executed = |call: &ScheduledCall| {
        let (operation, index) = (call.operation, call.index);
        Event::TimelockCallExecuted { of, timelock, operation, index, target }
    };
    let (longer, shorter) = (held(1, U256::ZERO, day), held(2, day, U256::from(3_600)));
    let first = ScheduledCall {
        operation: batch,
        target: beacon,
        about: beacon,
        value: U256::from(1),
        selector: upgrade.first_chunk().copied(),
        data_hash: keccak256(upgrade),
        predecessor: B256::repeat_byte(9),
        wait: TimelockWait::Delay(U256::from(7_200)),
        ..shorter.clone()
    };
    let second = ScheduledCall {
        index: U256::from(1),
        target,
        about: target,
        value,
        selector: None,
        data_hash: keccak256([]),
        ..first.clone()
    };
    let expected = [
        Event::SafeOwnerRemoved { of, safe, owner: who(8) },
        Event::SafeThresholdChanged { of, safe, threshold: U256::from(2) },
        Event::ContractUpgraded { of, contract: beacon, implementation: beacon },
        Event::ContractAdminChanged { of, contract: beacon, previous: account, admin: timelock },
        scheduled(&longer),
        delay(U256::ZERO, day),
        executed(&longer),
        scheduled(&shorter),
        delay(day, U256::from(3_600)),
        executed(&shorter),
        scheduled(&first),
        scheduled(&second),
        Event::TimelockOperationCancelled { of, timelock, operation: batch },
    ];
    assert_eq!(governed, expected);
    store.verify().await.unwrap();
}

pub(crate) const CHAIN: u64 = 1;
pub(crate) const SET: OperatorSetId =
    OperatorSetId { avs: AvsId(Address::repeat_byte(0xa5)), id: 1 };
pub(crate) const SLASHER: Address = Address::repeat_byte(0x51);

fn fact(number: u64, log_index: u32, event: Event) -> Fact {
    let hash = B256::left_padding_from(&number.to_be_bytes());
    let block = BlockRef { number, hash, timestamp: 1_700_000_000 + 12 * number };
    let (tx_hash, emitter) = (B256::repeat_byte(1), SLASHER);
    Fact { chain_id: CHAIN, block, tx_hash, log_index, emitter, event }
}

/// A set with an operator, rated for two days; then somebody changes its slasher, and time goes on.
async fn rated(changes: Vec<Event>, until: u64) -> (support::TestDatabase, Rater) {
    rated_at(changes.into_iter().map(|event| (20_000, event)).collect(), until).await
}

/// The same with changes in several blocks.
pub(crate) async fn rated_at(
    changes: Vec<(u64, Event)>,
    until: u64,
) -> (support::TestDatabase, Rater) {
    let (operator, strategy) = (OperatorId(Address::repeat_byte(0x0b)), BEACON_CHAIN_ETH);
    let founded = [
        Event::OperatorSetCreated { operator_set: SET },
        Event::SlasherMigrated { operator_set: SET, slasher: SLASHER },
        Event::StrategyAddedToOperatorSet { operator_set: SET, strategy },
        Event::OperatorRegistered { operator, delegation_approver: Address::ZERO },
        Event::OperatorAddedToOperatorSet { operator, operator_set: SET },
        Event::AllocationUpdated {
            operator,
            operator_set: SET,
            strategy,
            magnitude: 500_000_000_000_000_000,
            effect_block: 1_000,
        },
        Event::SafeThresholdChanged {
            of: Governed::Named,
            safe: SLASHER,
            threshold: U256::from(4),
        },
    ];
    let founded = (0..).zip(founded).map(|(index, event)| fact(1_000, index, event));
    let changed = (0..).zip(changes).map(|(index, (number, event))| fact(number, index, event));
    let facts: Vec<Fact> = founded.chain(changed).collect();
    let finalized = Some(fact(until, 0, Event::FinalityAdvanced).block);
    let database = support::database().await;
    let store = database.store().await;
    let batch = Batch { chain_id: CHAIN, facts, finalized, ..Batch::default() };
    store.append(&batch).await.unwrap();
    let mut rater = Rater::new(store, Arc::new(Methodology::version_1().unwrap()));
    rater.catch_up().await.unwrap();
    (database, rater)
}

pub(crate) async fn ask(database: &support::TestDatabase, query: &str) -> Value {
    let text = assay_graphql::execute(&database.pool().await, query, json!({})).await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer.get("errors"), None, "{answer}");
    answer["data"].clone()
}

#[tokio::test]
async fn a_slasher_that_is_easier_to_change_puts_on_watch_whoever_depends_on_it_for_21_days() {
    let (of, safe, contract) = (Governed::Named, SLASHER, SLASHER);
    let threshold =
        |threshold: u64| Event::SafeThresholdChanged { of, safe, threshold: U256::from(threshold) };
    let upgraded = Event::ContractUpgraded { of, contract, implementation: who(1) };
    let of_a_stranger = Event::ContractUpgraded { of, contract: who(2), implementation: who(1) };
    // The end of the epoch of block 20,000 is the first after it; 21 more close the watch.
    let (next_day, last, over) = (21_599, 21_599 + 20 * 7_200, 21_599 + 21 * 7_200);
    for (changes, until, is_on_watch) in [
        (vec![], next_day, false),
        (vec![threshold(5)], next_day, false),
        (vec![of_a_stranger], next_day, false),
        (vec![threshold(3)], 20_000, true),
        (vec![threshold(3)], next_day, true),
        (vec![upgraded.clone()], next_day, true),
        (vec![upgraded.clone(), threshold(5)], last, true),
        (vec![upgraded.clone(), threshold(5)], over, false),
    ] {
        let (database, rater) = rated(changes.clone(), until).await;
        let query = "{ entities { nodes { slug rating { isWatchNegative } } } }";
        let data = ask(&database, query).await;
        let entities = data["entities"]["nodes"].as_array().unwrap();
        let names: Vec<_> = entities.iter().map(|one| one["slug"].as_str().unwrap()).collect();
        assert_eq!(names.len(), 3, "the operator, the set and its AVS: {names:?}");
        for entity in entities {
            assert_eq!(entity["rating"]["isWatchNegative"], is_on_watch, "{changes:?}: {entity}");
        }
        assay::verify::verify(&rater).await.unwrap();
    }
}

#[tokio::test]
async fn the_api_lists_what_changed_by_whom_it_concerns() {
    let (of, safe, contract) = (Governed::Named, SLASHER, SLASHER);
    let changes = vec![
        Event::SafeThresholdChanged { of, safe, threshold: U256::from(3) },
        Event::SafeOwnerAdded { of, safe, owner: who(1) },
        Event::TimelockDelayChanged {
            of: Governed::Platform,
            timelock: who(2),
            old_delay: Some(U256::from(10)),
            new_delay: U256::from(5),
        },
        Event::ContractUpgraded { of, contract, implementation: who(3) },
    ];
    let (database, rater) = rated(changes, 30_000).await;
    let set = RatedEntity::operator_set(CHAIN, SET).to_string();
    let avs = RatedEntity::avs(CHAIN, SET.avs).to_string();
    let list = async |arguments: &str| {
        let query = format!(
            "{{ governanceChanges{arguments} {{ totalCount nodes {{ contract kind party value summary
            opensWatch subjects {{ slug }} block {{ number }} position }} }} }}"
        );
        ask(&database, &query).await["governanceChanges"].clone()
    };
    let all = list("").await;
    assert_eq!(all["totalCount"], 5);
    let newest = &all["nodes"][0];
    let checksum = |address: Address| address.to_checksum(None);
    let expected = json!({
        "contract": checksum(SLASHER), "kind": "UPGRADED", "party": checksum(who(3)),
        "value": null, "opensWatch": true, "subjects": [{ "slug": avs }, { "slug": set }],
        "summary": format!("The code of {SLASHER:#x} is now that at {:#x}.", who(3)),
        "block": { "number": 20_000 }, "position": newest["position"],
    });
    assert_eq!(newest, &expected);
    let kinds: Vec<_> = all["nodes"].as_array().unwrap().iter().map(|one| &one["kind"]).collect();
    let changed = "THRESHOLD_CHANGED";
    assert_eq!(kinds, ["UPGRADED", "DELAY_CHANGED", "OWNER_ADDED", changed, changed]);
    // The platform's concerns everybody alike, and nobody by name.
    let platform = &all["nodes"][1];
    assert_eq!((&platform["value"], &platform["subjects"]), (&json!("5"), &json!([])));
    assert_eq!(platform["opensWatch"], false, "no token is here");
    assert_eq!(all["nodes"][2]["opensWatch"], false);

    for (entity, count) in [(set.as_str(), 4), (avs.as_str(), 4), ("operator-1-0x00", 0)] {
        assert_eq!(list(&format!("(entity: \"{entity}\")")).await["totalCount"], count, "{entity}");
    }
    let of_set = format!("(entity: \"{set}\", asOf: {{ block: {{ chainId: 1, number: 19999 }} }})");
    assert_eq!(list(&of_set).await["totalCount"], 1, "as of before");
    // Written anew from the log, it is the same.
    assay::verify::verify(&rater).await.unwrap();
}
