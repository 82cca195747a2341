//! Chain logs become facts: every form, nothing lost, nothing invented.

use std::sync::LazyLock;

use alloy::dyn_abi::{DynSolType, DynSolValue, Specifier};
use alloy::json_abi::Event as AbiEvent;
use alloy::primitives::{Address, B256, I256, U256, keccak256};
use assay::chain::catalog::Catalog;
use assay::chain::scripted::Emission;
use assay::chain::{ChainLog, Contract, Contracts, DecodeError, Decoder, Topics};
use assay_domain::event::Withdrawal;
use assay_domain::{AvsId, Event, OperatorId, OperatorSetId, StakerId, StrategyId, UntrustedText};
use proptest::prelude::*;

pub(crate) fn mainnet() -> Decoder {
    static DECODER: LazyLock<Decoder> =
        LazyLock::new(|| Decoder::new(Contracts::of_chain(1).unwrap()));
    DECODER.clone()
}

pub(crate) fn address_of(contract: Contract) -> Address {
    let decoder = mainnet();
    let contracts = decoder.contracts();
    let mut addresses = contracts.addresses().into_iter();
    addresses.find(|address| contracts.role(address) == Some(contract)).unwrap()
}

pub(crate) fn log(address: Address, topics: &[B256], data: Vec<u8>) -> ChainLog {
    ChainLog {
        address,
        topics: Topics::new(topics).unwrap(),
        data,
        block_number: 22_500_000,
        block_hash: B256::repeat_byte(1),
        block_timestamp: None,
        tx_hash: B256::repeat_byte(2),
        log_index: 7,
        removed: false,
    }
}

/// Encodes a log as the contract would.
fn emit(contract: Contract, declaration: &str, values: &[DynSolValue]) -> ChainLog {
    let event = AbiEvent::parse(declaration).unwrap();
    let (topics, data) = encode(&event, values);
    log(address_of(contract), &topics, data)
}

pub(crate) fn encode(event: &AbiEvent, values: &[DynSolValue]) -> (Vec<B256>, Vec<u8>) {
    let emission = Emission::new(Address::ZERO, event, values).unwrap();
    (emission.topics.to_vec(), emission.data)
}

fn decode(log: ChainLog) -> Result<Event, DecodeError> {
    Ok(mainnet().decode(log, 1_700_000_000)?.expect("an emitter of EigenLayer").event)
}

fn a(byte: u8) -> Address {
    Address::repeat_byte(byte)
}

fn address(byte: u8) -> DynSolValue {
    DynSolValue::Address(a(byte))
}

fn uint(value: u64, bits: usize) -> DynSolValue {
    DynSolValue::Uint(U256::from(value), bits)
}

fn set(avs: u8, id: u64) -> DynSolValue {
    DynSolValue::Tuple(vec![address(avs), uint(id, 32)])
}

/// A value of a type, different for each seed.
pub(crate) fn sample(ty: &DynSolType, seed: &mut u64) -> DynSolValue {
    *seed += 1;
    let word = keccak256(seed.to_be_bytes());
    let several = |ty: &DynSolType, count: u64, seed: &mut u64| {
        (0..count).map(|_| sample(ty, seed)).collect::<Vec<_>>()
    };
    match ty {
        DynSolType::Bool => DynSolValue::Bool(seed.is_multiple_of(2)),
        DynSolType::Int(bits) => DynSolValue::Int(I256::from_raw(U256::from(*seed)), *bits),
        DynSolType::Uint(bits) => {
            DynSolValue::Uint(U256::from_be_bytes(word.0) >> (256 - bits), *bits)
        }
        DynSolType::FixedBytes(size) => {
            let mut bytes = B256::ZERO;
            bytes[..*size].copy_from_slice(&word[..*size]);
            DynSolValue::FixedBytes(bytes, *size)
        }
        DynSolType::Address => DynSolValue::Address(Address::from_word(word)),
        DynSolType::Bytes => DynSolValue::Bytes(word[..(*seed % 33) as usize].to_vec()),
        DynSolType::String => DynSolValue::String("é".repeat((*seed % 20) as usize)),
        DynSolType::Array(inner) => DynSolValue::Array(several(inner, *seed % 4, seed)),
        DynSolType::FixedArray(inner, n) => {
            DynSolValue::FixedArray(several(inner, *n as u64, seed))
        }
        DynSolType::Tuple(types) => {
            DynSolValue::Tuple(types.iter().map(|ty| sample(ty, seed)).collect())
        }
        other => panic!("no sample for {other:?}"),
    }
}

