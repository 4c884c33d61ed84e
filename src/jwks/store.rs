//! When key sets are fetched: a state machine over time, which reads no clock and sends nothing.
//!
//! ```text
//!             start                   finish(Ok)
//!   Missing ---------> being fetched ------------> Ready --- older than cacheDuration ---> due
//!      ^                    |  ^                     ^                                      |
//!      |      finish(Err)   |  |  start, once        |   start; the old keys serve on       |
//!      +---- Unavailable <--+  +-- retry_at is past  +--------------------------------------+
//! ```
//!
//! A token that none of the keys fits may start a fetch early, but not before `refetch_at`.
//! Whatever is under way, a set is fetched once at a time. A failed fetch is repeated after a pause
//! that doubles, and until then requests without keys are answered at once.

use std::rc::Rc;
use std::time::Duration;

use super::{KeySet, KeySetUri};
use crate::policy::Policy;

/// The largest body that is read as a key set, in bytes.
pub(crate) const MAX_BODY: usize = 256 * 1024;

/// The pause after the first failed fetch, in seconds, and the longest one.
const FIRST_PAUSE: u64 = 2;
const LONGEST_PAUSE: u64 = 60;

/// How long keys serve while fresh ones can't be had.
const STALE_IF_ERROR: Duration = Duration::from_secs(24 * 3600);

/// A key set of the policy that is fetched.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct KeySetId(pub(crate) usize);

/// What to fetch, and through which cluster.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct KeySetSource {
    pub(crate) uri: KeySetUri,
    pub(crate) cluster: String,
    pub(crate) timeout: Duration,
    pub(crate) cache_duration: Duration,
    /// How long after a fetch a token that no key fits may cause the next one.
    pub(crate) refetch_interval: Duration,
}

/// A `GET` that the shell is to send.
#[derive(Clone, Debug)]
pub struct Fetch(Rc<KeySetSource>);

impl Fetch {
    /// The Envoy cluster that leads to the host.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.0.cluster
    }

    /// `:scheme`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        self.0.uri.scheme()
    }

    /// `:authority`.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.0.uri.authority()
    }

    /// `:path`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.uri.path()
    }

    /// How long to wait for the whole answer.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// The URI as it was configured.
    #[must_use]
    pub fn uri(&self) -> String {
        self.0.uri.to_string()
    }
}

/// Why a fetch brought no keys.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FetchError {
    /// No answer: time-out, reset, or no healthy host.
    NoAnswer,
    /// The answer was not 200. Redirects are not followed.
    Status(u16),
    /// The body is longer than 256 kB.
    TooLarge,
    /// The host wouldn't send the request; mostly there is no such cluster.
    Undeliverable,
    /// The body holds no usable key, or is no key set.
    Unusable(String),
}

impl std::fmt::Display for FetchError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoAnswer => formatter.write_str("no answer (time-out or connection failure)"),
            Self::Status(status @ (503 | 504)) => write!(
                formatter,
                "status {status} instead of 200, which may be Envoy's own: the host can't be \
                 reached, or didn't answer within the time-out"
            ),
            Self::Status(status) => write!(formatter, "status {status} instead of 200"),
            Self::TooLarge => write!(formatter, "the answer is longer than {MAX_BODY} bytes"),
            Self::Undeliverable => formatter.write_str(
                "Envoy has no such cluster; name another in `jwks.cluster` or `jwks.clusters`",
            ),
            Self::Unusable(why) => formatter.write_str(why),
        }
    }
}

impl std::error::Error for FetchError {}

/// The fetched key sets of a policy.
#[derive(Debug)]
pub struct KeyStore {
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    source: Rc<KeySetSource>,
    fetched: Option<Fetched>,
    under_way: bool,
    failures: u32,
    /// No fetch starts before this time.
    retry_at: u64,
    /// No fetch starts before this time for a token that no key fits.
    refetch_at: u64,
}

#[derive(Debug)]
struct Fetched {
    keys: KeySet,
    at: u64,
}

/// What the store knows of a key set.
#[derive(Debug)]
pub(crate) enum Lookup<'a> {
    /// It has to be fetched, or is being fetched.
    Pending,
    Ready(&'a KeySet),
    /// It couldn't be fetched and isn't tried again yet.
    Unavailable,
}

