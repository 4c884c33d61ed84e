//! The connection manager's own path normalisation, beside the plugin's.

use serde_json::json;

use crate::support::case::Request;
use crate::support::check::Observed;
use crate::support::envoy::{Envoy, Listener, NORMALIZATIONS, plugin};
use crate::support::peer::{Ahead, Peer};
use crate::support::server::Server;
use crate::support::tally::Tally;
use crate::support::{from_bytes, now};

/// How many paths each mode is tried with.
const DRAWS: usize = 400;

/// What paths are made of.
const PARTS: [&str; 35] = [
    "/", "/", "/", "/", "//", ".", ".", "..", "..", "/..", "/../", "a", "b", "7", "%2e", "%2E%2e",
    "%2f", "%5C", "%5c", "%25", "%20", "%41", "%7e", "%6", "%", "%zz", "%3", "%%", "%00", "\"",
    "{", "~", "[", "?x", ";a",
];

#[test]
fn paths_are_normalised_as_the_connection_manager_does() {
    let mut tally = Tally::default();
    let mut listeners = Vec::new();
    for normalization in NORMALIZATIONS {
        let config = json!({
            "pathNormalization": normalization,
            "authorizationPolicies": [{ "name": "all", "rules": [{}] }],
        });
        let ours = format!("ours/{normalization}");
        listeners.push(Listener {
            normalization: "NONE",
            ..Listener::new(&ours, vec![plugin(&ours, &config)])
        });
        listeners.push(Listener {
            normalization,
            ..Listener::new(&format!("native/{normalization}"), Vec::new())
        });
    }
    let upstream = Server::echo();
    let nobody = ([127, 0, 0, 1], 9).into();
    let envoy = Envoy::start(&listeners, upstream.address, nobody).expect("Envoy");
    let seed = now();
    let mut random = fastrand::Rng::with_seed(seed);
    for normalization in NORMALIZATIONS {
        for _ in 0..DRAWS {
            let path = path(&mut random);
            let [ours, native] = ["ours", "native"].map(|whose| {
                let listener = format!("{whose}/{normalization}");
                what_became(&envoy.ask(&listener, &get(&path)).expect("an answer"))
            });
            tally.check(
                &format!("{normalization} {path} (seed {seed})"),
                declared(normalization, native),
                ours,
            );
        }
    }
    tally.finish("oracle, paths");
}

fn get(path: &str) -> Request {
    Request {
        method: "GET".to_owned(),
        path: Some(path.to_owned()),
        authority: Some("b".to_owned()),
        headers: Vec::new(),
        remote_ip: None,
        http2: false,
        peer: Peer::default(),
        ahead: Ahead::default(),
        untold: Vec::new(),
    }
}

/// Parameters stand behind letters only: of dot segments with parameters, Envoy finds fewer.
fn path(random: &mut fastrand::Rng) -> String {
    let mut path = String::from("/");
    for _ in 0..random.usize(1..12) {
        let part = PARTS[random.usize(..PARTS.len())];
        if part != ";a" || path.ends_with(['a', 'b']) {
            path.push_str(part);
        }
    }
    path
}

/// The status, or the path that reached the upstream.
fn what_became(observed: &Observed) -> String {
    let path = observed.upstream.iter().flatten();
    let path = path.filter(|(name, _)| name == ":path");
    match path.map(|(_, value)| from_bytes(value)).next() {
        Some(path) => path,
        None => observed.status.to_string(),
    }
}

/// `//` and nothing else is what Envoy doesn't merge.
fn declared(normalization: &str, native: String) -> String {
    let merges = normalization.ends_with("MERGE_SLASHES");
    match native.strip_prefix("//") {
        Some(rest) if merges && (rest.is_empty() || rest.starts_with('?')) => format!("/{rest}"),
        _ => native,
    }
}
