//! `import`: what comes out passes `check`, says what it leaves out, and guards a real Envoy.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::case::Request;
use crate::support::envoy::{Envoy, module};
use crate::support::project;
use crate::support::server::Server;
use crate::{folder, portcullis, said};

const DUMP: &str = "tests/cli/import/dump.yaml";
const TARGETS: [&str; 4] = ["plugin-config", "wasmplugin", "envoy-gateway", "envoy"];

#[test]
fn whatever_comes_out_passes_check() {
    let file = folder("imported").join("imported.yaml");
    let path = file.to_str().expect("UTF-8");
    let dump = project(DUMP);
    let dump = dump.to_str().expect("UTF-8");
    for target in TARGETS {
        let (printed, status) = portcullis(&["import", dump, "--to", target]);
        assert_eq!(status, 0, "{target}");
        let again = portcullis(&["import", dump, "--to", target]);
        assert_eq!(again, (printed.clone(), 0), "{target}");
        assert!(!printed.contains("managedFields"), "{printed}");
        assert!(!printed.contains("status"), "{printed}");
        fs::write(&file, &printed).expect("a file");
        let (found, status) = portcullis(&["check", path]);
        assert_eq!(status, 0, "{target}: {found}");
        assert!(found.contains("1 file: no mistakes"), "{target}: {found}");
    }
}

/// What is made for Kubernetes stands beside the dump.
#[test]
fn for_kubernetes() {
    let dump = project(DUMP);
    let dump = dump.to_str().expect("UTF-8");
    for target in ["wasmplugin", "envoy-gateway"] {
        let image = "--image=oci://registry.example.com/portcullis:1";
        let (printed, _) = portcullis(&["import", dump, image, "--to", target]);
        let known = project(&format!("tests/cli/import/{target}.yaml"));
        let known = fs::read_to_string(known).expect("what is made");
        assert_eq!(printed, known, "{target}");
    }
}

/// The access log is the one of the example.
#[test]
fn as_the_example() {
    let dump = project(DUMP);
    let dump = dump.to_str().expect("UTF-8");
    let (printed, _) = portcullis(&["import", dump, "--to", "envoy"]);
    let made: Value = serde_saphyr::from_str(&printed).expect("YAML");
    let example = fs::read_to_string(project("envoy/envoy.yaml")).expect("the example");
    let example: Value = serde_saphyr::from_str(&example).expect("YAML");
    let log = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/access_log";
    assert!(made.pointer(log).is_some());
    assert_eq!(made.pointer(log), example.pointer(log));
    assert_eq!(made["stats_config"], example["stats_config"]);
}

fn resource(version: &str, kind: &str, namespace: &str, spec: Value) -> Value {
    json!({
        "apiVersion": version,
        "kind": kind,
        "metadata": { "name": "r", "namespace": namespace },
        "spec": spec,
    })
}

fn policy(spec: Value) -> Value {
    resource("security.istio.io/v1", "AuthorizationPolicy", "foo", spec)
}

fn when(key: &str) -> Value {
    policy(json!({ "rules": [{ "when": [{ "key": key, "values": ["a"] }] }] }))
}

