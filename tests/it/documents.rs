//! Names: 73 real documents, hostile ones, and servers that cannot be trusted.

use std::time::Duration;

use alloy::primitives::{Address, B256};
use assay::documents::fetch::{FetchError, Limits, fetch};
use assay::documents::{DOCUMENT_BYTES_MAX, Document, DocumentError, project, record, wanted};
use assay::event_store::{Batch, EventStore};
use assay::rater::Rater;
use assay_domain::methodology::Methodology;
use assay_domain::{AvsId, BlockRef, Event, Fact, OperatorId, UntrustedText};
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::get;
use sha2::{Digest as _, Sha256};

use crate::chain_shared::shared;
use crate::chain_store::canonical;
use crate::support::{self, TestDatabase};

const BASE: &str = "https://names.example/";

fn named(number: u32, event: Event) -> Fact {
    let number_of_block = 24_000_000 + u64::from(number);
    Fact {
        chain_id: 1,
        block: BlockRef {
            number: number_of_block,
            hash: B256::left_padding_from(&number_of_block.to_be_bytes()),
            timestamp: 1_750_000_000 + 12 * number_of_block,
        },
        tx_hash: B256::repeat_byte(1),
        log_index: number,
        emitter: Address::ZERO,
        event,
    }
}

fn uri(path: &str) -> UntrustedText {
    UntrustedText(format!("{BASE}{path}").into_bytes())
}

fn rater(store: &EventStore) -> Rater {
    Rater::new(store.clone(), std::sync::Arc::new(Methodology::version_1().unwrap()))
}

