//! `check` of what is around the plugin: one thing is spoilt in a configuration that is right, and one code is found.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::case::text;
use crate::support::envoy::{Envoy, module};
use crate::support::project;
use crate::{folder, portcullis};

const ENVOY: &str = "tests/cli/surroundings/envoy.yaml";
const PLUGIN: &str = "tests/cli/surroundings/wasmplugin.yaml";
/// Codes of what keeps the exit status from being 0.
const MISTAKES: [&str; 2] = ["fail-open", "untrusted-peer-certificates"];

fn read(path: &str) -> String {
    fs::read_to_string(project(path)).expect("a file")
}

/// The same with one thing replaced.
fn spoilt(content: &str, from: &str, to: &str) -> String {
    let spoilt = content.replacen(from, to, 1);
    assert_ne!(spoilt, content, "`{from}` isn't there");
    spoilt
}

/// The codes that are found, with the lines that they point at, and the exit status.
fn codes(folder: &Path, content: &str) -> (Vec<(String, String)>, i32) {
    let file = folder.join("file.yaml");
    fs::write(&file, content).expect("a file");
    let file = file.to_str().expect("UTF-8");
    let (printed, status) = portcullis(&["check", "--format", "json", file]);
    let found: Value = serde_json::from_str(&printed).expect("a list of findings");
    let found = found.as_array().expect("a list").iter().map(|finding| {
        let line = finding["line"].as_u64().expect("a line");
        let line = usize::try_from(line).expect("a line");
        let line = content.lines().nth(line - 1).unwrap_or_default();
        (text(&finding["code"]).to_owned(), line.trim().to_owned())
    });
    (found.collect(), status)
}

fn one(folder: &Path, content: &str, code: &str, line: &str) {
    let (found, status) = codes(folder, content);
    let found: Vec<&str> = found
        .iter()
        .map(|(own, at)| {
            assert!(at.contains(line), "{code}: it points at `{at}`");
            own.as_str()
        })
        .collect();
    assert_eq!(found, [code], "{line}");
    assert_eq!(status, i32::from(MISTAKES.contains(&code)), "{code}");
}

fn none(folder: &Path, content: &str, why: &str) {
    assert_eq!(codes(folder, content), (Vec::new(), 0), "{why}");
}

const MANAGER: &str = "stat_prefix: guarded";
const VALIDATION: &str = "            validation_context: { trusted_ca: { filename: ca.pem } }\n";
const CORS: &str = "          - name: envoy.filters.http.cors
            typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors }
";
const ROUTER: &str = "          - name: envoy.filters.http.router
            typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
";

