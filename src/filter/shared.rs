//! How workers share key sets: one of them fetches, and leaves for the others what it fetched.
//!
//! There are two entries for each set in Envoy's shared data, which all threads of the process see
//! that have the same `vm_id`: a record of when it was fetched, and the bodies of the answers. What
//! is read there is checked like a provider's answer.

use std::cell::Cell;
use std::time::Duration;

use super::host;
use crate::jwks::{Fetch, KeySetId, KeyStore};
use crate::policy::Policy;

/// Counts the formats of the entries.
const FORMAT: u32 = 1;

/// Never the version of an entry, so that of several workers who find none only one makes it.
const NO_ENTRY: u32 = u32::MAX;

/// The entries of a policy's key sets.
#[derive(Debug)]
pub(crate) struct Shared {
    /// By key set: the names of its record and of its bodies.
    names: Vec<(String, String)>,
}

impl Shared {
    pub(crate) fn new(policy: &Policy) -> Self {
        let names = policy.key_sets().iter().map(|source| {
            let name = format!("portcullis/{FORMAT}/{}", source.shared_name());
            (format!("{name} record"), format!("{name} bodies"))
        });
        Self {
            names: names.collect(),
        }
    }

    /// Starts to fetch a set, unless another worker has or is about to. Takes over what that one
    /// knows.
    pub(crate) fn start(
        &self,
        keys: &mut KeyStore,
        id: KeySetId,
        is_awaited: bool,
        now: u64,
    ) -> Option<Fetch> {
        let (name, bodies) = self.names.get(id.0)?;
        let (was_busy, before) = (keys.is_busy(id, now), keys.in_vain(id));
        let version = match host::shared_data(name) {
            Ok((record, version)) => {
                let bodies = || Some(host::shared_data(bodies).ok()?.0);
                let has_new_keys = keys.adopt(id, &record, bodies);
                // Whoever waited for that fetch is answered by how it ended; if it was abandoned, by
                // another one.
                let has_ended = was_busy && !keys.is_busy(id, now) && keys.in_vain(id) != before;
                if has_new_keys || has_ended {
                    if is_awaited && !has_new_keys && keys.refuse(id) {
                        // Should another write at the same time, it knows more.
                        let _ = host::share(name, &keys.record(id)?, Some(version));
                    }
                    return None;
                }
                version
            }
            Err(host::Status::NOT_FOUND) => NO_ENTRY,
            // What can't be read can't be waited for.
            Err(_) => return keys.start(id, is_awaited, now),
        };
        let fetch = keys.start(id, is_awaited, now)?;
        match host::share(name, &keys.record(id)?, Some(version)) {
            Err(host::Status::VERSION_MISMATCH) => {
                keys.leave_to_another(id);
                None
            }
            // Where nothing can be shared, each worker fetches for itself.
            Ok(()) | Err(_) => Some(fetch),
        }
    }

    /// Tells the others how the fetch ended.
    pub(crate) fn publish(&self, keys: &KeyStore, id: KeySetId, has_keys: bool) {
        let Some((record, bodies)) = self.names.get(id.0) else {
            return;
        };
        // What can't be shared, the others fetch for themselves.
        if let Some(value) = keys.bodies(id).filter(|_| has_keys) {
            let _ = host::share(bodies, &value, None);
        }
        if let Some(value) = keys.record(id) {
            let _ = host::share(record, &value, None);
        }
    }
}

/// When any worker last sent a check to a service: an entry that each of them writes to, at most once a
/// second.
#[derive(Debug)]
pub(crate) struct SentChecks {
    name: String,
    /// What this worker wrote last, in seconds since the Unix epoch.
    told: Cell<u64>,
}

impl SentChecks {
    pub(crate) fn new(cluster: &str) -> Self {
        Self {
            name: format!("portcullis/{FORMAT}/{cluster} checks"),
            told: Cell::new(0),
        }
    }

    pub(crate) fn tell(&self, now: Duration) {
        let now = now.as_secs();
        if self.told.replace(now) != now {
            // If nothing can be shared, each worker knows of its own checks.
            let _ = host::share(&self.name, &now.to_le_bytes(), None);
        }
    }

    /// The time since the Unix epoch.
    pub(crate) fn told(&self) -> Option<Duration> {
        let (value, _) = host::shared_data(&self.name).ok()?;
        let seconds = u64::from_le_bytes(value.try_into().ok()?);
        Some(Duration::from_secs(seconds))
    }
}
