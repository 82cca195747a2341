//! The commands of those who run a node, as programs.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use alloy::transports::http::reqwest::Url;
use assay::event_store::Batch;
use assay_domain::Fact;
use serde_json::{Value, json};

use crate::commands::{local, told};
use crate::ledger::{ledger_facts, ledger_rated, rater};
use crate::support;

/// What `assay replay` says, and its exit code.
fn replayed(url: &str, more: &[&str]) -> (String, String, i32) {
    told(&local(url, &[&["replay", "--json"], more].concat()))
}

#[tokio::test]
async fn a_replay_comes_to_the_same_on_every_machine_and_to_what_the_read_model_holds() {
    let facts = ledger_facts();
    let (early, late) = facts.split_at(facts.len() / 2);
    let batch = |part: &[Fact]| Batch {
        chain_id: 1,
        finalized: facts.last().map(|fact| fact.block),
        facts: part.to_vec(),
        ..Batch::default()
    };
    let database = support::database().await;
    let store = database.store().await;
    store.append(&batch(&facts)).await.unwrap();
    rater(&store).catch_up().await.unwrap();
    let (all, error, code) = replayed(&database.url, &["--verify", "--epochs"]);
    assert!(code == 0 && error.contains("same ratings"), "{error}");
    assert_eq!(replayed(&database.url, &["--verify", "--epochs"]).0, all, "byte for byte");

    // Another machine got the facts the other way round, and said everything once more.
    let other = support::database().await;
    let store = other.store().await;
    store.append(&batch(late)).await.unwrap();
    rater(&store).catch_up().await.unwrap();
    store.append(&Batch { finalized: None, ..batch(early) }).await.unwrap();
    // What was rated follows from what was known then, and what is known now is not rated yet.
    let (_, error, code) = replayed(&other.url, &["--verify"]);
    assert_eq!(code, 0, "{error}");
    assert_eq!(replayed(&other.url, &["--epochs"]).0, all, "in whatever order");
    rater(&store).catch_up().await.unwrap();
    assert_eq!(replayed(&other.url, &["--verify", "--epochs"]).0, all, "restated");

    // At a position in between, and at one that there is not.
    let told: Value = serde_json::from_str(&all).unwrap();
    let epochs = told["epochs"].as_array().unwrap();
    assert!(epochs.len() > 100 && told["entities"].as_u64() > Some(90), "{}", epochs.len());
    let middle = &epochs[epochs.len() / 2];
    let position = middle["position"].to_string();
    let (there, _, code) = replayed(&other.url, &["--position", &position, "--verify"]);
    assert_eq!((&serde_json::from_str::<Value>(&there).unwrap(), code), (middle, 0));
    assert_eq!(replayed(&other.url, &["--position", "99999999"]).2, 3);
    assert_eq!(replayed(&other.url, &["--position", "99999999", "--verify"]).2, 3);

    // A rating, and a hash, that do not follow.
    let pool = database.pool().await;
    for (change, words) in [
        (
            "UPDATE read_model.rating_points SET assessment_hash = sha256(assessment_hash)",
            "rating of ",
        ),
        ("UPDATE read_model.blocks SET canonical_hash = decode('00', 'hex')", "another hash"),
    ] {
        sqlx::query(change).execute(&pool).await.unwrap();
        let (_, error, code) = replayed(&database.url, &["--verify"]);
        assert!(code == 4 && error.contains(words), "{error}");
    }
}

fn db(url: &str, arguments: &[&str]) -> (String, String, i32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assay"));
    told(&command.arg("db").args(arguments).env("DATABASE_URL", url).output().unwrap())
}

