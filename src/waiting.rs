//! The requests of one worker that wait: for what, in which order they go on, and how many may.
//!
//! It knows no host. A request is the number of its stream; streams that come later have higher
//! numbers. A request that doesn't wait costs nothing here, however many others do.

mod queue;

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use rustc_hash::FxHashMap;

pub(crate) use self::queue::{Failure, Queue};
use crate::check::{Check, CheckId, CheckReply, Checked};
use crate::jwks::KeySetId;

/// How many bytes the checks of waiting requests may take, with what services answered before: of clients
/// with long addresses, fewer wait.
const MOST_BYTES: usize = 64 << 20;

/// What a request waits for.
#[derive(Clone, Debug)]
pub(crate) enum Need {
    /// The answer of a service.
    Check(Rc<Check>),
    /// One of these key sets.
    KeySets(Vec<KeySetId>),
}

/// What a request has waited for before.
#[derive(Debug, Default)]
pub(crate) struct Met {
    pub(crate) checked: Vec<Checked>,
    pub(crate) key_sets: Vec<KeySetId>,
}

impl Need {
    fn size(&self) -> usize {
        match self {
            Self::Check(check) => check.size(),
            Self::KeySets(_) => 0,
        }
    }
}

impl Met {
    fn size(&self) -> usize {
        self.checked.iter().map(|it| it.reply.size()).sum()
    }
}

/// A paused request, and what the shell keeps of it.
#[derive(Debug)]
pub(crate) struct Paused<R> {
    pub(crate) request: R,
    pub(crate) met: Met,
    /// The time since the Unix epoch at which it began to wait.
    pub(crate) since: Duration,
    need: Need,
    /// In bytes, when it began to wait.
    size: usize,
    is_ready: bool,
}

impl<R> Paused<R> {
    /// The service that it waited for; `None` if it waited for keys.
    pub(crate) fn service(&self) -> Option<CheckId> {
        match &self.need {
            Need::Check(check) => Some(check.id),
            Need::KeySets(_) => None,
        }
    }
}

/// All requests of one worker that wait.
#[derive(Debug)]
pub(crate) struct Waiting<R> {
    most: usize,
    /// Of all requests.
    bytes: usize,
    requests: FxHashMap<u32, Paused<R>>,
    /// By key set: the streams that wait for it.
    for_keys: Vec<BTreeSet<u32>>,
    /// By service: the checks that were not sent yet, and how many are under way.
    queues: Vec<Queue>,
    /// The streams that have what they waited for.
    ready: BTreeSet<u32>,
}

impl<R> Waiting<R> {
    /// Room for at most this many requests.
    pub(crate) fn new(most: usize, key_sets: usize, queues: Vec<Queue>) -> Self {
        Self {
            most,
            bytes: 0,
            requests: FxHashMap::default(),
            for_keys: vec![BTreeSet::new(); key_sets],
            queues,
            ready: BTreeSet::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.requests.len() >= self.most || self.bytes >= MOST_BYTES
    }

    /// A request begins to wait.
    pub(crate) fn pause(&mut self, stream: u32, request: R, need: Need, met: Met, since: Duration) {
        let size = need.size() + met.size();
        self.bytes += size;
        match &need {
            Need::Check(check) => {
                if let Some(queue) = self.queues.get_mut(check.id.0) {
                    queue.add(stream);
                }
            }
            Need::KeySets(ids) => {
                for id in ids {
                    if let Some(streams) = self.for_keys.get_mut(id.0) {
                        streams.insert(stream);
                    }
                }
            }
        }
        let paused = Paused {
            request,
            met,
            since,
            need,
            size,
            is_ready: false,
        };
        self.requests.insert(stream, paused);
    }

    /// The client of this stream has gone.
    pub(crate) fn forget(&mut self, stream: u32) {
        let Some(paused) = self.take(stream) else {
            return;
        };
        if paused.is_ready {
            self.ready.remove(&stream);
            return;
        }
        match &paused.need {
            Need::Check(check) => {
                if let Some(queue) = self.queues.get_mut(check.id.0) {
                    queue.forget(stream);
                }
            }
            Need::KeySets(ids) => self.leave(stream, ids),
        }
    }

    fn leave(&mut self, stream: u32, key_sets: &[KeySetId]) {
        for id in key_sets {
            if let Some(streams) = self.for_keys.get_mut(id.0) {
                streams.remove(&stream);
            }
        }
    }

    /// The key sets that requests wait for.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = KeySetId> {
        let sets = self.for_keys.iter().enumerate();
        sets.filter(|(_, streams)| !streams.is_empty())
            .map(|(index, _)| KeySetId(index))
    }