async fn names(database: &TestDatabase) -> Vec<(i16, String, Option<String>)> {
    sqlx::query_as("SELECT kind, name, website FROM read_model.names ORDER BY kind, name")
        .fetch_all(&database.pool().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn real_documents_name_whoever_names_them() {
    let Some(path) = shared("metadata.jsonl") else { return };
    let text = std::fs::read_to_string(&path).unwrap();
    let documents: Vec<Document> =
        text.lines().map(|line| Document::parse_line(BASE, line).unwrap()).collect();
    assert_eq!(documents.len(), 73);
    let ankr = documents.iter().find(|one| one.name == "Ankr").unwrap();
    assert_eq!(ankr.uri, format!("{BASE}operators/Ankr/metadata.json"));

    let database = support::database().await;
    let store = database.store().await;
    let operator = OperatorId(Address::repeat_byte(0xa1));
    let avs = AvsId(Address::repeat_byte(0xa2));
    let metadata_uri = uri("operators/Ankr/metadata.json");
    let facts = vec![
        named(1, Event::OperatorMetadataUriUpdated { operator, metadata_uri }),
        named(
            2,
            Event::AvsMetadataUriUpdated { avs, metadata_uri: uri("avs/eigenlabs/metadata.json") },
        ),
    ];
    let finalized = facts.last().map(|fact| fact.block);
    let batch = Batch { chain_id: 1, facts, finalized, ..Batch::default() };
    store.append(&batch).await.unwrap();
    rater(&store).catch_up().await.unwrap();
    let before = canonical(&store).await.1;
    assert_eq!(names(&database).await, []);
    assert_eq!(wanted(&store, 1).await.unwrap().len(), 2);

    assert_eq!(record(&store, 1, &documents).await.unwrap(), 73);
    assert_eq!(record(&store, 1, &documents).await.unwrap(), 0);
    let website = |url: &str| Some(url.to_owned());
    let expected = vec![
        (1, "Ankr".to_owned(), website("https://www.ankr.com/staking/stake/")),
        (2, "example avs".to_owned(), website("https://www.eigenlayer.xyz")),
    ];
    assert_eq!(names(&database).await, expected);
    let query = format!(
        "{{ operator(address: \"{}\") {{ untrustedName }} avs(address: \"{}\") {{ untrustedName }} }}",
        operator.0, avs.0
    );
    let pool = database.pool().await;
    let answer = assay_graphql::execute(&pool, &query, serde_json::json!({})).await;
    for name in ["Ankr", "example avs"] {
        assert!(answer.contains(&format!(r#"{{"untrustedName":"{name}"}}"#)), "{answer}");
    }
    // A name moves no rating: the canonical log is as it was, and nothing is rated anew.
    assert_eq!(canonical(&store).await.1, before);
    assert_eq!(rater(&store).catch_up().await.unwrap().actions, 0);
    assay::verify::verify(&rater(&store)).await.unwrap();
    store.verify().await.unwrap();

    // Another document in the same place, whose author means harm.
    let hostile = br#"{"name": "Ankr\u202e\u0000<script>", "website": "javascript:alert(1)"}"#;
    let changed = Document::parse(&ankr.uri, hostile).unwrap();
    assert_eq!(changed.hash, B256::new(Sha256::digest(hostile).into()));
    assert_eq!(record(&store, 1, &[changed]).await.unwrap(), 1);
    let shown = &names(&database).await[0];
    assert_eq!(shown.1, "Ankr\\u{202e}\\u{0}<script>");

    // From the log alone the rows come back.
    sqlx::query("DELETE FROM read_model.documents").execute(store.pool()).await.unwrap();
    project(&store).await.unwrap();
    assert_eq!(&names(&database).await[0], shown);
    assert_eq!(names(&database).await.len(), 2);
}

#[test]
fn a_document_that_is_none_is_refused() {
    let long = format!(r#"{{"name": "{}"}}"#, "x".repeat(2_000));
    for (bytes, expected) in [
        (b"[]".to_vec(), "no JSON object"),
        (b"{}".to_vec(), "no JSON object"),
        (b"{\"name\": 7}".to_vec(), "no JSON object"),
        (vec![b' '; DOCUMENT_BYTES_MAX + 1], "more than 262144 bytes"),
        (long.into_bytes(), "its name has more than"),
    ] {
        let error = Document::parse("https://a.example", &bytes).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// A server that does what a stranger's may do.
async fn server() -> String {
    let redirect = |to: &'static str| async move { (StatusCode::FOUND, [(header::LOCATION, to)]) };
    let app = Router::new()
        .route("/good", get(|| async { r#"{"name": "Good", "website": ""}"# }))
        .route("/long", get(|| async { vec![b' '; 2 * DOCUMENT_BYTES_MAX] }))
        .route("/moved", get(move || redirect("/good")))
        .route("/round", get(move || redirect("/round")))
        .route("/gone", get(|| async { StatusCode::NOT_FOUND.into_response() }))
        .route("/to-file", get(move || redirect("file:///etc/passwd")))
        .route(
            "/slow",
            get(|| async {
                tokio::time::sleep(Duration::from_secs(60)).await;
                "{}"
            }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

#[tokio::test]
async fn a_fetch_gives_up_where_it_should() {
    let url = server().await;
    let lax = Limits { is_lax: true, time: Duration::from_secs(2), ..Limits::default() };
    let got = async |path: &str| fetch(&format!("{url}{path}"), lax).await;
    let good = got("/good").await.unwrap();
    assert_eq!((good.name.as_str(), good.website), ("Good", None));
    assert_eq!(got("/moved").await.unwrap().hash, good.hash);
    let long = got("/long").await.unwrap_err();
    assert!(matches!(long, FetchError::Document(DocumentError::TooLong)), "{long}");
    assert!(matches!(got("/round").await, Err(FetchError::Redirects(3))));
    assert!(matches!(got("/gone").await, Err(FetchError::Http(_))));
    assert!(matches!(got("/to-file").await, Err(FetchError::Address(_))));
    assert!(matches!(got("/slow").await, Err(FetchError::Slow(_))));

    // As it is run: nothing of one's own network is asked, however it is written.
    for (uri, is_hidden) in [
        (url.as_str(), false),
        ("http://names.example/", false),
        ("ipfs://bafy", false),
        ("https://a:b@names.example/", false),
        ("https://names.example:8443/", false),
        ("https://localhost/", true),
        ("https://127.0.0.1/", true),
        ("https://2130706433/", true),
        ("https://0x7f.1/", true),
        ("https://[::1]/", true),
        ("https://[::ffff:10.0.0.1]/", true),
        ("https://169.254.169.254/latest/meta-data", true),
    ] {
        let error = fetch(uri, Limits::default()).await.unwrap_err();
        match error {
            FetchError::NotPublic { .. } => assert!(is_hidden, "{uri}"),
            FetchError::Address(_) => assert!(!is_hidden, "{uri}"),
            other => panic!("{uri}: {other}"),
        }
    }
}