impl KeyStore {
    /// A store for the key sets of a policy, with nothing fetched yet.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        let slots = policy.key_sets().iter().map(|source| Slot {
            source: Rc::clone(source),
            fetched: None,
            under_way: false,
            failures: 0,
            retry_at: 0,
            refetch_at: 0,
        });
        Self {
            slots: slots.collect(),
        }
    }

    pub(crate) fn get(&self, id: KeySetId, now: u64) -> Lookup<'_> {
        let Some(slot) = self.slots.get(id.0) else {
            return Lookup::Unavailable;
        };
        match &slot.fetched {
            Some(fetched) if now < slot.expires(fetched) => Lookup::Ready(&fetched.keys),
            _ if slot.under_way || slot.retry_at <= now => Lookup::Pending,
            _ => Lookup::Unavailable,
        }
    }

    /// Whether a fetch may still bring the key of a token that none of the keys fits: one is under
    /// way, or the last one is long enough ago.
    pub(crate) fn may_bring_another(&self, id: KeySetId, now: u64) -> bool {
        self.slots
            .get(id.0)
            .is_some_and(|slot| slot.under_way || now >= slot.retry_at && now >= slot.refetch_at)
    }

    /// Whether no fetch of the set is under way.
    pub(crate) fn is_idle(&self, id: KeySetId) -> bool {
        self.slots.get(id.0).is_some_and(|slot| !slot.under_way)
    }

    /// Marks a set as being fetched, unless it is already or was in vain a moment ago. Whoever
    /// sends the fetch must call [`Self::finish`].
    pub fn start(&mut self, id: KeySetId, now: u64) -> Option<Fetch> {
        let slot = self.slots.get_mut(id.0)?;
        if slot.under_way || now < slot.retry_at {
            return None;
        }
        slot.under_way = true;
        slot.put_off_refetch(now);
        Some(Fetch(Rc::clone(&slot.source)))
    }

    /// Takes the body of a 200 answer, or the reason why there is none. Returns warnings about keys
    /// that were left out.
    ///
    /// # Errors
    ///
    /// Why the fetch brought no keys. Those that were there before stay.
    pub fn finish(
        &mut self,
        id: KeySetId,
        answer: Result<&[u8], FetchError>,
        now: u64,
    ) -> Result<&[String], FetchError> {
        let Some(slot) = self.slots.get_mut(id.0) else {
            return Ok(&[]);
        };
        slot.under_way = false;
        match answer.and_then(parse) {
            Ok(keys) => {
                slot.failures = 0;
                slot.retry_at = now;
                slot.put_off_refetch(now);
                let fetched = slot.fetched.insert(Fetched { keys, at: now });
                Ok(fetched.keys.warnings())
            }
            Err(error) => {
                let pause = FIRST_PAUSE.saturating_mul(1 << slot.failures.min(16));
                slot.failures = slot.failures.saturating_add(1);
                slot.retry_at = now.saturating_add(pause.min(LONGEST_PAUSE));
                Err(error)
            }
        }
    }

    /// The sets whose keys are older than their cache duration.
    #[must_use]
    pub fn due(&self, now: u64) -> Vec<KeySetId> {
        let is_due = |slot: &Slot| {
            slot.fetched.as_ref().is_some_and(|fetched| {
                now >= fetched
                    .at
                    .saturating_add(slot.source.cache_duration.as_secs())
            })
        };
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(_, slot)| is_due(slot))
            .map(|(index, _)| KeySetId(index))
            .collect()
    }
}

impl Slot {
    fn put_off_refetch(&mut self, now: u64) {
        self.refetch_at = now.saturating_add(self.source.refetch_interval.as_secs());
    }

    fn expires(&self, fetched: &Fetched) -> u64 {
        let lifetime = self.source.cache_duration.saturating_add(STALE_IF_ERROR);
        fetched.at.saturating_add(lifetime.as_secs())
    }
}

