//! What a quorum's signatures prove, and how ratings are read: as the contract sees it.

use alloy::eips::BlockId;
use alloy::primitives::U256;
use alloy::providers::Provider as _;
use alloy::rpc::types::TransactionRequest;
use alloy::sol_types::{SolCall, SolEvent as _};
use assay_domain::{Flags, Word, WordFields};
use assay_oracle::chain::ChainError;
use assay_oracle::contract::{IRatingOracle, administer};
use assay_oracle::council::Quorum;
use assay_oracle::proof::{NotSigned, SignedBatch, equivocation, verify_pull};
use assay_oracle::reader::{ReadError, Reader, Unreliable, judge};
use assay_oracle::{Batch, OracleId, Report};

use crate::oracle_world::{World, entity, key, word};

/// Signs with the first three signers of the contract, without any guard: some of these tests are
/// about those who have none.
async fn signed(world: &World, words: &[(u32, U256)], deadline: u64) -> SignedBatch {
    use alloy::signers::SignerSync as _;
    let reader = reader(world).await;
    let council = reader.council().await.unwrap();
    let reports = words.iter().map(|(n, word)| Report::new(entity(*n), *word).unwrap());
    let batch = Batch::new(reports.collect()).unwrap();
    let oracle = world.publication.oracle;
    let digest = oracle.digest(&batch.message(council.epoch, deadline).unwrap());
    let keys: Vec<_> = (0..5).map(|n| key(&format!("signer {n}"))).collect();
    let mut bytes = Vec::new();
    for address in council.signers.iter().take(3) {
        let key = keys.iter().find(|key| key.address() == *address).unwrap();
        bytes.extend(key.sign_hash_sync(&digest).unwrap().as_erc2098());
    }
    let quorum = Quorum { bitmap: U256::from(0b111), signatures: bytes };
    SignedBatch { batch, epoch: council.epoch, deadline, quorum }
}

async fn reader(world: &World) -> Reader {
    Reader::connect(world.anvil.rpc_url(), world.publication.oracle).await.unwrap()
}

