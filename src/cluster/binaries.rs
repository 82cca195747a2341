//! Where the programs of Postgres are: named, on the path, where distributions put them, or in an
//! npm package.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::account::Account;
use super::{ClusterConfig, ClusterError, Install};

/// The oldest major version that the schema works with.
const OLDEST_MAJOR: u32 = 14;

/// The npm packages' version that was tried.
const NPM_VERSION: &str = "18.4.0-beta.17";

/// A directory with `initdb` and `postgres`, and their major version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) dir: PathBuf,
    pub(super) major: u32,
}

/// The programs to run the cluster in `cluster` with: of the version that made it, else the
/// newest there is.
pub(super) fn find(
    account: &Account,
    data_dir: &Path,
    cluster: &Path,
    config: &ClusterConfig,
) -> Result<Binaries, ClusterError> {
    if let Some(dir) = &config.binaries {
        let found = Binaries::in_dir(dir);
        let found = found.ok_or_else(|| ClusterError::BadBinaries { dir: dir.clone() })?;
        account.check_reachable(&found.dir)?;
        return choose(vec![found], cluster);
    }
    let mut found: Vec<Binaries> = places()
        .iter()
        .filter_map(|dir| Binaries::in_dir(dir))
        .filter(|binaries| account.blocked_at(&binaries.dir).is_none())
        .collect();
    // The system's own is kept up to date by somebody; npm's is for who has none that fits.
    if let Ok(chosen) = choose(found.clone(), cluster) {
        return Ok(chosen);
    }
    let modules = data_dir.join("node_modules");
    for modules in [modules.as_path(), Path::new("oracle/node_modules")] {
        found.extend(npm_package(account, modules));
    }
    match choose(found.clone(), cluster) {
        Err(_) if config.install == Install::Allowed => {
            npm_install(data_dir)?;
            found.extend(npm_package(account, &modules));
            choose(found, cluster)
        }
        chosen => chosen,
    }
}

fn choose(mut found: Vec<Binaries>, cluster: &Path) -> Result<Binaries, ClusterError> {
    // Stable: among equals the one found first.
    found.sort_by_key(|binaries| std::cmp::Reverse(binaries.major));
    let newest = found.first().ok_or(ClusterError::NoBinaries)?;
    let made_by = fs::read_to_string(cluster.join("PG_VERSION"))
        .ok()
        .and_then(|version| version.trim().parse().ok());
    match made_by {
        None => Ok(newest.clone()),
        Some(made_by) => {
            let fitting = found.iter().find(|binaries| binaries.major == made_by);
            fitting.cloned().ok_or_else(|| ClusterError::WrongVersion {
                dir: cluster.to_owned(),
                made_by,
                found: newest.major,
            })
        }
    }
}

/// A program of Postgres that can talk to a server of this major version: the oldest that can.
pub(super) fn client(program: &'static str, server_major: u32) -> Result<PathBuf, ClusterError> {
    let mut found = Vec::new();
    for dir in places().into_iter().chain(on_the_path(program)) {
        let path = dir.join(program);
        let Ok(said) = Command::new(&path).arg("--version").stderr(Stdio::null()).output() else {
            continue;
        };
        match major_version(&String::from_utf8_lossy(&said.stdout)) {
            Some(major) if major >= server_major => found.push((major, path)),
            _ => {}
        }
    }
    // Stable: among equals the one found first.
    found.sort_by_key(|(major, _)| *major);
    let first = found.into_iter().next();
    first.map(|(_, path)| path).ok_or(ClusterError::NoClient { program, server_major })
}

impl Binaries {
    fn in_dir(dir: &Path) -> Option<Self> {
        let dir = fs::canonicalize(dir).ok()?;
        if !dir.join("initdb").is_file() {
            return None;
        }
        let said = Command::new(dir.join("postgres"))
            .arg("--version")
            .stderr(Stdio::null())
            .output()
            .ok()?;
        let major = major_version(&String::from_utf8_lossy(&said.stdout))?;
        (major >= OLDEST_MAJOR).then_some(Self { dir, major })
    }
}

