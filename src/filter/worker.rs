//! What the plugin and its streams share on one worker: the policy, the fetched keys, and the
//! requests that wait for them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::host;
use super::logger::RateBound;
use crate::evaluate::evaluate;
use crate::jwks::{KeySetId, KeyStore};
use crate::outcome::{Change, Changes, Outcome, Reason, Refusal};
use crate::policy::Policy;
use crate::reply::reply;
use crate::request::Request;

/// How soon a fetch is sent for which a request waits.
const FETCH_SOON: Duration = Duration::from_millis(1);

/// The plugin, configured.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) policy: Policy,
    pub(crate) keys: RefCell<KeyStore>,
    waiting: RefCell<Vec<Waiting>>,
    lines: RefCell<RateBound>,
    /// Whether a tick was asked for that comes sooner than the next regular one. Asking again
    /// would put it off.
    tick_is_near: Cell<bool>,
}

/// A paused request.
#[derive(Debug)]
struct Waiting {
    stream: u32,
    verdict: Rc<Cell<Verdict>>,
    on: Vec<KeySetId>,
}

/// What the host is to do with a request.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Verdict {
    Answered,
    Forward,
    #[default]
    Wait,
}

impl Worker {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            keys: RefCell::new(KeyStore::new(&policy)),
            policy,
            waiting: RefCell::default(),
            lines: RefCell::default(),
            tick_is_near: Cell::default(),
        }
    }

    /// Decides about the request of this stream, which host calls must be about now.
    pub(crate) fn decide(&self, stream: u32, verdict: &Rc<Cell<Verdict>>) {
        verdict.set(match self.outcome() {
            Some((request, Outcome::Forward(changes))) => match make(&changes) {
                Ok(()) => Verdict::Forward,
                // A header that should have gone may still be there.
                Err(_) => self.refuse(&Reason::ProxyUnreadable.into(), &request),
            },
            Some((request, Outcome::Refuse(refusal))) => self.refuse(&refusal, &request),
            Some((_, Outcome::Await(on))) => {
                self.ask_for_tick(&on);
                self.waiting.borrow_mut().push(Waiting {
                    stream,
                    verdict: Rc::clone(verdict),
                    on,
                });
                Verdict::Wait
            }
            None => self.refuse(&Reason::ProxyUnreadable.into(), &Request::default()),
        });
    }

    fn refuse(&self, refusal: &Refusal, request: &Request) -> Verdict {
        self.log(refusal);
        answer(refusal, Some(&self.policy), request)
    }

    /// `None` where the host doesn't hand out the request.
    fn outcome(&self) -> Option<(Request, Outcome)> {
        let now = host::now().ok()?;
        let request = Request::new(host::request_headers().ok()?);
        // Envoy hands out an empty header where it has none any more.
        request.value(":method")?;
        let outcome = evaluate(&self.policy, &self.keys.borrow(), &request, now);
        Some((request, outcome))
    }

    /// The SDK hands the answer of a call to the context that made it, and a stream may be gone by
    /// then. So the plugin's own context makes it, at its next tick.
    fn ask_for_tick(&self, on: &[KeySetId]) {
        let keys = self.keys.borrow();
        if on.iter().any(|id| keys.is_idle(*id)) && !self.tick_is_near.replace(true) {
            let _ = host::set_tick_period(FETCH_SOON);
        }
    }

    /// The key sets to fetch at this tick: those that requests wait for, and those that are old.
    pub(crate) fn wanted(&self, now: u64) -> Vec<KeySetId> {
        self.tick_is_near.set(false);
        let waiting = self.waiting.borrow();
        let mut ids: Vec<KeySetId> = waiting.iter().flat_map(|w| w.on.iter().copied()).collect();
        ids.extend(self.keys.borrow().due(now));
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Decides again about the requests that wait for this key set.
    pub(crate) fn wake(&self, id: KeySetId) {
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        let (ready, others): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|waiting| waiting.on.contains(&id));
        self.waiting.borrow_mut().extend(others);
        for Waiting {
            stream, verdict, ..
        } in ready
        {
            // A stream that is gone needs no answer.
            if host::set_effective_context(stream).is_ok() {
                self.decide(stream, &verdict);
                if verdict.get() == Verdict::Forward {
                    let _ = host::resume_request();
                }
            }
        }
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// The client of this stream has gone.
    pub(crate) fn forget(&self, stream: u32) {
        self.waiting
            .borrow_mut()
            .retain(|waiting| waiting.stream != stream);
    }

    fn log(&self, refusal: &Refusal) {
        if !log::log_enabled!(log::Level::Info) {
            return;
        }
        let now = host::now().unwrap_or_default();
        let Some(withheld) = self.lines.borrow_mut().admit(now) else {
            return;
        };
        let code = refusal.reason.code();
        let policy = refusal.policy.as_deref().unwrap_or("none");
        match withheld {
            0 => log::info!("refused: reason={code} policy={policy}"),
            count => log::info!(
                "refused: reason={code} policy={policy} ({count} more refusals were not logged)"
            ),
        }
    }
}

/// Answers the request of the stream that host calls are about now.
pub(crate) fn answer(refusal: &Refusal, policy: Option<&Policy>, request: &Request) -> Verdict {
    // Should the host not take the answer, the request stays paused: it never goes on.
    let _ = host::send(&reply(refusal, policy, request));
    Verdict::Answered
}

fn make(changes: &Changes) -> Result<(), host::Status> {
    changes.iter().try_for_each(|change| match change {
        Change::Append(name, value) => host::add_request_header(name, value),
        Change::Remove(name) => host::remove_request_header(name),
        Change::Set(name, value) => host::set_request_header(name, value),
    })
}
