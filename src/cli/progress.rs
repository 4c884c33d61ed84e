//! A line on a terminal that tells what takes so long.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::shown;

/// Nobody wonders before that.
const PATIENCE: Duration = Duration::from_secs(1);
const PACE: Duration = Duration::from_millis(200);
/// As many characters fit on any terminal.
const LONGEST: usize = 70;

/// Shows what is being done once it has taken a second, where standard error is a terminal, until it is dropped.
#[derive(Default)]
pub(super) struct Progress(Option<(Arc<Shared>, JoinHandle<()>)>);

#[derive(Default)]
struct Shared {
    /// What is being done; nothing when all is.
    doing: Mutex<Option<String>>,
    is_done: Condvar,
}

impl Progress {
    pub(super) fn new() -> Self {
        if !stderr().is_terminal() {
            return Self(None);
        }
        let shared = Arc::new(Shared {
            doing: Mutex::new(Some(String::new())),
            is_done: Condvar::new(),
        });
        let own = Arc::clone(&shared);
        Self(Some((shared, thread::spawn(move || own.show()))))
    }

    pub(super) fn doing(&self, what: impl FnOnce() -> String) {
        if let Some((shared, _)) = &self.0 {
            *shared.doing.lock().unwrap_or_else(PoisonError::into_inner) = Some(what());
        }
    }
}

impl Shared {
    fn show(&self) {
        let mut doing = self.doing.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut pause, mut is_shown) = (PATIENCE, false);
        while let Some(what) = doing.as_ref() {
            if is_shown || pause == PACE {
                let what: String = shown::line(what).chars().take(LONGEST).collect();
                let _ = write!(stderr(), "\r\u{1b}[K{what}");
                is_shown = true;
            }
            let waited = self.is_done.wait_timeout(doing, pause);
            (doing, _) = waited.unwrap_or_else(PoisonError::into_inner);
            pause = PACE;
        }
        if is_shown {
            let _ = write!(stderr(), "\r\u{1b}[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((shared, thread)) = self.0.take() {
            *shared.doing.lock().unwrap_or_else(PoisonError::into_inner) = None;
            shared.is_done.notify_all();
            // It doesn't panic, and if it did there would be nothing to do about it.
            let _ = thread.join();
        }
    }
}
