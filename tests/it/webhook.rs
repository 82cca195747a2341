//! Webhooks, to a receiver that fails, by a sender that dies.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assay::projection::feed;
use assay::webhook::{Webhook, tell};
use assay_domain::word::{Flags, Word, WordFields};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use sqlx::PgPool;
use tempfile::TempDir;

use crate::commands::{local, told};
use crate::graphql::live::node;
use crate::graphql::seed::{run, world};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8G";

/// The receiver refuses every message so often before it takes it.
const REFUSALS: usize = 3;

#[derive(Debug, Clone)]
struct Delivery {
    id: String,
    timestamp: String,
    signature: String,
    body: String,
    is_taken: bool,
}

type Inbox = Arc<Mutex<Vec<Delivery>>>;

async fn receive(State(inbox): State<Inbox>, headers: HeaderMap, body: String) -> StatusCode {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let id = header("webhook-id");
    let mut inbox = inbox.lock().unwrap();
    let is_taken = inbox.iter().filter(|one| one.id == id).count() >= REFUSALS;
    let (timestamp, signature) = (header("webhook-timestamp"), header("webhook-signature"));
    inbox.push(Delivery { id, timestamp, signature, body, is_taken });
    if is_taken { StatusCode::NO_CONTENT } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// A receiver, and the file that names it.
async fn receiver(settings: &str) -> (Inbox, TempDir) {
    let inbox = Inbox::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/hook", post(receive)).with_state(inbox.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let folder = TempDir::new().unwrap();
    let secret = folder.path().join("desk.secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let file = format!(
        "[[webhook]]\nname = \"desk\"\nurl = \"http://{address}/hook\"\n\
         secret_file = \"desk.secret\"\n{settings}\n"
    );
    std::fs::write(folder.path().join("webhooks.toml"), file).unwrap();
    (inbox, folder)
}

fn read(folder: &TempDir) -> Result<Vec<Webhook>, String> {
    Webhook::read(&folder.path().join("webhooks.toml")).map_err(|error| error.to_string())
}

/// Writes down what is new, as the rater and its timer would.
async fn tell_feed(pool: &PgPool) {
    let mut transaction = pool.begin().await.unwrap();
    feed::write(&mut transaction).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn place(pool: &PgPool) -> i64 {
    let place = "SELECT position FROM read_model.webhooks WHERE name = 'desk'";
    sqlx::query_scalar(place).fetch_one(pool).await.unwrap()
}

/// Runs the sender until it has told all of the feed, killing it after each of `lives` first.
async fn send(pool: &PgPool, folder: &TempDir, lives: impl Iterator<Item = Duration>) {
    let end: i64 = sqlx::query_scalar("SELECT max(position) FROM read_model.feed")
        .fetch_one(pool)
        .await
        .unwrap();
    let mut lives = lives.map(Some).chain(std::iter::repeat(None));
    while place(pool).await < end {
        let webhook = Arc::new(read(folder).unwrap().remove(0));
        let sender = tokio::spawn(tell(pool.clone(), webhook, Duration::from_millis(5)));
        match lives.next().flatten() {
            Some(life) => tokio::time::sleep(life).await,
            None => {
                for _ in 0..3_000 {
                    if place(pool).await == end {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                assert_eq!(place(pool).await, end, "everything is told within 30 s");
            }
        }
        sender.abort();
        let _aborted = sender.await;
    }
}

fn taken(inbox: &Inbox) -> Vec<(String, Value)> {
    let inbox = inbox.lock().unwrap();
    let taken = inbox.iter().filter(|one| one.is_taken);
    taken.map(|one| (one.id.clone(), serde_json::from_str(&one.body).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_fails_three_times_and_a_sender_that_dies_lose_nothing() {
    let (_database, pool) = world(4).await;
    let (inbox, folder) = receiver("allow_private = true").await;
    tell_feed(&pool).await;
    run(&pool, "INSERT INTO read_model.webhooks (name, position) VALUES ('desk', 0)").await;
    send(&pool, &folder, (5..40).step_by(3).map(Duration::from_millis)).await;

    let taken = taken(&inbox);
    let said: i64 =
        sqlx::query_scalar("SELECT count(*) FROM read_model.feed").fetch_one(&pool).await.unwrap();
    let mut ids: Vec<&String> = taken.iter().map(|(id, _)| id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(i64::try_from(ids.len()).unwrap(), said, "every line of the feed has its message");
    // The first delivery of each, for each entity, is in the order of its numbers.
    let mut last: BTreeMap<&str, (u64, Vec<&String>)> = BTreeMap::new();
    for (id, body) in &taken {
        let data = &body["data"];
        let Some(entity) = data["entity"].as_str() else { continue };
        let seq: u64 = data["seq"].as_str().unwrap().parse().unwrap();
        let (seen, known) = last.entry(entity).or_default();
        if !known.contains(&id) {
            assert!(seq > *seen, "{entity} says {seq} after {seen}");
            (*seen, *known) = (seq, [known.as_slice(), &[id]].concat());
        }
        assert!(id.starts_with(&format!("{}-{entity}-", data["position"].as_str().unwrap())));
    }
    assert_eq!(last.len(), 3, "three operators are rated");
    let kinds: Vec<&str> = taken.iter().map(|(_, body)| body["type"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"rating.action") && kinds.contains(&"operator.slashed"), "{kinds:?}");
    {
        let inbox = inbox.lock().unwrap();
        for id in ids {
            let tries = inbox.iter().filter(|one| one.id == *id);
            let refused = tries.clone().take_while(|one| !one.is_taken).count();
            assert_eq!(refused, REFUSALS, "{id} is taken the fourth time");
            assert!(tries.clone().all(|one| one.body == tries.clone().next().unwrap().body));
        }
    }
    let deliveries: Vec<Value> = inbox
        .lock()
        .unwrap()
        .iter()
        .map(|one| {
            json!({ "id": one.id, "timestamp": one.timestamp, "signature": one.signature,
                    "body": one.body })
        })
        .collect();
    let file = folder.path().join("deliveries.json");
    std::fs::write(&file, json!(deliveries).to_string()).unwrap();
    let arguments = vec![SECRET.to_owned(), file.display().to_string()];
    let verified = node("signatures.mjs", arguments).await;
    assert_eq!(verified, json!({ "sound": deliveries.len(), "altered": 0 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_opens_and_a_feed_that_grows_stale_are_told_to_whom_they_concern() {
    let (database, pool) = world(2).await;
    let settings = "allow_private = true\nkinds = [\"watch_change\", \"stale_feed\"]";
    let (inbox, folder) = receiver(settings).await;
    tell_feed(&pool).await;
    let start = "INSERT INTO read_model.webhooks (name, position)
                 SELECT 'desk', max(position) FROM read_model.feed";
    run(&pool, start).await;
    // Said again three times: on watch, still so, and not any more.
    let word = |flags: Flags| {
        let fields = WordFields {
            as_of: 1_711_555_200,
            log_pos: 100,
            seq: 10,
            model: 1,
            flags,
            grade: 9,
            score: 8_000,
            pd: 5,
            el: 5,
        };
        alloy::hex::encode(Word::new(fields).unwrap().pack().to_be_bytes::<32>())
    };
    let (well, watched) = (word(Flags::default()), word(Flags::WATCH_NEGATIVE));
    run(
        &pool,
        &format!(
            "INSERT INTO read_model.rating_actions (storage_position, revision, entity_id, kind,
                 from_grade, to_grade, position, block_number, block_time, expected_loss_ppt, seq,
                 word)
             SELECT 1000000 + n, 0, 6, 2, 9, 9, 100 + n, 1050, 1711555200, 5, 10 + n,
                    decode(CASE WHEN n IN (2, 3) THEN '{watched}' ELSE '{well}' END, 'hex')
               FROM generate_series(1, 4) n;
             UPDATE read_model.publications SET recorded_at = now() - interval '27 hours'"
        ),
    )
    .await;
    tell_feed(&pool).await;
    let store = database.store().await;
    feed::tell_stale(&store).await.unwrap();
    feed::tell_stale(&store).await.unwrap();
    send(&pool, &folder, std::iter::empty()).await;
    let mut told: Vec<(String, String)> = taken(&inbox)
        .iter()
        .map(|(_, body)| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (text(&body["type"]), text(&body["data"]["seq"]))
        })
        .collect();
    told.sort();
    let expected =
        [("feed.stale", "2"), ("rating.watch_changed", "12"), ("rating.watch_changed", "14")];
    let expected: Vec<_> = expected.map(|(a, b)| (a.to_owned(), b.to_owned())).to_vec();
    assert_eq!(told, expected, "one operator is rated, its last publication is number 2");
}

#[tokio::test]
async fn private_places_open_secrets_and_two_of_a_name_are_refused() {
    let (_inbox, folder) = receiver("").await;
    assert!(read(&folder).unwrap_err().contains("private address"), "{:?}", read(&folder));
    let (_inbox, folder) = receiver("allow_private = true").await;
    let secret = folder.path().join("desk.secret");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(read(&folder).unwrap_err().contains("chmod 600"));
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let path = folder.path().join("webhooks.toml");
    let file = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, file.repeat(2)).unwrap();
    assert!(read(&folder).unwrap_err().contains("two have this name"));
    std::fs::write(&path, file.replace("desk.secret", "nowhere")).unwrap();
    assert!(read(&folder).unwrap_err().contains("nowhere"));
    // A name that leads to this machine is found out when it is looked up.
    let (_database, pool) = world(1).await;
    let public = file.replace("127.0.0.1", "localhost").replace("allow_private = true", "");
    std::fs::write(&path, public).unwrap();
    run(&pool, "INSERT INTO read_model.webhooks (name, position) VALUES ('desk', 0)").await;
    tell_feed(&pool).await;
    let webhook = Arc::new(read(&folder).unwrap().remove(0));
    let sender = tokio::spawn(tell(pool.clone(), webhook, Duration::from_millis(5)));
    let failing = "SELECT failing_since IS NOT NULL FROM read_model.webhooks";
    for _ in 0..1_000 {
        if sqlx::query_scalar(failing).fetch_one(&pool).await.unwrap() {
            sender.abort();
            assert_eq!(place(&pool).await, 0);
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("a webhook to this machine was not refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_tried_listed_and_looked_after() {
    let (inbox, folder) = receiver("allow_private = true").await;
    let (database, pool) = world(1).await;
    let path = folder.path().join("webhooks.toml");
    let file = path.to_str().unwrap();
    let assay = |arguments: &[&str]| told(&local(&database.url, arguments));
    let test = ["alerts", "test", "--webhooks", file, "--json"];
    // Each test is a message of its own, and the receiver refuses the first three of every one.
    let (said, error, code) = assay(&test);
    let told: Value = serde_json::from_str(&said).unwrap();
    assert!(code == 6 && error.contains("1 of 1 do not take it"), "{error}");
    assert!(told[0]["refusal"].as_str().unwrap().contains("503"), "{said}");
    let sent = inbox.lock().unwrap()[0].clone();
    let body: Value = serde_json::from_str(&sent.body).unwrap();
    assert!(sent.id.starts_with("test-") && body["type"] == "test", "{sent:?}");
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("webhook-id", &sent.id),
        ("webhook-timestamp", &sent.timestamp),
        ("webhook-signature", &sent.signature),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    let signer = standardwebhooks::Webhook::new(SECRET).unwrap();
    signer.verify(sent.body.as_bytes(), &headers).unwrap();
    assert_eq!(assay(&[&test[..], &["--name", "nobody"]].concat()).2, 3);

    // Not told of anything yet; then told, and failing.
    let ls = ["alerts", "ls", "--webhooks", file, "--json"];
    let listed = || serde_json::from_str::<Value>(&assay(&ls).0).unwrap()[0].clone();
    assert_eq!(listed()["waiting"], Value::Null);
    run(
        &pool,
        "INSERT INTO read_model.webhooks (name, position, failing_since)
         VALUES ('desk', 0, '2026-01-02T03:04:05Z')",
    )
    .await;
    tell_feed(&pool).await;
    let desk = listed();
    assert_eq!(
        (&desk["host"], &desk["failingSince"]),
        (&json!("127.0.0.1"), &json!("2026-01-02T03:04:05Z"))
    );
    assert!(desk["waiting"].as_i64() > Some(0), "{desk}");
    let (said, _, code) = assay(&["doctor", "--json"]);
    let told: Value = serde_json::from_str(&said).unwrap();
    let mut checks = told["checks"].as_array().unwrap().iter();
    let check = checks.find(|one| one["check"] == "webhook desk").unwrap();
    assert_eq!((&check["state"], code), (&json!("bad"), 5), "{check}");
    assert!(check["fix"].as_str().unwrap().starts_with("assay alerts test"), "{check}");
}
