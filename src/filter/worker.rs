//! What the plugin and its streams share on one worker: the policy, the fetched keys, and the
//! requests that wait for them.

mod report;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::attributes::{CurrentRequest, HostClock};
use super::host;
use super::logger::RateBound;
use super::metrics::Metrics;
use super::shared::Shared;
use crate::check::{Check, CheckAnswer, CheckId, Checked};
use crate::config::reader::Mistakes;
use crate::evaluate::{Known, evaluate};
use crate::jwks::{Answer, Fetch, FetchError, Fetched, KeySetId, KeyStore};
use crate::jwt::{Counts, Verifier};
use crate::metrics::{CheckResult, FetchResult, Series};
use crate::outcome::{Change, Changes, Note, Outcome, Property, Reason, Refusal};
use crate::policy::Policy;
use crate::reply::reply;
use crate::request::Request;
use crate::sorted;

/// How soon a fetch is sent for which a request waits.
const FETCH_SOON: Duration = Duration::from_millis(1);

/// The plugin, configured.
#[derive(Debug)]
pub(crate) struct Worker {
    /// The plugin's context.
    root: u32,
    policy: Policy,
    keys: RefCell<KeyStore>,
    verifier: Verifier,
    /// Where the other workers' key sets are; `None` where each fetches for itself.
    shared: Option<Shared>,
    waiting: RefCell<Vec<Waiting>>,
    lines: RefCell<RateBound>,
    metrics: Metrics,
    /// What of the verifier's counts was handed on.
    reported: Cell<Counts>,
    /// Whether a tick was asked for that comes sooner than the next regular one. Asking again
    /// would put it off.
    tick_is_near: Cell<bool>,
}

/// A paused request.
#[derive(Debug)]
struct Waiting {
    stream: u32,
    ruling: Rc<Ruling>,
    on: Need,
    met: Met,
    /// The time since the Unix epoch at which it began to wait.
    since: Duration,
}

/// What a request waits for.
#[derive(Debug)]
enum Need {
    /// A service's answer; `None` once it was asked.
    Check(Option<Check>),
    KeySets(Vec<KeySetId>),
}

/// What a request has waited for before.
#[derive(Debug, Default)]
struct Met {
    checked: Vec<Checked>,
    key_sets: Vec<KeySetId>,
}

/// What becomes of a request.
#[derive(Debug, Default)]
pub(crate) struct Ruling {
    pub(crate) verdict: Cell<Verdict>,
    /// Lines for its answer, where the upstream gives it.
    pub(crate) response: RefCell<Vec<(String, Vec<u8>)>>,
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
    /// Whether only plugins like this one can write to the shared data is what decides about
    /// sharing where the configuration doesn't.
    ///
    /// # Errors
    ///
    /// What the host can't do of what the policy wants.
    pub(crate) fn new(root: u32, policy: Policy, is_private: bool) -> Result<Self, Mistakes> {
        let verifier = Verifier::new(&policy, Some(host::verify_signature))?;
        let mut keys = KeyStore::new(&policy, getrandom::u64().unwrap_or_default());
        let metrics = Metrics::new(Rc::clone(&policy.names));
        let shares = policy.shares_keys().unwrap_or(is_private);
        if shares {
            keys.prefetch();
        }
        Ok(Self {
            root,
            keys: RefCell::new(keys),
            verifier,
            shared: shares.then(|| Shared::new(&policy)),
            policy,
            waiting: RefCell::default(),
            lines: RefCell::default(),
            metrics,
            reported: Cell::default(),
            tick_is_near: Cell::default(),
        })
    }

    pub(crate) fn shares_keys(&self) -> bool {
        self.shared.is_some()
    }

    /// Decides about the request of this stream, which host calls must be about now.
    pub(crate) fn decide(&self, stream: u32, ruling: &Rc<Ruling>) {
        self.decide_again(stream, ruling, Met::default());
    }

    fn decide_again(&self, stream: u32, ruling: &Rc<Ruling>, met: Met) {
        ruling.verdict.set(match self.outcome(&met) {
            Some((request, Outcome::Forward(changes, told))) => {
                self.note(&told.notes);
                match self
                    .make(&changes, ruling)
                    .and_then(|()| write(&told.state))
                {
                    Ok(()) => {
                        let series = self.metrics.names.allowed(told.allowed_by);
                        self.metrics.count(series);
                        Verdict::Forward
                    }
                    // A header that should have gone may still be there.
                    Err(_) => self.give_up(&request),
                }
            }
            Some((request, Outcome::Refuse(refusal, told))) => {
                self.note(&told.notes);
                self.refuse(&refusal, &told.state, &request)
            }
            Some((_, Outcome::Ask(check))) => {
                self.ask_for_tick();
                self.wait(stream, ruling, Need::Check(Some(check)), met)
            }
            Some((_, Outcome::Await(on))) => {
                let keys = self.keys.borrow();
                if on.iter().any(|id| !keys.is_fetching(*id)) {
                    self.ask_for_tick();
                }
                self.wait(stream, ruling, Need::KeySets(on), met)
            }
            None => self.give_up(&Request::default()),
        });
    }

