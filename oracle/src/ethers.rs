//! Signing with `ethers-signers`, for who keeps keys there: an adapter to alloy's traits.
//!
//! The crate is deprecated in favour of alloy, so this is off by default, and none of its types
//! reaches the rest of Assay. The adapter signs alloy's own hashes with the ethers wallet, so
//! every transaction type is covered, those that ethers never knew included.

use alloy::consensus::SignableTransaction;
use alloy::network::TxSigner;
use alloy::primitives::{Address, B256, ChainId, Signature, U256};
use alloy::signers::{Error, Result, Signer};
use async_trait::async_trait;
use ethers_core::types::H256;
use ethers_signers::{LocalWallet, Signer as _};

/// A wallet of `ethers-signers` that alloy can sign with.
#[derive(Clone)]
pub struct EthersWallet {
    wallet: LocalWallet,
    chain_id: Option<ChainId>,
}

/// The secret makes no key: zero, or above the order of the curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret makes no key")]
pub struct NotAKey;

impl EthersWallet {
    /// A wallet of this secret.
    pub fn from_secret(secret: &B256) -> std::result::Result<Self, NotAKey> {
        let wallet = LocalWallet::from_bytes(secret.as_slice()).map_err(|_| NotAKey)?;
        Ok(Self { wallet, chain_id: None })
    }
}

impl std::fmt::Debug for EthersWallet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EthersWallet({})", Signer::address(self))
    }
}

#[async_trait]
impl Signer for EthersWallet {
    async fn sign_hash(&self, hash: &B256) -> Result<Signature> {
        let signed = self.wallet.sign_hash(H256(hash.0)).map_err(Error::other)?;
        signature(&signed)
    }

    fn address(&self) -> Address {
        Address::from(self.wallet.address().0)
    }

    fn chain_id(&self) -> Option<ChainId> {
        self.chain_id
    }

    fn set_chain_id(&mut self, chain_id: Option<ChainId>) {
        self.chain_id = chain_id;
    }
}

#[async_trait]
impl TxSigner<Signature> for EthersWallet {
    fn address(&self) -> Address {
        Signer::address(self)
    }

    async fn sign_transaction(
        &self,
        transaction: &mut dyn SignableTransaction<Signature>,
    ) -> Result<Signature> {
        if let Some(signer) = self.chain_id
            && !transaction.set_chain_id_checked(signer)
        {
            let tx = transaction.chain_id().unwrap_or_default();
            return Err(Error::TransactionChainIdMismatch { signer, tx });
        }
        self.sign_hash(&transaction.signature_hash()).await
    }
}

/// `v` is 0, 1, 27, 28, or the parity plus 35 plus twice the chain id (EIP-155).
fn signature(signed: &ethers_core::types::Signature) -> Result<Signature> {
    let is_odd = match signed.v {
        0 | 27 => false,
        1 | 28 => true,
        v if v >= 35 => (v - 35) % 2 == 1,
        v => return Err(Error::message(format!("recovery id is {v}, expected 27 or 28"))),
    };
    let number = |value: ethers_core::types::U256| {
        let mut bytes = [0; 32];
        value.to_big_endian(&mut bytes);
        U256::from_be_bytes(bytes)
    };
    Ok(Signature::new(number(signed.r), number(signed.s), is_odd))
}

#[cfg(test)]
mod tests {
    use alloy::consensus::{TxEip1559, TxEip2930, TxEip4844, TxEip7702, TxEnvelope, TxLegacy};
    use alloy::eips::Encodable2718;
    use alloy::eips::eip2930::{AccessList, AccessListItem};
    use alloy::primitives::{Bytes, TxKind, keccak256};
    use alloy::signers::SignerSync;
    use alloy::signers::local::PrivateKeySigner;
    use alloy::sol_types::SolStruct;
    use ethers_core::types as old;
    use ethers_core::types::transaction::eip712::TypedData as OldTypedData;
    use ethers_core::types::transaction::eip2718::TypedTransaction;
    use ethers_core::types::transaction::eip2930 as old2930;

    use super::*;
    use crate::batch::{OracleId, RatingBatch};

    /// Keys and messages of each kind.
    const ROUNDS: u64 = 1_000;

    /// The n-th of a line of hashes: enough like chance, and the same every time.
    fn draw(round: u64, what: &str) -> B256 {
        keccak256([what.as_bytes(), &round.to_be_bytes()].concat())
    }