    pub(crate) fn awaits(&self, id: KeySetId) -> bool {
        let streams = self.for_keys.get(id.0);
        streams.is_some_and(|streams| !streams.is_empty())
    }

    /// There is nothing to wait for any more: the key set was fetched, or it isn't going to be.
    pub(crate) fn keys_came(&mut self, id: KeySetId, was_fetched: bool) {
        let Some(streams) = self.for_keys.get_mut(id.0).map(std::mem::take) else {
            return;
        };
        for stream in streams {
            let Some(paused) = self.requests.get_mut(&stream) else {
                continue;
            };
            paused.met.key_sets.extend(was_fetched.then_some(id));
            paused.is_ready = true;
            self.ready.insert(stream);
            if let Need::KeySets(ids) = &paused.need
                && ids.len() > 1
            {
                let ids = ids.clone();
                self.leave(stream, &ids);
            }
        }
    }

    /// The services whose checks wait to be sent.
    pub(crate) fn services(&self) -> impl Iterator<Item = CheckId> {
        let queues = self.queues.iter().enumerate();
        queues
            .filter(|(_, queue)| !queue.is_empty())
            .map(|(index, _)| CheckId(index))
    }

    pub(crate) fn has_unsent(&self) -> bool {
        self.services().next().is_some()
    }

    /// Whether a check of this service is to be sent now.
    pub(crate) fn can_ask_of(&self, id: CheckId, now: Duration) -> bool {
        let queue = self.queues.get(id.0);
        queue.is_some_and(|queue| queue.has_next(now))
    }

    /// Whether any check is to be sent now.
    pub(crate) fn can_ask(&self, now: Duration) -> bool {
        self.queues.iter().any(|queue| queue.has_next(now))
    }

    pub(crate) fn queue(&mut self, id: CheckId) -> Option<&mut Queue> {
        self.queues.get_mut(id.0)
    }

    /// The check of this service that is to be sent now, if one may be.
    pub(crate) fn next_check(&mut self, id: CheckId, now: Duration) -> Option<(u32, Rc<Check>)> {
        let stream = self.queues.get_mut(id.0)?.next(now)?;
        match &self.requests.get(&stream)?.need {
            Need::Check(check) => Some((stream, Rc::clone(check))),
            Need::KeySets(_) => None,
        }
    }

    /// A service gave this reply to the check of a stream, or none can be had.
    pub(crate) fn replied(&mut self, stream: u32, id: CheckId, reply: CheckReply) {
        let Some(paused) = self.requests.get_mut(&stream) else {
            return;
        };
        // A stream that has gone on to wait for something else isn't meant.
        if paused.is_ready || paused.service() != Some(id) {
            return;
        }
        paused.met.checked.push(Checked { id, reply });
        paused.is_ready = true;
        self.ready.insert(stream);
    }

    /// The circuit breaker of this service is full: the check of this stream is sent again in a while.
    pub(crate) fn postpone(&mut self, stream: u32, id: CheckId, now: Duration) {
        let Some(queue) = self.queues.get_mut(id.0) else {
            return;
        };
        queue.block(now);
        let asks = |paused: &Paused<R>| !paused.is_ready && paused.service() == Some(id);
        if self.requests.get(&stream).is_some_and(asks) {
            queue.add(stream);
        }
    }

