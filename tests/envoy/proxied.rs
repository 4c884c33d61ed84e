//! Behind a proxy that tells of its clients by the PROXY protocol.

use serde_json::json;

use crate::support::envoy::{Envoy, Listener, plugin};
use crate::support::http;
use crate::support::oracle;
use crate::support::peer::Ahead;
use crate::support::server::Server;

/// The client's address is in the line, the peer's is the proxy's: told by filter state, it is what native RBAC
/// takes for the peer's.
#[test]
fn the_peer_is_who_connects() {
    let mut listeners = Vec::new();
    for (name, field, blocks) in [
        ("ours", "ipBlocks", "127.0.0.0/8"),
        ("reported", "ipBlocks", "192.0.2.0/24"),
        ("remote", "remoteIpBlocks", "192.0.2.0/24"),
    ] {
        let rules = json!([{ "from": [{ "source": { field: [blocks] } }] }]);
        let config = json!({ "authorizationPolicies": [{ "name": "p", "rules": rules }] });
        let ahead = Ahead::parse(Some(&json!({ "direct_address": true }))).filters();
        let plugin = vec![plugin(name, &config)];
        let native = oracle::filters(&config).expect("native filters");
        for (whose, filters) in [("told", [ahead, plugin].concat()), ("native", native)] {
            listeners.push(Listener {
                is_proxied: true,
                ..Listener::new(&format!("{name} {whose}"), filters)
            });
        }
    }
    let upstream = Server::echo();
    let envoy = Envoy::start(&listeners, upstream.address, upstream.address).expect("Envoy");
    for (name, expected) in [("ours", 200), ("reported", 403), ("remote", 200)] {
        for whose in ["told", "native"] {
            let address = envoy.address(&format!("{name} {whose}"));
            let request = format!(
                "PROXY TCP4 192.0.2.1 127.0.0.1 5000 {}\r\n\
                 GET / HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n",
                address.port()
            );
            let answer = http::exchange_bytes(address, request.as_bytes()).expect("an answer");
            assert_eq!(answer.status(), expected, "{name} {whose}");
        }
    }
}
