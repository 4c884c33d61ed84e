//! The checks of a worker's requests: which are sent now, and what comes of them.

use std::rc::Rc;
use std::time::Duration;

use super::Worker;
use crate::check::{Check, CheckId, CheckReply};
use crate::filter::host;
use crate::jwks::FetchError;
use crate::metrics::{CheckResult, Series};
use crate::waiting::Failure;

impl Worker {
    /// The next check to send in this turn, and the stream that waits for it.
    pub(crate) fn next_check(&self, now: Duration) -> Option<(u32, Rc<Check>)> {
        let services: Vec<_> = self.waiting.borrow().services().collect();
        services.into_iter().find_map(|id| {
            let mut waiting = self.waiting.borrow_mut();
            for _ in 0..waiting.expire(id, now) {
                self.count_check(id, &CheckReply::Overloaded);
            }
            match waiting.can_ask_of(id, now) && self.turn.takes_check() {
                true => waiting.next_check(id, now),
                false => None,
            }
        })
    }

    /// The host sent a check.
    pub(crate) fn sent(&self, check: &Check, now: Duration) {
        if let Some(queue) = self.waiting.borrow_mut().queue(check.id) {
            queue.sent(now);
        }
        if let Some(checked) = self.checked.get(check.id.0) {
            checked.tell(now);
        }
    }

    /// The host didn't send a check.
    pub(crate) fn unsent(&self, stream: u32, check: &Check, error: &FetchError, now: Duration) {
        let others = self.checked.get(check.id.0).and_then(|it| it.told());
        let mut waiting = self.waiting.borrow_mut();
        let failure = waiting.queue(check.id).map(|queue| match error {
            FetchError::NoAnswer => queue.untaken(now, others),
            _ => Failure::Down,
        });
        if failure == Some(Failure::Full) {
            waiting.postpone(stream, check.id, now);
            return;
        }
        drop(waiting);
        self.log(log::Level::Warn, || {
            let why = match error {
                FetchError::Undeliverable(_) => {
                    "Envoy has no such cluster: name another in `cluster`"
                }
                _ => "it has no host",
            };
            format!(
                "`{}` can't be asked at the cluster `{}`: {why}",
                check.provider, check.cluster
            )
        });
        self.reply(stream, check.id, CheckReply::Nothing);
    }

    /// The call of a check has ended. It is never made again: whoever is overloaded would be more so, and
    /// Envoy's own retries don't, either.
    pub(crate) fn answered(&self, stream: u32, id: CheckId, reply: CheckReply) {
        let now = host::clock().unwrap_or_default();
        let mut waiting = self.waiting.borrow_mut();
        if let Some(queue) = waiting.queue(id) {
            queue.ended();
        }
        let can_ask = waiting.can_ask(now);
        drop(waiting);
        self.reply(stream, id, reply);
        self.settle_one(stream);
        if can_ask {
            self.ask_for_tick();
        }
    }

    fn reply(&self, stream: u32, id: CheckId, reply: CheckReply) {
        self.count_check(id, &reply);
        let reply = self.policy.checks.kept(id, reply);
        self.waiting.borrow_mut().replied(stream, id, reply);
    }

    fn count_check(&self, id: CheckId, reply: &CheckReply) {
        let result = CheckResult::of(reply);
        self.metrics.count(Series::Checked(id, result));
    }
}
