//! Routes and the paths that the plugin normalises.

use serde_json::json;

use crate::support::case::Suite;
use crate::support::envoy::{Envoy, Listener, plugin};
use crate::support::server::Server;

/// Envoy has chosen a route by the raw path before the plugin sees it.
#[test]
fn the_route_is_that_of_the_normalised_path() {
    let suite = Suite::load("tests/cases/paths.json");
    let case = suite.case("told: goes on");
    let elsewhere = json!({ "match": { "prefix": "/" }, "direct_response": { "status": 404 } });
    let mut listener = Listener {
        normalization: "NONE",
        ..Listener::new("paths", vec![plugin("paths", &suite.config(case))])
    };
    for route in &mut listener.routes {
        if route["match"]["prefix"] == "/" {
            route["match"]["prefix"] = "/b".into();
        }
    }
    listener.routes.push(elsewhere);
    let upstream = Server::echo();
    let nobody = ([127, 0, 0, 1], 9).into();
    let envoy = Envoy::start(&[listener], upstream.address, nobody).expect("Envoy");
    let mut request = suite.play(case, &case.expect).request;
    for (path, status) in [("/a/../b", 200), ("/b/../a", 404)] {
        request.path = Some(path.to_owned());
        let observed = envoy.ask("paths", &request).expect("an answer");
        assert_eq!(observed.status, status, "{path}");
    }
}
