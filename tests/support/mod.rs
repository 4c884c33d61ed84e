//! What the test tiers share: cases as data, tokens to put into them, and something to run them
//! against.
#![expect(dead_code, reason = "each tier uses its own part of this")]

pub mod attacks;
#[cfg(not(target_family = "wasm"))]
pub mod boring;
pub mod case;
pub mod check;
pub mod choices;
#[cfg(not(target_family = "wasm"))]
pub mod crowd;
#[cfg(not(target_family = "wasm"))]
pub mod envoy;
pub mod envoy_requirements;
pub mod envoy_vectors;
pub mod expand;
#[cfg(not(target_family = "wasm"))]
pub mod host;
#[cfg(not(target_family = "wasm"))]
pub mod http;
#[cfg(not(target_family = "wasm"))]
pub mod http2;
pub mod mint;
#[cfg(not(target_family = "wasm"))]
pub mod oracle;
pub mod peer;
#[cfg(not(target_family = "wasm"))]
pub mod place;
pub mod routing;
pub mod scenarios;
#[cfg(not(target_family = "wasm"))]
pub mod server;
pub mod shared;
pub mod tally;
#[cfg(not(target_family = "wasm"))]
pub mod tls;
pub mod vectors;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// A path inside the project.
pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A JSON file inside the project; a broken one is a broken test.
pub fn read_json(path: &str) -> Value {
    let file = project(path);
    let text = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970")
        .as_secs()
}

/// Header text as it travels: characters up to U+00FF stand for one byte each, any other text is
/// UTF-8.
pub fn to_bytes(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)))
        .collect::<Result<_, _>>()
        .unwrap_or_else(|_| text.as_bytes().to_vec())
}

/// The inverse of [`to_bytes`], for reading.
pub fn from_bytes(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}