#[test]
fn what_can_not_come_along() {
    let file = folder("dropped").join("dump.json");
    let path = file.to_str().expect("UTF-8");
    let mesh = "trustDomain: example.org\nextensionProviders: [{ name: a, envoyExtAuthzGrpc: {} }]";
    let mesh = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "istio", "namespace": "istio-system" },
        "data": { "mesh": mesh },
    });
    let selecting =
        |labels: Value| policy(json!({ "selector": { "matchLabels": labels }, "rules": [] }));
    let elsewhere = resource(
        "security.istio.io/v1",
        "AuthorizationPolicy",
        "bar",
        json!({}),
    );
    let routes =
        json!({ "http": [{ "match": [{ "headers": { "@request.auth.claims.a": {} } }] }] });
    let discovered = json!({ "jwtRules": [{ "issuer": "https://a.test" }] });
    let network = "networking.istio.io/v1";
    for (items, target, status, message) in [
        (
            json!([
                policy(json!({})),
                resource("rbac.istio.io/v1alpha1", "ServiceRole", "foo", json!({}))
            ]),
            "plugin-config",
            1,
            "ServiceRole foo/r",
        ),
        (
            json!([
                policy(json!({})),
                resource(network, "EnvoyFilter", "foo", json!({}))
            ]),
            "plugin-config",
            1,
            "EnvoyFilter foo/r",
        ),
        (
            json!([
                policy(json!({})),
                resource(network, "VirtualService", "foo", routes)
            ]),
            "plugin-config",
            1,
            "dynamicMetadata.header",
        ),
        (
            json!([
                policy(json!({})),
                resource(network, "VirtualService", "foo", json!({}))
            ]),
            "plugin-config",
            0,
            "VirtualService 1",
        ),
        (
            json!([policy(json!({})), mesh.clone()]),
            "plugin-config",
            0,
            "1 policy",
        ),
        (
            json!([
                policy(json!({ "action": "CUSTOM", "provider": { "name": "a" }, "rules": [{}] })),
                mesh.clone()
            ]),
            "plugin-config",
            1,
            "mistake: AuthorizationPolicy foo/r: the extension provider `a` is asked over gRPC",
        ),
        (
            json!([when("source.principal")]),
            "plugin-config",
            0,
            "trust domain",
        ),
        (
            json!([when("source.principal")]),
            "plugin-config",
            0,
            "client certificates",
        ),
        (json!([when("destination.port")]), "envoy", 1, "mistake"),
        (
            json!([policy(
                json!({ "rules": [{ "to": [{ "operation": { "ports": ["80"] } }] }] })
            )]),
            "envoy",
            0,
            "TCP connections",
        ),
        (
            json!([policy(
                json!({ "rules": [{ "from": [{ "source": { "ip_blocks": ["10.0.0.1"] } }] }] })
            )]),
            "wasmplugin",
            0,
            "x-forwarded-for",
        ),
        (
            json!([resource(
                "security.istio.io/v1",
                "PeerAuthentication",
                "foo",
                json!({ "mtls": { "mode": "STRICT" } })
            )]),
            "envoy",
            1,
            "mistake: PeerAuthentication foo/r: it requires client certificates",
        ),
        (
            json!([resource(
                "security.istio.io/v1",
                "PeerAuthentication",
                "foo",
                json!({ "mtls": { "mode": "STRICT" } })
            )]),
            "envoy-gateway",
            0,
            "the listener must ask for one",
        ),
        (
            json!([resource(
                "security.istio.io/v1",
                "RequestAuthentication",
                "foo",
                discovered
            )]),
            "envoy",
            0,
            "OpenID metadata",
        ),
        (
            json!([policy(json!({})), elsewhere]),
            "envoy",
            2,
            "--namespace",
        ),
        (
            json!([
                selecting(json!({ "a": "b" })),
                selecting(json!({ "a": "c" }))
            ]),
            "envoy",
            2,
            "--label",
        ),
        (
            json!([
                selecting(json!({ "a": "b" })),
                selecting(json!({ "a": "c" }))
            ]),
            "wasmplugin",
            0,
            "every proxy of the namespace `foo`",
        ),
        (
            json!([policy(
                json!({ "targetRef": { "kind": "Service", "group": "", "name": "a" } })
            )]),
            "wasmplugin",
            0,
            "a waypoint",
        ),
        (
            json!([policy(
                json!({ "targetRef": { "kind": "Gateway", "group": "gateway.networking.k8s.io", "name": "a" } })
            )]),
            "wasmplugin",
            0,
            "a gateway",
        ),
        (
            json!([{ "kind": "Service", "apiVersion": "v1" }]),
            "envoy",
            2,
            "there is no",
        ),
    ] {
        let dump = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        fs::write(&file, dump.to_string()).expect("a file");
        let (printed, said, came_out) = said(&["import", path, "--to", target]);
        assert!(said.contains(message), "{items}: {said}");
        assert_eq!(came_out, status, "{items}: {said}");
        assert_eq!(
            printed.is_empty(),
            said.contains("mistake") || status == 2,
            "{items}"
        );
    }
    let dump = json!({ "kind": "List", "items": [when("source.principal"), mesh] });
    fs::write(&file, dump.to_string()).expect("a file");
    let (printed, said, _) = said(&["import", path]);
    assert!(printed.contains("trustDomain: example.org"), "{printed}");
    assert!(!said.contains("trust domain"), "{said}");
}