#[test]
fn every_declared_event_decodes_to_the_values_it_was_encoded_from() {
    let catalog = Catalog::eigenlayer();
    assert_eq!(catalog.declarations().len(), 225);
    let mut seed = 0;
    for declaration in catalog.declarations() {
        let event = &declaration.event;
        let values: Vec<_> =
            event.inputs.iter().map(|p| sample(&p.resolve().unwrap(), &mut seed)).collect();
        let (topics, data) = encode(event, &values);
        let decoded = declaration.decode(&topics, &data).unwrap();
        let (mut indexed, mut body) = (decoded.indexed.iter(), decoded.body.iter());
        for (input, value) in event.inputs.iter().zip(&values) {
            let found = if input.indexed { indexed.next() } else { body.next() };
            let is_hashed = input.indexed && value.as_word().is_none();
            // Of an indexed struct (ReleaseManager's operator set) only the hash is left.
            let expected = if is_hashed {
                DynSolValue::FixedBytes(keccak256(value.abi_encode_packed()), 32)
            } else {
                value.clone()
            };
            let contract = declaration.contract;
            assert_eq!(found, Some(&expected), "{contract} {} {}", event.name, input.name);
        }
        assert_eq!(catalog.name(&topics[0]), Some(event.name.as_str()));
    }
    let hashed = catalog.declarations().iter().filter(|declaration| {
        let mut inputs = declaration.event.inputs.iter();
        inputs.any(|input| input.indexed && input.ty.starts_with("tuple"))
    });
    assert!(hashed.map(|one| one.contract).eq(["ReleaseManager"; 2]));
}

/// What each form must become, written by hand.
fn forms() -> Vec<(ChainLog, Event)> {
    [forms_of_two_releases(), forms_of_one_release()].concat()
}

fn forms_of_two_releases() -> Vec<(ChainLog, Event)> {
    use Contract::{DelegationManager, StrategyManager};
    let details = DynSolValue::Tuple(vec![address(9), address(3), uint(50, 32)]);
    let (operator, staker, strategy) = (OperatorId(a(1)), StakerId(a(2)), StrategyId(a(4)));
    let approver = a(3);
    vec![
        (
            emit(
                DelegationManager,
                "OperatorRegistered(address indexed a, (address,address,uint32) b)",
                &[address(1), details.clone()],
            ),
            Event::OperatorRegistered { operator, delegation_approver: approver },
        ),
        (
            emit(
                DelegationManager,
                "OperatorRegistered(address indexed a, address b)",
                &[address(1), address(3)],
            ),
            Event::OperatorRegistered { operator, delegation_approver: approver },
        ),
        (
            emit(
                DelegationManager,
                "OperatorDetailsModified(address indexed a, (address,address,uint32) b)",
                &[address(1), details],
            ),
            Event::DelegationApproverUpdated { operator, delegation_approver: approver },
        ),
        (
            emit(
                StrategyManager,
                "Deposit(address a, address b, address c, uint256 d)",
                &[address(2), address(8), address(4), uint(10, 256)],
            ),
            Event::Deposit { staker, strategy, shares: U256::from(10) },
        ),
        (
            emit(
                StrategyManager,
                "Deposit(address a, address b, uint256 c)",
                &[address(2), address(4), uint(10, 256)],
            ),
            Event::Deposit { staker, strategy, shares: U256::from(10) },
        ),
        (
            emit(
                DelegationManager,
                "OperatorSharesBurned(address indexed a, address b, uint256 c)",
                &[address(1), address(4), uint(11, 256)],
            ),
            Event::OperatorSharesSlashed {
                operator,
                strategy,
                total_slashed_shares: U256::from(11),
            },
        ),
    ]
}

