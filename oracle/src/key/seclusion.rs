//! Keeps the memory of a process that holds keys out of files and debuggers.

use nix::sys::resource::{Resource, setrlimit};

use super::KeyError;

/// Switches core dumps off for this process and what it starts, and, on Linux, keeps other
/// processes of the same user out of its memory and environment. For good: there is no way back.
pub(super) fn forbid_core_dumps() -> Result<(), KeyError> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(KeyError::CoreDumps)?;
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_dumpable(false).map_err(KeyError::CoreDumps)?;
    Ok(())
}