#[test]
fn each_thing_that_is_spoilt() {
    let folder = folder("surroundings");
    let good = read(ENVOY);
    none(&folder, &good, "everything is as it should be");
    let behind_router = spoilt(&good, ROUTER, "");
    let behind_router = spoilt(&behind_router, CORS, &format!("{CORS}{ROUTER}"));
    one(
        &folder,
        &behind_router,
        "behind-router",
        "envoy.filters.http.router",
    );
    let cors = spoilt(&good, CORS, "");
    let cors = spoilt(&cors, ROUTER, &format!("{CORS}{ROUTER}"));
    one(&folder, &cors, "cors-behind", "envoy.filters.http.cors");
    let tls = good.rfind("    transport_socket:").expect("it is there");
    let names = good.find("  - { name: authz, type").expect("it is there");
    let plain = format!("{}{}", &good[..tls], &good[names..]);
    one(&folder, &plain, "cluster-no-tls", "- name: idp");
    for (code, line, from, to) in [
        ("fail-open", "FAIL_OPEN", "FAIL_RELOAD", "FAIL_OPEN"),
        (
            "fail-open",
            "fail_open",
            "failure_policy: FAIL_RELOAD",
            "fail_open: true",
        ),
        (
            "fail-open",
            "failOpen",
            "failure_policy: FAIL_RELOAD",
            "failOpen: true",
        ),
        ("no-reload", "FAIL_CLOSED", "FAIL_RELOAD", "FAIL_CLOSED"),
        (
            "no-reload",
            "- name: guard",
            "                failure_policy: FAIL_RELOAD\n",
            "",
        ),
        (
            "no-vm-id",
            "- name: guard",
            "vm_id: portcullis",
            "vm_id: \"\"",
        ),
        (
            "disabled",
            "disabled: true",
            "- name: guard\n",
            "- name: guard\n            disabled: true\n",
        ),
        (
            "missing-capability",
            "capability_restriction_config",
            "                vm_config:",
            "                capability_restriction_config: { allowed_capabilities: { proxy_log: {} } }\n                vm_config:",
        ),
        (
            "disabled-by-route",
            "disabled: true",
            "route: { cluster: metrics }",
            "route: { cluster: metrics }\n                typed_per_filter_config: { guard: { disabled: true } }",
        ),
        (
            "no-timeouts",
            MANAGER,
            "          request_timeout: 15s\n",
            "",
        ),
        (
            "no-timeouts",
            MANAGER,
            "request_timeout: 15s",
            "request_timeout: 0s",
        ),
        (
            "no-timeouts",
            MANAGER,
            "          stream_idle_timeout: 60s\n",
            "",
        ),
        (
            "no-normalization",
            MANAGER,
            "          normalize_path: true\n",
            "",
        ),
        (
            "no-direct-address",
            MANAGER,
            "portcullis.direct_remote_address",
            "another",
        ),
        (
            "trusts-forwarded-for",
            MANAGER,
            "use_remote_address: true",
            "use_remote_address: false",
        ),
        (
            "skip-xff-append",
            "skip_xff_append",
            "use_remote_address: true",
            "use_remote_address: true\n          skip_xff_append: true",
        ),
        (
            "no-peer-certificates",
            "- name: guarded",
            "          require_client_certificate: true\n",
            "          require_client_certificate: false\n",
        ),
        (
            "untrusted-peer-certificates",
            "DownstreamTlsContext",
            VALIDATION,
            "",
        ),
        (
            "untrusted-peer-certificates",
            "validation_context",
            "validation_context: { trusted_ca: { filename: ca.pem } }",
            "validation_context: { match_typed_subject_alt_names: [] }",
        ),
        (
            "untrusted-peer-certificates",
            "ACCEPT_UNTRUSTED",
            "validation_context: { trusted_ca: { filename: ca.pem } }",
            "validation_context: { trusted_ca: { filename: ca.pem }, trust_chain_verification: ACCEPT_UNTRUSTED }",
        ),
        (
            "no-cluster",
            "idp.example.com/keys",
            "jwks: { cluster: idp }",
            "jwks: { shared: false }",
        ),
        (
            "no-cluster",
            "name: authz",
            "- { name: authz, type",
            "- { name: other, type",
        ),
        (
            "cluster-no-validation",
            "- name: idp",
            "            trusted_ca: { filename: /etc/ssl/certs/ca-certificates.crt }\n",
            "",
        ),
        (
            "cluster-no-validation",
            "- name: idp",
            "            match_typed_subject_alt_names: [{ san_type: DNS, matcher: { exact: idp.example.com } }]\n",
            "",
        ),
        (
            "unguarded-listener",
            "- name: other",
            "cluster: database",
            "cluster: upstream",
        ),
    ] {
        let mut content = spoilt(&good, from, to);
        if code == "no-peer-certificates" {
            content = spoilt(&content, VALIDATION, "");
        }
        one(&folder, &content, code, line);
    }
}

