//! What Envoy's stats show of requests, whichever worker served them, and over a change of the configuration.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::case::{Case, Suite};
use crate::support::envoy::{Envoy, Listener, Setup, cluster, plugin};
use crate::support::server::Server;

const PATIENCE: Duration = Duration::from_secs(60);

fn config(denied: &str) -> Value {
    let policy = |name: &str, action: &str, path: &str| {
        let rules = json!([{ "to": [{ "operation": { "paths": [path] } }] }]);
        json!({ "name": name, "action": action, "rules": rules })
    };
    json!({
        "jwtRules": [{ "issuer": "https://idp..test/a;b.", "jwksUri": "http://nowhere.test/keys?key=secret" }],
        "jwks": { "cluster": "missing" },
        "authorizationPolicies": [policy("open.", "ALLOW", "/*"), policy("d", "DENY", denied)],
    })
}

fn listener(denied: &str) -> Listener {
    Listener::new("l", vec![plugin("l", &config(denied))])
}

#[test]
fn every_request_is_counted_once() {
    let upstream = Server::echo();
    let envoy = Envoy::start_as(&Setup {
        listeners: &[listener("/x")],
        clusters: &[cluster("upstream", upstream.address)],
        workers: 2,
        watches: true,
    });
    let envoy = &envoy.expect("Envoy");
    let suite = &Suite::load("tests/cases/reason_header.json");
    let ask = |path: &str| {
        let case = Case::new("", "silent", json!({ "path": path }), json!({}));
        let request = suite.play(&case, &case.expect).request;
        envoy.ask("l", &request).expect("an answer").status
    };
    let requests = |labels: &str| {
        let name = format!("wasmcustom.{labels}portcullis_requests_total");
        envoy.stat(&name)
    };
    let allowed = || {
        requests(
            "decision=.=allow;.;reason=.=none;.;rule_set=.=allow;.;policy=.=ns[]-policy[open.];.;",
        )
    };
    let denied = || {
        requests(
            "decision=.=deny;.;reason=.=policy_denied;.;rule_set=.=deny;.;policy=.=ns[]-policy[d];.;",
        )
    };
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < deadline, "never: {what}");
            thread::sleep(Duration::from_millis(50));
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..25).for_each(|_| assert_eq!(ask("/"), 200)));
        }
    });
    (0..10).for_each(|_| assert_eq!(ask("/x"), 403));
    until("both are counted", &|| (allowed(), denied()) == (100, 10));

    // The old configuration's last word comes when its listener has drained; the new one counts on.
    assert_eq!(ask("/"), 200);
    envoy.replace(&[listener("/y")]);
    (0..10).for_each(|_| assert_eq!(ask("/y"), 403));
    until("the new one counts on", &|| {
        (allowed(), denied()) == (101, 20)
    });

    let undeliverable = "wasmcustom.result=.=undeliverable;.;issuer=.=https://idp..test/a%3Bb.;.;\
                         address=.=http://nowhere.test/keys;.;\
                         jwks_cluster=.=missing;.;portcullis_key_set_fetches_total";
    until("fetches are counted", &|| envoy.stat(undeliverable) > 0);
}
