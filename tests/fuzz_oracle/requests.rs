//! Random requests. What differs from native Envoy on purpose is not drawn; `docs/semantics.md` has it, and the cases.

use std::net::SocketAddr;

use fastrand::Rng;
use serde_json::{Value, json};

use super::policies::{ISSUERS, KEY};
use crate::support::envoy::Transport;
use crate::support::mint;
use crate::support::now;
use crate::support::peer::Ahead;

/// Filter state tells the address of the TCP peer: without it a filter can't.
pub fn ahead() -> Ahead {
    Ahead::parse(Some(&told_ahead()))
}

fn told_ahead() -> Value {
    json!({
        "direct_address": true,
        "metadata": { "envoy.filters.http.test": { "db": "orders" } },
    })
}

/// One who connects, and what it says in its hello.
pub fn peer(rng: &mut Rng, transport: Transport, address: SocketAddr) -> Value {
    let mut peer = json!({
        "source_ip": choose(rng, &["127.0.0.1", "127.9.0.1", "127.9.0.3", "127.9.0.6"]),
        "dest_ip": address.ip().to_string(),
        "dest_port": address.port(),
    });
    if transport == Transport::Plain {
        return peer;
    }
    // One URI at most, since a filter sees only the first; and none that isn't validated, of which
    // native RBAC takes the names.
    let names = [
        json!({}),
        json!({ "mtls": true, "uri_san": "spiffe://td.test/ns/foo/sa/web" }),
        json!({ "mtls": true, "uri_san": "spiffe://old.test/ns/bar/sa/job" }),
        json!({ "mtls": true, "uri_san": "spiffe://cluster.local/ns/foo/sa/web/k/v" }),
        json!({ "mtls": true, "uri_san": "https://td.test/ns/own/x", "dns_san": "a.test" }),
        json!({ "mtls": true, "uri_san": "spiffe://td.test", "common_name": "web" }),
        json!({ "mtls": true, "uri_san": "spiffe://TD.test/ns/foo/sa/web" }),
        json!({ "mtls": true, "uri_san": "spiffe://td.test/ns/f.o/sa/w.b" }),
        json!({ "mtls": true, "uri_san": "spiffe://td.test/ns/foo/ns/bar/sa/x/sa/job" }),
        json!({ "mtls": true, "uri_san": "spiffe:///ns/foo/sa/web" }),
        json!({ "mtls": true, "uri_san": "spiffe://x/td.test/ns/foo/sa/web" }),
        json!({ "mtls": true, "dns_san": "a.test", "common_name": "web" }),
        json!({ "mtls": true, "common_name": "web" }),
        json!({ "mtls": true }),
    ];
    // The one that most policies are about comes most often.
    let names = match rng.u8(..3) {
        0 => &names[1],
        _ => &names[rng.usize(..names.len())],
    };
    for (name, value) in names.as_object().expect("an object") {
        peer[name] = value.clone();
    }
    // Without a certificate, it is the name that makes it TLS.
    if peer.get("mtls").is_none() || rng.bool() {
        peer["sni"] = choose(rng, &["a.test", "b.a.test", "b.x", "A.test"]);
    }
    peer
}

/// A request of this peer.
pub fn draw(rng: &mut Rng, peer: &Value) -> Value {
    let mut headers = vec![json!(["connection", "keep-alive"])];
    for name in ["x-role", "x-two"] {
        for _ in 0..rng.usize(..3) {
            let value = choose(
                rng,
                &[
                    "admin",
                    "root",
                    "",
                    "admin,root",
                    "readmin",
                    "x",
                    "**",
                    "a b",
                    "*a*",
                    "caf\u{e9}",
                ],
            );
            headers.push(json!([name, value]));
        }
    }
    for _ in 0..rng.usize(..3) {
        // Without quotes, of which native filters make nothing.
        let items = [
            "admin",
            " admin",
            "root ",
            "\troot\t",
            "",
            " ",
            "readmin",
            "x",
            "a b",
            "admin;root",
            "**",
        ];
        let list: Vec<&str> = (0..rng.usize(1..4))
            .map(|_| items[rng.usize(..items.len())])
            .collect();
        headers.push(json!(["x-list", list.join(",")]));
    }
    if rng.u8(..4) > 0 {
        headers.push(json!(["authorization", format!("Bearer {}", token(rng))]));
    }
    let mut request = json!({
        "method": choose(rng, &["GET", "GET", "POST", "PUT", "PATCH", "DELETE"]),
        "path": path(rng),
        "authority": choose(rng, &["a.test", "A.TEST", "b.a.test", "a.test:8080", "b.x", "x", "a.test.", "a.test:", "[::1]", "[::1]:8080"]),
        "headers": headers,
        "peer": peer,
        "ahead": told_ahead(),
    });
    if rng.bool() {
        request["remote_ip"] = choose(
            rng,
            &[
                "192.0.2.7",
                "192.0.2.8",
                "127.9.0.3",
                "2001:db8::1",
                "2001:db9::1",
            ],
        );
    }
    request
}

/// Without brackets, of which Envoy's templates take none; and nothing that Envoy would normalise.
fn path(rng: &mut Rng) -> String {
    let segments = [
        "a",
        "b",
        "a",
        "b",
        "",
        "A",
        "a.b",
        "x%20y",
        "*",
        "{*}",
        "a;x",
        "a%2Fb",
        "%2f",
        "%252F",
        "...",
        "~(x)",
        "a%",
        "caf%C3%A9",
    ];
    let depth = rng.usize(1..5);
    let segments: Vec<&str> = (0..depth)
        .map(|_| segments[rng.usize(..segments.len())])
        .collect();
    let query = ["", "", "?", "?x=/b", "?a?b", "?/a/b"][rng.usize(..6)];
    format!("/{}{query}", segments.join("/"))
}

fn token(rng: &mut Rng) -> String {
    if rng.u8(..20) == 0 {
        return "no token".to_owned();
    }
    let issuer = match rng.u8(..20) {
        0 => "three",
        number => ISSUERS[usize::from(number) % ISSUERS.len()],
    };
    let mut claims = json!({ "iss": issuer, "exp": now() + 600 });
    for (name, choices) in [
        (
            "sub",
            json!(["alice", "bob", "alicia", "a/b", "", "al\nice", "*"]),
        ),
        ("aud", json!(["admin", ["root", "read"], "", []])),
        ("azp", json!(["admin", "root", 7, true, ["admin"]])),
        (
            "groups",
            json!(["admin", ["root", "readmin"], ["x", 7], 7, true, [], "", [["admin"]], { "admin": 1 }, "ad\nmin", null, "**", "xa"]),
        ),
        (
            "scope",
            json!(["read write", "admin", " read  ", "", ["root"], "readwrite"]),
        ),
        (
            "a",
            json!([{ "b": "admin" }, { "b": ["root"] }, "admin", [{ "b": "admin" }], { "b": 7 }]),
        ),
        ("a.b", json!(["admin", "root"])),
    ] {
        if rng.u8(..4) > 0 {
            let choices = choices.as_array().expect("a list");
            claims[name] = choices[rng.usize(..choices.len())].clone();
        }
    }
    mint::token(&json!({ "kid": KEY, "claims": claims }))
}

fn choose(rng: &mut Rng, values: &[&str]) -> Value {
    values[rng.usize(..values.len())].into()
}
