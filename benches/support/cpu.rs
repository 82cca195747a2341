//! CPU seconds of processes, from `/proc`; Linux only.

use anyhow::{Context, Result};
use assay::cluster::Cluster;

/// Clock ticks a second in `/proc/<pid>/stat`: the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system time so far of a cluster's server, and of every process it started.
pub(crate) fn of_cluster(cluster: &Cluster) -> Result<f64> {
    let server = cluster.server_id().context("the cluster is ours")?;
    let mut ticks = Stat::of(&server.to_string())?.with_ended_children();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().filter(|id| id.bytes().all(|b| b.is_ascii_digit())) else {
            continue;
        };
        // A process may end while the list is read; then its parent has its time.
        if let Ok(stat) = Stat::of(id)
            && stat.parent == server
        {
            ticks += stat.own;
        }
    }
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

/// User and system time so far of this process, without its children.
pub(crate) fn of_self() -> Result<f64> {
    Ok(Stat::of("self")?.own as f64 / TICKS_PER_SECOND)
}

/// User and system time so far of the children of this process that have ended.
pub(crate) fn of_ended_children() -> Result<f64> {
    Ok(Stat::of("self")?.ended_children as f64 / TICKS_PER_SECOND)
}

struct Stat {
    parent: u32,
    own: u64,
    ended_children: u64,
}

impl Stat {
    /// See `proc_pid_stat(5)`: fields 4 and 14 to 17.
    fn of(process: &str) -> Result<Self> {
        let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
        let (_, after_name) = text.rsplit_once(')').context("a process has a name")?;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).context("a short line in /proc");
        let ticks = |number: usize| -> Result<u64> { Ok(field(number)?.parse()?) };
        Ok(Self {
            parent: field(4)?.parse()?,
            own: ticks(14)? + ticks(15)?,
            ended_children: ticks(16)? + ticks(17)?,
        })
    }

    const fn with_ended_children(&self) -> u64 {
        self.own + self.ended_children
    }
}
