//! Subscriptions, by the client that everybody uses.

use std::process::Stdio;
use std::time::Duration;

use assay::projection::feed;
use assay_graphql::{ApiConfig, router};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};

use super::seed::{run, world};
use crate::support::node;

/// What is said while subscribers come and go.
const NEWS: i64 = 400;

/// Serves the API on a port of its own; the address.
pub(crate) async fn serve(pool: &PgPool) -> String {
    serve_as(pool, ApiConfig::default()).await
}

pub(crate) async fn serve_as(pool: &PgPool, config: ApiConfig) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = router(pool.clone(), config);
    tokio::spawn(assay_graphql::serve(listener, app, std::future::pending()));
    format!("http://{address}")
}

/// Says something about an operator, as the rater would.
pub(crate) async fn say(pool: &PgPool, number: i64) {
    let mut transaction = pool.begin().await.unwrap();
    sqlx::query(
        "INSERT INTO read_model.rating_actions (storage_position, revision, entity_id, kind,
            from_grade, to_grade, position, block_number, block_time, expected_loss_ppt, seq, word)
         SELECT $1, 0, id, 2, 9, 9, 100, 1050, 1711555200, 5, $2, decode(repeat('00', 32), 'hex')
           FROM read_model.entities WHERE kind = 1 AND chain_id = 1 LIMIT 1",
    )
    .bind(1_000_000 + number)
    .bind(10 + number)
    .execute(&mut *transaction)
    .await
    .unwrap();
    feed::write(&mut transaction).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn feed_end(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT coalesce(max(position), 0)::bigint FROM read_model.feed")
        .fetch_one(pool)
        .await
        .unwrap()
}

pub(crate) async fn node(script: &'static str, arguments: Vec<String>) -> Value {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut command = tokio::process::Command::from(node::check(script, &arguments));
    let output = command.stderr(Stdio::inherit()).kill_on_drop(true).output().await.unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).expect("one JSON value")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_cut_off_a_hundred_times_misses_nothing_and_hears_nothing_twice() {
    let (_database, pool) = world(3).await;
    let mut connection = pool.acquire().await.unwrap();
    feed::write(&mut connection).await.unwrap();
    drop(connection);
    let (url, began) = (serve(&pool).await, feed_end(&pool).await);
    let (tell, mut listens) = tokio::sync::oneshot::channel();
    let speaking = {
        let pool = pool.clone();
        tokio::spawn(async move {
            for number in 1..=NEWS {
                say(&pool, number).await;
                // Most is there before it is asked for; the last twenty come live.
                if number == NEWS - 20 {
                    (&mut listens).await.expect("the subscriber stays");
                }
                if number == NEWS - 3 {
                    // Nobody is told of the last ones: the poll finds them.
                    let silence = "ALTER TABLE read_model.feed DISABLE TRIGGER feed_is_told";
                    run(&pool, silence).await;
                }
            }
        })
    };
    let arguments = [url, began.to_string(), (began + NEWS).to_string()];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut command = tokio::process::Command::from(node::check("subscribe.mjs", &arguments));
    let mut subscriber = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut said = BufReader::new(subscriber.stdout.take().unwrap()).lines();
    let hear = async |said: &mut Lines<_>| {
        let line = tokio::time::timeout(Duration::from_secs(60), said.next_line()).await;
        line.expect("the news arrive").unwrap().unwrap()
    };
    assert_eq!(hear(&mut said).await, "live");
    tell.send(()).unwrap();
    let received: Value = serde_json::from_str(&hear(&mut said).await).unwrap();
    speaking.await.unwrap();
    let received = received.as_array().unwrap();
    let positions: Vec<String> =
        received.iter().map(|one| one["position"].as_str().unwrap().to_owned()).collect();
    let expected: Vec<String> =
        (began + 1..=began + NEWS).map(|position| position.to_string()).collect();
    assert_eq!(positions, expected);
    for (number, one) in (1..).zip(received) {
        assert_eq!(one["ratingAction"]["seq"], json!((10 + number).to_string()));
        assert!(one["ratingAction"]["entity"]["slug"].is_string());
    }
    assert!(received.iter().any(|one| one["isReplay"] == json!(true)));
    assert!(received.iter().any(|one| one["isReplay"] == json!(false)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_takes_queries_and_a_few_subscriptions_and_refuses_the_rest_with_a_code() {
    let (_database, pool) = world(1).await;
    say(&pool, 1).await;
    let answers = node("sockets.mjs", vec![serve(&pool).await]).await;
    assert_eq!(answers["query"], json!({ "__typename": "Query" }));
    assert_eq!(answers["ordered"], "cba");
    assert_eq!(answers["mutation"], "GRAPHQL_VALIDATION_FAILED");
    assert_eq!(answers["unknown"], "GRAPHQL_VALIDATION_FAILED");
    assert_eq!(answers["future"], "POSITION_IN_FUTURE");
    let end = feed_end(&pool).await.to_string();
    let first = json!({ "ratingActions": { "position": end, "isReplay": true } });
    assert_eq!(answers["replay"], first);
    assert_eq!(answers["eleventh"], "COST_EXCEEDED");
}