    /// Gives up checks that have waited for as long as an answer may take, and were never sent: the
    /// service has more to do than it can. Tells how many.
    pub(crate) fn expire(&mut self, id: CheckId, now: Duration) -> usize {
        let mut expired = 0;
        while let Some(stream) = self.queues.get(id.0).and_then(Queue::first) {
            let Some(paused) = self.requests.get(&stream) else {
                return expired;
            };
            let Need::Check(check) = &paused.need else {
                return expired;
            };
            // Streams wait in the order in which they came.
            if now.saturating_sub(paused.since) < check.timeout {
                return expired;
            }
            if let Some(queue) = self.queues.get_mut(id.0) {
                queue.forget(stream);
            }
            self.replied(stream, id, CheckReply::Overloaded);
            expired += 1;
        }
        expired
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(crate) fn is_ready(&self, stream: u32) -> bool {
        self.ready.contains(&stream)
    }

    /// Takes the first request out that has what it waited for.
    pub(crate) fn pop_ready(&mut self) -> Option<(u32, Paused<R>)> {
        let stream = self.ready.pop_first()?;
        Some((stream, self.take(stream)?))
    }

    /// Takes this one out, if it has what it waited for.
    pub(crate) fn take_ready(&mut self, stream: u32) -> Option<Paused<R>> {
        match self.ready.remove(&stream) {
            true => self.take(stream),
            false => None,
        }
    }

    fn take(&mut self, stream: u32) -> Option<Paused<R>> {
        let paused = self.requests.remove(&stream)?;
        self.bytes = self.bytes.saturating_sub(paused.size);
        Some(paused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::CheckAnswer;

    const NOW: Duration = Duration::from_secs(1_000);

    fn waiting() -> Waiting<()> {
        let queue = || Queue::new(1, Duration::from_secs(1));
        Waiting::new(10, 3, vec![queue(), queue()])
    }

    fn check(service: usize) -> Need {
        Need::Check(Rc::new(Check {
            id: CheckId(service),
            provider: String::new(),
            cluster: String::new(),
            headers: Vec::new(),
            timeout: Duration::from_secs(1),
        }))
    }

    fn answer(bytes: usize) -> CheckReply {
        CheckReply::Answer(CheckAnswer {
            status: 200,
            headers: vec![("x".to_owned(), vec![0; bytes])],
            body: None,
        })
    }

    #[test]
    fn whoever_waits_for_one_of_several_sets_waits_for_none_when_it_comes() {
        let mut waiting = waiting();
        let sets = vec![KeySetId(0), KeySetId(2)];
        waiting.pause(1, (), Need::KeySets(sets), Met::default(), NOW);
        waiting.keys_came(KeySetId(0), true);
        assert_eq!(waiting.awaited().count(), 0);
        let (stream, paused) = waiting.pop_ready().unwrap();
        assert_eq!((stream, paused.met.key_sets), (1, vec![KeySetId(0)]));
    }

    #[test]
    fn only_the_first_reply_of_the_service_that_was_asked_counts() {
        let mut waiting = waiting();
        waiting.pause(1, (), check(0), Met::default(), NOW);
        waiting.pause(2, (), Need::KeySets(vec![KeySetId(0)]), Met::default(), NOW);
        waiting.replied(1, CheckId(1), CheckReply::Nothing);
        waiting.replied(2, CheckId(0), CheckReply::Nothing);
        assert!(!waiting.has_ready());
        waiting.replied(1, CheckId(0), CheckReply::Nothing);
        waiting.replied(1, CheckId(0), answer(0));
        let (_, paused) = waiting.pop_ready().unwrap();
        assert_eq!(paused.met.checked.len(), 1);
        assert!(matches!(paused.met.checked[0].reply, CheckReply::Nothing));
    }

    /// A service may repeat in its answer what a client sent.
    #[test]
    fn what_was_answered_before_takes_room() {
        let mut waiting = waiting();
        let pause = |waiting: &mut Waiting<()>, stream| {
            let checked = vec![Checked {
                id: CheckId(0),
                reply: answer(MOST_BYTES / 2),
            }];
            let met = Met {
                checked,
                ..Met::default()
            };
            waiting.pause(stream, (), check(1), met, NOW);
        };
        pause(&mut waiting, 1);
        assert!(!waiting.is_full());
        pause(&mut waiting, 2);
        assert!(waiting.is_full());
        waiting.forget(1);
        assert!(!waiting.is_full());
        waiting.replied(2, CheckId(1), CheckReply::Nothing);
        waiting.pop_ready().unwrap();
        assert_eq!(waiting.bytes, 0);
    }
}