fn forms_of_one_release() -> Vec<(ChainLog, Event)> {
    use Contract::{AllocationManager, AvsDirectory, EigenPodManager, PermissionController};
    let (operator, staker, strategy) = (OperatorId(a(1)), StakerId(a(2)), StrategyId(a(4)));
    let operator_set = OperatorSetId { avs: AvsId(a(5)), id: 6 };
    vec![
        (
            emit(
                AllocationManager,
                "AllocationUpdated(address a, (address,uint32) b, address c, uint64 d, uint32 e)",
                &[address(1), set(5, 6), address(4), uint(12, 64), uint(13, 32)],
            ),
            Event::AllocationUpdated {
                operator,
                operator_set,
                strategy,
                magnitude: 12,
                effect_block: 13,
            },
        ),
        (
            emit(
                AvsDirectory,
                "AVSMetadataURIUpdated(address indexed a, string b)",
                &[address(5), DynSolValue::String("x".repeat(40))],
            ),
            Event::AvsMetadataUriUpdated {
                avs: AvsId(a(5)),
                metadata_uri: UntrustedText(vec![b'x'; 40]),
            },
        ),
        (
            emit(
                AvsDirectory,
                "OperatorAVSRegistrationStatusUpdated(address indexed a, address indexed b, \
                 uint8 c)",
                &[address(1), address(5), uint(1, 8)],
            ),
            Event::OperatorAvsRegistrationStatusUpdated {
                operator,
                avs: AvsId(a(5)),
                is_registered: true,
            },
        ),
        (
            emit(
                EigenPodManager,
                "NewTotalShares(address indexed a, int256 b)",
                &[address(2), DynSolValue::Int(I256::MINUS_ONE, 256)],
            ),
            Event::NewTotalShares { pod_owner: staker, new_total_shares: I256::MINUS_ONE },
        ),
        (
            emit(
                PermissionController,
                "AppointeeSet(address indexed a, address indexed b, address c, bytes4 d)",
                &[
                    address(1),
                    address(2),
                    address(3),
                    DynSolValue::FixedBytes(B256::right_padding_from(&[1, 2, 3, 4]), 4),
                ],
            ),
            Event::AppointeeSet {
                account: a(1),
                appointee: a(2),
                target: a(3),
                selector: [1, 2, 3, 4],
            },
        ),
    ]
}

#[test]
fn each_form_of_an_event_becomes_the_same_event() {
    for (log, expected) in forms() {
        assert_eq!(decode(log), Ok(expected));
    }
}

#[test]
fn an_unmapped_or_unknown_log_is_kept_byte_for_byte() {
    let burnable = emit(
        Contract::StrategyManager,
        "BurnableSharesIncreased(address strategy, uint256 shares)",
        &[address(4), uint(10, 256)],
    );
    assert_eq!(mainnet().name(&burnable), "BurnableSharesIncreased");
    let unknown = log(address_of(Contract::RewardsCoordinator), &[], vec![0xff; 5]);
    assert_eq!(mainnet().name(&unknown), "unknown");
    // A deposit's topic means nothing in the mouth of another contract of EigenLayer.
    let misplaced =
        ChainLog { address: address_of(Contract::AvsDirectory), ..forms()[4].0.clone() };
    for log in [burnable, unknown, misplaced] {
        let kept = Event::Unmapped { topics: log.topics.to_vec(), data: log.data.clone().into() };
        assert_eq!(decode(log), Ok(kept));
    }
}

