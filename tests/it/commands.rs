//! The commands that read, as programs: what they print, and with which code they end.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use assay_graphql::ApiConfig;
use assay_oracle::anvil::Anvil;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::dashboard::rated_world;
use crate::demo::assay;
use crate::graphql::live::{say, serve, serve_as};
use crate::graphql::seed;
use crate::ledger::ledger_rated;
use crate::lrt::five_rated;
use crate::oracle_world::anvil_path;
use crate::what_if::simulator;

/// What is kept word for word in `tests/golden/commands.txt`.
const TRANSCRIPT: [&[&str]; 14] = [
    &["ls", "sets", "--sort", "riskiest", "--limit", "4"],
    &["ls", "--grade", "<=CCC-", "--limit", "3", "--csv"],
    &["ls", "sets", "--limit", "2", "--plain"],
    &["ls", "avs", "--fail-below", "BBB-", "--limit", "2"],
    &["show", "operator-set-1-0x12b75d5e…-0", "--at", "block:24712915"],
    &["explain", "operator-set-1-0x12b75d5e…-0", "--at", "block:24712915"],
    &["history", "operator-set-1-0x12b75d5e...-0", "--limit", "3"],
    &["history", "operator-set-1-0x12b75d5e…-0", "--from", "2026-03-22", "--to", "block:24763745"],
    &["diff", "operator-set-1-0x12b75d5e…-0", "block:24763744", "block:1:24763745"],
    &["compare", "operator-set-1-0x12b75d5e…-0", "operator-set-1-0x90c68bf0…-0"],
    &["slashings", "--open"],
    &["slashings", "--avs", "0x90c68bf0caca6b2a8ba7ede549c911f907b9ef79", "--limit", "1"],
    &["show", "operator-set-1-0x12b75d5ed35320c33daf37f90ff0f6d31796cc3d-0"],
    &["show", "0x12b75d5e", "--at", "1"],
];

/// Runs without colours, whatever the environment says.
fn run(command: &mut Command) -> Output {
    command.env_remove("ASSAY_URL").env_remove("ASSAY_RPC_URL").output().unwrap()
}

pub(crate) fn local(url: &str, arguments: &[&str]) -> Output {
    run(&mut assay(url, arguments))
}

pub(crate) fn remote(url: &str, arguments: &[&str]) -> Output {
    run(Command::new(env!("CARGO_BIN_EXE_assay")).args(arguments).args(["--url", url]))
}

/// A blocking run beside the server of the test.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

pub(crate) fn told(output: &Output) -> (String, String, i32) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr), output.status.code().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_if_tells_before_after_and_what_drives_it_of_the_database_and_of_a_server() {
    let (database, _rater, _facts) = rated_world().await;
    let config =
        ApiConfig { simulator: Some(simulator(database.store().await)), ..ApiConfig::default() };
    let server = serve_as(&database.pool().await, config).await;
    let url = database.url.clone();
    blocking(move || {
        let bug = ["whatif", "--client-bug", "20%", "--exits-stop", "14"];
        let as_json = [&bug[..], &["--json"]].concat();
        let [here, there] = [local(&url, &as_json), remote(&server, &as_json)].map(|output| {
            let (said, told, code) = told(&output);
            assert_eq!(code, 0, "{told}");
            serde_json::from_str::<Value>(&said).unwrap()["data"].clone()
        });
        assert_eq!(here, there);
        let effects = &here["played"]["scenarios"][0]["effects"];
        let moved = effects["nodes"].as_array().unwrap();
        assert!(!moved.is_empty());
        let ppt = |value: &Value| value.as_str().unwrap().parse::<i64>().unwrap();
        for effect in moved.iter().filter(|one| one["drivers"].as_array().unwrap().len() < 20) {
            let drivers = effect["drivers"].as_array().unwrap();
            let sum: i64 =
                drivers.iter().map(|one| ppt(&one["afterPpt"]) - ppt(&one["beforePpt"])).sum();
            let change =
                ppt(&effect["expectedLossAfterPpt"]) - ppt(&effect["expectedLossBeforePpt"]);
            assert_eq!(sum, change, "{effect}");
        }
        // One of them, and why; one that there is not; nothing that happens.
        let slug = moved[0]["slug"].as_str().unwrap();
        let (text, _, code) = told(&local(&url, &[&["whatif", slug], &bug[1..]].concat()));
        assert!(code == 0 && text.contains("What moves the expected loss"), "{text}");
        assert_eq!(told(&local(&url, &["whatif", "nobody", "--exits-stop", "1"])).2, 3);
        let (_, error, code) = told(&local(&url, &["whatif"]));
        assert!(code == 1 && error.contains("say what happens"), "{error}");

        // The fixed scenarios, of a server.
        let (text, error, code) =
            told(&remote(&server, &["stress", "--scenario", "client-bug-20"]));
        assert!(code == 0 && text.starts_with("client-bug-20: "), "{text}{error}");
        let both = ["stress", "--scenario", "client-bug-20", "--client-bug", "1%"];
        assert_eq!(told(&remote(&server, &both)).2, 1);
    })
    .await;
}

