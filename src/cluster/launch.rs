//! Making, starting and stopping the server.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sha2::{Digest, Sha256};

use super::account::Account;
use super::binaries::{self, Binaries};
use super::{Cluster, ClusterConfig, ClusterError, DATABASE, Durability, SUPERUSER};

/// How long a start may take: after a crash, Postgres first repeats what was not yet written out.
const START_SECONDS_MAX: u64 = 300;

/// How long a fast shutdown may take before the server is told to drop everything.
const STOP_SECONDS_MAX: u64 = 30;

/// The longest path of a Unix socket that every system takes (macOS: 104 bytes with the zero).
const SOCKET_PATH_MAX: usize = 103;

/// The socket's file in its directory; 5432 is part of the name, no port is opened.
pub(super) const SOCKET_FILE: &str = ".s.PGSQL.5432";

/// A line on its input means that we stopped the server ourselves. The end of its input without a
/// line means that we are dead, and then it stops the server and clears a throwaway away.
const WATCHER: &str = r#"
read -r _ && exit 0
kill -INT "$1" 2>/dev/null
[ -n "$2" ] || exit 0
tries=0
while kill -0 "$1" 2>/dev/null && [ "$tries" -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
rm -rf "$2"
"#;

/// A server that this process started.
#[derive(Debug)]
pub(super) struct Postmaster {
    pub(super) binaries: PathBuf,
    server: Child,
    watcher: Child,
    /// The socket's directory, if it is not the cluster's own: removed afterwards.
    socket_dir: Option<PathBuf>,
    /// What else to remove afterwards.
    throwaway: Option<PathBuf>,
}

/// Starts the cluster below `data_dir`, making it first if it is not there.
pub(super) fn start(
    account: &Account,
    data_dir: &Path,
    config: &ClusterConfig,
) -> Result<Cluster, ClusterError> {
    account.check_reachable(data_dir)?;
    fs::create_dir_all(data_dir).map_err(ClusterError::io("create", data_dir))?;
    let cluster = data_dir.join("postgres");
    account.check_reachable(&cluster)?;
    let socket_dir = socket_dir(account, &cluster)?;
    if let Some(running) = adopt(&cluster, &socket_dir)? {
        return Ok(running);
    }
    let binaries = binaries::find(account, data_dir, &cluster, config)?;
    if !cluster.join("PG_VERSION").exists() {
        make(account, &binaries, &cluster)?;
    }
    // Only now is the directory there that the socket may lie in.
    if socket_dir != cluster {
        account.make_private_dir(&socket_dir)?;
    }
    let log = data_dir.join("postgres.log");
    let mut server = launch(account, &binaries, &cluster, &socket_dir, &log, config.durability)?;
    if let Err(error) = wait_until_ready(&mut server, &cluster, &log) {
        let _killed = server.kill();
        let _status = server.wait();
        // Another Assay may have been faster: then its server holds the lock.
        return adopt(&cluster, &socket_dir)?.ok_or(error);
    }
    // A directory that the caller named is the caller's to remove.
    let is_ours = config.durability == Durability::Throwaway && config.data_dir.is_none();
    let throwaway = is_ours.then(|| data_dir.to_owned());
    let watcher = watch(account, &server, throwaway.as_deref())?;
    let binaries = binaries.dir;
    let own_socket_dir = (socket_dir != cluster).then(|| socket_dir.clone());
    let postmaster =
        Postmaster { binaries, server, watcher, socket_dir: own_socket_dir, throwaway };
    Ok(Cluster { socket_dir, postmaster: Some(postmaster) })
}

impl Postmaster {
    pub(super) fn id(&self) -> u32 {
        self.server.id()
    }

    fn signal(&self, signal: Signal) {
        if let Ok(id) = i32::try_from(self.server.id()) {
            // A server that is gone needs no signal.
            let _sent = kill(Pid::from_raw(id), signal);
        }
    }
}

impl Drop for Postmaster {
    fn drop(&mut self) {
        if let Some(mut input) = self.watcher.stdin.take() {
            let _told = input.write_all(b"\n");
        }
        let _watcher = self.watcher.wait();
        // Fast shutdown: sessions are cut off, what is committed is written out.
        self.signal(Signal::SIGINT);
        let started = Instant::now();
        while let Ok(None) = self.server.try_wait() {
            if started.elapsed() > Duration::from_secs(STOP_SECONDS_MAX) {
                self.signal(Signal::SIGQUIT);
                let _status = self.server.wait();
            }
            sleep(Duration::from_millis(5));
        }
        if let Some(dir) = &self.socket_dir {
            let _removed = fs::remove_dir(dir);
        }
        if let Some(dir) = &self.throwaway {
            let _removed = fs::remove_dir_all(dir);
        }
    }
}

/// The directory for the socket: the cluster's own, or a short one if its path is too long.
fn socket_dir(account: &Account, cluster: &Path) -> Result<PathBuf, ClusterError> {
    if cluster.join(SOCKET_FILE).as_os_str().len() <= SOCKET_PATH_MAX {
        return Ok(cluster.to_owned());
    }
    let hash = Sha256::digest(cluster.as_os_str().as_encoded_bytes());
    let name: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let dir = PathBuf::from(format!("/tmp/assay-{name}"));
    account.make_private_dir(&dir)?;
    Ok(dir)
}

/// The cluster if a server runs in it. A lock file left by a dead one is cleared away.
fn adopt(cluster: &Path, socket_dir: &Path) -> Result<Option<Cluster>, ClusterError> {
    let lock = cluster.join("postmaster.pid");
    let started = Instant::now();
    while let Some(id) = server_of(&lock) {
        if !is_postgres(id) {
            // Its number now belongs to another program, and then Postgres does not dare to
            // clear the lock itself.
            for stale in [&lock, &socket_dir.join(format!("{SOCKET_FILE}.lock"))] {
                let _removed = fs::remove_file(stale);
            }
            return Ok(None);
        }
        if is_ready(&lock, id) && UnixStream::connect(socket_dir.join(SOCKET_FILE)).is_ok() {
            return Ok(Some(Cluster { socket_dir: socket_dir.to_owned(), postmaster: None }));
        }
        // It is starting or stopping.
        if started.elapsed() > Duration::from_secs(START_SECONDS_MAX) {
            let log = cluster.with_file_name("postgres.log");
            return Err(ClusterError::NotReady { seconds: START_SECONDS_MAX, log });
        }
        sleep(Duration::from_millis(20));
    }
    Ok(None)
}

/// First line of the lock file: the server's process id.
fn server_of(lock: &Path) -> Option<i32> {
    fs::read_to_string(lock).ok()?.lines().next()?.trim().parse().ok()
}

/// Eighth line of the lock file: what the server is doing.
fn is_ready(lock: &Path, id: i32) -> bool {
    let Ok(text) = fs::read_to_string(lock) else { return false };
    let mut lines = text.lines();
    lines.next().is_some_and(|line| line.trim() == id.to_string())
        && lines.nth(6).is_some_and(|line| line.trim() == "ready")
}

fn is_postgres(id: i32) -> bool {
    let Ok(said) = Command::new("ps").args(["-o", "comm=", "-p", &id.to_string()]).output() else {
        // Without `ps`, what the kernel shows.
        let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
        return name.contains("postgres");
    };
    String::from_utf8_lossy(&said.stdout).contains("postgres")
}

/// Makes the cluster beside its place and moves it there when it is whole.
fn make(account: &Account, binaries: &Binaries, cluster: &Path) -> Result<(), ClusterError> {
    let unfinished = cluster.with_file_name("postgres.unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(ClusterError::io("remove", &unfinished))?;
    }
    account.make_private_dir(&unfinished)?;
    let mut initdb = account.command(&binaries.dir.join("initdb"));
    initdb
        .args(["--no-locale", "--encoding=UTF8", "--auth=trust", "--no-sync"])
        .args(["--username", SUPERUSER, "--pgdata"])
        .arg(&unfinished);
    run("initdb", &mut initdb, "")?;
    // The npm package has no `createdb`, and a server is not needed for this.
    let mut single = account.command(&binaries.dir.join("postgres"));
    single.args(["--single", "-F", "-D"]).arg(&unfinished).arg("template1");
    run("postgres --single", &mut single, &format!("CREATE DATABASE {DATABASE}\n"))?;
    if cluster.exists() {
        // Empty, or this fails: `make` is not called for a directory that holds a cluster.
        fs::remove_dir(cluster).map_err(ClusterError::io("replace", cluster))?;
    }
    fs::rename(&unfinished, cluster).map_err(ClusterError::io("move a new cluster to", cluster))
}

fn run(program: &'static str, command: &mut Command, input: &str) -> Result<(), ClusterError> {
    let failed = |said: String| ClusterError::Failed { program, said };
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).map_err(|error| failed(error.to_string()))?;
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(last_lines(&String::from_utf8_lossy(&output.stderr))))
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.split_at(lines.len().saturating_sub(3)).1.join(" / ")
}