    fn wait(&self, stream: u32, ruling: &Rc<Ruling>, on: Need, met: Met) -> Verdict {
        self.waiting.borrow_mut().push(Waiting {
            stream,
            ruling: Rc::clone(ruling),
            on,
            met,
            since: host::clock().unwrap_or_default(),
        });
        Verdict::Wait
    }

    fn give_up(&self, request: &Request) -> Verdict {
        let refusal = Reason::ProxyUnreadable.into();
        let state = self.policy.filter_state.refused(&refusal, None, None);
        self.refuse(&refusal, &state, request)
    }

    fn refuse(&self, refusal: &Refusal, state: &[Property], request: &Request) -> Verdict {
        self.metrics.count(self.metrics.names.refused(refusal));
        self.log(log::Level::Info, || {
            let code = refusal.reason.code();
            let policy = refusal.policy.as_deref().unwrap_or("none");
            format!("refused: reason={code} policy={policy}")
        });
        // The answer doesn't depend on who reads of it.
        let _ = write(state);
        answer(refusal, Some(&self.policy), request)
    }

    /// `None` where the host doesn't hand out the request, or the time that it takes to decide.
    fn outcome(&self, met: &Met) -> Option<(Request, Outcome)> {
        if self.shared.is_none() {
            // Envoy loads the plugin into threads that serve nothing, too. This one does, so now
            // it needs its key sets.
            self.keys.borrow_mut().prefetch();
        }
        let request = host::request().ok()?;
        // Envoy hands out an empty header where it has none any more.
        request.value(":method")?;
        let (keys, clock) = (&*self.keys.borrow(), HostClock::default());
        let known = Known {
            keys,
            waited: &met.key_sets,
            checked: &met.checked,
            verifier: &self.verifier,
            host: &CurrentRequest,
            now: &clock,
        };
        let outcome = evaluate(&self.policy, known, &request);
        (!clock.has_failed()).then_some((request, outcome))
    }

    /// The SDK hands the answer of a call to the context that made it, and a stream may be gone by
    /// then. So the plugin's own context makes it, at its next tick.
    fn ask_for_tick(&self) {
        if !self.tick_is_near.replace(true) {
            let _ = host::set_tick_period(FETCH_SOON);
        }
    }

    /// The key sets to fetch at this tick: those that requests wait for, and those that are old.
    pub(crate) fn wanted(&self, now: u64) -> Vec<KeySetId> {
        self.tick_is_near.set(false);
        let mut ids = self.awaited();
        ids.extend(self.keys.borrow().due(now));
        sorted::by(&mut ids, Ord::cmp);
        ids.dedup();
        ids
    }

    fn awaited(&self) -> Vec<KeySetId> {
        let waiting = self.waiting.borrow();
        let key_sets = waiting.iter().filter_map(|waiting| match &waiting.on {
            Need::Check(_) => None,
            Need::KeySets(ids) => Some(ids),
        });
        key_sets.flatten().copied().collect()
    }

    /// The checks that were not sent yet, and the streams that wait for them.
    pub(crate) fn unsent(&self) -> Vec<(u32, Check)> {
        let mut waiting = self.waiting.borrow_mut();
        let unsent = waiting
            .iter_mut()
            .filter_map(|waiting| match &mut waiting.on {
                Need::Check(check) => Some((waiting.stream, check.take()?)),
                Need::KeySets(_) => None,
            });
        unsent.collect()
    }

    /// Takes what came of a check, and decides again about the request.
    pub(crate) fn answered(&self, stream: u32, id: CheckId, answer: Option<CheckAnswer>) {
        let result = CheckResult::of(answer.as_ref().map(|answer| answer.status));
        self.metrics.count(Series::Checked(id, result));
        self.wake(
            Series::CheckTime(id),
            |waiting| waiting.stream == stream && matches!(waiting.on, Need::Check(None)),
            |met| {
                let answer = answer.clone();
                met.checked.push(Checked { id, answer });
            },
        );
    }

    /// Whether requests wait for what another worker fetches.
    pub(crate) fn polls(&self) -> bool {
        let keys = self.keys.borrow();
        self.awaited().iter().any(|id| !keys.is_fetching(*id))
    }

    /// Starts to fetch a set that is wanted. Where that can't be now, because it was in vain a
    /// moment ago or another worker has the keys already, whoever waits for it is told so.
    pub(crate) fn start(&self, id: KeySetId, now: u64) -> Option<Fetch> {
        let is_awaited = self.awaited().contains(&id);
        let mut keys = self.keys.borrow_mut();
        let before = keys.version(id);
        let fetch = match &self.shared {
            None => keys.start(id, is_awaited, now),
            Some(shared) => shared.start(&mut keys, id, is_awaited, now),
        };
        let is_under_way = fetch.is_some() || keys.is_busy(id, now);
        let has_others = keys.version(id) != before;
        drop(keys);
        if has_others || !is_under_way {
            // Another worker's keys may be older than the request, and lack the one that it needs.
            self.came(id, !has_others);
        }
        fetch
    }

