//! Wallets that other machines hold: AWS KMS against moto, Google's against recorded answers, and
//! a Ledger that is not there.

use alloy::primitives::{Address, B256};

use super::*;

fn oracle() -> OracleId {
    OracleId { chain_id: 1, address: Address::repeat_byte(0x11) }
}

fn message() -> RatingBatch {
    let deadline = alloy::primitives::aliases::U40::from(1_785_456_612_u64);
    RatingBatch { root: B256::repeat_byte(0x22), count: 20, epoch: 1, deadline }
}

#[cfg(feature = "aws-kms")]
mod aws_kms {
    use std::io::{BufRead as _, BufReader};
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Stdio};
    use std::sync::OnceLock;

    use alloy::primitives::U256;
    use alloy::signers::aws::aws_config::{BehaviorVersion, Region, SdkConfig, defaults};
    use alloy::signers::aws::aws_sdk_kms::Client;
    use alloy::signers::aws::aws_sdk_kms::config::Credentials;
    use alloy::signers::aws::aws_sdk_kms::types::{KeySpec as AwsKeySpec, KeyUsageType};

    use super::*;
    use crate::key::held_elsewhere::open_aws_kms;

    /// The version of moto that the tests were made with.
    const MOTO: &str = "moto[server]==5.2.5";

    struct Moto {
        child: Child,
        url: String,
    }

    impl Drop for Moto {
        fn drop(&mut self) {
            let _gone_already = self.child.kill();
            let _gone_already = self.child.wait();
        }
    }

    /// A Python with moto, made under `target` if it is not there yet; by one test for all.
    fn python() -> &'static Path {
        static PYTHON: OnceLock<PathBuf> = OnceLock::new();
        PYTHON.get_or_init(install)
    }

    fn install() -> PathBuf {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/moto");
        let python = folder.join("bin/python");
        let run = |program: &Path, arguments: &[&str]| {
            let done = Command::new(program).args(arguments).output().unwrap();
            assert!(done.status.success(), "{program:?} {arguments:?}: {done:?}");
        };
        if !folder.join("bin/moto_server").exists() {
            run(Path::new("python3"), &["-m", "venv", folder.to_str().unwrap()]);
            run(&python, &["-m", "pip", "install", "--quiet", MOTO]);
        }
        python
    }

    fn moto(arguments: &[&str]) -> Moto {
        let mut child = Command::new(python())
            .args(arguments)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = |line: String| line.split("Running on ").nth(1).map(str::to_owned);
        let url = lines.by_ref().map_while(Result::ok).find_map(address).expect("moto listens");
        // A full pipe would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Moto { child, url: url.trim().to_owned() }
    }

    async fn config(moto: &Moto) -> SdkConfig {
        defaults(BehaviorVersion::latest())
            .endpoint_url(&moto.url)
            .region(Region::new("eu-central-1"))
            .credentials_provider(Credentials::for_tests())
            .load()
            .await
    }

    async fn new_key(config: &SdkConfig, spec: AwsKeySpec) -> String {
        let asked = Client::new(config).create_key().key_usage(KeyUsageType::SignVerify);
        let made = asked.key_spec(spec).send().await.unwrap();
        made.key_metadata.unwrap().key_id
    }

    #[tokio::test]
    async fn a_key_in_aws_kms_signs_batches_and_transactions() {
        let moto = moto(&[concat!(env!("CARGO_MANIFEST_DIR"), "/aws_kms.py")]);
        let config = config(&moto).await;
        let key_id = new_key(&config, AwsKeySpec::EccSecgP256K1).await;
        let key = Key(open_aws_kms(&key_id, &config).await.unwrap());
        let half: U256 =
            "0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0".parse().unwrap();
        // Half of AWS's signatures have a high s and either parity.
        for _ in 0..16 {
            let signature = key.sign_batch(oracle(), &message()).await.unwrap();
            assert!(signature.s() <= half);
        }
        let gas_key = GasKey(key);
        // The signature is checked before it is given out.
        gas_key.sign(TxEip1559 { chain_id: 1, nonce: 7, ..Default::default() }).await.unwrap();

        // A key on another curve and one that is not there.
        for (key_id, expected) in [
            (new_key(&config, AwsKeySpec::EccNistP256).await.as_str(), "aws-kms does not open"),
            ("alias/nobody", "NotFoundException"),
        ] {
            let refused = open_aws_kms(key_id, &config).await.err().unwrap();
            assert!(refused.to_string().contains(expected), "{refused}");
        }
    }

    /// moto as it is hashes the digest once more, as a KMS would that was told RAW.
    #[tokio::test]
    async fn a_kms_that_signs_something_else_is_not_believed() {
        let moto = moto(&["-m", "moto.server"]);
        let config = config(&moto).await;
        let key_id = new_key(&config, AwsKeySpec::EccSecgP256K1).await;
        let key = Key(open_aws_kms(&key_id, &config).await.unwrap());
        let refused = key.sign_batch(oracle(), &message()).await.unwrap_err();
        assert!(matches!(refused, KeyError::Wallet { .. }), "{refused}");
    }
}