#[test]
fn a_log_of_a_contract_that_is_not_eigenlayers_is_no_fact() {
    // Gauges of ve(3,3) exchanges emit `Deposit(address,address,uint256)` too.
    let gauge = ChainLog { address: a(0x77), ..forms()[4].0.clone() };
    assert_eq!(mainnet().decode(gauge, 1), Ok(None));
}

#[test]
fn a_known_event_that_is_not_what_its_topic_says_is_refused() {
    for (good, event) in forms() {
        let mut short = good.clone();
        short.data.pop();
        let mut long = good.clone();
        long.data.push(0);
        let mut word = good.clone();
        word.data.extend([0; 32]);
        let mut topics = good.topics.to_vec();
        topics.push(B256::ZERO);
        let topics = ChainLog { topics: Topics::new(&topics).unwrap(), ..good.clone() };
        for bad in [short, long, word, topics] {
            assert!(decode(bad).is_err(), "{event:?}");
        }
    }
}

#[test]
fn values_outside_their_type_are_refused() {
    let dirty = |index: usize, byte: usize, value: u8| {
        let mut log = forms()[index].0.clone();
        log.data[byte] = value;
        decode(log).unwrap_err().reason.to_string()
    };
    // The magnitude's upper bytes, the effect block's, an address', the status, the selector's.
    assert!(dirty(6, 4 * 32 + 23, 1).ends_with("is not an uint64"));
    assert!(dirty(6, 5 * 32 + 27, 1).ends_with("is not an uint32"));
    assert!(dirty(6, 0, 1).ends_with("is not an address"));
    assert!(dirty(8, 31, 2).ends_with("is not 0 or 1"));
    assert!(dirty(10, 32 + 4, 1).ends_with("is not a bytes4"));
    // A string's offset, its length, its padding.
    assert!(dirty(7, 31, 0x40).starts_with("expected a dynamic field at offset 32"));
    assert!(dirty(7, 32, 0xff).ends_with("is not a length that fits the data"));
    assert!(dirty(7, 127, 1).starts_with("expected zero padding"));
}

