//! Trailers over HTTP/2, from end to end.

use serde_json::json;

use crate::support::case::{Case, Suite};
use crate::support::crowd::{self, Http2Upstream};
use crate::support::envoy::{self, Envoy, Listener, Setup, cluster};
use crate::support::server::JwksServer;

#[test]
fn what_only_we_write_is_no_trailer() {
    let suite = Suite::load("tests/cases/remote.json");
    let mut config = suite.config(suite.case("another good one"));
    let output = json!([{ "header": "x-sub", "claim": "sub" }]);
    config["jwtRules"][0]["outputClaimToHeaders"] = output;
    let upstream = Http2Upstream::start();
    let jwks = JwksServer::start(suite.servers.clone());
    let envoy = Envoy::start_as(&Setup {
        listeners: &[Listener::new("l", vec![envoy::plugin("l", &config)])],
        clusters: &[upstream.cluster(), cluster("jwks", jwks.server.address)],
        workers: 1,
        watches: false,
    });
    let envoy = envoy.expect("Envoy");
    let sent = [
        ("x-sub", "root"),
        ("x_sub", "root"),
        ("authorization", "Bearer x"),
        ("x-sum", "1"),
    ];
    // The first one with a token waits for its keys.
    for headers in [json!([]), json!([["authorization", "Bearer ${good}"]])] {
        let case = Case::new(
            "",
            "soon",
            json!({ "method": "POST", "headers": headers }),
            json!({}),
        );
        let request = suite.play(&case, &case.expect).request;
        assert_eq!(
            crowd::send_trailers(envoy.address("l"), &request, &sent),
            ["x-sum"]
        );
    }
}