#[cfg(feature = "gcp-kms")]
mod gcp_kms {
    use alloy::primitives::{Bytes, hex};
    use alloy::signers::gcp::gcloud_sdk::google::cloud::kms::v1::{
        AsymmetricSignRequest, AsymmetricSignResponse, GetPublicKeyRequest, PublicKey, digest,
    };
    use alloy::signers::gcp::gcloud_sdk::prost::Message;
    use alloy::signers::gcp::gcloud_sdk::{
        Source, Token, TokenSourceType, error::Result as GcpResult,
    };
    use async_trait::async_trait;

    use super::*;
    use crate::key::held_elsewhere::open_gcp_kms;
    use crate::key::spec::GcpVersion;

    /// What Google answers: a key in PEM, and a DER signature of this module's message with it, of
    /// which `s` is in the upper half. Made with openssl in Google's format.
    const PEM: &str = include_str!("../../../tests/golden/gcp-kms.pem");
    const SIGNATURE: &str = include_str!("../../../tests/golden/gcp-kms-signature.hex");
    const NAME: &str = "projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/3";

    struct NoToken;

    #[async_trait]
    impl Source for NoToken {
        async fn token(&self) -> GcpResult<Token> {
            let expiry = std::time::SystemTime::now() + std::time::Duration::from_secs(3_600);
            Ok(Token::new("Bearer".to_owned(), "none".into(), expiry.into()))
        }
    }

    fn answer(path: &str, asked: &[u8]) -> Vec<u8> {
        match path.rsplit('/').next() {
            Some("GetPublicKey") => {
                assert_eq!(GetPublicKeyRequest::decode(asked).unwrap().name, NAME);
                PublicKey { pem: PEM.to_owned(), ..Default::default() }.encode_to_vec()
            }
            Some("AsymmetricSign") => {
                let asked = AsymmetricSignRequest::decode(asked).unwrap();
                let expected = oracle().digest(&message()).to_vec();
                let digest = asked.digest.unwrap().digest;
                assert_eq!(
                    (asked.name.as_str(), digest),
                    (NAME, Some(digest::Digest::Sha256(expected)))
                );
                let signature = hex::decode(SIGNATURE.trim()).unwrap();
                AsymmetricSignResponse { signature, ..Default::default() }.encode_to_vec()
            }
            _ => panic!("{path}"),
        }
    }

    /// Plays the answers over gRPC: a length before each message, the status after it.
    async fn play(listener: tokio::net::TcpListener) {
        let (socket, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            tokio::spawn(async move {
                let (head, mut body) = request.into_parts();
                let mut asked = Vec::new();
                while let Some(chunk) = body.data().await {
                    asked.extend(chunk.unwrap());
                }
                let message = answer(head.uri.path(), &asked[5..]);
                let length = u32::try_from(message.len()).unwrap().to_be_bytes();
                let framed = [&[0], &length[..], &message].concat();
                let response = http::Response::builder()
                    .header("content-type", "application/grpc")
                    .body(())
                    .unwrap();
                let mut stream = respond.send_response(response, false).unwrap();
                stream.send_data(Bytes::from(framed).0, false).unwrap();
                let status = [("grpc-status", "0")].map(|(name, value)| {
                    (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
                });
                stream.send_trailers(status.into_iter().collect()).unwrap();
            });
        }
    }

    #[tokio::test]
    async fn a_key_in_google_cloud_kms_signs_a_batch_from_recorded_answers() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(play(listener));
        let token = TokenSourceType::ExternalSource(Box::new(NoToken));
        let version = GcpVersion::parse(NAME).unwrap();
        let key = Key(open_gcp_kms(&version, &url, token).await.unwrap());
        assert_eq!(key.address().to_string(), "0x1036828D9656b55e473e5F885d00759922d0101B");
        key.sign_batch(oracle(), &message()).await.unwrap();
        // The recorded signature is of that message only.
        let other = RatingBatch { count: 21, ..message() };
        assert!(key.sign_batch(oracle(), &other).await.is_err());
    }
}

#[cfg(feature = "ledger")]
#[tokio::test]
async fn a_ledger_that_is_not_there_is_an_error_that_says_so() {
    let spec = KeySpec::parse("ledger:m/44'/60'/0'/0/0", None).unwrap();
    let refused = RatingSigner::open(&spec).await.unwrap_err();
    assert!(refused.to_string().starts_with("ledger does not open the key: "), "{refused}");
}
