//! What the plugin and its streams share on one worker: the policy, the fetched keys, and the
//! requests that wait for them.

mod checks;
mod report;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::attributes::{CurrentRequest, HostClock};
use super::host;
use super::logger::{RateBound, left_out};
use super::metrics::Metrics;
use super::shared::{SentChecks, Shared};
use super::turn::Turn;
use crate::config::reader::Mistakes;
use crate::evaluate::{Known, evaluate};
use crate::jwks::{Answer, Fetch, FetchError, Fetched, KeySetId, KeyStore};
use crate::jwt::{Counts, Verifier};
use crate::metrics::{FetchResult, Series};
use crate::outcome::{Change, Changes, Note, Outcome, Property, Reason, Refusal};
use crate::policy::Policy;
use crate::reply::{Reply, reply};
use crate::request::Request;
use crate::sorted;
use crate::waiting::{Met, Need, Paused, Queue, Waiting};

/// How soon a fetch is sent for which a request waits, or the next requests are answered.
const SOON: Duration = Duration::from_millis(1);

/// How often a worker looks whether another one's fetch has ended, for which its requests wait, or
/// whether a service takes checks again.
pub(crate) const POLL: Duration = Duration::from_millis(10);

/// How often key sets that have become old are looked for.
pub(crate) const WATCH: Duration = Duration::from_secs(1);

