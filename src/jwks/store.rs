//! When key sets are fetched: a state machine over time, which reads no clock and sends nothing.
//!
//! ```text
//!             start                   finish(Ok)
//!   Missing ---------> being fetched ------------> Ready --- late in its lifetime ------> due
//!      ^                    |  ^                     ^                                      |
//!      |      finish(Err)   |  |  start, once        |   start; the old keys serve on       |
//!      +---- Unavailable <--+  +-- retry_at is past  +--------------------------------------+
//! ```
//!
//! A token that none of the keys fits may start a fetch early, but not before `refetch_at`.
//! Whatever is under way, a set is fetched once at a time, by one of the workers that share it. A
//! failed fetch is repeated after a pause that doubles, and until then requests without keys are
//! answered at once.

use std::rc::Rc;

use fastrand::Rng;

use super::KeySet;
use super::answer::{Answer, Bodies, FetchError};
use super::record::Record;
use super::source::{Fetch, KeySetSource, Origin};
use crate::policy::Policy;

/// A key set of the policy that is fetched.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeySetId(pub(crate) usize);

/// The fetched key sets of a policy, as one worker has them.
#[derive(Debug)]
pub struct KeyStore {
    slots: Vec<Slot>,
    /// Spreads times. Nothing secret depends on it.
    random: Rng,
    /// Whether sets are fetched that no request has asked for.
    prefetches: bool,
}

#[derive(Debug)]
struct Slot {
    source: Rc<KeySetSource>,
    record: Record,
    keys: Option<Rc<KeySet>>,
    /// What the keys were read from.
    bodies: Bodies,
    /// Our own fetch under way: what is asked for.
    step: Option<Step>,
    /// Whether a request waits for it.
    is_awaited: bool,
}

#[derive(Debug)]
enum Step {
    KeySet { metadata: Vec<u8> },
    Metadata { issuer: String },
}

/// What the store knows of a key set.
#[derive(Debug)]
pub(crate) enum Lookup<'a> {
    /// It has to be fetched, or is being fetched.
    Pending,
    Ready(&'a Rc<KeySet>),
    /// It couldn't be fetched and isn't tried again yet.
    Unavailable,
}

/// What came of an answer.
#[derive(Debug)]
pub enum Fetched<'a> {
    /// Keys. What is the same as it was before isn't told again.
    Keys {
        /// The IDs of all of them; `None` where they are the same.
        ids: Option<String>,
        /// What is wrong in the set; none where the same is.
        warnings: &'a [String],
    },
    /// Nothing: it took so long that another worker fetched the set meanwhile.
    Late,
    /// The address of the keys, which are to be fetched there.
    Next(Fetch),
    /// A set without keys, where there were some. They serve on until the provider has said so
    /// twice.
    Withdrawn,
}

impl KeyStore {
    /// A store for the key sets of a policy, with nothing fetched yet. The seed makes proxies that
    /// start at the same time fetch at different ones.
    #[must_use]
    pub fn new(policy: &Policy, seed: u64) -> Self {
        Self::of(policy.key_sets(), seed)
    }

    fn of(sources: &[Rc<KeySetSource>], seed: u64) -> Self {
        let slots = sources.iter().map(|source| Slot {
            source: Rc::clone(source),
            record: Record::default(),
            keys: None,
            bodies: Bodies::default(),
            step: None,
            is_awaited: false,
        });
        Self {
            slots: slots.collect(),
            random: Rng::with_seed(seed),
            prefetches: false,
        }
    }