fn launch(
    account: &Account,
    binaries: &Binaries,
    cluster: &Path,
    socket_dir: &Path,
    log: &Path,
    durability: Durability,
) -> Result<Child, ClusterError> {
    let trace = fs::File::create(log).map_err(ClusterError::io("write", log))?;
    let trace_too = trace.try_clone().map_err(ClusterError::io("write", log))?;
    let mut command = account.command(&binaries.dir.join("postgres"));
    command.arg("-D").arg(cluster).arg("-k").arg(socket_dir);
    let mut settings = vec![
        "listen_addresses=",
        "port=5432",
        "unix_socket_permissions=0700",
        "shared_buffers=256MB",
        // A backfill writes for minutes on end; the default would checkpoint every gigabyte.
        "max_wal_size=4GB",
    ];
    if durability == Durability::Throwaway {
        settings.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"]);
    }
    for setting in settings {
        command.args(["-c", setting]);
    }
    command
        .stdin(Stdio::null())
        .stdout(trace)
        .stderr(trace_too)
        .spawn()
        .map_err(|error| ClusterError::Failed { program: "postgres", said: error.to_string() })
}

fn wait_until_ready(server: &mut Child, cluster: &Path, log: &Path) -> Result<(), ClusterError> {
    let lock = cluster.join("postmaster.pid");
    let id = i32::try_from(server.id()).unwrap_or(i32::MAX);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(START_SECONDS_MAX) {
        if is_ready(&lock, id) {
            return Ok(());
        }
        if let Ok(Some(_)) = server.try_wait() {
            let said = last_lines(&fs::read_to_string(log).unwrap_or_default());
            return Err(ClusterError::Failed { program: "postgres", said });
        }
        sleep(Duration::from_millis(5));
    }
    Err(ClusterError::NotReady { seconds: START_SECONDS_MAX, log: log.to_owned() })
}

fn watch(
    account: &Account,
    server: &Child,
    throwaway: Option<&Path>,
) -> Result<Child, ClusterError> {
    account
        .command(Path::new("/bin/sh"))
        .args(["-c", WATCHER, "sh", &server.id().to_string()])
        .args(throwaway)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| ClusterError::Failed { program: "/bin/sh", said: error.to_string() })
}