/// The major version in `postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)`.
fn major_version(said: &str) -> Option<u32> {
    let version = said.split_once("(PostgreSQL)")?.1.trim_start();
    let digits = version.split(|character: char| !character.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// Directories in which Postgres may be, best first.
fn places() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = on_the_path("postgres").into_iter().collect();
    let installed = [
        ("/usr/lib/postgresql", "bin"),
        ("/usr/libexec", "bin"),
        ("/opt/homebrew/opt", "bin"),
        ("/usr/local/opt", "bin"),
        ("/Applications/Postgres.app/Contents/Versions", "bin"),
    ];
    for (parent, bin) in installed {
        places.extend(entries(Path::new(parent)).into_iter().map(|entry| entry.join(bin)));
    }
    // Red Hat: /usr/pgsql-17/bin.
    let red_hat = entries(Path::new("/usr")).into_iter().filter(|entry| {
        entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with("pgsql-"))
    });
    places.extend(red_hat.map(|entry| entry.join("bin")));
    places
}

/// The directory of the program that a shell would run; it knows the rules of `PATH`.
fn on_the_path(program: &str) -> Option<PathBuf> {
    let find = format!("command -v {program}");
    let said = Command::new("/bin/sh").args(["-c", &find]).output().ok()?;
    let found = fs::canonicalize(String::from_utf8_lossy(&said.stdout).trim()).ok()?;
    found.parent().map(Path::to_owned)
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    entries
}

/// The name of the npm package for this machine: `linux-x64`, `darwin-arm64`.
fn npm_platform() -> Option<String> {
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        "linux" => "linux",
        _ => return None,
    };
    let arch = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64",
        "x86" => "ia32",
        "arm" => "arm",
        _ => return None,
    };
    Some(format!("{os}-{arch}"))
}

fn npm_package(account: &Account, modules: &Path) -> Option<Binaries> {
    let package = modules.join("@embedded-postgres").join(npm_platform()?);
    let package = fs::canonicalize(package).ok()?;
    if account.blocked_at(&package).is_some() {
        return None;
    }
    restore_links(&package);
    Binaries::in_dir(&package.join("native/bin"))
}

/// One entry of the package's `pg-symlinks.json`: `target` should be a link to `source`.
#[derive(Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

/// npm packages hold no symbolic links; this one says which it would have liked to hold.
fn restore_links(package: &Path) {
    let Ok(list) = fs::read(package.join("native/pg-symlinks.json")) else { return };
    let links: Vec<Link> = serde_json::from_slice(&list).unwrap_or_default();
    for Link { source, target } in links {
        let target = package.join(target);
        // Source and target lie in the same directory. A link that cannot be made shows in
        // `postgres --version`.
        if let (Some(name), false) = (source.file_name(), target.exists()) {
            let _made = symlink(name, target);
        }
    }
}

fn npm_install(data_dir: &Path) -> Result<(), ClusterError> {
    let platform = npm_platform().ok_or(ClusterError::NoBinaries)?;
    fs::create_dir_all(data_dir).map_err(ClusterError::io("create", data_dir))?;
    let installed = Command::new("npm")
        .arg("install")
        .args(["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--prefix"])
        .arg(data_dir)
        .arg(format!("@embedded-postgres/{platform}@{NPM_VERSION}"))
        .stdin(Stdio::null())
        .output()
        // Without npm there is nothing left to try.
        .map_err(|_| ClusterError::NoBinaries)?;
    if installed.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&installed.stderr).trim().to_owned();
    Err(ClusterError::Failed { program: "npm install", said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_postgres_says() {
        let debian = "postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n";
        assert_eq!(major_version(debian), Some(15));
        assert_eq!(major_version("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major_version("mysqld 8"), None);
    }

    #[test]
    fn a_cluster_is_run_by_the_version_that_made_it() {
        let cluster = tempfile::tempdir().expect("a temporary directory");
        let of = |major| Binaries { dir: PathBuf::from(format!("/{major}")), major };
        let both = vec![of(15), of(18)];
        assert_eq!(choose(both.clone(), cluster.path()).ok(), Some(of(18)));
        fs::write(cluster.path().join("PG_VERSION"), "15\n").expect("ours");
        assert_eq!(choose(both, cluster.path()).ok(), Some(of(15)));
        let error = choose(vec![of(18)], cluster.path()).expect_err("15 is not there");
        assert!(matches!(error, ClusterError::WrongVersion { made_by: 15, found: 18, .. }));
    }
}
