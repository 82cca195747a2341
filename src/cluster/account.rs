//! Whom Postgres runs as, and where that one can go.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Uid, User};

use super::ClusterError;

/// Who Postgres runs as.
#[derive(Debug, Clone)]
pub(super) struct Account {
    name: String,
    uid: u32,
    gid: u32,
    /// Whether that is somebody else than we are.
    is_other: bool,
}

impl Account {
    /// The account that we are, or, if that is root, the first of `postgres` and `nobody`.
    pub(super) fn for_postgres() -> Result<Self, ClusterError> {
        let own = Uid::effective();
        if !own.is_root() {
            let user = User::from_uid(own).ok().flatten();
            let user = user.ok_or(ClusterError::Nameless { uid: own.as_raw() })?;
            return Ok(Self::of(user, false));
        }
        for name in ["postgres", "nobody"] {
            if let Ok(Some(user)) = User::from_name(name) {
                return Ok(Self::of(user, true));
            }
        }
        Err(ClusterError::NoAccount)
    }

    fn of(user: User, is_other: bool) -> Self {
        Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw(), is_other }
    }

    /// A command that will run as this account, out of reach of the terminal's Ctrl-C.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        // The caller's directory may be closed to the account.
        command.current_dir("/").process_group(0);
        for name in ["PGDATA", "PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGOPTIONS"] {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C");
        if self.is_other {
            // This also drops the supplementary groups.
            command.uid(self.uid).gid(self.gid).env("HOME", "/");
        }
        command
    }

    /// The first existing directory on the way to `path` that the account may not pass through.
    pub(super) fn blocked_at(&self, path: &Path) -> Option<PathBuf> {
        if !self.is_other {
            return None;
        }
        let mut on_the_way: Vec<&Path> = path.ancestors().collect();
        on_the_way.reverse();
        on_the_way.into_iter().find(|dir| !self.may_enter(dir)).map(Path::to_owned)
    }

    fn may_enter(&self, dir: &Path) -> bool {
        match fs::metadata(dir) {
            // What is not there yet will be made passable.
            Err(error) => error.kind() == ErrorKind::NotFound,
            Ok(found) if found.uid() == self.uid => found.mode() & 0o100 != 0,
            Ok(found) if found.gid() == self.gid => found.mode() & 0o010 != 0,
            Ok(found) => found.mode() & 0o001 != 0,
        }
    }

    /// Refuses a path the account cannot reach.
    pub(super) fn check_reachable(&self, path: &Path) -> Result<(), ClusterError> {
        match self.blocked_at(path) {
            None => Ok(()),
            Some(blocked_at) => {
                Err(ClusterError::NotReachable { account: self.name.clone(), blocked_at })
            }
        }
    }

    /// Makes a directory that the account owns and nobody else may enter. One that is there must
    /// be the account's own.
    pub(super) fn make_private_dir(&self, dir: &Path) -> Result<(), ClusterError> {
        match fs::DirBuilder::new().mode(0o700).create(dir) {
            Ok(()) => self.take_over(dir),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let found = fs::symlink_metadata(dir).map_err(ClusterError::io("look at", dir))?;
                if found.is_dir() && found.uid() == self.uid {
                    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
                        .map_err(ClusterError::io("close", dir))
                } else {
                    Err(ClusterError::SocketDirTaken { dir: dir.to_owned() })
                }
            }
            Err(error) => Err(ClusterError::io("create", dir)(error)),
        }
    }

    /// Makes a new directory for a throwaway cluster.
    pub(super) fn temporary_dir(&self) -> Result<PathBuf, ClusterError> {
        let parent = std::env::temp_dir();
        let dir = tempfile::Builder::new()
            .prefix("assay-")
            .tempdir_in(&parent)
            .map_err(ClusterError::io("create a directory in", &parent))?
            .keep();
        self.take_over(&dir)?;
        Ok(dir)
    }

    fn take_over(&self, dir: &Path) -> Result<(), ClusterError> {
        if self.is_other {
            chown(dir, Some(self.uid), Some(self.gid))
                .map_err(ClusterError::io("give away", dir))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_directory_on_the_way_is_named() {
        let home = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).expect("ours");
        let stranger = Account { name: "x".to_owned(), uid: 54_321, gid: 54_321, is_other: true };
        let inside = home.path().join("a/b");
        assert_eq!(stranger.blocked_at(&inside).as_deref(), Some(home.path()));
        assert!(stranger.check_reachable(&inside).is_err());
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o711)).expect("ours");
        assert_eq!(stranger.blocked_at(&inside), None);
    }
}
