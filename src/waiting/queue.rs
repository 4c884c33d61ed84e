//! The checks of one service: those that wait to be sent, and how many are under way.
//!
//! A call that was made goes on when its client leaves, since a Wasm filter can't end it. So only as many
//! are made as the service may have at once, and further checks wait here, where they are forgotten
//! with their client.

use std::collections::BTreeSet;
use std::time::Duration;

/// How soon a check is sent again which the host didn't take.
const RETRY: Duration = Duration::from_millis(10);

/// The checks of one service.
#[derive(Debug)]
pub(crate) struct Queue {
    most: usize,
    timeout: Duration,
    unsent: BTreeSet<u32>,
    under_way: usize,
    /// When this worker last sent a check: the time since the Unix epoch.
    sent_at: Option<Duration>,
    /// None is sent before.
    blocked_until: Option<Duration>,
}

/// Why the host didn't take a check.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// The service has no host that could take it.
    Down,
    /// Envoy's circuit breaker is full, as far as anybody can tell.
    Full,
}

impl Queue {
    /// Sends at most this many checks at once; an answer takes at most this long.
    pub(crate) fn new(most: usize, timeout: Duration) -> Self {
        Self {
            most,
            timeout,
            unsent: BTreeSet::new(),
            under_way: 0,
            sent_at: None,
            blocked_until: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unsent.is_empty()
    }

    pub(super) fn first(&self) -> Option<u32> {
        self.unsent.first().copied()
    }

    pub(super) fn add(&mut self, stream: u32) {
        self.unsent.insert(stream);
    }

    pub(super) fn forget(&mut self, stream: u32) {
        self.unsent.remove(&stream);
    }

    /// The stream whose check is to be sent now.
    pub(super) fn next(&mut self, now: Duration) -> Option<u32> {
        match self.may_send(now) {
            true => self.unsent.pop_first(),
            false => None,
        }
    }

    fn may_send(&self, now: Duration) -> bool {
        // A clock that is set back blocks nothing.
        let is_over = |until: Duration| now >= until || until - now > RETRY;
        self.under_way < self.most && self.blocked_until.is_none_or(is_over)
    }

    /// Whether there is one to be sent now.
    pub(crate) fn has_next(&self, now: Duration) -> bool {
        !self.unsent.is_empty() && self.may_send(now)
    }

    /// A check is under way.
    pub(crate) fn sent(&mut self, now: Duration) {
        self.under_way += 1;
        self.sent_at = Some(now);
    }

    /// The call of a check has ended, whether its request still waits or not.
    pub(crate) fn ended(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
        self.blocked_until = None;
    }

    /// The circuit breaker is full: nothing is sent for a moment.
    pub(crate) fn block(&mut self, now: Duration) {
        self.blocked_until = Some(now + RETRY);
    }

    /// The host didn't take a check, and doesn't say why: either the service has no host, or the circuit
    /// breaker of its cluster is full. It can be full of our checks only if one was sent within the
    /// time that an answer may take, by this worker or, as `others_sent_at` tells, by another.
    pub(crate) fn untaken(&self, now: Duration, others_sent_at: Option<Duration>) -> Failure {
        // What others tell is in whole seconds.
        let longest = self.timeout + Duration::from_secs(1);
        let mut sent_at = self.sent_at.iter().chain(&others_sent_at);
        match self.under_way > 0 || sent_at.any(|sent| now.abs_diff(*sent) <= longest) {
            true => Failure::Full,
            false => Failure::Down,
        }
    }
}
