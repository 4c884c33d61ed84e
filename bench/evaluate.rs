//! Decides the same request again and again, for callgrind to count: `bench/profile.py` runs it.

use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs};

use portcullis::{KeyStore, Known, NoHost, Node, Outcome, Policy, Request, Verifier, evaluate};

fn main() {
    let [configuration, path, token, count] = [1, 2, 3, 4].map(|place| {
        env::args()
            .nth(place)
            .expect("CONFIGURATION PATH TOKEN COUNT")
    });
    let configuration = fs::read(configuration).expect("a configuration");
    let policy = Policy::load(&configuration, &Node::default()).expect("a right configuration");
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970")
        .as_secs();
    let keys = KeyStore::new(&policy, now);
    let verifier = Verifier::new(&policy, None).expect("nothing is asked of a host");
    let known = Known {
        keys: &keys,
        waited: &[],
        checked: &[],
        verifier: &verifier,
        host: &NoHost,
        now: &now,
    };
    for _ in 0..count.parse().expect("a count") {
        assert!(matches!(
            decide(&policy, known, &path, &token),
            Outcome::Forward(..)
        ));
    }
}

/// What is counted: what wrk sends and Envoy adds, and the decision about it.
#[inline(never)]
fn decide(policy: &Policy, known: Known<'_>, path: &str, token: &str) -> Outcome {
    let authorization = format!("Bearer {token}");
    let headers = [
        (":authority", "127.0.0.1:10000"),
        (":path", path),
        (":method", "GET"),
        (":scheme", "http"),
        ("authorization", &authorization),
        ("x-forwarded-proto", "http"),
        ("x-request-id", "5a9b9d0f-9ef2-4b05-8d64-d8f3c0fd5a30"),
    ];
    let owned = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    evaluate(policy, known, &Request::new(owned.into()))
}