/// Sends a call from an account that has no say in anything.
async fn send(world: &World, input: Vec<u8>) -> alloy::rpc::types::TransactionReceipt {
    let anyone = world.node.get_accounts().await.unwrap()[0];
    let request = TransactionRequest::default()
        .from(anyone)
        .to(world.oracle())
        .gas_limit(1_000_000)
        .input(input.into());
    world.node.send_transaction(request).await.unwrap().get_receipt().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_rating_of_a_batch_is_proven_and_brought_by_anybody() {
    let world = World::new().await;
    let as_of = world.chain.head().await.unwrap().time - 60;
    let words: Vec<_> = (0..7).map(|n| (n, word(n, 1, as_of))).collect();
    let signed = signed(&world, &words, as_of + 600).await;
    let (oracle, reader) = (world.publication.oracle, reader(&world).await);
    let council = reader.council().await.unwrap();
    assert_eq!((council.epoch, council.threshold, council.signers.len()), (1, 3, 5));

    for (n, expected) in &words {
        let pull = signed.pull(entity(*n)).unwrap();
        let proven = verify_pull(oracle, &council, &pull).unwrap();
        assert_eq!(proven.pack(), *expected);
        // The contract says the same before anything is stored.
        assert!(world.chain.call(oracle.address, &pull).await.unwrap());
        assert_eq!(reader.rating(entity(*n)).await.unwrap(), None);
        let data = signed.fulfilment(entity(*n)).unwrap();
        let call = IRatingOracle::fulfillOracleQueryCall { signedOffchainData: data };
        assert!(send(&world, call.abi_encode()).await.status());
        let stored = reader.rating(entity(*n)).await.unwrap().unwrap();
        assert_eq!(stored.as_signed(), proven);
    }
    assert!(signed.pull(entity(99)).is_none() && signed.fulfilment(entity(99)).is_none());
    let push = signed.push().unwrap();
    assert_eq!(world.chain.call(oracle.address, &push).await.unwrap(), U256::ZERO);

    // Whatever is changed, both refuse it, for the same reason. The first leaf has a full path.
    let first = signed.batch.reports()[0].entity();
    type Change = fn(&mut IRatingOracle::pullCall);
    let changes: [(Change, &str); 9] = [
        (|pull| pull.word -= U256::from(1) << 80, "BadSignature"),
        (|pull| pull.entity = entity(99).0, "BadSignature"),
        (|pull| pull.index ^= 1, "BadSignature"),
        (|pull| pull.index = 7, "BadProof"),
        (|pull| pull.path.truncate(1), "BadProof"),
        (|pull| pull.path.push(pull.entity), "BadProof"),
        (|pull| pull.bitmap = U256::from(0b1011), "BadSignature"),
        (|pull| pull.bitmap = U256::from(0b11), "BadQuorum"),
        (|pull| pull.bitmap.set_bit(200, true), "BadQuorum"),
    ];
    for (change, expected) in changes {
        let mut pull = signed.pull(first).unwrap();
        change(&mut pull);
        let ours = verify_pull(oracle, &council, &pull).unwrap_err();
        let name = match ours {
            NotSigned::BadPath => "BadProof",
            NotSigned::BadQuorum { .. } => "BadQuorum",
            NotSigned::BadSignature { .. } => "BadSignature",
            NotSigned::Malformed(_) => "MalformedRating",
        };
        assert_eq!(name, expected, "{pull:?}");
        let theirs = world.chain.call(oracle.address, &pull).await.unwrap_err();
        let ChainError::Reverted { reason } = theirs else { panic!("{theirs}") };
        assert!(reason.starts_with(expected), "{reason}, {ours}");
    }
    let elsewhere = OracleId { chain_id: 1, ..oracle };
    let pull = signed.pull(first).unwrap();
    assert!(verify_pull(elsewhere, &council, &pull).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_words_under_one_number_convict_the_signer_and_nothing_less_does() {
    let world = World::new().await;
    let oracle = world.publication.oracle;
    let as_of = world.chain.head().await.unwrap().time - 60;
    let fields = |n| Word::unpack(word(n, 1, as_of)).unwrap().fields();
    let safer = Word::new(WordFields { grade: 6, ..fields(1) }).unwrap().pack();
    let one = signed(&world, &[(0, word(0, 1, as_of)), (1, word(1, 1, as_of))], as_of + 600).await;
    let other = signed(&world, &[(1, safer), (2, word(2, 1, as_of))], as_of + 600).await;
    let again = signed(&world, &[(1, word(1, 1, as_of))], as_of + 1_200).await;
    let said = |signed: &SignedBatch, index| signed.statement(oracle, entity(1), index).unwrap();

    // The same word again, under another deadline, is no contradiction.
    let honest = equivocation(entity(1), (1, 2), [said(&one, 2), said(&again, 2)]);
    let refused = world.chain.call(oracle.address, &honest).await.unwrap_err();
    assert!(refused.to_string().contains("NoEquivocation"), "{refused}");
    // Nor do two signers contradict each other.
    let two = equivocation(entity(1), (1, 2), [said(&one, 2), said(&other, 1)]);
    let refused = world.chain.call(oracle.address, &two).await.unwrap_err();
    assert!(refused.to_string().contains("BadSignature"), "{refused}");
    // Nobody has said anything of a stranger, nor has a signer who did not sign.
    assert!(one.statement(oracle, entity(2), 2).is_none());
    assert!(one.statement(oracle, entity(1), 3).is_none());
    assert!(one.statement(oracle, entity(1), 1_000).is_none());

    let signers = reader(&world).await.council().await.unwrap().signers;
    for index in 0..3_u8 {
        let statements = [said(&one, index.into()), said(&other, index.into())];
        let call = equivocation(entity(1), (1, index), statements);
        let receipt = send(&world, call.abi_encode()).await;
        assert!(receipt.status());
        let event = IRatingOracle::Equivocated::decode_log(&receipt.logs()[0].inner).unwrap();
        assert_eq!((event.signer, event.entity), (signers[usize::from(index)], entity(1).0));
        assert_eq!((event.a, event.b), (word(1, 1, as_of), safer));
    }
    for (index, signer) in signers.iter().enumerate() {
        let asked = IRatingOracle::equivocatedAtCall { signer: *signer };
        let at = world.chain.call(oracle.address, &asked).await.unwrap();
        assert_eq!(at > U256::ZERO, index < 3, "{index}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_relies_on_what_the_contract_says_can_be_relied_on() {
    let world = World::new().await;
    let oracle = world.publication.oracle;
    let as_of = world.chain.head().await.unwrap().time - 1_000;
    let fields = |n| Word::unpack(word(n, 1, as_of)).unwrap().fields();
    let withdrawn = Word::new(WordFields { flags: Flags::WITHDRAWN, ..fields(1) }).unwrap().pack();
    let defaulted =
        Word::new(WordFields { flags: Flags::DEFAULTED, grade: 20, ..fields(2) }).unwrap().pack();
    let words = [(0, word(0, 1, as_of)), (1, withdrawn), (2, defaulted), (3, word(3, 1, as_of))];
    let signed = signed(&world, &words, as_of + 3_600).await;
    assert!(send(&world, signed.push().unwrap().abi_encode()).await.status());
    let suspend = IRatingOracle::suspendCall { entity: entity(3).0 };
    let guardian = &world.publication.gas_key;
    administer(&world.chain, guardian, oracle.address, &suspend).await.unwrap();

    let reader = reader(&world).await;
    // In that block: a call of the newest one may see a later clock.
    let head = world.chain.head().await.unwrap();
    let age = head.time - as_of;
    let try_rating = async |n, age_max| {
        let call =
            IRatingOracle::tryRatingCall { entity: entity(n).0, maxAge: U256::from(age_max) };
        let request =
            TransactionRequest::default().to(oracle.address).input(call.abi_encode().into());
        let asked = world.node.call(request).block(BlockId::number(head.number));
        IRatingOracle::tryRatingCall::abi_decode_returns(&asked.await.unwrap()).unwrap()
    };
    for (n, _) in words {
        let word = reader.rating(entity(n)).await.unwrap().unwrap();
        for age_max in [0, age - 1, age, age + 1, 86_400] {
            let theirs = try_rating(n, age_max).await;
            assert_eq!(judge(&word, head.time, age_max).is_ok(), theirs.ok, "{n} {age_max}");
        }
    }
    let relied = async |n, age_max| match reader.reliable(entity(n), age_max).await {
        Ok(word) => Ok(word.fields().grade),
        Err(ReadError::Unreliable(reason)) => Err(reason),
        Err(other) => panic!("{other}"),
    };
    assert_eq!(relied(0, 86_400).await, Ok(7));
    assert_eq!(relied(0, 999).await, Err(Unreliable::Stale { age, age_max: 999 }));
    assert_eq!(relied(1, 86_400).await, Err(Unreliable::Withdrawn));
    assert_eq!(relied(2, 86_400).await, Ok(20));
    assert_eq!(relied(3, 86_400).await, Err(Unreliable::Suspended));
    assert_eq!(relied(4, 86_400).await, Err(Unreliable::Unknown));

    // A contract that is not ours is found out at once.
    let elsewhere = OracleId { address: entity(0).0.0[..20].try_into().unwrap(), ..oracle };
    let refused = Reader::connect(world.anvil.rpc_url(), elsewhere).await.unwrap_err();
    assert!(matches!(refused, ReadError::Chain(ChainError::NoContract { .. })), "{refused}");
}
