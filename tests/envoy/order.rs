//! What `docs/operations.md` says of the order of filters.

use serde_json::{Value, json};

use crate::support::case::Suite;
use crate::support::check::Lines;
use crate::support::envoy::{Envoy, Listener, plugin};
use crate::support::server::{JwksServer, Server};

/// A service behind the token: the first plugin has the rules, the second one the policy.
#[test]
fn two_in_a_row_ask_about_claims() {
    let suite = Suite::load("tests/cases/custom.json");
    let case = suite.case("a header that rules write is not shown");
    let mut first = suite.config(case);
    let mut second = json!({});
    for member in ["extensionProviders", "authorizationPolicies"] {
        second[member] = first[member].take();
    }
    first
        .as_object_mut()
        .expect("an object")
        .retain(|name, _| name == "jwtRules");
    let filters = vec![plugin("first", &first), plugin("second", &second)];
    let listeners = [Listener::new("two", filters)];
    let upstream = Server::echo();
    let jwks = JwksServer::start(suite.servers.clone());
    let envoy = Envoy::start(&listeners, upstream.address, jwks.server.address).expect("Envoy");
    let play = suite.play(case, &case.expect);
    let observed = envoy.ask("two", &play.request).expect("an answer");
    assert_eq!(observed.status, 200, "{}", observed.body);
    let [asked] = &jwks.asked("b")[..] else {
        panic!("asked once");
    };
    assert_eq!(lines(asked, "x-user"), ["bob"]);
    for other in ["x.user", "x_user"] {
        assert_eq!(lines(asked, other), [""; 0], "{other}");
    }
}

fn lines<'h>(headers: &'h Lines, name: &str) -> Vec<&'h str> {
    let lines = headers.iter().filter(|(own, _)| own == name);
    lines
        .map(|(_, value)| str::from_utf8(value).expect("text"))
        .collect()
}

/// A browser shows no refusal that has no CORS headers.
#[test]
fn cors_comes_first() {
    let cors = json!({
        "name": "envoy.filters.http.cors",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors" },
    });
    let policy = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": [{ "exact": "https://app.test" }],
    });
    let nobody = plugin(
        "nobody",
        &json!({ "authorizationPolicies": [{ "name": "nobody" }] }),
    );
    let listener = |name, filters| {
        let mut listener = Listener::new(name, filters);
        for route in &mut listener.routes {
            route["typed_per_filter_config"] = json!({ "envoy.filters.http.cors": policy });
        }
        listener
    };
    let listeners = [
        listener("first", vec![cors.clone(), nobody.clone()]),
        listener("last", vec![nobody, cors]),
    ];
    let upstream = Server::echo();
    let envoy = Envoy::start(&listeners, upstream.address, upstream.address).expect("Envoy");
    let mut suite = Suite::new("cors");
    suite.add_config("any", json!({}));
    let request = json!({ "headers": [["origin", "https://app.test"]] });
    let case = crate::support::case::Case::new("refused", "any", request, Value::Null);
    let play = suite.play(&case, &case.expect);
    for (name, expected) in [("first", Some("https://app.test")), ("last", None)] {
        let observed = envoy.ask(name, &play.request).expect("an answer");
        assert_eq!(observed.status, 403, "{name}");
        let allowed = observed.header("access-control-allow-origin");
        assert_eq!(allowed, expected, "{name}");
    }
}