#[tokio::test]
async fn a_database_is_backed_up_restored_and_emptied() {
    let database = ledger_rated().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("assay.dump");
    let file = file.to_str().unwrap();
    let status = |url: &str| {
        let (said, error, code) = db(url, &["status", "--json"]);
        assert_eq!(code, 0, "{error}");
        serde_json::from_str::<Value>(&said).unwrap()
    };
    let before = status(&database.url);
    assert!(before["bytes"].as_u64() > Some(1_000_000), "{before}");
    assert_eq!(before["migrations"]["missing"], json!([]));
    let (said, error, code) = db(&database.url, &["backup", file]);
    assert!(code == 0 && said.contains("kB in "), "{error}");
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(db(&database.url, &["backup", file]).2, 1, "nothing is written over");

    // Into an empty one, whose roles have their rights; into one that has a log, never.
    let other = support::database().await;
    let (_, error, code) = db(&other.url, &["restore", file]);
    assert!(code == 0 && error.contains("may sign again"), "{error}");
    let after = status(&other.url);
    assert_eq!((&after["log"], &after["ratedUpTo"]), (&before["log"], &before["ratedUpTo"]));
    assert!(after["log"]["position"].as_u64() > Some(200));
    assert_eq!(told(&local(&other.url, &["verify"])).2, 0);
    for (reader, is_its) in
        [("SELECT slug FROM read_model.entities", true), ("TABLE outbox.reports", false)]
    {
        let words = format!("SET ROLE assay_reader; {reader} LIMIT 1");
        let (said, error, code) =
            db(&other.url, &["psql", "--", "-v", "ON_ERROR_STOP=1", "-c", &words]);
        assert_eq!(code == 0, is_its, "{said}{error}");
        assert!(is_its || error.contains("permission denied"), "{error}");
    }
    let (_, error, code) = db(&other.url, &["restore", file]);
    assert!(code == 1 && error.contains("events already"), "{error}");
    // What is no backup changes nothing that was there.
    std::fs::write(file, "no backup").unwrap();
    let empty = support::database().await;
    assert_eq!(db(&empty.url, &["restore", file]).2, 1);
    assert_eq!(db(&empty.url, &["migrate"]).2, 0);
    assert_eq!(status(&empty.url)["log"]["position"], 0);

    // Nobody can be asked here, so only --yes throws away, and never under somebody's feet.
    let (_, error, code) = db(&other.url, &["reset"]);
    assert!(code == 1 && error.contains("--yes"), "{error}");
    let pool = other.pool().await;
    let held = pool.acquire().await.unwrap();
    let (_, error, code) = db(&other.url, &["reset", "--yes"]);
    assert!(code == 1 && error.contains("stop them first"), "{error}");
    drop(held);
    pool.close().await;
    assert_eq!(db(&other.url, &["reset", "--yes"]).2, 0);
    assert_eq!(status(&other.url)["log"]["position"], 0);
}

#[tokio::test]
async fn a_password_is_never_shown_and_reaches_psql_all_the_same() {
    let database = support::database().await;
    let pool = database.pool().await;
    let role = format!("assay_operator_{}", std::process::id());
    for statement in [
        format!("CREATE ROLE {role} LOGIN PASSWORD 'p&q +1%'"),
        format!("GRANT assay_reader TO {role}"),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&pool).await.unwrap();
    }
    let mut own: Url = database.url.parse().unwrap();
    own.set_username(&role).unwrap();
    own.set_password(Some("p&q +1%")).unwrap();
    let (said, _, code) = db(own.as_str(), &["url"]);
    assert!(code == 0 && said.contains(&role) && !said.contains("q%20"), "{said}");
    assert!(own.as_str().contains("q%20"), "{own}");
    let (said, error, code) = db(own.as_str(), &["psql", "--", "-At", "-c", "SELECT current_user"]);
    assert_eq!((said.trim(), code), (role.as_str(), 0), "{error}");
    // It is in the environment of psql, and on no command line.
    let look = |what: &str| {
        let words = format!(r"\! tr '\0' '\n' < /proc/$PPID/{what}");
        db(own.as_str(), &["psql", "--", "-c", &words]).0
    };
    assert!(look("environ").contains("PGPASSWORD=p&q +1%\n"), "{}", look("environ"));
    assert!(look("cmdline").contains(&role) && !look("cmdline").contains("q%20"));
    sqlx::query(sqlx::AssertSqlSafe(format!("DROP ROLE {role}"))).execute(&pool).await.unwrap();
}

#[test]
fn a_webhook_is_added_and_taken_out_and_what_people_wrote_stays() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("webhooks.toml");
    let secret = folder.path().join("desk.secret");
    std::fs::write(&secret, format!("whsec_{}", "c2Vj".repeat(10))).unwrap();
    let alerts = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_assay"));
        command.arg("alerts").args(arguments).arg("--webhooks").arg(&file);
        told(&command.output().unwrap())
    };
    let add = |name: &str, url: &str, more: &[&str]| {
        alerts(&[&["add", name, url, "--secret-file", "desk.secret"], more].concat())
    };
    let url = "https://example.org/assay";
    // A secret that others can read is none, and then nothing is written.
    let (_, error, code) = add("desk", url, &[]);
    assert!(code == 1 && error.contains("chmod 600") && !file.exists(), "{error}");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (said, error, code) = add("desk", url, &[]);
    assert!(code == 0 && said.contains("desk is told"), "{error}");
    let written = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("# Asked for by the desk.\n{written}# The end.\n")).unwrap();
    let kinds = "rating_action,watch_change,slash,stale_feed";
    let (_, error, code) =
        add("night-1", "http://10.0.0.1/", &["--allow-private", "--kinds", kinds]);
    assert_eq!(code, 0, "{error}");
    let both = std::fs::read_to_string(&file).unwrap();
    let webhooks = assay::webhook::Webhook::read(&file).unwrap();
    let names: Vec<&str> = webhooks.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["desk", "night-1"]);
    for (arguments, expected, words) in [
        (&["desk", url][..], 1, "two have this name"),
        (&["a b", url], 1, "letters, digits"),
        (&["other", "http://10.0.0.1/"], 1, "allow_private"),
        (&["other", url, "--kinds", "gossip"], 2, "possible values"),
    ] {
        let (_, error, code) = add(arguments[0], arguments[1], &arguments[2..]);
        assert!(code == expected && error.contains(words), "{error}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), both);
    }
    assert_eq!(alerts(&["rm", "nobody"]).2, 3);
    assert_eq!(alerts(&["rm", "night-1"]).2, 0);
    let left = std::fs::read_to_string(&file).unwrap();
    assert!(left.contains("# Asked for by the desk.") && left.contains("# The end."), "{left}");
    assert!(left.contains("desk.secret") && !left.contains("night-1"), "{left}");
}