/// The same things where nothing depends on them, or where they are set in another way.
#[test]
fn near_misses() {
    let folder = folder("surroundings-near");
    let good = read(ENVOY);
    let without_peers = spoilt(
        &good,
        "principals: [cluster.local/ns/shop/sa/web]",
        "requestPrincipals: [\"*\"]",
    );
    let without_paths = spoilt(
        &good,
        "                        to: [{ operation: { paths: [/staff/*] } }]\n",
        "",
    );
    let without_paths = spoilt(&without_paths, "paths: [/vault]", "methods: [PUT]");
    let without_remote = spoilt(
        &good,
        "remoteIpBlocks: [203.0.113.0/24]",
        "notRequestPrincipals: [\"issuer/a\"]",
    );
    for (why, content, from, to) in [
        (
            "camelCase",
            &good,
            "failure_policy: FAIL_RELOAD",
            "failurePolicy: FAIL_RELOAD",
        ),
        (
            "camelCase",
            &good,
            "use_remote_address: true",
            "useRemoteAddress: true",
        ),
        (
            "workers are said to share",
            &good,
            "vm_id: portcullis",
            "vm_id: \"\"",
        ),
        (
            "nobody asks who the peer is",
            &without_peers,
            VALIDATION,
            "",
        ),
        (
            "no path is compared",
            &without_paths,
            "          normalize_path: true\n",
            "",
        ),
        (
            "no address is reported",
            &without_remote,
            "use_remote_address: true",
            "use_remote_address: false",
        ),
        (
            "nothing is reported",
            &good,
            "          xff_num_trusted_hops: 1\n",
            "",
        ),
        (
            "untrusted certificates are reckoned with",
            &good,
            VALIDATION,
            "",
        ),
        (
            "the secret is fetched",
            &good,
            "validation_context: { trusted_ca: { filename: ca.pem } }",
            "validation_context_sds_secret_config: { name: ca, sds_config: { ads: {} } }",
        ),
        (
            "nothing is restricted",
            &good,
            "                vm_config:",
            "                capability_restriction_config: { allowed_capabilities: {} }\n                vm_config:",
        ),
        (
            "enabled on a route",
            &good,
            "route: { cluster: metrics }",
            "route: { cluster: metrics }\n                typed_per_filter_config: { other: { disabled: true } }",
        ),
        (
            "clusters come from elsewhere",
            &good,
            "static_resources:",
            "dynamic_resources: { cds_config: { ads: {} } }\nstatic_resources:",
        ),
        (
            "names by SNI",
            &good,
            "            match_typed_subject_alt_names: [{ san_type: DNS, matcher: { exact: idp.example.com } }]\n",
            "",
        ),
        (
            "another cluster",
            &good,
            "cluster: database",
            "cluster: metrics-of-others",
        ),
    ] {
        let mut content = spoilt(content, from, to);
        match why {
            "workers are said to share" => {
                content = spoilt(
                    &content,
                    "jwks: { cluster: idp }",
                    "jwks: { cluster: idp, shared: true }",
                );
            }
            "nothing is reported" => {
                content = spoilt(&content, "portcullis.direct_remote_address", "another");
            }
            "untrusted certificates are reckoned with" => {
                content = spoilt(
                    &content,
                    "namespace: shop, labels",
                    "namespace: shop, untrustedCertificates: true, labels",
                );
            }
            "clusters come from elsewhere" => {
                content = spoilt(&content, "- { name: authz, type", "- { name: other, type");
            }
            "names by SNI" => {
                content = spoilt(
                    &content,
                    "sni: idp.example.com",
                    "auto_sni_san_validation: true",
                );
            }
            _ => {}
        }
        none(&folder, &content, why);
    }
}

/// What says `http` and goes over TLS is no plain text.
#[test]
fn http_over_tls() {
    let folder = folder("surroundings-http");
    let content = spoilt(&read(ENVOY), "https://idp", "http://idp");
    none(&folder, &content, "the cluster has TLS");
    let tls = content.rfind("    transport_socket:").expect("it is there");
    let names = content
        .find("  - { name: authz, type")
        .expect("it is there");
    let plain = format!("{}{}", &content[..tls], &content[names..]);
    one(&folder, &plain, "plain-http", "http://idp.example.com/keys");
}

