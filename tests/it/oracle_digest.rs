//! The digest that is signed, computed by five that share no code: Rust, the contract, and
//! `cast`, `ethers` and `viem`; and a batch that the last three sign.

use std::io::Write as _;
use std::process::{Command, Stdio};

use alloy::primitives::{Address, Signature, U256};
use alloy::providers::Provider as _;
use alloy::rpc::types::TransactionRequest;
use alloy::sol_types::SolCall as _;
use assay_oracle::contract::IRatingOracle;
use assay_oracle::{Batch, Report, guard};
use serde_json::{Value, json};

use crate::oracle_world::{World, cast, entity, key, oracle_folder, signers, word};

fn typed(world: &World, batch: &Batch, deadline: u64) -> Value {
    let oracle = world.publication.oracle;
    let message = batch.message(1, deadline).unwrap();
    let field = |name: &str, kind: &str| json!({"name": name, "type": kind});
    json!({
        "types": {
            "EIP712Domain": [
                field("name", "string"), field("version", "string"),
                field("chainId", "uint256"), field("verifyingContract", "address"),
            ],
            "RatingBatch": [
                field("root", "bytes32"), field("count", "uint32"),
                field("epoch", "uint32"), field("deadline", "uint40"),
            ],
        },
        "primaryType": "RatingBatch",
        "domain": {"name": "Assay", "version": "1", "chainId": oracle.chain_id,
            "verifyingContract": oracle.address},
        "message": {"root": message.root, "count": message.count, "epoch": 1, "deadline": deadline},
    })
}

/// What `ethers` and `viem` say.
fn ask_node(typed: &Value, signatures: &[String]) -> Value {
    let secret = |name| key(name).to_bytes().to_string();
    let secrets = json!({"ethers": secret("signer 1"), "viem": secret("signer 2")});
    let question = json!({"typed": typed, "secrets": secrets, "signatures": signatures});
    let mut node = Command::new("node")
        .arg(oracle_folder().join("digest.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    node.stdin.take().unwrap().write_all(question.to_string().as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn cast_signs(name: &str, what: &[&str]) -> String {
    let secret = key(name).to_bytes().to_string();
    cast(&[&["wallet", "sign", "--private-key", &secret], what].concat()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn cast_ethers_and_viem_compute_our_digest_and_the_contract_takes_what_they_sign() {
    let world = World::new().await;
    let as_of = world.chain.head().await.unwrap().time;
    let reports = (0..7).map(|n| Report::new(entity(n), word(n, 1, as_of)).unwrap()).collect();
    let batch = Batch::new(reports).unwrap();
    let (oracle, deadline) = (world.publication.oracle, as_of + 600);
    let message = batch.message(1, deadline).unwrap();
    let digest = oracle.digest(&message);
    let asked = IRatingOracle::batchDigestCall {
        root: message.root,
        count: message.count,
        signedEpoch: 1,
        deadline: message.deadline,
    };
    assert_eq!(world.chain.call(oracle.address, &asked).await.unwrap(), digest);

    let typed = typed(&world, &batch, deadline);
    let signer = &signers()[0];
    let cleared = guard::clear(&world.pool, signer.address(), &batch).await.unwrap();
    let ours = signer.sign(&cleared, oracle, 1, deadline).await.unwrap();
    let ours = alloy::primitives::hex::encode_prefixed(ours.as_bytes());
    // cast shows no digest, but signs alike what is alike: the typed data, and our digest.
    let by_cast = cast_signs("signer 0", &["--data", &typed.to_string()]);
    assert_eq!(by_cast, ours);
    assert_eq!(by_cast, cast_signs("signer 0", &["--no-hash", &digest.to_string()]));

    let said = ask_node(&typed, std::slice::from_ref(&ours));
    let mut signatures = vec![(signer.address(), by_cast)];
    for (library, name) in [("ethers", "signer 1"), ("viem", "signer 2")] {
        let said = &said[library];
        assert_eq!(said["digest"], digest.to_string(), "{library}");
        assert_eq!(said["recovered"], json!([signer.address().to_string()]), "{library}");
        signatures.push((key(name).address(), said["signature"].as_str().unwrap().to_owned()));
    }
    // Each takes what the others signed, and nothing that was changed.
    let all: Vec<String> = signatures.iter().map(|(_, signature)| signature.clone()).collect();
    let said = ask_node(&typed, &all);
    let mut changed = typed.clone();
    changed["message"]["count"] = json!(8);
    let denied = ask_node(&changed, &all);
    for (n, (address, signature)) in signatures.iter().enumerate() {
        for library in ["ethers", "viem"] {
            assert_eq!(said[library]["recovered"][n], address.to_string(), "{library}");
            assert_ne!(denied[library]["recovered"][n], address.to_string(), "{library}");
        }
        let address = address.to_string();
        let verify = |typed: &Value| {
            cast(&[
                "wallet",
                "verify",
                "--data",
                "--address",
                &address,
                &typed.to_string(),
                signature,
            ])
        };
        verify(&typed).unwrap();
        verify(&changed).unwrap_err();
    }

    // Three signatures by three programs are a quorum.
    let signers_of_contract: Vec<Address> = world
        .chain
        .call(oracle.address, &IRatingOracle::signersAtCall { ofEpoch: 1 })
        .await
        .unwrap();
    signatures.sort();
    let mut push = IRatingOracle::pushCall {
        entries: batch.entries(),
        bitmap: U256::ZERO,
        signatures: Default::default(),
        deadline: message.deadline,
    };
    let mut compact = Vec::new();
    for (address, signature) in &signatures {
        let index = signers_of_contract.iter().position(|signer| signer == address).unwrap();
        push.bitmap.set_bit(index, true);
        compact.extend(signature.parse::<Signature>().unwrap().as_erc2098());
    }
    push.signatures = compact.into();
    assert_eq!(world.chain.call(oracle.address, &push).await.unwrap(), U256::from(7));
    let anyone = world.node.get_accounts().await.unwrap()[0];
    let request = TransactionRequest::default()
        .from(anyone)
        .to(oracle.address)
        .gas_limit(1_000_000)
        .input(push.abi_encode().into());
    let receipt = world.node.send_transaction(request).await.unwrap().get_receipt().await.unwrap();
    assert!(receipt.status());
    assert_eq!(world.rated().await.len(), 7);
}
