//! `import --to envoy`: the listener in a real Envoy, as tight as Istio's.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::case::Request;
use crate::support::envoy::{Envoy, module};
use crate::support::server::Server;
use crate::support::{oracle, tls};
use crate::{folder, said};

fn policy(action: &str, name: &str, rules: &Value) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": { "name": name, "namespace": "foo" },
        "spec": { "action": action, "rules": rules },
    })
}

/// What is made of resources, and what is said of it.
fn imported(
    folder: &Path,
    resources: &[Value],
    upstream: &Server,
    options: &[&str],
) -> (Value, String) {
    let dump = folder.join("dump.json");
    let list = json!({ "kind": "List", "items": resources });
    fs::write(&dump, list.to_string()).expect("a file");
    let (upstream, plugin) = (
        format!("--upstream={}", upstream.address),
        format!("--plugin={}", module().display()),
    );
    let own = [
        "import",
        dump.to_str().expect("UTF-8"),
        "--to=envoy",
        "--listen=127.0.0.1:0",
        "--admin=127.0.0.1:0",
        &upstream,
        &plugin,
    ];
    let (printed, told, status) = said(&[&own, options].concat());
    assert_eq!(status, 0, "{told}");
    let made = serde_saphyr::from_str(&printed).unwrap_or_else(|error| panic!("{error}"));
    // What is made passes `check` whole.
    let file = folder.join("envoy.yaml");
    fs::write(&file, &printed).expect("a file");
    let (found, _, status) = said(&["check", "--deny=all", file.to_str().expect("UTF-8")]);
    assert_eq!(status, 0, "{found}");
    (made, told)
}

/// A client writes `x-forwarded-for` as it likes: beside Envoy's own filter, in the same listener but for that.
#[test]
fn a_forged_address_opens_nothing() {
    let folder = folder("import-forged");
    let upstream = Server::echo();
    let from = |blocks: &str| json!([{ "from": [{ "source": { "remoteIpBlocks": [blocks] } }] }]);
    let office = "203.0.113.0/24";
    let allow = policy("ALLOW", "office", &from(office));
    let deny = policy("DENY", "here", &from("127.0.0.0/8"));
    let proxied = ["--num-trusted-proxies=1"];
    // By the header, and how many proxies are trusted that write it.
    for (resource, options, header, expected) in [
        (&allow, &[][..], None, 403),
        (&allow, &[], Some("203.0.113.7"), 403),
        (&allow, &[], Some("203.0.113.7, 203.0.113.7"), 403),
        (&allow, &proxied, Some("203.0.113.7"), 200),
        (&allow, &proxied, Some("203.0.113.7, 198.51.100.1"), 403),
        (&deny, &[], None, 403),
        (&deny, &[], Some("203.0.113.7"), 403),
        (&deny, &proxied, Some("203.0.113.7"), 200),
    ] {
        let (mut made, _) = imported(&folder, std::slice::from_ref(resource), &upstream, options);
        let configuration = json!({
            "workload": { "namespace": "foo", "labels": {} },
            "resources": [resource],
        });
        let listeners = &mut made["static_resources"]["listeners"];
        let mut native = listeners[0].clone();
        native["name"] = "native".into();
        let filters = &mut native["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"];
        let router = filters[2].clone();
        let mut own = oracle::filters(&configuration).expect("native filters");
        own.push(router);
        *filters = own.into();
        listeners.as_array_mut().expect("a list").push(native);
        let envoy = Envoy::start_with(&made.to_string(), &["guarded", "native"])
            .unwrap_or_else(|error| panic!("{error}"));
        let headers = header.map(|header| json!([["x-forwarded-for", header]]));
        let request = json!({ "headers": headers.unwrap_or(json!([])) });
        for listener in ["guarded", "native"] {
            let observed = envoy.ask(listener, &Request::parse(&request));
            let status = observed.unwrap_or_else(|error| panic!("{error}")).status;
            assert_eq!(
                status, expected,
                "{listener}: {resource} {options:?} {header:?}"
            );
        }
    }
}

/// A policy for a mesh that is mutual TLS needs a listener that is.
#[test]
fn certificates_are_asked_for() {
    let folder = folder("import-certificates");
    let upstream = Server::echo();
    let socket = tls::transport_socket(false);
    let common = &socket["typed_config"]["common_tls_context"];
    let write = |name: &str, pem: &Value| {
        let file = folder.join(name);
        fs::write(&file, pem.as_str().expect("PEM")).expect("a file");
        file.display().to_string()
    };
    let certificate = &common["tls_certificates"][0];
    let options = [
        format!(
            "--tls-cert={}",
            write(
                "cert.pem",
                &certificate["certificate_chain"]["inline_string"]
            )
        ),
        format!(
            "--tls-key={}",
            write("key.pem", &certificate["private_key"]["inline_string"])
        ),
        format!(
            "--client-ca={}",
            write(
                "ca.pem",
                &common["validation_context"]["trusted_ca"]["inline_string"]
            )
        ),
        "--workload={\"trustDomain\":\"cluster.local\"}".to_owned(),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let strict = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": { "name": "default", "namespace": "foo" },
        "spec": { "mtls": { "mode": "STRICT" } },
    });
    let ours = json!([{ "from": [{ "source": { "principals": ["cluster.local/ns/foo/sa/a"] } }] }]);
    let resources = [strict, policy("ALLOW", "a", &ours)];
    let (made, told) = imported(&folder, &resources, &upstream, &options);
    assert!(!told.contains("must ask for"), "{told}");
    let envoy = Envoy::start_with(&made.to_string(), &["guarded"])
        .unwrap_or_else(|error| panic!("{error}"));
    let ask = |peer: Value| {
        let request = json!({ "peer": peer });
        let observed = envoy.ask("guarded", &Request::parse(&request));
        observed.map(|observed| observed.status)
    };
    let certified = |account: &str| {
        let uri = format!("spiffe://cluster.local/ns/foo/sa/{account}");
        json!({ "mtls": true, "uri_san": uri })
    };
    assert_eq!(ask(certified("a")), Ok(200));
    assert_eq!(ask(certified("b")), Ok(403));
    ask(json!({ "sni": "portcullis.test" }))
        .expect_err("the handshake fails without a certificate");
}
