//! Who verifies signatures, and how many verified tokens are remembered.

use serde_json::Value;

use super::number::Count;
use super::reader::{Input, Read, record};
use super::schema::{Schemas, one_of};

/// Who verifies signatures.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Verification {
    /// The host, for algorithms of which it proves at load that it can.
    #[default]
    Auto,
    /// The same, and a host that can't is a mistake.
    Host,
    /// Nobody but this module.
    Wasm,
}

impl Read for Verification {
    fn read(input: &Input<'_>) -> Option<Self> {
        match input.text()? {
            "auto" => Some(Self::Auto),
            "host" => Some(Self::Host),
            "wasm" => Some(Self::Wasm),
            _ => {
                input.mistake("unknown verifier: write `auto`, `host` or `wasm`");
                None
            }
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        one_of(&["auto", "host", "wasm"])
    }
}

record! {
    /// How many verified tokens each worker remembers.
    #[derive(Clone, Copy)]
    pub(crate) struct TokenCache {
        /// At most this many; 0 remembers none. Default: 10000.
        max_entries: Option<Count>,
        /// In at most this many bytes of memory; 0 remembers none. Default: 16777216, which is 16
        /// MiB.
        max_bytes: Option<Count>,
    }
}

impl TokenCache {
    const MAX_ENTRIES: Count = Count(10_000);
    const MAX_BYTES: Count = Count(16 << 20);

    /// What is written, and the defaults of what isn't.
    pub(crate) fn bounds(cache: Option<Self>) -> (u32, u32) {
        let or = |field: fn(Self) -> Option<Count>, default: Count| {
            cache.and_then(field).unwrap_or(default).0
        };
        (
            or(|cache| cache.max_entries, Self::MAX_ENTRIES),
            or(|cache| cache.max_bytes, Self::MAX_BYTES),
        )
    }
}