fn parse(body: &[u8]) -> Result<KeySet, FetchError> {
    if body.len() > MAX_BODY {
        return Err(FetchError::TooLarge);
    }
    KeySet::parse_fetched(body).map_err(FetchError::Unusable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: KeySetId = KeySetId(0);
    const BODY: &[u8] = br#"{"keys":[{"kty":"OKP","crv":"Ed25519",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    fn store() -> KeyStore {
        let source = KeySetSource {
            uri: KeySetUri::parse("https://a.test/j").unwrap(),
            cluster: "a".to_owned(),
            timeout: Duration::from_secs(5),
            cache_duration: Duration::from_secs(300),
            refetch_interval: Duration::from_secs(30),
        };
        KeyStore {
            slots: vec![Slot {
                source: Rc::new(source),
                fetched: None,
                under_way: false,
                failures: 0,
                retry_at: 0,
                refetch_at: 0,
            }],
        }
    }

    fn state(store: &KeyStore, now: u64) -> &'static str {
        match store.get(ID, now) {
            Lookup::Pending => "pending",
            Lookup::Ready(_) => "ready",
            Lookup::Unavailable => "unavailable",
        }
    }

    #[test]
    fn one_fetch_at_a_time() {
        let mut store = store();
        assert_eq!(state(&store, 100), "pending");
        assert!(store.start(ID, 100).is_some());
        assert!(store.start(ID, 100).is_none());
        assert_eq!(state(&store, 100), "pending");
        store.finish(ID, Ok(BODY), 101).unwrap();
        assert_eq!(state(&store, 101), "ready");
    }

    #[test]
    fn a_failure_is_answered_at_once_and_the_pause_doubles_to_its_bound() {
        let mut store = store();
        let mut now = 100;
        for pause in [2, 4, 8, 16, 32, 60, 60] {
            assert!(store.start(ID, now).is_some());
            assert!(store.finish(ID, Err(FetchError::Status(500)), now).is_err());
            assert_eq!(state(&store, now), "unavailable");
            assert_eq!(state(&store, now + pause - 1), "unavailable");
            assert!(store.start(ID, now + pause - 1).is_none());
            now += pause;
            assert_eq!(state(&store, now), "pending");
        }
        assert!(store.start(ID, now).is_some());
        store.finish(ID, Ok(BODY), now).unwrap();
        assert_eq!(state(&store, now), "ready");
    }

    #[test]
    fn old_keys_serve_while_fresh_ones_are_fetched_but_not_for_ever() {
        let mut store = store();
        store.start(ID, 0);
        store.finish(ID, Ok(BODY), 0).unwrap();
        assert_eq!(store.due(299), []);
        assert_eq!(store.due(300), [ID]);
        assert!(store.start(ID, 300).is_some());
        assert_eq!(state(&store, 300), "ready");
        store
            .finish(ID, Err(FetchError::NoAnswer), 305)
            .unwrap_err();
        assert_eq!(state(&store, 305), "ready");
        assert!(store.start(ID, 306).is_none());
        assert_eq!(state(&store, 300 + 24 * 3600 - 1), "ready");
        assert_eq!(state(&store, 300 + 24 * 3600), "pending");
        store.start(ID, 307);
        store.finish(ID, Ok(BODY), 307).unwrap();
        assert_eq!(store.due(308), []);
    }

    #[test]
    fn tokens_that_no_key_fits_cause_a_fetch_now_and_then() {
        let mut store = store();
        store.start(ID, 100);
        store.finish(ID, Ok(BODY), 105).unwrap();
        assert!(!store.may_bring_another(ID, 134));
        assert!(store.may_bring_another(ID, 135));
        assert!(store.start(ID, 135).is_some());
        assert!(store.may_bring_another(ID, 136), "it is under way");
        store.finish(ID, Ok(BODY), 140).unwrap();
        assert!(!store.may_bring_another(ID, 169));

        // One in vain counts, too.
        assert!(store.start(ID, 170).is_some());
        store
            .finish(ID, Err(FetchError::NoAnswer), 171)
            .unwrap_err();
        assert_eq!(state(&store, 171), "ready");
        assert!(!store.may_bring_another(ID, 199));
        assert!(store.may_bring_another(ID, 200));
    }

    #[test]
    fn a_body_that_is_no_key_set_replaces_nothing() {
        let mut store = store();
        store.start(ID, 0);
        store.finish(ID, Ok(BODY), 0).unwrap();
        let huge = vec![b' '; MAX_BODY + 1];
        for body in [&b"<html>"[..], b"{\"keys\":[]}", &huge] {
            assert!(store.finish(ID, Ok(body), 400).is_err());
            assert_eq!(state(&store, 400), "ready");
        }
    }
}