    /// Takes the answer to a fetch, and decides about those who wait for it. Tells what is to be
    /// fetched next.
    pub(crate) fn finish(
        &self,
        id: KeySetId,
        answer: Result<Answer<'_>, FetchError>,
        now: u64,
    ) -> Option<Fetch> {
        let key_set = self.policy.key_set(id)?;
        let mut keys = self.keys.borrow_mut();
        let mut has_keys = false;
        let fetched = keys.finish(id, answer, now);
        if let Some(result) = FetchResult::of(&fetched) {
            self.metrics.count(Series::Fetched(id, result));
        }
        match fetched {
            Ok(Fetched::Next(fetch)) => return Some(fetch),
            Ok(Fetched::Late) => return None,
            Ok(Fetched::Keys(warnings)) => {
                has_keys = true;
                for warning in warnings {
                    log::warn!("{key_set}: {warning}");
                }
            }
            Ok(Fetched::Withdrawn) => {
                log::warn!("{key_set} is empty now; the old keys serve until that is confirmed");
            }
            Err(error) => log::warn!("{key_set} could not be fetched: {error}"),
        }
        if let Some(shared) = &self.shared {
            shared.publish(&keys, id, has_keys);
        }
        drop(keys);
        self.came(id, true);
        None
    }

    /// Decides again about the requests that wait for this key set, after a fetch of it or because
    /// there is none to wait for.
    fn came(&self, id: KeySetId, was_fetched: bool) {
        self.wake(
            Series::KeyWait,
            |waiting| matches!(&waiting.on, Need::KeySets(ids) if ids.contains(&id)),
            |met| met.key_sets.extend(was_fetched.then_some(id)),
        );
    }

    /// Decides again about those requests, which have met with something. How long they waited is a value
    /// of this series.
    fn wake(&self, time: Series, is_ready: impl Fn(&Waiting) -> bool, meet: impl Fn(&mut Met)) {
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        let (ready, others): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_ready);
        self.waiting.borrow_mut().extend(others);
        if ready.is_empty() {
            return;
        }
        let now = host::clock().unwrap_or_default();
        for Waiting {
            stream,
            ruling,
            mut met,
            since,
            ..
        } in ready
        {
            let waited = now.saturating_sub(since).as_millis();
            let waited = u64::try_from(waited).unwrap_or(u64::MAX);
            self.metrics.observe(time, waited);
            meet(&mut met);
            // A stream that is gone needs no answer.
            if host::set_effective_context(stream).is_ok() {
                self.decide_again(stream, &ruling, met);
                if ruling.verdict.get() == Verdict::Forward {
                    let _ = host::resume_request();
                }
            }
        }
        // Calls that follow must be the plugin's own again.
        let _ = host::set_effective_context(self.root);
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

    fn make(&self, changes: &Changes, ruling: &Ruling) -> Result<(), host::Status> {
        changes.iter().try_for_each(|change| match change {
            Change::Append(name, value) => host::add_request_header(name, value),
            Change::Remove(name) => host::remove_request_header(name),
            Change::Respond(name, value) => {
                let line = (name.clone(), value.clone());
                ruling.response.borrow_mut().push(line);
                Ok(())
            }
            Change::Set(name, value) => host::set_request_header(name, value),
            Change::Withhold(name) => {
                self.log(log::Level::Warn, || {
                    format!("claims that are too long or too deep were not written to `{name}`")
                });
                Ok(())
            }
        })
    }

    fn note(&self, notes: &[Note]) {
        for note in notes {
            if let Some(series) = self.metrics.names.noted(note) {
                self.metrics.count(series);
            }
            let level = match note {
                Note::Audit(_) | Note::DryRun(_) => log::Level::Info,
                Note::Unchecked(_) => log::Level::Warn,
            };
            self.log(level, || note.to_string());
        }
    }

    pub(crate) fn warn(&self, line: impl FnOnce() -> String) {
        self.log(log::Level::Warn, line);
    }

    /// Writes a line that a request causes.
    fn log(&self, level: log::Level, line: impl FnOnce() -> String) {
        if !log::log_enabled!(level) {
            return;
        }
        let now = host::now().unwrap_or_default();
        let Some(withheld) = self.lines.borrow_mut().admit(now) else {
            return;
        };
        let line = line();
        match withheld {
            0 => log::log!(level, "{line}"),
            count => log::log!(level, "{line} ({count} more lines were left out)"),
        }
    }
}

/// Answers the request of the stream that host calls are about now.
pub(crate) fn answer(refusal: &Refusal, policy: Option<&Policy>, request: &Request) -> Verdict {
    // Should the host not take the answer, the request stays paused: it never goes on.
    let _ = host::send(&reply(refusal, policy, request));
    Verdict::Answered
}

fn write(state: &[Property]) -> Result<(), host::Status> {
    state
        .iter()
        .try_for_each(|property| host::set_property(property.name, &property.value))
}