#[test]
fn in_kubernetes() {
    let folder = folder("surroundings-kubernetes");
    let good = read(PLUGIN);
    none(&folder, &good, "everything is as it should be");
    for (code, line, from, to) in [
        ("fail-open", "FAIL_OPEN", "FAIL_RELOAD", "FAIL_OPEN"),
        ("no-reload", "FAIL_CLOSE", "FAIL_RELOAD", "FAIL_CLOSE"),
        (
            "no-reload",
            "name: portcullis",
            "  failStrategy: FAIL_RELOAD\n",
            "",
        ),
        ("no-phase", "name: portcullis", "  phase: AUTHN\n", ""),
        ("no-phase", "STATS", "phase: AUTHN", "phase: STATS"),
        (
            "no-service-entry",
            "idp.example.com/keys",
            "hosts: [idp.example.com]",
            "hosts: [other.example.com]",
        ),
        (
            "no-destination-rule",
            "idp.example.com/keys",
            "host: idp.example.com",
            "host: other.example.com",
        ),
    ] {
        one(&folder, &spoilt(&good, from, to), code, line);
    }
    let (found, status) = codes(&folder, &format!("{good}---\n{good}"));
    let same = found.iter().filter(|(code, _)| code == "same-name");
    assert_eq!((same.count(), status), (1, 0), "{found:?}");
    for (why, from, to) in [
        ("another namespace", "namespace: shop", "namespace: other"),
        ("another name", "name: portcullis", "name: second"),
    ] {
        let both = format!("{good}---\n{}", spoilt(&good, from, to));
        none(&folder, &both, why);
    }
    let of_cluster = good.replace(
        "https://idp.example.com",
        "http://idp.shop.svc.cluster.local:8080",
    );
    let (found, _) = codes(&folder, &of_cluster);
    let found: BTreeSet<&str> = found.iter().map(|(code, _)| code.as_str()).collect();
    assert_eq!(found, BTreeSet::from(["plain-http"]));
    let policy = "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyExtensionPolicy\n\
        metadata: { name: portcullis }\nspec:\n  wasm:\n  - name: portcullis\n    failOpen: true\n\
        \x20   config: { authorizationPolicies: [{ name: a, rules: [{}] }] }\n";
    one(&folder, policy, "fail-open", "failOpen: true");
    none(&folder, &policy.replace("true", "false"), "it fails closed");
}

