//! What each role may not do, and what is said when the database cannot be used.

use assay::db::{self, ConnectError, Role};
use sqlx::{AssertSqlSafe, PgPool};

use super::batch_of;
use crate::support::{self, synthetic};

async fn refusal(pool: &PgPool, statement: &'static str) -> Option<String> {
    sqlx::query(statement).execute(pool).await.err().map(|error| error.to_string())
}

#[tokio::test]
async fn each_role_is_kept_to_its_own() {
    let test = support::database().await;
    test.store().await.append(&batch_of(synthetic::facts(1, 5))).await.expect("an append");
    let database = db::connect(&test.url).await.expect("the database answers");
    let allowed = [
        (Role::Writer, "SELECT * FROM event_store.events"),
        (Role::Writer, "TRUNCATE read_model.rating_points"),
        (Role::Writer, "UPDATE read_model.chains SET head_number = 1"),
        (Role::Writer, "SELECT * FROM outbox.reports"),
        (Role::Reader, "SELECT * FROM read_model.ratings"),
        (Role::Oracle, "SELECT * FROM outbox.reports"),
    ];
    for (role, statement) in allowed {
        let pool = database.pool(role, 1).await.expect("a pool");
        assert_eq!(refusal(&pool, statement).await, None, "{role:?}");
    }
    let refused = [
        (Role::Writer, "UPDATE event_store.events SET kind = 0"),
        (Role::Writer, "DELETE FROM event_store.events"),
        (Role::Writer, "TRUNCATE event_store.events"),
        (Role::Writer, "UPDATE outbox.reports SET seq = 0"),
        (Role::Writer, "CREATE TABLE event_store.more (a int)"),
        (Role::Reader, "SELECT * FROM event_store.events"),
        (Role::Reader, "SELECT * FROM outbox.reports"),
        (Role::Reader, "DELETE FROM read_model.rating_points"),
        (Role::Reader, "INSERT INTO read_model.chains (chain_id, head_number) VALUES (1, 1)"),
        (Role::Oracle, "SELECT * FROM event_store.events"),
        (Role::Oracle, "SELECT * FROM read_model.ratings"),
        (Role::Oracle, "DELETE FROM outbox.reports"),
        (Role::Oracle, "INSERT INTO outbox.reports VALUES ('', 1, '', 1)"),
    ];
    for (role, statement) in refused {
        let pool = database.pool(role, 1).await.expect("a pool");
        let said = refusal(&pool, statement).await.unwrap_or_default();
        assert!(said.contains("permission denied"), "{role:?}: {statement}: {said}");
    }
}

#[tokio::test]
async fn a_login_that_may_not_make_or_take_roles_works_with_its_own_rights() {
    let test = support::database().await;
    if support::is_external() {
        // The server may ask the new login for a password.
        return;
    }
    let name = format!("assay_plain_{}", std::process::id());
    for statement in
        [format!("CREATE ROLE {name} LOGIN"), format!("CREATE DATABASE {name} OWNER {name}")]
    {
        let made = sqlx::query(AssertSqlSafe(statement)).execute(&test.pool().await).await;
        made.expect("the login may do all");
    }
    let (_, query) = test.url.split_once('?').expect("a socket");
    let url = format!("postgres://{name}@localhost/{name}?{query}");
    let database = db::connect(&url).await.expect("the database answers");
    database.migrate().await.expect("migrations");
    let pool = database.pool(Role::Writer, 2).await.expect("a pool");
    let store = assay::event_store::EventStore::new(pool.clone());
    store.append(&batch_of(synthetic::facts(1, 5))).await.expect("an append");
    let said = refusal(&pool, "DELETE FROM event_store.events").await.unwrap_or_default();
    assert!(said.contains("append-only"), "{said}");
}

#[tokio::test]
async fn what_is_wrong_with_a_url_is_said_without_the_password() {
    let test = support::database().await;
    let (before, query) = test.url.split_once('?').unwrap_or((&test.url, ""));
    let (server, _) = before.rsplit_once('/').expect("a database");
    let nowhere = db::connect(&format!("{server}/nowhere?{query}")).await.expect_err("no database");
    assert!(matches!(nowhere, ConnectError::NoSuchDatabase { .. }), "{nowhere}");
    assert!(nowhere.to_string().contains("createdb nowhere"), "{nowhere}");
    let silent = db::connect("postgres://me:s3cret@127.0.0.1:1/x").await.expect_err("no server");
    assert!(matches!(silent, ConnectError::NoServer { .. }), "{silent}");
    let said = format!("{silent} {silent:?}");
    assert!(said.contains("me@127.0.0.1:1/x") && !said.contains("s3cret"), "{said}");
    let bad = db::connect("me:s3cret@somewhere").await.expect_err("no URL");
    assert!(matches!(bad, ConnectError::BadUrl), "{bad}");
    assert!(!format!("{bad} {bad:?}").contains("s3cret"));
}