    pub(crate) fn get(&self, id: KeySetId, now: u64) -> Lookup<'_> {
        let Some(slot) = self.slots.get(id.0) else {
            return Lookup::Unavailable;
        };
        match &slot.keys {
            Some(keys) if !slot.record.has_expired(now, &slot.source) => Lookup::Ready(keys),
            _ if slot.record.refuses(now) && !slot.is_busy(now) => Lookup::Unavailable,
            _ => Lookup::Pending,
        }
    }

    /// Whether a fetch may still bring the key of a token that none of the keys fits: one is under
    /// way, or the last such fetch is long enough ago.
    pub(crate) fn may_bring_another(&self, id: KeySetId, now: u64) -> bool {
        self.slots
            .get(id.0)
            .is_some_and(|slot| slot.is_busy(now) || slot.record.may_refetch(now, &slot.source))
    }

    /// Whether a fetch of the set is under way, here or at another worker.
    pub(crate) fn is_busy(&self, id: KeySetId, now: u64) -> bool {
        self.slots.get(id.0).is_some_and(|slot| slot.is_busy(now))
    }

    /// When the keys of a set were fetched, in seconds since the Unix epoch; `None` where there are none.
    pub(crate) fn fetched_at(&self, id: KeySetId) -> Option<u64> {
        let slot = self.slots.get(id.0)?;
        slot.keys.as_ref().map(|_| slot.record.fetched_at)
    }

    /// Tells the keys of a set from those before and after.
    pub(crate) fn version(&self, id: KeySetId) -> Option<u64> {
        Some(self.slots.get(id.0)?.record.version)
    }

    /// Whether this worker is fetching the set.
    pub(crate) fn is_fetching(&self, id: KeySetId) -> bool {
        self.slots.get(id.0).is_some_and(|slot| slot.step.is_some())
    }

    /// Marks a set as being fetched, for requests or because of its age, unless it is already or was
    /// in vain a moment ago. Whoever sends the fetch must call [`Self::finish`].
    pub fn start(&mut self, id: KeySetId, is_awaited: bool, now: u64) -> Option<Fetch> {
        let slot = self.slots.get_mut(id.0)?;
        let (record, source) = (&mut slot.record, &slot.source);
        let serves = slot.keys.is_some() && !record.has_expired(now, source);
        let early = serves && !record.is_due(now, source);
        let may_start = match early {
            true => is_awaited && record.may_refetch(now, source),
            false if is_awaited && !serves => !record.refuses(now),
            false => record.may_retry(now),
        };
        if record.is_busy(now, source) || !may_start {
            return None;
        }
        slot.is_awaited = is_awaited;
        record.start(now, early, source, &mut self.random);
        slot.step = Some(match &slot.source.origin {
            Origin::At(_) => Step::KeySet {
                metadata: Vec::new(),
            },
            Origin::Discovered { issuer, .. } => Step::Metadata {
                issuer: issuer.clone(),
            },
        });
        Some(slot.source.first())
    }

    /// Ends our own fetch of a set, of which nothing will come. Tells whether there was one.
    pub(crate) fn abandon(&mut self, id: KeySetId) -> bool {
        let Some(slot) = self.slots.get_mut(id.0) else {
            return false;
        };
        let was_ours = slot.step.take().is_some();
        if was_ours {
            slot.record.abandon();
        }
        was_ours
    }

    /// How often fetches of a set were in vain, or brought no keys: tells one that ended from one that was
    /// abandoned.
    pub(crate) fn in_vain(&self, id: KeySetId) -> Option<(u64, u64)> {
        Some(self.slots.get(id.0)?.record.in_vain())
    }

    /// Requests have come to wait for the fetch under way: should it fail, others are not to wait anew.
    pub(crate) fn is_awaited_now(&mut self, id: KeySetId) {
        if let Some(slot) = self.slots.get_mut(id.0) {
            slot.is_awaited = true;
        }
    }

    /// Another worker's fetch was in vain, for which requests waited here. Tells whether those to come
    /// are refused until the next try.
    pub(crate) fn refuse(&mut self, id: KeySetId) -> bool {
        let slot = self.slots.get_mut(id.0);
        slot.is_some_and(|slot| slot.record.refuse())
    }

    /// Another worker started at the same time, and fetches the set.
    pub(crate) fn leave_to_another(&mut self, id: KeySetId) {
        if let Some(slot) = self.slots.get_mut(id.0) {
            slot.step = None;
        }
    }

    /// Takes a 200 answer, or the reason why there is none.
    ///
    /// # Errors
    ///
    /// Why the fetch brought no keys. Those that were there before stay.
    pub fn finish(
        &mut self,
        id: KeySetId,
        answer: Result<Answer<'_>, FetchError>,
        now: u64,
    ) -> Result<Fetched<'_>, FetchError> {
        let Some(slot) = self.slots.get_mut(id.0) else {
            return Ok(Fetched::Late);
        };
        let Some(step) = slot.step.take() else {
            return Ok(Fetched::Late);
        };
        let taken = answer.and_then(|answer| slot.take(step, &answer, now, &mut self.random));
        match taken {
            Ok(Taken::Keys { ids, warns }) => {
                let keys = slot.keys.as_ref().filter(|_| warns);
                let warnings = keys.map_or(&[][..], |keys| keys.warnings());
                Ok(Fetched::Keys { ids, warnings })
            }
            Ok(Taken::Next(fetch)) => Ok(Fetched::Next(fetch)),
            Ok(Taken::Withdrawn) => Ok(Fetched::Withdrawn),
            Err(error) => {
                slot.record.fail(now, slot.is_awaited, &mut self.random);
                Err(error)
            }
        }
    }

    /// From now on, sets are fetched before a request asks for them.
    pub(crate) fn prefetch(&mut self) {
        self.prefetches = true;
    }

    /// The sets to be fetched because of their age, or of having none.
    #[must_use]
    pub fn due(&self, now: u64) -> Vec<KeySetId> {
        let is_due = |slot: &Slot| match slot.keys {
            Some(_) => slot.record.is_due(now, &slot.source),
            None => self.prefetches && slot.record.may_retry(now),
        };
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(_, slot)| is_due(slot))
            .map(|(index, _)| KeySetId(index))
            .collect()
    }

    /// What the other workers are to know.
    pub(crate) fn record(&self, id: KeySetId) -> Option<Vec<u8>> {
        let slot = self.slots.get(id.0)?;
        Some(slot.record.to_bytes().to_vec())
    }

    /// What the keys were read from, for the other workers to read.
    pub(crate) fn bodies(&self, id: KeySetId) -> Option<Vec<u8>> {
        let slot = self.slots.get(id.0)?;
        Some(slot.bodies.to_bytes(slot.record.version))
    }

    /// Goes on from what another worker knows. Its keys are read from the bodies that it fetched,
    /// and checked as if they came from the provider. Tells whether there were new ones.
    pub(crate) fn adopt(
        &mut self,
        id: KeySetId,
        record: &[u8],
        bodies: impl FnOnce() -> Option<Vec<u8>>,
    ) -> bool {
        let Some(slot) = self.slots.get_mut(id.0) else {
            return false;
        };
        let Some(record) = Record::from_bytes(record) else {
            return false;
        };
        let is_new = record.version != slot.record.version;
        if is_new {
            let bodies = bodies().and_then(|bytes| Bodies::from_bytes(&bytes, record.version));
            let read = bodies.and_then(|bodies| Some((slot.read(&bodies).ok()?, bodies)));
            let Some((keys, bodies)) = read else {
                return false;
            };
            slot.keep(keys, bodies);
        }
        if record != slot.record {
            slot.record = record;
            slot.step = None;
        }
        is_new
    }
}