    fn number(round: u64, what: &str) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = draw(round, what).0;
        // Small, large and zero: the lengths of RLP integers.
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> (round % 65).min(63)
    }

    struct Pair {
        ours: PrivateKeySigner,
        adapted: EthersWallet,
        theirs: LocalWallet,
    }

    fn pair(round: u64) -> Pair {
        let secret = draw(round, "secret");
        let ours = PrivateKeySigner::from_bytes(&secret).unwrap();
        let adapted = EthersWallet::from_secret(&secret).unwrap();
        let theirs = LocalWallet::from_bytes(secret.as_slice()).unwrap();
        assert_eq!(ours.address(), Signer::address(&adapted));
        Pair { ours, adapted, theirs }
    }

    #[tokio::test]
    async fn hashes_and_messages_get_the_same_bytes() {
        for round in 0..ROUNDS {
            let Pair { ours, adapted, theirs } = pair(round);
            let hash = draw(round, "hash");
            let expected = ours.sign_hash_sync(&hash).unwrap();
            assert_eq!(adapted.sign_hash(&hash).await.unwrap(), expected);
            assert_eq!(theirs.sign_hash(H256(hash.0)).unwrap().to_vec(), expected.as_bytes());

            let length = usize::try_from(round % 200).unwrap();
            let message = hash.0.repeat(7)[..length].to_vec();
            let expected = ours.sign_message_sync(&message).unwrap();
            assert_eq!(adapted.sign_message(&message).await.unwrap(), expected);
            let old = theirs.sign_message(&message).await.unwrap();
            assert_eq!(old.to_vec(), expected.as_bytes(), "round {round}");
        }
    }

    #[tokio::test]
    async fn batches_get_the_same_bytes() {
        for round in 0..ROUNDS {
            let Pair { ours, adapted, theirs } = pair(round);
            let address = Address::from_word(draw(round, "oracle"));
            let oracle = OracleId { chain_id: 1 + (round % 100_000), address };
            let deadline = number(round, "deadline") % (1 << 40);
            let message = RatingBatch {
                root: draw(round, "root"),
                count: u32::try_from(1 + round % 100).unwrap(),
                epoch: u32::try_from(1 + round % 7).unwrap(),
                deadline: alloy::primitives::aliases::U40::from(deadline),
            };
            let expected = ours.sign_typed_data_sync(&message, &oracle.domain()).unwrap();
            let adapted = adapted.sign_typed_data(&message, &oracle.domain()).await.unwrap();
            assert_eq!(adapted, expected);
            let typed: OldTypedData = serde_json::from_value(serde_json::json!({
                "types": {
                    "EIP712Domain": [
                        {"name": "name", "type": "string"},
                        {"name": "version", "type": "string"},
                        {"name": "chainId", "type": "uint256"},
                        {"name": "verifyingContract", "type": "address"},
                    ],
                    "RatingBatch": [
                        {"name": "root", "type": "bytes32"},
                        {"name": "count", "type": "uint32"},
                        {"name": "epoch", "type": "uint32"},
                        {"name": "deadline", "type": "uint40"},
                    ],
                },
                "primaryType": "RatingBatch",
                "domain": {"name": "Assay", "version": "1", "chainId": oracle.chain_id,
                    "verifyingContract": oracle.address},
                "message": {"root": message.root, "count": message.count,
                    "epoch": message.epoch, "deadline": deadline},
            }))
            .unwrap();
            let old = theirs.sign_typed_data(&typed).await.unwrap();
            assert_eq!(old.to_vec(), expected.as_bytes(), "round {round}");
            assert_eq!(oracle.digest(&message), message.eip712_signing_hash(&oracle.domain()));
        }
    }

    /// What all the transactions of a round have in common.
    struct Drawn {
        chain_id: u64,
        nonce: u64,
        gas: u64,
        price: u128,
        tip: u128,
        to: Option<Address>,
        value: U256,
        input: Bytes,
        access: Vec<(Address, Vec<B256>)>,
    }

    fn drawn(round: u64) -> Drawn {
        let length = usize::try_from(round % 97).unwrap();
        let tip = u128::from(number(round, "tip"));
        let slots = (0..round % 3).map(|n| draw(n + round, "slot")).collect::<Vec<_>>();
        Drawn {
            chain_id: 1 + number(round, "chain") % 1_000_000,
            nonce: number(round, "nonce"),
            gas: number(round, "gas"),
            price: tip + u128::from(number(round, "price")),
            tip,
            to: (!round.is_multiple_of(5)).then(|| Address::from_word(draw(round, "to"))),
            value: U256::from_be_bytes(draw(round, "value").0) >> (round % 256),
            input: draw(round, "input").0.repeat(4)[..length].to_vec().into(),
            access: (0..round % 4)
                .map(|n| (Address::from_word(draw(n + round, "access")), slots.clone()))
                .collect(),
        }
    }

    impl Drawn {
        fn kind(&self) -> TxKind {
            self.to.map_or(TxKind::Create, TxKind::Call)
        }

        fn access_list(&self) -> AccessList {
            let item = |(address, storage_keys): &(Address, Vec<B256>)| AccessListItem {
                address: *address,
                storage_keys: storage_keys.clone(),
            };
            AccessList(self.access.iter().map(item).collect())
        }

        fn old_access_list(&self) -> old2930::AccessList {
            let item = |(address, keys): &(Address, Vec<B256>)| old2930::AccessListItem {
                address: old::H160(address.into_array()),
                storage_keys: keys.iter().map(|key| H256(key.0)).collect(),
            };
            old2930::AccessList(self.access.iter().map(item).collect())
        }

        fn old_legacy(&self) -> old::TransactionRequest {
            old::TransactionRequest {
                from: None,
                to: self.to.map(|to| old::H160(to.into_array()).into()),
                gas: Some(self.gas.into()),
                gas_price: Some(self.price.into()),
                value: Some(old::U256::from_big_endian(&self.value.to_be_bytes::<32>())),
                data: Some(self.input.to_vec().into()),
                nonce: Some(self.nonce.into()),
                chain_id: Some(self.chain_id.into()),
            }
        }
    }

    /// The same transaction, signed and encoded by each side alone and by alloy with the adapter.
    async fn check<T>(round: u64, transaction: T, old: TypedTransaction)
    where
        T: SignableTransaction<Signature> + Clone,
        TxEnvelope: From<alloy::consensus::Signed<T>>,
    {
        let Pair { ours, adapted, theirs } = pair(round);
        let theirs = theirs.with_chain_id(old.chain_id().unwrap().as_u64());
        let signed = ours.sign_hash_sync(&transaction.signature_hash()).unwrap();
        let expected = TxEnvelope::from(transaction.clone().into_signed(signed)).encoded_2718();
        let adapted = adapted.sign_transaction(&mut transaction.clone()).await.unwrap();
        assert_eq!(adapted, signed, "round {round}");
        let signed = theirs.sign_transaction(&old).await.unwrap();
        let raw = old.rlp_signed(&signed);
        assert_eq!(raw.to_vec(), expected, "round {round}: {old:?}");
    }

    #[tokio::test]
    async fn legacy_transactions_get_the_same_raw_bytes() {
        for round in 0..ROUNDS {
            let drawn = drawn(round);
            let transaction = TxLegacy {
                chain_id: Some(drawn.chain_id),
                nonce: drawn.nonce,
                gas_price: drawn.price,
                gas_limit: drawn.gas,
                to: drawn.kind(),
                value: drawn.value,
                input: drawn.input.clone(),
            };
            check(round, transaction, TypedTransaction::Legacy(drawn.old_legacy())).await;
        }
    }

    #[tokio::test]
    async fn access_list_transactions_get_the_same_raw_bytes() {
        for round in 0..ROUNDS {
            let drawn = drawn(round);
            let transaction = TxEip2930 {
                chain_id: drawn.chain_id,
                nonce: drawn.nonce,
                gas_price: drawn.price,
                gas_limit: drawn.gas,
                to: drawn.kind(),
                value: drawn.value,
                access_list: drawn.access_list(),
                input: drawn.input.clone(),
            };
            let old = drawn.old_legacy().with_access_list(drawn.old_access_list());
            check(round, transaction, TypedTransaction::Eip2930(old)).await;
        }
    }

    #[tokio::test]
    async fn fee_market_transactions_get_the_same_raw_bytes() {
        for round in 0..ROUNDS {
            let drawn = drawn(round);
            let transaction = TxEip1559 {
                chain_id: drawn.chain_id,
                nonce: drawn.nonce,
                gas_limit: drawn.gas,
                max_fee_per_gas: drawn.price,
                max_priority_fee_per_gas: drawn.tip,
                to: drawn.kind(),
                value: drawn.value,
                access_list: drawn.access_list(),
                input: drawn.input.clone(),
            };
            let legacy = drawn.old_legacy();
            let old = old::Eip1559TransactionRequest {
                from: None,
                to: legacy.to,
                gas: legacy.gas,
                value: legacy.value,
                data: legacy.data,
                nonce: legacy.nonce,
                chain_id: legacy.chain_id,
                access_list: drawn.old_access_list(),
                max_fee_per_gas: Some(drawn.price.into()),
                max_priority_fee_per_gas: Some(drawn.tip.into()),
            };
            check(round, transaction, TypedTransaction::Eip1559(old)).await;
        }
    }

    #[tokio::test]
    async fn transactions_that_ethers_never_knew_get_the_same_signature() {
        for round in 0..100 {
            let Pair { ours, adapted, .. } = pair(round);
            let drawn = drawn(round);
            let mut blobs = TxEip4844 {
                chain_id: drawn.chain_id,
                nonce: drawn.nonce,
                blob_versioned_hashes: vec![draw(round, "blob")],
                ..TxEip4844::default()
            };
            let expected = ours.sign_hash_sync(&blobs.signature_hash()).unwrap();
            assert_eq!(adapted.sign_transaction(&mut blobs).await.unwrap(), expected);
            let mut delegation =
                TxEip7702 { chain_id: drawn.chain_id, nonce: drawn.nonce, ..TxEip7702::default() };
            let expected = ours.sign_hash_sync(&delegation.signature_hash()).unwrap();
            assert_eq!(adapted.sign_transaction(&mut delegation).await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn a_transaction_for_another_chain_is_refused_and_the_secret_is_never_shown() {
        let secret = draw(1, "secret");
        let wallet = EthersWallet::from_secret(&secret).unwrap().with_chain_id(Some(1));
        let mut transaction = TxEip1559 { chain_id: 2, ..TxEip1559::default() };
        assert!(wallet.sign_transaction(&mut transaction).await.is_err());
        assert_eq!(format!("{wallet:?}"), format!("EthersWallet({})", Signer::address(&wallet)));
        assert_eq!(EthersWallet::from_secret(&B256::ZERO).unwrap_err(), NotAKey);
    }
}
