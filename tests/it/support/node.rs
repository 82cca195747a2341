//! The checks that are written for Node: what they need is installed from the lock file once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// `node graphql/checks/<script>` with these arguments. Panics if npm cannot install what it
/// needs: a check that cannot run has failed.
pub(crate) fn check(script: &str, arguments: &[&str]) -> Command {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(install);
    let mut command = Command::new("node");
    command.arg(folder.join("checks").join(script)).args(arguments).current_dir(folder);
    command
}

fn install() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("graphql");
    if !folder.join("node_modules/standardwebhooks").exists() {
        let output = Command::new("npm")
            .args(["ci", "--no-audit", "--no-fund"])
            .current_dir(&folder)
            .output()
            .expect("npm is there");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    folder
}
