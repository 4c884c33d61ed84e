//! Routes on which the plugin is disabled.

use serde_json::json;

use crate::support::case::Suite;
use crate::support::envoy::{Envoy, Listener, plugin};
use crate::support::server::Server;

/// Nothing is asked there, and nothing taken out: what docs/threats.md says of it.
#[test]
fn a_route_without_the_plugin_is_open_and_passes_everything_on() {
    let suite = Suite::load("tests/cases/outputs.json");
    let rule = json!({
        "issuer": "https://issuer.test",
        "jwks": suite.expand("${keys.idp}"),
        "outputClaimToHeaders": [{ "header": "x-sub", "claim": "sub" }],
    });
    let rules = json!([{ "from": [{ "source": { "requestPrincipals": ["*"] } }] }]);
    let config = json!({ "jwtRules": [rule], "authorizationPolicies": [{ "rules": rules }] });
    let mut listener = Listener::new("routes", vec![plugin("routes", &config)]);
    let open = json!({
        "match": { "path": "/metrics" },
        "route": { "cluster": "upstream" },
        "typed_per_filter_config": { "portcullis": {
            "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
            "disabled": true,
        } },
    });
    listener.routes.insert(0, open);
    let upstream = Server::echo();
    let nobody = ([127, 0, 0, 1], 9).into();
    let envoy = Envoy::start(&[listener], upstream.address, nobody).expect("Envoy");
    let case = suite.cases.first().expect("a case");
    let mut request = suite.play(case, &case.expect).request;
    request.method = "GET".to_owned();
    request.headers = [("authorization", "Bearer opaque"), ("x-sub", "forged")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    for (path, status) in [
        ("/metrics", 200),
        ("/metrics/", 401),
        ("/x/../metrics", 200),
    ] {
        request.path = Some(path.to_owned());
        let observed = envoy.ask("routes", &request).expect("an answer");
        assert_eq!(observed.status, status, "{path}");
        if status == 200 {
            let upstream = observed.upstream.expect("it reaches the upstream");
            for (name, value) in &request.headers {
                let line = (name.clone(), value.clone().into_bytes());
                assert!(upstream.contains(&line), "{path}: {name}");
            }
        }
    }
}
