//! Who leaves while a service is asked, and a service that goes.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::case::{Case, Suite};
use crate::support::envoy::{self, Envoy, Listener};
use crate::support::http;
use crate::support::server::{Deed, JwksServer, Response, Server};

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