/// No request waits longer: what seems longer is a clock that was set.
const LONGEST_WAIT: Duration = Duration::from_secs(2 * 3600);

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
    waiting: RefCell<Waiting<Rc<Ruling>>>,
    /// By service: when a check was last sent, by all workers.
    checked: Vec<SentChecks>,
    turn: Rc<Turn>,
    lines: RefCell<RateBound>,
    metrics: Metrics,
    /// What of the verifier's counts was handed on.
    reported: Cell<Counts>,
    /// Whether a tick was asked for that comes sooner than the next regular one. Asking again
    /// would put it off.
    tick_is_near: Cell<bool>,
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
    pub(crate) fn new(
        root: u32,
        policy: Policy,
        is_private: bool,
        turn: Rc<Turn>,
    ) -> Result<Self, Mistakes> {
        let verifier = Verifier::new(&policy, Some(host::verify_signature))?;
        let mut keys = KeyStore::new(&policy, getrandom::u64().unwrap_or_default());
        let metrics = Metrics::new(Rc::clone(&policy.names));
        let shares = policy.shares_keys().unwrap_or(is_private);
        if shares {
            keys.prefetch();
        }
        let services = || policy.checks.services();
        let queues = services().map(|it| Queue::new(it.most_requests(), it.timeout()));
        let waiting = Waiting::new(
            usize::try_from(policy.max_waiting).unwrap_or(usize::MAX),
            policy.key_sets().len(),
            queues.collect(),
        );
        let checked = services().map(|it| SentChecks::new(it.cluster()));
        Ok(Self {
            root,
            waiting: RefCell::new(waiting),
            checked: checked.collect(),
            turn,
            keys: RefCell::new(keys),
            verifier,
            shared: shares.then(|| Shared::new(&policy)),
            policy,
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
            Some((request, Outcome::Ask(check))) => {
                let need = Need::Check(Rc::new(check));
                self.wait(stream, ruling, need, met, &request)
            }
            Some((request, Outcome::Await(on))) => {
                self.wait(stream, ruling, Need::KeySets(on), met, &request)
            }
            None => self.give_up(&Request::default()),
        });
    }

    fn wait(
        &self,
        stream: u32,
        ruling: &Rc<Ruling>,
        need: Need,
        met: Met,
        request: &Request,
    ) -> Verdict {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_full() {
            drop(waiting);
            return self.turn_away(Reason::TooManyWaiting, request);
        }
        let now = host::clock().unwrap_or_default();
        let is_urgent = {
            let keys = self.keys.borrow();
            match &need {
                Need::Check(_) => true,
                Need::KeySets(on) => on.iter().any(|id| !keys.is_fetching(*id)),
            }
        };
        waiting.pause(stream, Rc::clone(ruling), need, met, now);
        drop(waiting);
        if is_urgent {
            self.ask_for_tick();
        }
        Verdict::Wait
    }

    fn give_up(&self, request: &Request) -> Verdict {
        self.turn_away(Reason::ProxyUnreadable, request)
    }

    /// Refuses a request about which nothing was decided.
    fn turn_away(&self, reason: Reason, request: &Request) -> Verdict {
        let refusal = reason.into();
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
            let _ = host::set_tick_period(SOON);
        }
    }

    /// The key sets to fetch at this tick: those that requests wait for, and those that are old.
    pub(crate) fn wanted(&self, now: u64) -> Vec<KeySetId> {
        let mut ids: Vec<_> = self.waiting.borrow().awaited().collect();
        ids.extend(self.keys.borrow().due(now));
        sorted::by(&mut ids, Ord::cmp);
        ids.dedup();
        ids
    }

    /// A tick begins: what is left to do when it ends says when the next one comes.
    pub(crate) fn begin_tick(&self) {
        self.tick_is_near.set(true);
    }

    /// When the next tick is to come.
    pub(crate) fn end_tick(&self, now: Duration) -> Duration {
        let (waiting, keys) = (self.waiting.borrow(), self.keys.borrow());
        let unfetched = || waiting.awaited().filter(|id| !keys.is_fetching(*id));
        let is_soon = waiting.has_ready()
            || waiting.can_ask(now)
            || unfetched().any(|id| !keys.is_busy(id, now.as_secs()));
        self.tick_is_near.set(is_soon);
        // Else another worker fetches them.
        let polls = waiting.has_unsent() || unfetched().next().is_some();
        match is_soon {
            true => SOON,
            false if polls => POLL,
            false => WATCH,
        }
    }

    /// Starts to fetch a set that is wanted. Where that can't be now, because it was in vain a
    /// moment ago or another worker has the keys already, whoever waits for it is told so.
    pub(crate) fn start(&self, id: KeySetId, now: u64) -> Option<Fetch> {
        let is_awaited = self.waiting.borrow().awaits(id);
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
        if self.waiting.borrow().awaits(id) {
            keys.is_awaited_now(id);
        }
        let fetched = keys.finish(id, answer, now);
        if let Some(result) = FetchResult::of(&fetched) {
            self.metrics.count(Series::Fetched(id, result));
        }
        match fetched {
            Ok(Fetched::Next(fetch)) => return Some(fetch),
            Ok(Fetched::Late) => return None,
            Ok(Fetched::Keys { ids, warnings }) => {
                has_keys = true;
                for warning in warnings {
                    log::warn!("{key_set}: {warning}");
                }
                if let Some(ids) = ids {
                    log::info!("{key_set} has {ids}");
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

    /// The fetch of this set ends unanswered, because the plugin that sent it goes. The workers that wait
    /// for it shall know at once, and one of them fetch.
    pub(crate) fn abandon(&self, id: KeySetId) {
        let mut keys = self.keys.borrow_mut();
        if let Some(shared) = &self.shared
            && keys.abandon(id)
        {
            shared.publish(&keys, id, false);
        }
    }

    /// The requests that wait for this key set can go on, after a fetch of it or because there is none
    /// to wait for.
    fn came(&self, id: KeySetId, was_fetched: bool) {
        self.waiting.borrow_mut().keys_came(id, was_fetched);
        self.settle();
    }

    /// Decides again about requests that have what they waited for, as many as this turn takes.
    pub(crate) fn settle(&self) {
        let mut has_gone_on = false;
        while self.waiting.borrow().has_ready() && self.turn.takes_answer() {
            let next = self.waiting.borrow_mut().pop_ready();
            if let Some((stream, paused)) = next {
                self.go_on(stream, paused);
                has_gone_on = true;
            }
        }
        self.finish_turn(has_gone_on);
    }

    /// The same for one request, if it can go on.
    fn settle_one(&self, stream: u32) {
        let is_ready = self.waiting.borrow().is_ready(stream);
        let next = match is_ready && self.turn.takes_answer() {
            true => self.waiting.borrow_mut().take_ready(stream),
            false => None,
        };
        let has_gone_on = next.is_some();
        if let Some(paused) = next {
            self.go_on(stream, paused);
        }
        self.finish_turn(has_gone_on);
    }

    fn finish_turn(&self, has_gone_on: bool) {
        if has_gone_on {
            // Calls that follow must be the plugin's own again.
            let _ = host::set_effective_context(self.root);
        }
        if self.waiting.borrow().has_ready() {
            self.ask_for_tick();
        }
    }

    fn go_on(&self, stream: u32, paused: Paused<Rc<Ruling>>) {
        let time = paused.service().map_or(Series::KeyWait, Series::CheckTime);
        let now = host::clock().unwrap_or_default();
        let waited = now.checked_sub(paused.since);
        if let Some(waited) = waited.filter(|waited| *waited < LONGEST_WAIT) {
            let waited = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
            self.metrics.observe(time, waited);
        }
        // A stream that is gone needs no answer.
        if host::set_effective_context(stream).is_ok() {
            let ruling = &paused.request;
            self.decide_again(stream, ruling, paused.met);
            if ruling.verdict.get() == Verdict::Forward {
                let _ = host::resume_request();
            }
        }
    }

    pub(crate) fn has_waiting(&self) -> bool {
        self.waiting.borrow().len() > 0
    }

    /// The client of this stream has gone.
    pub(crate) fn forget(&self, stream: u32) {
        self.waiting.borrow_mut().forget(stream);
    }

    /// Takes trailers out that only we or services write. They come by themselves, after the header was
    /// decided upon.
    pub(crate) fn strip_trailers(&self) -> Result<(), host::Status> {
        let trailers = host::request_trailers()?;
        let names = trailers.iter().map(|(name, _)| name.as_str());
        let mut forged = self.policy.forged_trailers(names).into_iter();
        forged.try_for_each(host::remove_request_trailer)
    }

    /// A request went past the plugin.
    pub(crate) fn missed(&self) {
        self.metrics.count(Series::Unseen);
        self.log(log::Level::Error, || {
            "a request PASSED UNCHECKED: Envoy didn't call `proxy_on_request_headers`; allow it in \
             `capability_restriction_config`"
                .to_owned()
        });
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
            count => log::log!(level, "{line} ({})", left_out(count)),
        }
    }
}

/// Answers the request of the stream that host calls are about now.
pub(crate) fn answer(refusal: &Refusal, policy: Option<&Policy>, request: &Request) -> Verdict {
    let reply = reply(refusal, policy, request);
    if host::send(&reply).is_err() {
        let plain = Reply {
            headers: Vec::new(),
            body: Vec::new(),
            ..reply
        };
        // Should the host not take this, either, the request stays paused: it never goes on.
        let _ = host::send(&plain);
    }
    Verdict::Answered
}

fn write(state: &[Property]) -> Result<(), host::Status> {
    state
        .iter()
        .try_for_each(|property| host::set_property(property.name, &property.value))
}