/// What an Envoy tells of itself says everything once.
#[test]
fn what_a_running_envoy_tells() {
    let folder = folder("surroundings-dump");
    let mut configuration: Value = serde_saphyr::from_str(&read(ENVOY)).expect("YAML");
    let listeners = &mut configuration["static_resources"]["listeners"];
    // Certificates of which there are no files.
    let chain = &mut listeners[0]["filter_chains"][0];
    chain
        .as_object_mut()
        .expect("a chain")
        .remove("transport_socket");
    let manager = &mut chain["filters"][0]["typed_config"];
    manager["http_filters"][2]["typed_config"]["config"]["vm_config"]["code"]["local"]["filename"] =
        module().display().to_string().into();
    manager
        .as_object_mut()
        .expect("a manager")
        .remove("request_timeout");
    for listener in listeners.as_array_mut().expect("a list") {
        listener["address"]["socket_address"] = json!({ "address": "127.0.0.1", "port_value": 0 });
    }
    configuration["admin"] =
        json!({ "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } } });
    for cluster in configuration["static_resources"]["clusters"]
        .as_array_mut()
        .expect("a list")
    {
        cluster["type"] = "STATIC".into();
        let name = cluster["name"].clone();
        cluster["load_assignment"] = json!({ "cluster_name": name });
    }
    let envoy = Envoy::start_with(&configuration.to_string(), &["guarded", "other"])
        .unwrap_or_else(|error| panic!("{error}"));
    let dump = envoy.dump();
    let file = folder.join("dump.json");
    fs::write(&file, format!("{dump:#}")).expect("a file");
    let file = file.to_str().expect("UTF-8");
    let (printed, status) = portcullis(&["check", "--format", "json", file]);
    let found: Value = serde_json::from_str(&printed).expect("a list of findings");
    let found = found.as_array().expect("a list").iter();
    let found: Vec<&str> = found.map(|finding| text(&finding["code"])).collect();
    assert_eq!(status, 0, "{printed}");
    let (tally, _) = portcullis(&["check", file]);
    assert!(tally.contains("1 configuration, 4 policies"), "{tally}");
    let found: BTreeSet<&str> = found.into_iter().collect();
    assert_eq!(
        found,
        BTreeSet::from(["no-peer-certificates", "no-timeouts"]),
        "{printed}"
    );
}

/// Istio's proxies get the plugin by itself (ECDS), and routes, too.
#[test]
fn what_a_proxy_of_istio_tells() {
    let folder = folder("surroundings-ecds");
    let mut configuration: Value = serde_saphyr::from_str(&read(ENVOY)).expect("YAML");
    let mut listener = configuration["static_resources"]["listeners"][0].take();
    let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
    let plugin = manager["http_filters"][2]["typed_config"].take();
    manager["http_filters"][2] = json!({
        "name": "guard",
        "config_discovery": { "config_source": { "ads": {} } },
    });
    let mut routes = manager["route_config"].take();
    routes["name"] = "routes".into();
    routes["virtual_hosts"][0]["routes"][0]["typed_per_filter_config"] =
        json!({ "guard": { "disabled": true } });
    manager
        .as_object_mut()
        .expect("a manager")
        .remove("route_config");
    manager["rds"] = json!({ "route_config_name": "routes" });
    manager["request_timeout"] = "0s".into();
    let kind = |name: &str| format!("type.googleapis.com/envoy.admin.v3.{name}");
    let clusters = configuration["static_resources"]["clusters"].take();
    let clusters = clusters.as_array().expect("a list").iter();
    let clusters: Vec<Value> = clusters
        .map(|cluster| json!({ "cluster": cluster }))
        .collect();
    let extension = json!({
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": "guard",
        "typed_config": plugin,
    });
    let dump = json!({ "configs": [
        { "@type": kind("ClustersConfigDump"), "dynamic_active_clusters": clusters },
        { "@type": kind("EcdsConfigDump"), "ecds_filters": [{ "ecds_filter": extension }] },
        { "@type": kind("ListenersConfigDump"), "dynamic_listeners": [
            { "name": "guarded", "active_state": { "listener": listener }, "draining_state": { "listener": listener } },
        ] },
        { "@type": kind("RoutesConfigDump"), "dynamic_route_configs": [{ "route_config": routes }] },
    ] });
    let (found, status) = codes(&folder, &format!("{dump:#}\n"));
    let found: Vec<&str> = found.iter().map(|(code, _)| code.as_str()).collect();
    assert_eq!(status, 0);
    assert_eq!(found, ["no-timeouts", "disabled-by-route"]);
}

/// A part of a configuration is looked at as far as it goes, whatever it is in.
#[test]
fn parts() {
    let folder = folder("surroundings-parts");
    let filter = "name: portcullis
typed_config:
  \"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
  config:
    failure_policy: FAIL_RELOAD
    vm_config: { vm_id: portcullis }
    configuration:
      \"@type\": type.googleapis.com/google.protobuf.Struct
      value: { authorizationPolicies: [{ name: a, rules: [{}] }] }
";
    let indented = |content: &str, by: &str| {
        let lines = content.lines().map(|line| format!("{by}{line}\n"));
        lines.collect::<String>()
    };
    let typed =
        "\"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm\n  config:";
    let untyped = "\"@type\": type.googleapis.com/xds.type.v3.TypedStruct
  type_url: type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
  value:
   config:";
    let patch = filter.replace("    ", "      ").replace(typed, untyped);
    let patch = format!(
        "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {{ name: a }}\nspec:\n  configPatches:\n  \
         - applyTo: HTTP_FILTER\n    patch:\n      value:\n{}",
        indented(&patch, "        ")
    );
    let map = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: a }}\ndata:\n  envoy.yaml: |\n    http_filters:\n    -\n{}",
        indented(filter, "      ")
    );
    for content in [filter, &patch, &map] {
        none(&folder, content, content);
        let open = content.replace("FAIL_RELOAD", "FAIL_OPEN");
        one(&folder, &open, "fail-open", "FAIL_OPEN");
    }
}
