//! The claims header, with Envoy's own filters behind us: what they and the routes see.

use serde_json::{Value, json};

use crate::support::case::{Case, Suite};
use crate::support::check::{Observed, differences};
use crate::support::envoy::{Envoy, Listener, minor_version, plugin};
use crate::support::server::{JwksServer, Server};
use crate::support::tally::Tally;
use crate::support::{oracle, routing, shared};

/// Ours with either of the two ways to have the route chosen again, and the native filter.
#[test]
fn routes_on_claims() {
    let mut tally = Tally::default();
    match shared::claim_routing() {
        Ok((suite, rows)) => route(&suite, &rows, &mut tally),
        Err(missing) => tally.missing(missing),
    }
    for row in shared::routing_claim_names() {
        let claims = json!({ "separator": row["separator"], "claims": row["claims"] });
        let name = row["name"].as_str().expect("a name");
        let (separator, path) = routing::claim(name).unzip();
        let got = json!({ "separator": separator, "claims": path });
        tally.check(name, claims, got);
    }
    tally.finish("envoy, routes on claims");
}

fn route(suite: &Suite, rows: &[Value], tally: &mut Tally) {
    // An older Envoy doesn't know the field that has the route chosen again.
    let mut ways = vec!["lua", "native"];
    ways.extend((minor_version() >= 40).then_some("set_filter_state"));
    let mut listeners = Vec::new();
    for (case, row) in suite.cases.iter().zip(rows) {
        let config = suite.config(case);
        let ours = |step| vec![ours(&case.id, &config), routing::header_to_metadata(), step];
        for way in &ways {
            let filters = match *way {
                "lua" => ours(routing::lua()),
                "set_filter_state" => ours(routing::set_filter_state()),
                _ => {
                    let mut native = oracle::filters(&config).expect("native filters");
                    native.push(routing::lua());
                    native
                }
            };
            listeners.push(Listener {
                routes: vec![routing::route(row)],
                ..Listener::new(&format!("{way}/{}", case.id), filters)
            });
        }
    }
    let run = Run::start(suite, &listeners);
    for way in ways {
        for case in &suite.cases {
            let listener = format!("{way}/{}", case.id);
            let play = suite.play(case, &case.expect);
            let observed = run.envoy.ask(&listener, &play.request);
            tally.ran(
                &listener,
                observed.map_or_else(|error| vec![error], |got| differences(&play.expect, &got)),
            );
        }
    }
}

/// The metadata is what `jwt_authn` writes, but where the claims are too long or too deep for a header.
#[test]
fn metadata_is_what_jwt_authn_writes() {
    let suite = Suite::load("tests/cases/dynamic_metadata.json");
    let asks = |case: &&Case| suite.config(case).get("dynamicMetadata").is_some();
    let cases: Vec<&Case> = suite.cases.iter().filter(asks).collect();
    let mut listeners = Vec::new();
    for case in &cases {
        let mut config = suite.config(case);
        let ours = vec![ours(&case.id, &config), routing::header_to_metadata()];
        config
            .as_object_mut()
            .expect("an object")
            .remove("dynamicMetadata");
        let native = oracle::filters(&config).expect("native filters");
        for (whose, filters) in [("ours", ours), ("native", native)] {
            listeners.push(Listener {
                routes: vec![telling_route()],
                ..Listener::new(&format!("{whose}/{}", case.id), filters)
            });
        }
    }
    let run = Run::start(&suite, &listeners);
    let mut tally = Tally::default();
    for case in cases {
        let seen = |whose: &str| {
            let request = suite.play(case, &case.expect).request;
            let observed = run.envoy.ask(&format!("{whose}/{}", case.id), &request);
            let observed = observed.expect("an answer");
            let copies = lines(&observed, routing::CLAIMS);
            assert!(
                whose == "native" || copies.is_empty(),
                "{}: {copies:?}",
                case.id
            );
            let told = lines(&observed, "x-told");
            let told = told
                .first()
                .map(|text| serde_json::from_slice::<Value>(text));
            told.map(|told| told.expect("JSON"))
        };
        let native = seen("native").filter(|_| !case.id.starts_with("too "));
        tally.check(&case.id, native, seen("ours"));
    }
    tally.finish("envoy, metadata");
}

fn lines(observed: &Observed, name: &str) -> Vec<Vec<u8>> {
    let upstream = observed.upstream.iter().flatten();
    let lines = upstream.filter(|(header, _)| header == name);
    lines.map(|(_, value)| value.clone()).collect()
}

/// A route that tells the upstream what is in the metadata.
fn telling_route() -> Value {
    let claims = "%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:payload)%";
    json!({
        "match": { "prefix": "/" },
        "route": { "cluster": "upstream" },
        "request_headers_to_add": [{ "header": { "key": "x-told", "value": claims } }],
    })
}

fn ours(name: &str, config: &Value) -> Value {
    let mut config = config.clone();
    config["dynamicMetadata"] = json!({ "header": routing::CLAIMS });
    plugin(name, &config)
}

struct Run {
    envoy: Envoy,
    _upstream: Server,
    _jwks: JwksServer,
}

impl Run {
    fn start(suite: &Suite, listeners: &[Listener]) -> Self {
        let upstream = Server::echo();
        let jwks = JwksServer::start(suite.servers.clone());
        let envoy = Envoy::start(listeners, upstream.address, jwks.server.address);
        Self {
            envoy: envoy.expect("Envoy"),
            _upstream: upstream,
            _jwks: jwks,
        }
    }
}
