//! What a worker tells from time to time.

use super::Worker;
use crate::filter::logger::left_out;
use crate::jwks::KeySetId;
use crate::metrics::{Lookup, Place, Series};

impl Worker {
    /// The last report. What is remembered here goes.
    pub(crate) fn retire(&self, now: u64) {
        self.report(now);
        self.metrics.share(Series::Remembered, 0);
        self.metrics.share(Series::Waiting, 0);
    }

    /// Tells what has come together since the last tick: counts, when keys were fetched, and how many lines
    /// were left out of the log.
    pub(crate) fn report(&self, now: u64) {
        let keys = self.keys.borrow();
        for id in (0..self.policy.key_sets().len()).map(KeySetId) {
            if let Some(time) = keys.fetched_at(id) {
                self.metrics.set(Series::FetchedAt(id), time);
            }
        }
        let counts = self.verifier.counts();
        let before = self.reported.replace(counts);
        for (series, count, before) in [
            (Series::TokenLookups(Lookup::Hit), counts.hits, before.hits),
            (
                Series::TokenLookups(Lookup::Miss),
                counts.misses,
                before.misses,
            ),
            (
                Series::Verified(Place::Host),
                counts.by_host,
                before.by_host,
            ),
            (
                Series::Verified(Place::Wasm),
                counts.in_here,
                before.in_here,
            ),
        ] {
            self.metrics.add(series, count.saturating_sub(before));
        }
        let remembered = u64::try_from(self.verifier.remembered()).unwrap_or(u64::MAX);
        self.metrics.share(Series::Remembered, remembered);
        let waiting = u64::try_from(self.waiting.borrow().len()).unwrap_or(u64::MAX);
        self.metrics.share(Series::Waiting, waiting);
        self.metrics.flush();
        let withheld = self.lines.borrow_mut().settle(now);
        let level = log::max_level().to_level();
        if let Some(level) = level.filter(|_| withheld > 0) {
            // As loud as the lines may have been.
            let level = level.min(log::Level::Info);
            log::log!(level, "{}", left_out(withheld));
        }
    }
}
