//! Random policies and requests: the core must decide as Envoy's own `jwt_authn` and `rbac` do, under Istio's translation.
//!
//! `DRAWS` says how many requests, `SEED` which; the seed of a run is printed.
#![cfg(not(target_family = "wasm"))]

mod support;

#[path = "fuzz_oracle/connection.rs"]
mod connection;
#[path = "fuzz_oracle/policies.rs"]
mod policies;
#[path = "fuzz_oracle/requests.rs"]
mod requests;

use std::collections::BTreeMap;

use fastrand::Rng;
use portcullis::{KeyStore, Known, Node, Outcome, Policy, Verifier, evaluate, reply};
use serde_json::{Value, json};
use support::case::Request;
use support::envoy::{Envoy, Listener, Transport};
use support::from_bytes;
use support::oracle;
use support::peer::Peer;
use support::place::Reserved;
use support::tally::say;

use self::connection::Connection;

const DEFAULT_DRAWS: usize = 6000;
/// One policy set is asked over so many connections, each with so many requests.
const CONNECTIONS: usize = 10;
const REQUESTS: usize = 10;
/// How many policy sets an Envoy has.
const SETS: usize = 200;
/// How many differences are told.
const MAX_TOLD: usize = 5;

#[test]
fn random_policies_and_requests() {
    let draws = variable("DRAWS").unwrap_or(DEFAULT_DRAWS);
    let seed = variable("SEED").unwrap_or_else(|| getrandom::u64().expect("a seed"));
    say(&format!("fuzz_oracle: {draws} draws, SEED={seed}"));
    let mut rng = Rng::with_seed(seed);
    let mut count = Count::default();
    while count.draws < draws {
        let sets = (draws - count.draws).div_ceil(CONNECTIONS * REQUESTS);
        round(&mut rng, sets.min(SETS), &mut count);
    }
    say(&format!("fuzz_oracle: {:?}", count.answers));
    for difference in count.differences.iter().take(MAX_TOLD) {
        say(difference);
    }
    let differences = count.differences.len();
    assert_eq!(differences, 0, "SEED={seed}: differences to native Envoy");
    let all = ["200", "401", "403"].map(|status| count.answers.contains_key(status));
    assert_eq!(all, [true; 3], "one answer never came");
}

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
    let Ok(value) = value.parse() else {
        panic!("{name}={value} is not a number");
    };
    Some(value)
}

#[derive(Default)]
struct Count {
    draws: usize,
    /// By status.
    answers: BTreeMap<String, usize>,
    differences: Vec<String>,
}

/// A configuration, and where native Envoy has it.
struct Set {
    config: Value,
    policy: Policy,
    transport: Transport,
    reserved: Reserved,
}

/// Some policy sets in one Envoy, each asked over some connections.
fn round(rng: &mut Rng, sets: usize, count: &mut Count) {
    let sets: Vec<Set> = (0..sets).map(|_| Set::draw(rng)).collect();
    let listeners: Vec<Listener> = sets.iter().enumerate().map(Set::listener).collect();
    let nobody = ([127, 0, 0, 1], 9).into();
    let _envoy = Envoy::start(&listeners, nobody, nobody).expect("Envoy");
    for set in &sets {
        // One policy that differs does so more than once.
        let mut difference_of_set = None;
        for _ in 0..CONNECTIONS {
            let peer = requests::peer(rng, set.transport, set.reserved.address);
            let mut connection = Connection::open(set.reserved.address, &Peer::parse(Some(&peer)));
            for _ in 0..REQUESTS {
                let drawn = requests::draw(rng, &peer);
                let request = Request::parse(&drawn);
                let native = connection.ask(&request);
                let ours = set.decide(&request);
                count.draws += 1;
                *count.answers.entry(native.0.to_string()).or_default() += 1;
                if ours != native {
                    let difference = json!({ "config": set.config, "request": drawn });
                    difference_of_set.get_or_insert_with(|| {
                        format!("native Envoy says {native:?}, Portcullis {ours:?}: {difference}")
                    });
                }
            }
        }
        count.differences.extend(difference_of_set);
    }
}

impl Set {
    fn draw(rng: &mut Rng) -> Self {
        let transport = match rng.u8(..4) {
            0 => Transport::Plain,
            _ => Transport::OpenTls,
        };
        let reserved = Reserved::at([127, 0, 0, 1].into());
        let config = policies::draw(rng, reserved.address.port());
        let policy = Policy::load(config.to_string().as_bytes(), &Node::default());
        let policy = policy.unwrap_or_else(|mistakes| panic!("{mistakes}\n{config}"));
        Self {
            config,
            policy,
            transport,
            reserved,
        }
    }

    fn listener((number, set): (usize, &Self)) -> Listener {
        let mut filters = requests::ahead().filters();
        filters.extend(oracle::filters(&set.config).expect("native filters"));
        Listener {
            address: set.reserved.address,
            transport: set.transport,
            routes: vec![
                json!({ "match": { "prefix": "/" }, "direct_response": { "status": 200 } }),
            ],
            ..Listener::new(&number.to_string(), filters)
        }
    }

    /// Status and body of the answer.
    fn decide(&self, request: &Request) -> (u16, String) {
        let known = Known {
            keys: &KeyStore::new(&self.policy, 0),
            waited: &[],
            checked: &[],
            verifier: &Verifier::default(),
            host: &request.given(),
            now: &support::now(),
        };
        let headers = portcullis::Request::new(request.pairs());
        match evaluate(&self.policy, known, &headers) {
            Outcome::Forward(..) => (200, String::new()),
            Outcome::Refuse(refusal, _) => {
                let reply = reply(&refusal, Some(&self.policy), &headers);
                (reply.status, from_bytes(&reply.body))
            }
            Outcome::Ask(_) | Outcome::Await(_) => panic!("keys are inline"),
        }
    }
}
