//! One line on stderr while something takes long: on a terminal only, after a second, gone when there is something to
//! print.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long nothing is shown.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two updates.
const STEP: Duration = Duration::from_millis(250);

static RUNNING: Mutex<Option<(Sender<()>, JoinHandle<()>)>> = Mutex::new(None);

/// Shows `what` and the seconds since now, until [`end`].
pub(super) fn start(what: String) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    let (sender, ended) = channel();
    let since = Instant::now();
    let thread = std::thread::spawn(move || {
        let mut wait = PATIENCE;
        let mut shown = false;
        // nobody sends: the channel closes
        while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
            let seconds = since.elapsed().as_secs();
            shown |= write!(std::io::stderr(), "\r{what} … {seconds} s\x1b[K").is_ok();
            wait = STEP;
        }
        if shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    });
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = Some((sender, thread));
}

/// Takes the line away, for good.
pub(super) fn end() {
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((sender, thread)) = running {
        drop(sender);
        let _ = thread.join();
    }
}
