//! A development chain: finds anvil, starts it on a free port of the loopback interface, and
//! takes it down again.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How long anvil may take to listen: a loaded machine needs seconds.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// What anvil prints before its address once it listens.
const LISTENING: &str = "Listening on ";

/// The folder that npm puts Foundry's binaries in.
const NPM_FOLDER: &str = "oracle/node_modules/@foundry-rs";

/// Starts its arguments and ends them when its own input ends, as it does when whoever holds the
/// other end dies, however suddenly.
const WATCH: &str = r#""$@" </dev/null & anvil=$!; read -r _; kill -9 "$anvil""#;

/// A running anvil; dropping it ends it, and so does the death of this process.
#[derive(Debug)]
pub struct Anvil {
    /// The shell that watches it, in a process group with it; holds our end of the input.
    child: Child,
    rpc_url: String,
}

/// Why there is no development chain.
#[derive(Debug, thiserror::Error)]
pub enum AnvilError {
    /// It is nowhere. Run `npm ci` in `oracle`.
    #[error("no anvil on PATH nor in {NPM_FOLDER}: run `npm ci` in oracle")]
    NotFound,
    /// It does not start.
    #[error("cannot start {}", path.display())]
    NotStarted {
        /// The binary.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It started and does not listen.
    #[error("{} did not listen within {} s", path.display(), START_TIMEOUT.as_secs())]
    NotListening {
        /// The binary.
        path: PathBuf,
    },
}

impl Anvil {
    /// Finds the binary: in the given folders (each a folder of binaries or a `node_modules`),
    /// in `oracle/node_modules`, else on the given search path (the value of `PATH`).
    pub fn find(folders: &[PathBuf], search_path: &str) -> Result<PathBuf, AnvilError> {
        let here = [PathBuf::from(NPM_FOLDER)];
        let on_path = std::env::split_paths(search_path).map(|folder| folder.join("anvil"));
        folders
            .iter()
            .chain(&here)
            .flat_map(|folder| candidates(folder))
            .chain(on_path)
            .find(|path| path.is_file())
            .ok_or(AnvilError::NotFound)
    }

    /// Starts it with further arguments, in a process group of its own so that Ctrl-C reaches it
    /// only through us.
    pub fn start(path: &Path, arguments: &[&str]) -> Result<Self, AnvilError> {
        let not_started = |source| AnvilError::NotStarted { path: path.to_owned(), source };
        let mut child = Command::new("/bin/sh")
            .args(["-c", WATCH, "anvil"])
            .arg(path)
            .args(["--host", "127.0.0.1", "--port", "0"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(not_started)?;
        let (sender, receiver) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            // Reads to the end: a full pipe would stop anvil.
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if let Some(address) = line.trim().strip_prefix(LISTENING) {
                        // Nobody waits any more after the timeout.
                        let _ = sender.send(address.to_owned());
                    }
                }
            });
        }
        let address = receiver.recv_timeout(START_TIMEOUT);
        let anvil = Self { child, rpc_url: String::new() };
        match address {
            Ok(address) => Ok(Self::at(anvil, &address)),
            Err(_) => Err(AnvilError::NotListening { path: path.to_owned() }),
        }
    }

    /// Where it listens.
    pub fn rpc_url(&self) -> &str {
        &self.rpc_url
    }

    /// The number of its process group.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn at(mut self, address: &str) -> Self {
        self.rpc_url = format!("http://{address}");
        self
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        if let Ok(group) = i32::try_from(self.child.id()) {
            // It may have ended by itself.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

/// Where a folder of binaries or of npm packages keeps anvil.
fn candidates(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.join("anvil")];
    for scope in [folder.to_owned(), folder.join("@foundry-rs")] {
        let Ok(entries) = std::fs::read_dir(scope) else { continue };
        let mut packages: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("anvil-"))
            .map(|entry| entry.path().join("bin/anvil"))
            .collect();
        packages.sort();
        found.extend(packages);
    }
    found
}