/// What came of an answer, of which nothing is borrowed.
enum Taken {
    Keys {
        ids: Option<String>,
        /// Whether its warnings are others than before.
        warns: bool,
    },
    Next(Fetch),
    Withdrawn,
}

impl Slot {
    fn is_busy(&self, now: u64) -> bool {
        self.record.is_busy(now, &self.source)
    }

    fn take(
        &mut self,
        step: Step,
        answer: &Answer<'_>,
        now: u64,
        random: &mut Rng,
    ) -> Result<Taken, FetchError> {
        let body = answer.body()?.to_vec();
        let metadata = match step {
            Step::KeySet { metadata } => metadata,
            Step::Metadata { issuer } => {
                let fetch = self.source.discovered(&issuer, &body);
                let fetch = fetch.map_err(FetchError::Unusable)?;
                self.step = Some(Step::KeySet { metadata: body });
                return Ok(Taken::Next(fetch));
            }
        };
        let bodies = Bodies {
            metadata,
            key_set: body,
        };
        let keys = bodies.parse()?;
        if keys.is_empty() {
            match &self.keys {
                None => return Err(FetchError::Unusable(keys.emptiness())),
                Some(old) if !old.is_empty() && !self.record.confirms_withdrawal(now) => {
                    return Ok(Taken::Withdrawn);
                }
                Some(_) => {}
            }
        }
        let lifetime = answer.lifetime(&self.source.fetching);
        self.record.succeed(now, lifetime, random);
        let old = self.keys.as_ref();
        let warns = old.is_none_or(|old| old.warnings() != keys.warnings());
        let ids = Some(keys.ids()).filter(|ids| old.is_none_or(|old| old.ids() != *ids));
        self.keep(keys, bodies);
        Ok(Taken::Keys { ids, warns })
    }

    /// Whoever remembers what the old keys verified may go on where the new ones are the same.
    fn keep(&mut self, keys: KeySet, bodies: Bodies) {
        if self.keys.is_none() || self.bodies != bodies {
            self.keys = Some(Rc::new(keys));
            self.bodies = bodies;
        }
    }

    /// Reads what another worker fetched.
    fn read(&self, bodies: &Bodies) -> Result<KeySet, FetchError> {
        if let Origin::Discovered { issuer, .. } = &self.source.origin {
            let discovered = self.source.discovered(issuer, &bodies.metadata);
            discovered.map_err(FetchError::Unusable)?;
        }
        bodies.parse()
    }
}

#[cfg(test)]
mod tests;