#[test]
fn a_file_of_settings_goes_before_defaults_and_behind_flags_and_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("assay.toml");
    let assay = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_assay"));
        command.args(arguments).current_dir(folder.path()).env("XDG_CONFIG_HOME", folder.path());
        for name in ["DATABASE_URL", "ASSAY_RPC_URL", "ASSAY_URL"] {
            command.env_remove(name);
        }
        told(&command.envs(variables.iter().copied()).output().unwrap())
    };
    let show = |variables: &[(&str, &str)], more: &[&str]| {
        let (said, error, code) =
            assay(&[&["config", "show", "run", "--json"], more].concat(), variables);
        assert_eq!(code, 0, "{error}");
        serde_json::from_str::<Vec<Value>>(&said).unwrap()
    };
    let of = |all: &[Value], name: &str| {
        let one = all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name}"));
        (one["value"].clone(), one["origin"].as_str().unwrap().to_owned())
    };
    // What is written says what holds without it, and is not written over.
    let before = show(&[], &[]);
    let (said, error, code) = assay(&["init"], &[]);
    assert_eq!((said.trim(), code), (file.to_str().unwrap(), 0), "{error}");
    assert_eq!(show(&[], &[]), before);
    assert_eq!(assay(&["init"], &[]).2, 1);
    assert_eq!(assay(&["init", "--force"], &[]).2, 0);
    let written = std::fs::read_to_string(&file).unwrap();
    let set: String = written
        .lines()
        .filter(|line| !line.ends_with("\"\""))
        .map(|line| match line.strip_prefix('#').filter(|line| !line.starts_with(' ')) {
            Some(setting) => format!("{setting}\n"),
            None => format!("{line}\n"),
        })
        .collect();
    std::fs::write(&file, &set).unwrap();
    let value = |all: &[Value]| {
        all.iter()
            .map(|one| (one["name"].to_string(), one["value"].clone()))
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    assert_eq!(value(&show(&[], &[])), value(&before), "{set}");

    std::fs::write(
        &file,
        "data-dir = '/of/file'\n[run]\nlisten = '127.0.0.1:1'\nrpc-url = ['http://hush']",
    )
    .unwrap();
    let all = show(&[], &[]);
    let from = format!("file {}", "assay.toml");
    assert_eq!(of(&all, "--listen"), (json!("127.0.0.1:1"), from.clone()));
    assert_eq!(of(&all, "--data-dir"), (json!("/of/file"), from.clone()));
    assert_eq!(of(&all, "--rpc-url"), (json!("(set, not shown)"), from));
    assert!(!assay(&["run", "--help"], &[]).0.contains("hush"));
    let all = show(&[("ASSAY_RPC_URL", "http://other")], &["--data-dir", "/of/flag"]);
    assert_eq!(of(&all, "--rpc-url").1, "environment ASSAY_RPC_URL");
    assert_eq!(of(&all, "--data-dir"), (json!("/of/flag"), "flag".to_owned()));

    for (wrong, words) in [
        ("[run]\nlisen = '127.0.0.1:1'", "the nearest is listen"),
        ("[run]\nlisten = 'x'", "'x' for '--listen"),
        ("[run]\nlisten = 1.5", "wants a text"),
        ("[watch]\nexec = 'x'", "no section [watch]"),
        ("data-dir", "no TOML"),
    ] {
        std::fs::write(&file, wrong).unwrap();
        let (_, error, code) = assay(&["config", "show"], &[]);
        assert!(code == 2 && error.contains(words), "{wrong}: {error}");
    }
    // Without one here, the one in the user's own place is read.
    std::fs::remove_file(&file).unwrap();
    let own = folder.path().join("assay/config.toml");
    std::fs::create_dir(own.parent().unwrap()).unwrap();
    std::fs::write(&own, "data-dir = '/of/home'").unwrap();
    assert_eq!(assay(&["config", "path"], &[]).0.trim(), own.to_str().unwrap());
    assert_eq!(of(&show(&[], &[]), "--data-dir").0, "/of/home");
}