#[test]
fn config_says_where_each_value_comes_from_and_shows_no_secret() {
    let secret = "postgres://somebody:hush@127.0.0.1:1/none";
    let mut command = Command::new(env!("CARGO_BIN_EXE_assay"));
    command.args(["config", "show", "run", "--json"]).env("DATABASE_URL", secret);
    let (said, _, code) = told(&run(command.env("ASSAY_LOG", "info")));
    assert!(code == 0 && !said.contains("hush"), "{said}");
    let settings: Value = serde_json::from_str(&said).unwrap();
    let origin = |name: &str| {
        let mut all = settings.as_array().unwrap().iter();
        all.find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name}: {said}"))["origin"]
            .clone()
    };
    assert_eq!(origin("--database-url"), "environment DATABASE_URL");
    assert_eq!(origin("--data-dir"), "not used: the database is elsewhere");
    assert_eq!(origin("--rpc-url"), "not set");
    assert_eq!(origin("--listen"), "default");
    assert_eq!(origin("log"), "environment ASSAY_LOG");
    let mut command = Command::new(env!("CARGO_BIN_EXE_assay"));
    command.args(["config", "show", "--origin", "--database-url", secret]);
    let (said, _, code) = told(&run(&mut command));
    assert!(code == 0 && said.contains("flag") && !said.contains("hush"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_and_the_database_tell_the_same_and_it_is_what_was_kept() {
    let database = ledger_rated().await;
    let served = serve(&database.pool().await).await;
    let url = database.url.clone();
    let transcript = blocking(move || {
        let mut transcript = String::new();
        for arguments in TRANSCRIPT {
            let (out, err, code) = told(&local(&url, arguments));
            assert_eq!(told(&remote(&served, arguments)), (out.clone(), err.clone(), code));
            let line = arguments.join(" ");
            writeln!(transcript, "$ assay {line}\n{out}{err}[{code}]\n").unwrap();
            // The same as JSON, byte for byte.
            if code == 0 && !["--csv", "--plain"].iter().any(|format| arguments.contains(format)) {
                let arguments = [arguments, &["--json"]].concat();
                let (out, _, code) = told(&local(&url, &arguments));
                assert_eq!((told(&remote(&served, &arguments)).0, code), (out.clone(), 0));
                let answer: Value = serde_json::from_str(&out).unwrap();
                assert!(answer["data"].is_object() && answer["extensions"].is_object(), "{line}");
            }
        }
        for (arguments, code) in [
            (&["ls", "--at", "999999"][..], 3),
            (&["show", "zz"], 3),
            (&["look-through", "operator-set-1-0x12b75d5e…-0"], 1),
            (&["ls", "--grade", ">=AAAA"], 2),
            (&["ls", "--at", "yesterday"], 2),
            (&["ls", "--at", "safe"], 2),
            (&["ls", "--at", &format!("0x{:064x}", 1)], 3),
        ] {
            assert_eq!(told(&local(&url, arguments)).2, code, "{arguments:?}");
            assert_eq!(told(&remote(&served, arguments)).2, code, "{arguments:?}");
        }
        let nobody = "postgres://a:b@127.0.0.1:1/x";
        assert_eq!(told(&local(nobody, &["ls"])).2, 7);
        assert_eq!(told(&remote("http://127.0.0.1:1", &["ls"])).2, 6);
        for (table, more) in [("ratings", ""), ("history", "operator-set-1-0x12b75d5e…-0")] {
            let mut arguments = vec!["export", table, "--format", "jsonl"];
            if !more.is_empty() {
                arguments.extend(["--entity", more]);
            }
            let (lines, _, code) = told(&local(&url, &arguments));
            assert_eq!((told(&remote(&served, &arguments)).0, code), (lines.clone(), 0));
            assert!(lines.lines().count() > 80, "{table}");
            lines.lines().for_each(|line| drop(serde_json::from_str::<Value>(line).unwrap()));
        }
        transcript
    })
    .await;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/commands.txt");
    if std::env::var_os("ASSAY_BLESS").is_some() {
        std::fs::write(path, &transcript).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(transcript == kept, "not what is kept; ASSAY_BLESS=1 keeps it:\n{transcript}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_point_can_be_named_by_a_block_hash_a_publication_and_finality() {
    let database = ledger_rated().await;
    let pool = database.pool().await;
    let (hash, number): (Vec<u8>, i64) =
        sqlx::query_as("SELECT hash, number FROM read_model.blocks WHERE number = 24712915")
            .fetch_one(&pool)
            .await
            .unwrap();
    // What a batch of the middle of the record would have left here.
    let (position, slug): (i64, String) = sqlx::query_as(
        "WITH batch AS (SELECT p.*, e.key, e.slug FROM read_model.rating_points p
               JOIN read_model.entities e ON e.id = p.entity_id
              WHERE p.position = (SELECT max(position) FROM read_model.rating_points
                                   WHERE word IS NOT NULL AND block_number < 25000000)
                AND p.word IS NOT NULL),
              told AS (INSERT INTO read_model.publications SELECT 1, decode(repeat('0c', 20), 'hex'),
                   key, seq, word, decode(repeat('88', 32), 'hex'), 1, 'final' FROM batch)
         SELECT position, slug FROM batch LIMIT 1",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    let served = serve(&pool).await;
    let url = database.url.clone();
    let show = move |slug: &str, at: &str| {
        let arguments = ["show", slug, "--json", "--at", at];
        let here = told(&local(&url, &arguments));
        assert_eq!(told(&remote(&served, &arguments)), here);
        here
    };
    let transaction = format!("publication:0x{}", "88".repeat(32));
    let show = blocking(move || {
        let set = "operator-set-1-0x12b75d5e…-0";
        let by_hash = show(set, &format!("0x{}", alloy::primitives::hex::encode(hash)));
        assert_eq!((&by_hash, by_hash.2), (&show(set, &format!("block:{number}")), 0));
        assert_eq!(show(&slug, &transaction), show(&slug, &position.to_string()));
        // What is final is what is rated; head has the slashes before that too.
        let of_rating =
            |at| serde_json::from_str::<Value>(&show(set, at).0).unwrap()["data"].clone();
        assert_eq!(of_rating("finalized"), of_rating("head"));
        let nothing = show(set, &format!("publication:0x{}", "77".repeat(32)));
        assert!(nothing.2 == 3 && nothing.1.contains("recorded here"), "{}", nothing.1);
        (show, slug)
    });
    let (show, slug) = show.await;
    // Older facts came late: the record has another word there now.
    sqlx::query("UPDATE read_model.rating_points SET word = set_byte(word, 31, 255)")
        .execute(&pool)
        .await
        .unwrap();
    let transaction = format!("publication:0x{}", "88".repeat(32));
    let (_, error, code) = blocking(move || show(&slug, &transaction)).await;
    assert!(code == 3 && error.contains("restated since"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_is_explained_as_it_was_said_and_a_history_has_ends() {
    let database = ledger_rated().await;
    let served = serve(&database.pool().await).await;
    let url = database.url.clone();
    let told_alike = move |arguments: &[&str]| {
        let here = told(&local(&url, arguments));
        let there = told(&remote(&served, arguments));
        // What is not understood shows how it was called.
        assert!(there == here || (there.2, here.2) == (2, 2), "{there:?} {here:?}");
        here
    };
    let (told_alike, last) = blocking(move || {
        let set = "operator-set-1-0x12b75d5e…-0";
        let nodes = |list: &str, more: &[&str]| -> Vec<Value> {
            let arguments = [&["history", set, "--json"], more].concat();
            let (said, error, code) = told_alike(&arguments);
            assert_eq!(code, 0, "{error}");
            let answer: Value = serde_json::from_str(&said).unwrap();
            answer["data"]["entity"][list]["nodes"].as_array().unwrap().clone()
        };
        // The ends are part of it, and what is shown is what lies between them.
        let block = |one: &Value| one["block"]["number"].as_u64().unwrap();
        for (list, flag) in [("ratingHistory", None), ("ratingActions", Some("--actions"))] {
            let more = |ends: [&str; 4]| {
                nodes(list, &[&flag.into_iter().collect::<Vec<_>>()[..], &ends].concat())
            };
            let all = nodes(list, &flag.into_iter().collect::<Vec<_>>());
            let (newest, oldest) = (block(&all[0]), block(all.last().unwrap()));
            assert!(newest > oldest);
            let block_of = |number: u64| format!("block:{number}");
            assert_eq!(more(["--from", &block_of(oldest), "--to", &block_of(newest)]), all);
            let expected: Vec<Value> =
                all.iter().filter(|one| block(one) < newest).cloned().collect();
            let time = all[0]["block"]["time"].as_str().unwrap();
            assert_eq!(
                more(["--from", &block_of(oldest), "--to", &block_of(newest - 1)]),
                expected
            );
            let expected: Vec<Value> = all
                .iter()
                .filter(|one| one["block"]["time"].as_str() >= Some(time))
                .cloned()
                .collect();
            assert_eq!(more(["--from", time, "--to", "2100-01-01"]), expected);
        }
        for (ends, words) in [
            (["block:9", "block:8"], "fromBlock 9 lies after toBlock 8"),
            (["2026-03-02", "2026-03-01"], "lies after toTime 2026-03-01T23:59:59Z"),
        ] {
            let (_, error, code) =
                told_alike(&["history", set, "--from", ends[0], "--to", ends[1]]);
            assert!(code == 1 && error.contains(words), "{error}");
        }
        assert_eq!(told_alike(&["history", set, "--from", "100"]).2, 2);

        let actions = nodes("ratingActions", &["--actions"]);
        let place = actions.iter().position(|one| one["kind"] == "DOWNGRADED").unwrap();
        let last = actions[place]["id"].as_str().unwrap().to_owned();
        let (text, error, code) = told_alike(&["explain", "--action", &last]);
        assert!(code == 0 && text.contains("What drives it"), "{text}{error}");
        let moved = text.split("What moved the score:").nth(1).unwrap_or_else(|| panic!("{text}"));
        // What moved adds up to the difference of the two scores.
        let (said, _, _) = told_alike(&["explain", "--action", &last, "--json"]);
        let said = serde_json::from_str::<Value>(&said).unwrap()["data"]["node"].clone();
        let score = |said: &Value| said["rating"]["score"].as_i64().unwrap();
        let change = score(&said) - score(&said["previous"]);
        let sum = moved.lines().find(|line| line.starts_with("| sum")).unwrap();
        assert!(change != 0 && sum.contains(&format!("{change:+} ")), "{change}: {moved}");
        assert_eq!(said["previous"]["id"], actions[place + 1]["id"]);
        let first = actions.last().unwrap()["id"].as_str().unwrap();
        let (text, _, code) = told_alike(&["explain", "--action", first]);
        assert!(code == 0 && text.contains("Nothing was said about it before"), "{text}");
        for nobody in ["bm9uZQ", "YWN0aW9uOjk5OTk5OTk5", "nobody at all"] {
            let (_, error, code) = told_alike(&["explain", "--action", nobody]);
            assert!(code == 3 && error.contains("no rating action"), "{error}");
        }
        assert_eq!(told_alike(&["explain", set, "--action", first]).2, 2);
        (told_alike, last)
    })
    .await;
    // Ratings were made anew since: what was said is kept, its working is not.
    sqlx::query("UPDATE read_model.rating_points SET word = set_byte(word, 31, 255)")
        .execute(&database.pool().await)
        .await
        .unwrap();
    let (text, error, code) = blocking(move || told_alike(&["explain", "--action", &last])).await;
    assert!(code == 0 && text.contains("what was said is kept"), "{text}{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_looked_through_and_a_broken_policy_has_its_own_code() {
    let database = five_rated().await;
    let url = database.url.clone();
    blocking(move || {
        let folder = tempfile::tempdir().unwrap();
        let token = {
            let (out, _, _) = told(&local(&url, &["ls", "tokens", "--json"]));
            let answer: Value = serde_json::from_str(&out).unwrap();
            answer["data"]["entities"]["nodes"][0]["slug"].as_str().unwrap().to_owned()
        };
        for (line, code) in [
            ("operator_percent_max = 100\nunseen_percent_max = 100", 0),
            ("operator_percent_max = 1", 8),
            ("operator_percent = 1", 1),
            ("worst_grade = 'Z'", 1),
        ] {
            let policy = folder.path().join("policy.toml");
            std::fs::write(&policy, line).unwrap();
            let path = policy.to_str().unwrap();
            let arguments = ["look-through", &token, "--by", "operator", "--policy", path];
            let (out, err, found) = told(&local(&url, &arguments));
            assert_eq!(found, code, "{line}: {out}{err}");
            // Either each limit with what was found, or what is wrong with the file.
            assert!(err.contains("operator_percent") || err.contains("is no grade"), "{err}");
        }
        let (out, _, code) = told(&local(&url, &["look-through", &token, "--csv"]));
        assert_eq!(code, 0);
        assert!(out.lines().filter(|line| line.starts_with("slashable,")).count() == 4, "{out}");
    })
    .await;
}

/// Lines of a watch that is still running, up to `count`; then it is stopped.
fn watched(mut command: Command, count: usize) -> (Vec<Value>, Option<i32>) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    // Open until the end: a watch whose reader has gone ends by itself, with 0.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = lines.by_ref().take(count).map(|line| serde_json::from_str(&line.unwrap()).unwrap());
    let told = told.collect();
    let id = i32::try_from(child.id()).unwrap();
    kill(Pid::from_raw(id), Signal::SIGINT).unwrap();
    (told, child.wait().unwrap().code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_where_it_was_stopped() {
    let (database, pool): (_, PgPool) = seed::world(2).await;
    for number in 0..30 {
        say(&pool, number).await;
    }
    let served = serve(&pool).await;
    let url = database.url.clone();
    blocking(move || {
        for is_remote in [false, true] {
            let watch = |arguments: &[&str]| {
                let arguments = [&["watch"], arguments].concat();
                match is_remote {
                    false => assay(&url, &arguments),
                    true => {
                        let mut command = Command::new(env!("CARGO_BIN_EXE_assay"));
                        command.args(&arguments).args(["--url", &served]);
                        command
                    }
                }
            };
            let position = |line: &Value| line["position"].as_str().unwrap().to_owned();
            let all = told(&run(&mut watch(&["--after", "0", "--once"])));
            let all: Vec<Value> =
                all.0.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert!(all.len() >= 30);
            assert_eq!(all.last().unwrap()["about"]["action"], json!("AFFIRMED"));
            let (mut lines, code) = watched(watch(&["--after", "0"]), 7);
            assert_eq!(code, Some(130));
            let (more, _) = watched(watch(&["--after", &position(&lines[6])]), all.len() - 7);
            lines.extend(more);
            assert_eq!(lines, all);
            let none =
                told(&run(&mut watch(&["--after", "0", "--once", "--kinds", "publications"])));
            assert_eq!((none.0.as_str(), none.2), ("", 0));
            let ahead = told(&run(&mut watch(&["--after", "999999999"])));
            assert_eq!(ahead.2, 3, "{}", ahead.1);
            let failed = told(&run(&mut watch(&["--after", "0", "--exec", "exit 9"])));
            assert_eq!((failed.0.lines().count(), failed.2), (1, 1), "{}", failed.1);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stranger_wrote_never_steers_the_terminal() {
    let (database, pool): (_, PgPool) = seed::world(2).await;
    // As a hostile server, or a flaw in the escaping, would have it.
    sqlx::query("UPDATE read_model.slashing_events SET description = $1")
        .bind("\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}")
        .execute(&pool)
        .await
        .unwrap();
    // And a name in a document, meant to push everything else off the screen.
    sqlx::query("UPDATE read_model.operators SET metadata_uri = 'https://names.example/'")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO read_model.documents (uri, position, hash, name)
         VALUES ('https://names.example/', 1, '', $1)",
    )
    .bind(format!("\u{1b}[2Jknown\u{202e}{}", "W".repeat(200)))
    .execute(&pool)
    .await
    .unwrap();
    let url = database.url.clone();
    blocking(move || {
        let operator = seed::operator(1).to_string();
        for (arguments, words) in [
            (&["slashings"][..], &["owned", "known"][..]),
            (&["ls", "operators"], &["known"]),
            (&["show", &operator], &["known"]),
        ] {
            for more in [&[][..], &["--json"], &["--csv"]] {
                if arguments[0] == "show" && more == ["--csv"] {
                    continue;
                }
                let (out, err, code) = told(&local(&url, &[arguments, more].concat()));
                assert_eq!(code, 0, "{err}");
                for word in words {
                    assert!(out.contains(word), "{out}");
                }
                let is_raw =
                    |c: char| c.is_control() && !matches!(c, '\n' | '\r') || c == '\u{202e}';
                assert!(!out.contains(is_raw), "{out:?}");
                assert!(!out.contains(&"W".repeat(80)), "{out}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_finds_what_is_ill_and_says_what_to_do() {
    let database = ledger_rated().await;
    let served = serve(&database.pool().await).await;
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("password");
    std::fs::write(&secret, "x").unwrap();
    let examine = |url: String, arguments: Vec<String>| {
        blocking(move || {
            let mut command = match url.starts_with("http") {
                true => Command::new(env!("CARGO_BIN_EXE_assay")),
                false => assay(&url, &[]),
            };
            if url.starts_with("http") {
                command.args(["--url", &url]);
            }
            let mut all = vec!["doctor".to_owned(), "--json".to_owned()];
            all.extend(arguments);
            // `doctor` comes first: --url is its own.
            let mut ordered = Command::new(command.get_program());
            ordered.args(&all).args(command.get_args());
            let (out, err, code) = told(&run(&mut ordered));
            let told: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
            let mut states = std::collections::BTreeMap::new();
            for check in told["checks"].as_array().unwrap() {
                let is_mended = check["state"] == "ok" || check["fix"] != "";
                assert!(is_mended, "{check}");
                let name = check["check"].as_str().unwrap().to_owned();
                states.insert(name, check["state"].as_str().unwrap().to_owned());
            }
            (states, code)
        })
    };
    let mode =
        |mode| std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(mode)).unwrap();
    let secret_file = || vec!["--secret-file".to_owned(), secret.display().to_string()];
    mode(0o600);
    let (states, code) = examine(database.url.clone(), secret_file()).await;
    assert_eq!(code, 0, "{states:?}");
    for check in
        ["binary", "postgres", "clock", "migrations", "log", "ratings", "feed", "secret file"]
    {
        assert_eq!(states.get(check).map(String::as_str), Some("ok"), "{check}: {states:?}");
    }
    mode(0o644);
    let (states, code) = examine(database.url.clone(), secret_file()).await;
    assert_eq!((states["secret file"].as_str(), code), ("bad", 5));
    let (states, code) = examine(served.clone(), Vec::new()).await;
    assert_eq!((states["server"].as_str(), code), ("ok", 0), "{states:?}");
    // A node that answers, and one that is not there.
    let path = blocking(anvil_path).await;
    let anvil = Anvil::start(&path, &[]).unwrap();
    let rpc = |url: &str| vec!["--rpc-url".to_owned(), url.to_owned()];
    let (states, code) = examine(database.url.clone(), rpc(anvil.rpc_url())).await;
    assert_eq!((states["rpc 1"].as_str(), code), ("ok", 0), "{states:?}");
    let (states, code) = examine(served.clone(), rpc("http://127.0.0.1:1")).await;
    assert_eq!((states["rpc 1"].as_str(), code), ("bad", 5));
    let lag = vec!["--lag-max".to_owned(), "100000000".to_owned()];
    assert_eq!(examine(served, lag).await.1, 0);
    // One byte of the newest event.
    sqlx::raw_sql(
        "ALTER TABLE event_store.events DISABLE TRIGGER ALL;
         UPDATE event_store.events SET tx_hash = set_byte(tx_hash, 0, 1 + get_byte(tx_hash, 0) % 255)
          WHERE position = (SELECT max(position) FROM event_store.events)",
    )
    .execute(&database.pool().await)
    .await
    .unwrap();
    let (states, code) = examine(database.url.clone(), Vec::new()).await;
    assert_eq!((states["log"].as_str(), code), ("bad", 5), "{states:?}");
}

#[test]
fn a_query_is_weighed_without_a_database_as_a_server_weighs_it() {
    let folder = tempfile::tempdir().unwrap();
    let weigh = |document: &str, more: &[&str]| {
        let file = folder.path().join("asked.graphql");
        std::fs::write(&file, document).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_assay"));
        command.arg("query").arg(file).args(["--dry-run", "--json"]).args(more);
        let nowhere = "postgres://nobody@127.0.0.1:1/none";
        let (said, _, code) = told(&run(command.env("DATABASE_URL", nowhere)));
        (serde_json::from_str::<Value>(&said).unwrap(), code)
    };
    let document = "query($n: Int!) { entities(first: $n) { nodes { rating { score } } } }";
    let (told, code) = weigh(document, &["--var", "n=3"]);
    assert_eq!((told["cost"].clone(), code), (json!({ "found": 7, "max": 5000 }), 0), "{told}");
    assert_eq!((&told["depth"]["found"], &told["refusal"]), (&json!(4), &Value::Null));
    // Too dear is weighed all the same; what a limit stops before that is not.
    let nested = "query($n: Int!) { entities(first: $n) { nodes { ratingHistory(first: $n) {
        nodes { score block { number } } } } } }";
    let (told, code) = weigh(nested, &["--var", "n=100"]);
    assert_eq!((&told["refusal"]["code"], code), (&json!("COST_EXCEEDED"), 1), "{told}");
    assert!(told["cost"]["found"].as_u64() > Some(10_000), "{told}");
    let (told, code) = weigh(document, &["--var", "n=101"]);
    assert_eq!((&told["refusal"]["code"], code), (&json!("PAGE_TOO_LARGE"), 1));
    assert_eq!(told["cost"]["found"], Value::Null);
    assert_eq!(weigh("{", &[]).0["refusal"]["code"], "GRAPHQL_PARSE_FAILED");
    assert_eq!(weigh(document, &[]).0["refusal"]["code"], "GRAPHQL_VALIDATION_FAILED");
}

#[test]
fn a_schema_that_breaks_an_older_one_has_its_own_code() {
    let folder = tempfile::tempdir().unwrap();
    let kept = include_str!("../../graphql/schema.graphql");
    let examine = |older: &str| {
        let file = folder.path().join("older.graphql");
        std::fs::write(&file, older).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_assay"));
        told(&run(command.args(["schema", "--diff"]).arg(file)))
    };
    assert_eq!(examine(kept), (String::new(), String::new(), 0));
    // An older one had a field more, and another one less.
    let more = kept.replacen("type Frontier {", "type Frontier {\n  gone(x: Int): Int", 1);
    let (said, error, code) =
        examine(&more.replacen("  \"What is held now.\"\n  held: FrontierPoint\n", "", 1));
    assert_eq!(said, "breaking: Frontier.gone is gone\nsafe: Frontier.held is new\n");
    assert!(code == 9 && error.contains("1 breaking change"), "{error}");
    assert_eq!(examine("type {").2, 1);
}

#[test]
fn every_command_has_an_example_and_completions_load() {
    let assay = |arguments: &[&str]| {
        let output = run(Command::new(env!("CARGO_BIN_EXE_assay")).args(arguments));
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let help = assay(&["--help"]);
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| !line.is_empty());
    let names: Vec<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.len() > 25, "{names:?}");
    for name in names.iter().filter(|name| **name != "help") {
        let help = assay(&[name, "--help"]);
        assert!(help.starts_with("Example"), "{name}: {help}");
        assert!(help.contains(&format!("assay {name}")), "{name}: {help}");
        assert!(assay(&["man", name]).contains(".SH"), "{name}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = assay(&["completions", shell]);
        assert!(script.contains("look-through"), "{shell}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), script).unwrap();
        match Command::new(shell).arg("-n").arg(file.path()).output() {
            Ok(checked) => assert!(
                checked.status.success() && checked.stderr.is_empty(),
                "{shell}: {checked:?}"
            ),
            Err(error) => assert!(shell != "bash", "{error}"),
        }
    }
}