#[test]
fn an_error_says_what_where_and_what_to_do() {
    let mut log = forms()[6].0.clone();
    log.data.truncate(64);
    let text = decode(log).unwrap_err().to_string();
    for part in [
        "AllocationUpdated of AllocationManager 0x948a420b8cc1d6bfd0b6087c2e7c344a2cd0bc39",
        "block 22500000, log 7, transaction 0x0202",
        "expected at least 192 bytes of data, found 64",
        "Ask another node",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

fn slashed(strategies: &[Address], wads: &[U256], text: &[u8]) -> ChainLog {
    let list = |items: Vec<DynSolValue>| DynSolValue::Array(items);
    let event = AbiEvent::parse(
        "OperatorSlashed(address a, (address,uint32) b, address[] c, uint256[] d, string e)",
    );
    let data = DynSolValue::Tuple(vec![
        address(1),
        set(5, 6),
        list(strategies.iter().map(|one| DynSolValue::Address(*one)).collect()),
        list(wads.iter().map(|one| DynSolValue::Uint(*one, 256)).collect()),
        DynSolValue::Bytes(text.to_vec()),
    ]);
    let topic = event.unwrap().selector();
    log(address_of(Contract::AllocationManager), &[topic], data.abi_encode_params())
}

#[test]
fn a_slash_with_more_strategies_than_wads_is_refused() {
    let error = decode(slashed(&[a(1), a(2)], &[U256::ONE], b"")).unwrap_err();
    assert_eq!(error.reason.to_string(), "expected 2 items as in the array before, found 1");
}

prop_compose! {
    fn amounts()(words in prop::collection::vec(any::<[u8; 32]>(), 0..6)) -> Vec<U256> {
        words.into_iter().map(U256::from_be_bytes).collect()
    }
}

proptest! {
    #[test]
    fn slashes_of_any_size_and_any_text_survive_byte_for_byte(
        wads in amounts(),
        text in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let strategies: Vec<_> = (0..wads.len()).map(|i| a(i as u8)).collect();
        let expected = Event::OperatorSlashed {
            operator: OperatorId(a(1)),
            operator_set: OperatorSetId { avs: AvsId(a(5)), id: 6 },
            strategies: strategies.iter().copied().map(StrategyId).collect(),
            wad_slashed: wads.clone(),
            description: UntrustedText(text.clone()),
        };
        prop_assert_eq!(decode(slashed(&strategies, &wads, &text)), Ok(expected));
    }

    #[test]
    fn withdrawals_of_both_generations_survive(
        shares in amounts(), nonce in any::<[u8; 32]>(), start_block in any::<u32>(),
    ) {
        let strategies: Vec<_> = (0..shares.len()).map(|i| a(i as u8)).collect();
        let uints = |all: &[U256]| {
            DynSolValue::Array(all.iter().map(|one| DynSolValue::Uint(*one, 256)).collect())
        };
        let tuple = DynSolValue::Tuple(vec![
            address(2), address(1), address(3),
            DynSolValue::Uint(U256::from_be_bytes(nonce), 256), uint(start_block.into(), 32),
            DynSolValue::Array(strategies.iter().map(|s| DynSolValue::Address(*s)).collect()),
            uints(&shares),
        ]);
        let root = DynSolValue::FixedBytes(B256::repeat_byte(9), 32);
        let withdrawal = Withdrawal {
            staker: StakerId(a(2)),
            delegated_to: OperatorId(a(1)),
            withdrawer: a(3),
            nonce: U256::from_be_bytes(nonce),
            start_block,
            strategies: strategies.into_iter().map(StrategyId).collect(),
            scaled_shares: shares.clone(),
        };
        let old = emit(
            Contract::DelegationManager,
            "WithdrawalQueued(bytes32 r, \
             (address,address,address,uint256,uint32,address[],uint256[]) w)",
            &[root.clone(), tuple.clone()],
        );
        let withdrawal_root = B256::repeat_byte(9);
        let expected = Event::WithdrawalQueued { withdrawal_root, withdrawal: withdrawal.clone() };
        prop_assert_eq!(decode(old), Ok(expected));
        let new = emit(
            Contract::DelegationManager,
            "SlashingWithdrawalQueued(bytes32 r, \
             (address,address,address,uint256,uint32,address[],uint256[]) w, uint256[] s)",
            &[root, tuple, uints(&shares)],
        );
        let shares_to_withdraw = shares;
        let expected =
            Event::SlashingWithdrawalQueued { withdrawal_root, withdrawal, shares_to_withdraw };
        prop_assert_eq!(decode(new), Ok(expected));
    }

    #[test]
    fn no_bytes_whatever_make_the_decoder_panic(
        index in 0_usize..225,
        address in any::<prop::sample::Index>(),
        more in prop::collection::vec(any::<[u8; 32]>(), 0..4),
        words in prop::collection::vec(prop_oneof![
            any::<[u8; 32]>(),
            (0_u8..=255).prop_map(|small| { let mut w = [0; 32]; w[31] = small; w }),
        ], 0..16),
        tail in prop::collection::vec(any::<u8>(), 0..32),
    ) {
        let declaration = &Catalog::eigenlayer().declarations()[index];
        let mut topics = vec![declaration.event.selector()];
        topics.extend(more.into_iter().map(B256::from));
        let mut data = words.concat();
        data.extend(tail);
        let address = *address.get(&mainnet().contracts().addresses());
        // Refused or decoded: either is an answer. What is kept is kept as it came.
        let kept = Event::Unmapped { topics: topics.clone(), data: data.clone().into() };
        if let Ok(Some(fact)) = mainnet().decode(log(address, &topics, data), 1)
            && matches!(fact.event, Event::Unmapped { .. })
        {
            prop_assert_eq!(fact.event, kept);
        }
    }
}
