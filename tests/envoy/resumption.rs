//! TLS sessions that are resumed: the client is who it was, as for native RBAC, though Envoy from 1.39 on no
//! longer says that its certificate is valid.

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};

use crate::support::case::{Case, Request, Suite};
use crate::support::envoy::{self, Envoy, Listener, Setup, Transport, cluster};
use crate::support::peer::Certificate;
use crate::support::server::Server;
use crate::support::{http, tls};

const WEB: &str = "cluster.local/ns/foo/sa/web";

/// Listeners by what guards them, and what the client gets there.
fn guards() -> Vec<(&'static str, Value, u16)> {
    let policy = |action: &str, source: Value| {
        let policy = json!({ "action": action, "rules": [{ "from": [{ "source": source }] }] });
        envoy::plugin(action, &json!({ "authorizationPolicies": [policy] }))
    };
    let strict = json!({
        "workload": { "namespace": "foo", "labels": {} },
        "resources": [{
            "apiVersion": "security.istio.io/v1",
            "kind": "PeerAuthentication",
            "metadata": { "name": "default", "namespace": "foo" },
            "spec": { "mtls": { "mode": "STRICT" } },
        }],
    });
    vec![
        ("deny", policy("DENY", json!({ "principals": [WEB] })), 403),
        (
            "deny-others",
            policy("DENY", json!({ "notPrincipals": [WEB] })),
            200,
        ),
        (
            "allow",
            policy("ALLOW", json!({ "principals": [WEB] })),
            200,
        ),
        (
            "allow-others",
            policy("ALLOW", json!({ "notPrincipals": [WEB] })),
            403,
        ),
        ("strict", envoy::plugin("strict", &strict), 200),
        ("native-deny", native("DENY"), 403),
        ("native-allow", native("ALLOW"), 200),
    ]
}

fn native(action: &str) -> Value {
    let name = json!({ "exact": format!("spiffe://{WEB}") });
    let web = json!({
        "permissions": [{ "any": true }],
        "principals": [{ "authenticated": { "principal_name": name } }],
    });
    json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": { "action": action, "policies": { "web": web } },
        },
    })
}

fn listener(name: &str, filter: Value, has_tickets: bool) -> Listener {
    Listener {
        transport: Transport::MutualTls,
        has_tickets,
        ..Listener::new(name, vec![filter])
    }
}

fn request(suite: &Suite, peer: Value) -> Request {
    let case = Case::new("", "good", json!({ "peer": peer }), json!({}));
    suite.play(&case, &case.expect).request
}

#[test]
fn whoever_resumes_is_who_it_was() {
    let suite = Suite::load("tests/cases/remote.json");
    let web = json!({ "mtls": true, "uri_san": format!("spiffe://{WEB}") });
    let request = request(&suite, web);
    let ways: [(&str, &'static SupportedProtocolVersion, bool); 3] = [
        ("1.3, tickets", &TLS13, true),
        ("1.2, tickets", &TLS12, true),
        ("1.2, session IDs", &TLS12, false),
    ];
    let mut listeners = Vec::new();
    for (name, filter, _) in guards() {
        for has_tickets in [true, false] {
            let name = format!("{name}-{has_tickets}");
            listeners.push(listener(&name, filter.clone(), has_tickets));
        }
    }
    let upstream = Server::echo();
    let envoy = Envoy::start(&listeners, upstream.address, upstream.address).expect("Envoy");
    for (name, _, expected) in guards() {
        for (way, version, has_tickets) in ways {
            let address = envoy.address(&format!("{name}-{has_tickets}"));
            let answers = http::exchange_twice(address, &request, &[version]);
            let statuses = answers.expect("two answers").map(|answer| answer.status());
            assert_eq!(statuses, [expected; 2], "{name}, {way}");
        }
    }
}

/// An Envoy keeps the session of its upstream, and makes a new connection for each request here.
#[test]
fn an_envoy_that_resumes_is_who_it_was() {
    let suite = Suite::load("tests/cases/remote.json");
    let upstream = Server::echo();
    let guards = guards();
    let listeners = guards.iter();
    let listeners = listeners.map(|(name, filter, _)| listener(name, filter.clone(), true));
    let guarded = Envoy::start(
        &listeners.collect::<Vec<_>>(),
        upstream.address,
        upstream.address,
    );
    let guarded = guarded.expect("Envoy");
    let web = Certificate {
        uris: vec![format!("spiffe://{WEB}")],
        dns: Vec::new(),
        common_name: None,
        trusted: true,
    };
    let clusters = guards.iter().map(|(name, ..)| {
        let mut cluster = cluster(name, guarded.address(name));
        cluster["transport_socket"] = tls::upstream_socket(&web);
        cluster["max_requests_per_connection"] = 1.into();
        cluster
    });
    let listeners = guards.iter().map(|(name, ..)| {
        let mut listener = Listener::new(name, Vec::new());
        listener.routes = vec![json!({ "match": { "prefix": "/" }, "route": { "cluster": name } })];
        listener
    });
    let client = Envoy::start_as(&Setup {
        listeners: &listeners.collect::<Vec<_>>(),
        clusters: &clusters.collect::<Vec<_>>(),
        workers: 1,
        watches: false,
    });
    let client = client.expect("Envoy");
    for (name, _, expected) in &guards {
        for _ in 0..4 {
            let answer = client.ask(name, &request(&suite, json!({})));
            assert_eq!(answer.expect("an answer").status, *expected, "{name}");
        }
        let resumed = format!("cluster.{name}.ssl.session_reused");
        assert!(client.stat(&resumed) >= 3, "{name} resumes nothing");
    }
}
