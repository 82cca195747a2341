//! What the machine must have in order: the directory, the secrets, the port.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use nix::unistd::{Uid, User};
use serde_json::json;

use super::{Checks, State};
use crate::command::database::DatabaseArgs;
use crate::command::read::ServerArgs;

/// Below this much free space Postgres is about to stop; below the other one somebody should look.
const FREE_BYTES_MIN: u64 = 256 << 20;
const FREE_BYTES_LOW: u64 = 4 << 30;

/// Where `assay run` and `assay serve` listen unless told.
const SERVED_AT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4747);

/// What holds the port and has not answered by then is no Assay.
const PORT_SECONDS_MAX: Duration = Duration::from_secs(3);

pub(super) fn data_dir(checks: &mut Checks, database: &DatabaseArgs) {
    let dir = match database.data_dir() {
        None => return,
        Some(Ok(dir)) => dir,
        Some(Err(error)) => {
            return checks.add("data directory", State::Bad, error.to_string(), "pass --data-dir");
        }
    };
    let place = dir.display();
    let Ok(found) = dir.metadata() else {
        let detail = format!("{place} is not there yet; the first command makes it");
        return checks.add("data directory", State::Ok, detail, "");
    };
    let owner = User::from_uid(Uid::from_raw(found.uid())).ok().flatten();
    let owner = owner.map_or_else(|| found.uid().to_string(), |user| user.name);
    let mut mode = found.mode() & 0o7777;
    // Others may make files there, and take the cluster's place.
    let is_open = |mode: u32| mode & 0o002 != 0 && mode & 0o1000 == 0;
    if is_open(mode) && checks.chmod(&dir, mode & !0o002) {
        mode &= !0o002;
    }
    let space = statvfs(&dir).map(|fs| {
        // These are of 32 bits on some systems.
        let bytes = i128::from(fs.fragment_size()) * i128::from(fs.blocks_available());
        u64::try_from(bytes).unwrap_or(u64::MAX)
    });
    let free = space
        .as_ref()
        .map_or_else(ToString::to_string, |bytes| format!("{:.1} GiB free", gib(*bytes)));
    let detail = format!("{place}, of {owner}, mode {mode:04o}, {free}");
    if is_open(mode) {
        return checks.add("data directory", State::Bad, detail, &format!("chmod o-w {place}"));
    }
    match space {
        Ok(bytes) if bytes < FREE_BYTES_MIN => {
            checks.add(
                "data directory",
                State::Bad,
                detail,
                "make room, or move it and pass --data-dir",
            );
        }
        Ok(bytes) if bytes < FREE_BYTES_LOW => {
            checks.add("data directory", State::Warning, detail, "make room soon");
        }
        _ => checks.add("data directory", State::Ok, detail, ""),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

/// A file that nobody else may read.
pub(super) fn secret(checks: &mut Checks, path: &Path) {
    let mut found = assay_oracle::check_private(path);
    if found.is_err()
        && let Ok(file) = path.symlink_metadata()
        && file.is_file()
        && file.mode() & 0o077 != 0
        && checks.chmod(path, file.mode() & 0o700)
    {
        found = assay_oracle::check_private(path);
    }
    match found {
        Ok(()) => checks.add("secret file", State::Ok, path.display().to_string(), ""),
        Err(error) => {
            let fix = format!("chmod 600 {}, and think about who has read it", path.display());
            checks.add("secret file", State::Bad, error.to_string(), &fix);
        }
    }
}

/// Whether the API can be served there, or an Assay does it already. The usual place may be
/// another program's on a machine that does not serve.
pub(super) async fn port(checks: &mut Checks, database: &DatabaseArgs, at: Option<SocketAddr>) {
    let (at, ill) = at.map_or((SERVED_AT, State::Warning), |at| (at, State::Bad));
    let fix = "give assay run or serve another --listen";
    match TcpListener::bind(at) {
        Ok(_) => checks.add("port", State::Ok, format!("{at} is free"), ""),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let asked = tokio::time::timeout(PORT_SECONDS_MAX, async {
                let source = ServerArgs::at(format!("http://{}", reachable(at)));
                source.open(database).await?.ask("{ status { feedPosition } }", json!({})).await
            });
            match asked.await {
                Ok(Ok(_)) => checks.add("port", State::Ok, format!("an Assay is at {at}"), ""),
                _ => checks.add("port", ill, format!("another program is at {at}"), fix),
            }
        }
        Err(error) => checks.add("port", ill, format!("{at} cannot be used: {error}"), fix),
    }
}

/// Where what listens on all addresses can be asked.
const fn reachable(at: SocketAddr) -> SocketAddr {
    let ip = match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, at.port())
}
