//! How much is done until the next tick.
//!
//! Envoy answers a request, or lets it go on, when the plugin's call has returned, and may call the plugin
//! again while it does so; at the end of that call it does the next one, a level deeper on the VM's
//! stack, which ends at some 300 levels. So only few are answered in a call, and the others in the
//! ticks that follow, a millisecond apart.

use std::cell::Cell;

/// How many requests are answered or go on, and how many checks are sent, until the next tick.
const MOST: u32 = 32;

/// What is left of it. All configurations of a plugin share it.
#[derive(Debug)]
pub(crate) struct Turn {
    answers: Cell<u32>,
    checks: Cell<u32>,
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            answers: Cell::new(MOST),
            checks: Cell::new(MOST),
        }
    }
}

impl Turn {
    /// There is a tick.
    pub(crate) fn begin(&self) {
        self.answers.set(MOST);
        self.checks.set(MOST);
    }

    /// Whether one more request may be answered now.
    pub(crate) fn takes_answer(&self) -> bool {
        take(&self.answers)
    }

    /// Whether one more check may be sent now.
    pub(crate) fn takes_check(&self) -> bool {
        take(&self.checks)
    }
}

fn take(left: &Cell<u32>) -> bool {
    let now = left.get();
    left.set(now.saturating_sub(1));
    now > 0
}
