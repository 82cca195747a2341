//! A spinner for what takes longer than a second, on a terminal; silence elsewhere.

use std::future::Future;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Before this much time has passed nobody wants to be told that something goes on.
const QUIET: Duration = Duration::from_secs(1);

/// Shows a spinner while a future runs.
pub(super) async fn during<T>(what: &'static str, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    if let Ok(done) = tokio::time::timeout(QUIET, &mut work).await {
        return done;
    }
    // indicatif draws on standard error, and only if that is a terminal.
    let bar = ProgressBar::new_spinner().with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    let done = work.await;
    bar.finish_and_clear();
    done
}
