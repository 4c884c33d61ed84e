//! What is known of the fetches of one key set, in integers.
//!
//! Workers that share key sets tell each other all of this, so it can be written as bytes.

use fastrand::Rng;

use super::source::{Fetching, KeySetSource};

/// The pause after the first failed fetch, in seconds, and the longest one.
const FIRST_PAUSE: u64 = 2;
const LONGEST_PAUSE: u64 = 60;

/// How long after an empty answer the provider is asked whether it means that, in seconds.
const CONFIRMATION: u64 = 1;

/// Times are in seconds since the Unix epoch; 0 is never.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Record {
    /// Tells key sets apart, whoever fetched them; 0 is none. By chance and not by counting: two
    /// workers may fetch at the same time.
    pub(super) version: u64,
    /// A fetch is under way. Whoever sends it has ended it by then.
    busy_until: u64,
    /// How many fetches failed in a row.
    failures: u64,
    /// No fetch starts before, unless a request needs it.
    retry_at: u64,
    /// None starts for a request, either, since one was in vain for which others had waited.
    refuse_until: u64,
    /// No fetch starts before for a token that no key fits.
    refetch_at: u64,
    /// The keys are to be fetched again, while they serve on.
    refresh_at: u64,
    pub(super) fetched_at: u64,
    /// How long the keys may be kept, in seconds.
    lifetime: u64,
    /// The last answer was an empty set, which didn't replace the keys yet.
    empty_since: u64,
}

const FIELDS: usize = 10;

/// Whether a time is still to come. One that is further ahead than it could be by right isn't: the clock
/// was set back, or another wrote nonsense, and nobody is to wait for it.
fn lies_ahead(time: u64, now: u64, at_most: u64) -> bool {
    time > now && time - now <= at_most
}

impl Record {
    pub(super) fn is_busy(&self, now: u64, source: &KeySetSource) -> bool {
        lies_ahead(self.busy_until, now, source.duration())
    }

    pub(super) fn may_retry(&self, now: u64) -> bool {
        !lies_ahead(self.retry_at, now, LONGEST_PAUSE)
    }

    pub(super) fn refuses(&self, now: u64) -> bool {
        lies_ahead(self.refuse_until, now, LONGEST_PAUSE)
    }

    pub(super) fn may_refetch(&self, now: u64, source: &KeySetSource) -> bool {
        let interval = source.fetching.refetch_interval.as_secs();
        let longest = interval.saturating_add(interval / 10);
        self.may_retry(now) && !lies_ahead(self.refetch_at, now, longest)
    }

    pub(super) fn is_due(&self, now: u64, source: &KeySetSource) -> bool {
        let longest = source.fetching.cache_duration.as_secs();
        !lies_ahead(self.refresh_at, now, longest)
    }

    pub(super) fn has_expired(&self, now: u64, source: &KeySetSource) -> bool {
        let Fetching {
            cache_duration,
            stale_if_error,
            ..
        } = &*source.fetching;
        let lifetime = self.lifetime.min(cache_duration.as_secs());
        let kept = lifetime.saturating_add(stale_if_error.as_secs());
        now.abs_diff(self.fetched_at) >= kept
    }

    /// A fetch starts; an early one is for a token that no key fits.
    pub(super) fn start(&mut self, now: u64, early: bool, source: &KeySetSource, random: &mut Rng) {
        self.busy_until = now.saturating_add(source.duration());
        if early {
            let interval = source.fetching.refetch_interval.as_secs();
            let spread = random.u64(0..=interval / 10);
            self.refetch_at = now.saturating_add(interval).saturating_add(spread);
        }
    }

    /// Nothing will come of the fetch under way. Whoever needs the keys may start another one.
    pub(super) fn abandon(&mut self) {
        self.busy_until = 0;
        self.refetch_at = 0;
    }

    /// What changes if a fetch brings no keys.
    pub(super) fn in_vain(&self) -> (u64, u64) {
        (self.failures, self.empty_since)
    }

    /// Keys came that may be kept for `lifetime` seconds. They are fetched again in the last
    /// quarter of it, not by all proxies at once.
    pub(super) fn succeed(&mut self, now: u64, lifetime: u64, random: &mut Rng) {
        let early = random.u64(lifetime / 20..=lifetime / 4);
        *self = Self {
            version: random.u64(1..),
            busy_until: 0,
            failures: 0,
            retry_at: 0,
            refuse_until: 0,
            refetch_at: self.refetch_at,
            refresh_at: now.saturating_add((lifetime - early).max(1)),
            fetched_at: now,
            lifetime,
            empty_since: 0,
        };
    }

    /// The fetch was in vain. The pause doubles, and isn't the same everywhere. It is one for
    /// requests only if some waited: at load, a provider may not be in reach yet, and the first
    /// request must not be refused for that.
    pub(super) fn fail(&mut self, now: u64, was_awaited: bool, random: &mut Rng) {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16));
        let pause = pause.min(LONGEST_PAUSE);
        self.busy_until = 0;
        self.failures = self.failures.saturating_add(1);
        self.retry_at = now.saturating_add(random.u64(pause / 2..=pause));
        if was_awaited {
            self.refuse_until = self.retry_at;
        }
    }

    /// Requests had waited for the fetch that was in vain. Tells whether that was news.
    pub(super) fn refuse(&mut self) -> bool {
        let is_news = self.failures > 0 && self.refuse_until != self.retry_at;
        if is_news {
            self.refuse_until = self.retry_at;
        }
        is_news
    }

    /// The answer was an empty set. Tells whether the one before was, too, so that the provider
    /// means it; otherwise it is asked again.
    pub(super) fn confirms_withdrawal(&mut self, now: u64) -> bool {
        if self.empty_since != 0 && now >= self.empty_since.saturating_add(CONFIRMATION) {
            return true;
        }
        self.busy_until = 0;
        self.failures = 0;
        self.retry_at = 0;
        self.refuse_until = 0;
        self.empty_since = now;
        self.refresh_at = now.saturating_add(CONFIRMATION);
        false
    }

    pub(super) fn to_bytes(self) -> [u8; FIELDS * 8] {
        let mut bytes = [0; FIELDS * 8];
        for (place, field) in bytes.chunks_exact_mut(8).zip(self.fields()) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// Reads what another worker wrote.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; FIELDS * 8] = bytes.try_into().ok()?;
        let mut fields = bytes.chunks_exact(8).map(|field| {
            let field = field.try_into().map(u64::from_le_bytes);
            field.unwrap_or_default()
        });
        let mut next = || fields.next();
        Some(Self {
            version: next()?,
            busy_until: next()?,
            failures: next()?,
            retry_at: next()?,
            refuse_until: next()?,
            refetch_at: next()?,
            refresh_at: next()?,
            fetched_at: next()?,
            lifetime: next()?,
            empty_since: next()?,
        })
    }

    fn fields(self) -> [u64; FIELDS] {
        [
            self.version,
            self.busy_until,
            self.failures,
            self.retry_at,
            self.refuse_until,
            self.refetch_at,
            self.refresh_at,
            self.fetched_at,
            self.lifetime,
            self.empty_since,
        ]
    }
}