/// A server of keys that lives as long as this value.
struct Keys(Child);

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Keys are made and served, resources imported, an Envoy started, and a token is minted for it.
#[test]
fn a_route_is_guarded() {
    let folder = folder("guarded");
    let keys = folder.join("keys.json");
    let keys = keys.to_str().expect("UTF-8");
    let (made, status) = portcullis(&["keys", "generate"]);
    assert_eq!(status, 0);
    fs::write(keys, made).expect("a file");
    let serve = ["keys", "serve", keys, "--address", "127.0.0.1:0"];
    let mut server = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(serve)
        .stdout(Stdio::piped())
        .spawn()
        .map(Keys)
        .expect("the command line runs");
    let mut line = String::new();
    let stdout = server.0.stdout.take().expect("its output");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let mut words = line.split(' ');
    let issuer = words.find(|word| word.starts_with("http://"));
    let issuer = issuer.expect("an issuer");

    // One issuer tells by itself where its keys are, the other doesn't.
    let resources = json!({ "kind": "List", "items": [
        resource("security.istio.io/v1", "RequestAuthentication", "foo", json!({ "jwtRules": [
            { "issuer": issuer, "audiences": ["a"] },
            { "issuer": "other", "jwksUri": format!("{issuer}/jwks.json") },
        ] })),
        policy(json!({ "rules": [
            { "from": [{ "source": { "requestPrincipals": ["*"] } }] },
            { "to": [{ "operation": { "paths": ["/healthz"] } }] },
        ] })),
    ] });
    let dump = folder.join("dump.json");
    fs::write(&dump, resources.to_string()).expect("a file");
    let upstream = Server::echo();
    let (bootstrap, said, status) = said(&[
        "import",
        dump.to_str().expect("UTF-8"),
        "--to=envoy",
        "--listen=127.0.0.1:0",
        "--admin=127.0.0.1:0",
        &format!("--upstream={}", upstream.address),
        &format!("--plugin={}", module().display()),
    ]);
    assert_eq!(status, 0, "{said}");
    let envoy =
        Envoy::start_with(&bootstrap, &["guarded"]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(envoy.address("guarded").ip(), Ipv4Addr::LOCALHOST);

    let mint = |arguments: &[&str]| {
        let (token, status) = portcullis(&[&["token", "--key", keys], arguments].concat());
        assert_eq!(status, 0, "{arguments:?}");
        token.trim().to_owned()
    };
    let ask = |path: &str, token: Option<String>| {
        let headers = token.map(|token| json!([["authorization", format!("Bearer {token}")]]));
        let request = json!({ "path": path, "headers": headers.unwrap_or(json!([])) });
        let observed = envoy.ask("guarded", &Request::parse(&request));
        observed.unwrap_or_else(|error| panic!("{error}")).status
    };
    let own = ["--iss", issuer, "--sub", "s", "--aud", "a"];
    assert_eq!(ask("/", None), 403);
    assert_eq!(ask("/healthz", None), 200);
    assert_eq!(ask("/", Some(mint(&own))), 200);
    assert_eq!(ask("/", Some(mint(&["--iss=other", "--sub=s"]))), 200);
    assert_eq!(ask("/", Some(mint(&["--iss=another", "--sub=s"]))), 401);
    assert_eq!(
        ask("/", Some(mint(&[&own[..], &["--expire=-5m"]].concat()))),
        401
    );
    assert_eq!(ask("/", Some(mint(&["--iss", issuer, "--aud=b"]))), 403);
}
