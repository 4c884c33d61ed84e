//! Tier 3: a real Envoy with the built module.
#![cfg(not(target_family = "wasm"))]

mod support;

#[path = "envoy/checks.rs"]
mod checks;
#[path = "envoy/crowds.rs"]
mod crowds;
#[path = "envoy/metadata.rs"]
mod metadata;
#[path = "envoy/metrics.rs"]
mod metrics;
#[path = "envoy/order.rs"]
mod order;
#[path = "envoy/paths.rs"]
mod paths;
#[path = "envoy/proxied.rs"]
mod proxied;
#[path = "envoy/resumption.rs"]
mod resumption;
#[path = "envoy/routes.rs"]
mod routes;
#[path = "envoy/trailers.rs"]
mod trailers;

use std::collections::BTreeMap;
use std::convert::Infallible;

use serde_json::{Value, json};
use support::case::{Case, Suite};
use support::check::differences;
use support::envoy::{self, Envoy, Listener};
use support::place::{Place, Reserved};
use support::server::{JwksServer, Server};
use support::tally::Tally;
use support::{attacks, shared};

#[test]
fn cases() {
    let mut tally = Tally::default();
    let (shared, missing) = shared::suites();
    tally.missing(missing);
    let suites: Vec<Suite> = Suite::all().into_iter().chain(shared).collect();
    Run::start(&suites).all(&mut tally);
    tally.finish("envoy");
}

/// Nothing that the attacks send may bring the plugin down: one worker takes them all, and a good
/// token after them.
#[test]
fn attack_vectors() {
    let mut tally = Tally::default();
    let mut suites = attacks::suites();
    suites.push(Suite::load("tests/cases/odd.json"));
    let run = Run::start(&suites);
    run.all(&mut tally);

    let requests = &suites[2];
    let good = requests.case("http-authorization/good");
    tally.ran("a good token after all that", run.ask(requests, good));
    let log = run.envoy.log();
    for sign in ["panic", "Function: ", "wasm_fail", "Uncaught"] {
        assert!(!log.contains(sign), "{sign} in Envoy's log:\n{log}");
    }
    let sent = requests.play(good, &good.expect).request;
    let (_, signature) = sent.headers[0].1.rsplit_once('.').expect("a token");
    assert!(!log.contains(signature), "a token in Envoy's log:\n{log}");
    tally.finish("envoy, attacks");
}

#[test]
fn a_wrong_configuration_is_no_listener() {
    let wrong = json!({
        "jwtRules": [{ "audiences": ["a"] }],
        "authorizationPolicies": [{ "name": "p", "action": "PERMIT" }],
    });
    for (text, mistakes) in [
        (
            wrong.to_string(),
            &["jwtRules[0]", "authorizationPolicies[0].action"][..],
        ),
        ("{".to_owned(), &["JSON"]),
    ] {
        let listener = Listener::new("wrong", vec![envoy::plugin_text("wrong", &text)]);
        let nobody = ([127, 0, 0, 1], 9).into();
        let Err(log) = Envoy::start(&[listener], nobody, nobody) else {
            panic!("Envoy takes {text}");
        };
        for mistake in mistakes {
            assert!(log.contains(mistake), "{mistake} is not in:\n{log}");
        }
    }
}

/// Suites and an Envoy with a listener for each of their configurations.
struct Run<'a> {
    suites: &'a [Suite],
    envoy: Envoy,
    _reserved: Vec<Reserved>,
    _upstream: Server,
    jwks: JwksServer,
}

impl<'a> Run<'a> {
    fn start(suites: &'a [Suite]) -> Self {
        let mut listeners = BTreeMap::new();
        for suite in suites {
            for case in &suite.cases {
                let place = Place::of(suite, case);
                if left_out(suite, case).is_some() || listeners.contains_key(&place.name) {
                    continue;
                }
                let name = place.name.clone();
                let plugin = |config: &Value| Ok(vec![envoy::plugin(&name, config)]);
                // What the plugin is told to normalise, the connection manager leaves to it.
                let normalization = place.normalization().map_or("BASE", |_| "NONE");
                let placed: Result<_, Infallible> = place.listener(normalization, plugin);
                let Ok(placed) = placed;
                listeners.insert(place.name, placed);
            }
        }
        let (listeners, reserved): (Vec<_>, Vec<_>) = listeners.into_values().unzip();
        let upstream = Server::echo();
        let servers = suites.iter().flat_map(|suite| suite.servers.clone());
        let jwks = JwksServer::start(servers.collect());
        let envoy = Envoy::start(&listeners, upstream.address, jwks.server.address);
        Self {
            suites,
            envoy: envoy.expect("Envoy"),
            _reserved: reserved,
            _upstream: upstream,
            jwks,
        }
    }

    fn all(&self, tally: &mut Tally) {
        for suite in self.suites {
            for case in &suite.cases {
                match left_out(suite, case) {
                    Some(reason) => tally.leave_out(reason),
                    None => {
                        tally.ran(
                            &format!("{}: {}", suite.name, case.id),
                            self.ask(suite, case),
                        );
                    }
                }
            }
        }
        let known: Vec<_> = self
            .suites
            .iter()
            .flat_map(|suite| suite.servers.keys())
            .collect();
        for uri in self.jwks.fetches().keys() {
            assert!(
                known.contains(&uri),
                "fetched from {uri}, which no configuration names"
            );
        }
    }

    fn ask(&self, suite: &Suite, case: &Case) -> Vec<String> {
        let play = suite.play(case, &case.expect);
        let host = play.request.authority.clone().unwrap_or_default();
        self.jwks.asked(&host);
        let ask = match play.expect.get("filter_state") {
            Some(_) => Envoy::ask_and_read,
            None => Envoy::ask,
        };
        match ask(&self.envoy, &Place::of(suite, case).name, &play.request) {
            Ok(mut observed) => {
                observed.asked = Some(self.jwks.asked(&host));
                differences(&play.expect, &observed)
            }
            Err(error) => vec![error],
        }
    }
}

fn left_out(suite: &Suite, case: &Case) -> Option<&'static str> {
    if suite.clock.is_some() {
        Some("set clock")
    } else if !case.runs_in("envoy") {
        Some("other tiers")
    } else if case.expect.get("refused").is_some() {
        Some("refused configuration")
    } else if suite.config(case)["workload"]["untrustedCertificates"] == true
        && case.connection().0.is_confirmed()
        && envoy::minor_version() < 39
    {
        Some("before 1.39 nobody is told which certificates are valid")
    } else {
        case.left_out
    }
}
