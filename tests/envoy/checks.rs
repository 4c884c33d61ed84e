//! Who leaves while a service is asked, and a service that goes.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::case::{Case, Suite};
use crate::support::crowd;
use crate::support::envoy::{self, Envoy, Listener};
use crate::support::http;
use crate::support::server::{Deed, JwksServer, Response, Server};

/// The calls that clients leave behind fill the service's places, and Envoy's circuit breaker if they may.
/// That is no service that is down.
#[test]
fn whoever_leaves_opens_nothing_for_others() {
    let suite = Suite::load("tests/cases/custom.json");
    let mut config = suite.config(suite.case("fails open: a refusal is none"));
    let mut listeners = Vec::new();
    for (name, most) in [("bounded", 500), ("by-envoy", 5000)] {
        config["extensionProviders"][0]["envoyExtAuthzHttp"]["maxRequests"] = most.into();
        config["extensionProviders"][0]["envoyExtAuthzHttp"]["timeout"] = "2s".into();
        listeners.push(Listener::new(name, vec![envoy::plugin(name, &config)]));
    }
    let upstream = Server::echo();
    let service = JwksServer::start(BTreeMap::new());
    service.will("http://b/held", [Deed::Hang]);
    service.will("http://b/secret", [Deed::Answer(Response::new(403, "no"))]);
    let envoy = Envoy::start(&listeners, upstream.address, service.server.address);
    let envoy = envoy.expect("Envoy");
    for listener in ["bounded", "by-envoy"] {
        let request = |path: &str| {
            let case = Case::new("", "fail open", json!({ "path": path }), json!({}));
            suite.play(&case, &case.expect).request
        };
        let mut held = request("/held");
        held.http2 = true;
        crowd::send_and_leave(envoy.address(listener), &held, 3000);
        for _ in 0..3 {
            let answer = envoy.ask(listener, &request("/secret")).expect("an answer");
            assert_eq!(answer.status, 403, "{listener}");
        }
    }
}

#[test]
fn whoever_leaves_takes_nobody_along() {
    let suite = Suite::load("tests/cases/custom.json");
    let case = suite.case("the query is shown");
    let listener = Listener::new("l", vec![envoy::plugin("l", &suite.config(case))]);
    let upstream = Server::echo();
    let service = JwksServer::start(BTreeMap::new());
    let envoy = Envoy::start(&[listener], upstream.address, service.server.address);
    let envoy = envoy.expect("Envoy");
    let request = |path: &str| {
        let case = Case::new("", &case.config, json!({ "path": path }), json!({}));
        suite.play(&case, &case.expect).request
    };
    let status = |path: &str| envoy.ask("l", &request(path)).expect("an answer").status;
    let ok = Deed::Answer(Response::new(200, ""));
    for path in ["/held", "/other"] {
        service.will(&format!("http://b{path}"), [ok.clone()]);
    }

    service.hold("http://b/held");
    let mut client = TcpStream::connect(envoy.address("l")).expect("a connection");
    let wire = http::to_wire(&request("/held"));
    client.write_all(&wire).expect("a request on its way");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !service.fetches().contains_key("b/held") {
        assert!(Instant::now() < deadline, "never asked");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(client);
    assert_eq!(status("/other"), 200);
    service.release("http://b/held");
    assert_eq!(status("/held"), 200);

    service.will("http://b/other", [Deed::Close]);
    assert_eq!(status("/other"), 403);
    assert_eq!(status("/held"), 200);
}
