//! Istio's WasmPlugin, Envoy Gateway's EnvoyExtensionPolicy, and what their key sets need.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::gathered::Gathered;
use super::needs::Needs;
use super::workload::Workload;
use super::{Import, Notes, Proxy, envoy, resource};

/// The name of what is made.
const NAME: &str = "portcullis";

/// A WasmPlugin, with a ServiceEntry for every server out of the mesh, and a DestinationRule for TLS.
pub(super) fn wasm_plugin(
    import: &Import,
    configuration: Value,
    gathered: &Gathered,
    workload: &Workload,
    needs: &Needs,
    notes: &mut Notes,
) -> Vec<Value> {
    let namespace = workload.namespace().unwrap_or("default");
    let labels = workload.labels();
    let mut spec = Map::new();
    let mut set = |name: &str, value: Value| spec.insert(name.to_owned(), value);
    set("url", import.image.as_str().into());
    set("phase", "AUTHN".into());
    set("failStrategy", "FAIL_RELOAD".into());
    set("pluginConfig", configuration);
    if let Some(gateway) = workload.gateway() {
        set("targetRefs", json!([reference(gateway)]));
    } else if let Some(service) = workload.behind_waypoint() {
        let service = json!({ "group": "", "kind": "Service", "name": service });
        set("targetRefs", json!([service]));
    } else if !labels.is_empty() {
        set("selector", json!({ "matchLabels": labels }));
    } else {
        notes.say(format!(
            "the WasmPlugin is for every proxy of the namespace `{namespace}`, or of the mesh if that is its root: \
             the resources say in which of them they apply"
        ));
    }
    let is_gateway = workload.gateway().is_some()
        || (labels.iter()).any(|(name, value)| name == "istio" && value.ends_with("gateway"));
    let is_waypoint = workload.behind_waypoint().is_some();
    let proxy = import.proxy.unwrap_or_else(|| {
        let (proxy, word, other) = match (is_gateway, is_waypoint) {
            (true, _) => (Proxy::Gateway, "a gateway", "sidecar"),
            // A waypoint's listeners are on the server's side, as a sidecar's.
            (false, true) => (Proxy::Sidecar, "a waypoint", "gateway"),
            (false, false) => (Proxy::Sidecar, "sidecars", "gateway"),
        };
        notes.say(format!(
            "the WasmPlugin is made for {word}, and guards nothing elsewhere: `--proxy {other}` makes the other"
        ));
        proxy
    });
    // For Istio the listeners of gateways are on the client's side (extensions/v1alpha1/wasm.proto).
    let mode = match proxy {
        Proxy::Gateway => "CLIENT",
        Proxy::Sidecar => "SERVER",
    };
    set("match", json!([{ "mode": mode }]));
    let plugin = resource(
        "extensions.istio.io/v1alpha1",
        "WasmPlugin",
        NAME,
        Some(namespace),
        spec.into(),
    );
    let mut hosts: BTreeMap<&str, Vec<(u16, bool)>> = BTreeMap::new();
    for server in needs.servers() {
        if server.is_of_istio {
            let ports = hosts.entry(server.host).or_default();
            ports.push((server.port, server.is_tls));
        } else {
            notes.say(format!(
                "the proxy needs the cluster `{}`, which Istio doesn't make: leave it out of the configuration, and \
                 the plugin asks for Istio's own",
                server.cluster
            ));
        }
    }
    let mut names = BTreeSet::new();
    let mut documents = vec![plugin];
    for (host, ports) in hosts {
        if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
            notes.left_out(format!(
                "{host}: Istio has no cluster for an address: name one in `jwks.clusters`"
            ));
            continue;
        }
        let mut name = object_name(host);
        while !names.insert(name.clone()) {
            name += "-2";
        }
        documents.extend(reach(host, &ports, &name, namespace, gathered));
    }
    documents
}

/// A name for what leads to a host, as Kubernetes takes it (RFC 1123 section 2.1): hosts may have `_`.
fn object_name(host: &str) -> String {
    let letters = host.bytes().map(|byte| match byte.to_ascii_lowercase() {
        byte if byte.is_ascii_alphanumeric() => char::from(byte),
        _ => '-',
    });
    // Kubernetes takes 253 letters.
    let letters: String = letters.take(200).collect();
    format!("{NAME}-{}", letters.trim_matches('-'))
}

/// What makes Istio lead to a host, by the name that the plugin asks for.
fn reach(
    host: &str,
    ports: &[(u16, bool)],
    name: &str,
    namespace: &str,
    gathered: &Gathered,
) -> Vec<Value> {
    // Services of the cluster are known to Istio by this name.
    let is_of_mesh = host.ends_with(".svc.cluster.local");
    let version = "networking.istio.io/v1";
    let make = |kind: &str, spec: Value| resource(version, kind, name, Some(namespace), spec);
    let mut documents = Vec::new();
    if !is_of_mesh && !gathered.entries.contains(host) {
        let ports = ports.iter().map(|(port, is_tls)| {
            let protocol = if *is_tls { "HTTPS" } else { "HTTP" };
            json!({
                "number": port,
                "name": format!("{}-{port}", protocol.to_ascii_lowercase()),
                "protocol": protocol,
            })
        });
        let spec = json!({
            "hosts": [host],
            "location": "MESH_EXTERNAL",
            "resolution": "DNS",
            "ports": ports.collect::<Vec<_>>(),
        });
        documents.push(make("ServiceEntry", spec));
    }
    let with_tls = ports.iter().filter(|(_, is_tls)| *is_tls);
    let settings = with_tls.map(|(port, _)| {
        let tls = json!({ "mode": "SIMPLE", "sni": host });
        json!({ "port": { "number": port }, "tls": tls })
    });
    let settings: Vec<Value> = settings.collect();
    if !settings.is_empty() && !gathered.rules.contains(host) {
        let spec = json!({ "host": host, "trafficPolicy": { "portLevelSettings": settings } });
        documents.push(make("DestinationRule", spec));
    }
    documents
}

/// An EnvoyExtensionPolicy, and an EnvoyPatchPolicy that adds the clusters of the key sets: Envoy Gateway 1.x
/// makes clusters for routes only.
pub(super) fn extension_policy(
    import: &Import,
    configuration: Value,
    workload: &Workload,
    needs: &Needs,
    notes: &mut Notes,
) -> Vec<Value> {
    let version = "gateway.envoyproxy.io/v1alpha1";
    let gateway = workload.gateway().unwrap_or_else(|| {
        notes.say("the Gateway is taken to be `eg`: say otherwise with --gateway");
        "eg"
    });
    let spec = json!({
        "targetRefs": [reference(gateway)],
        "wasm": [{
            "name": NAME,
            "failOpen": false,
            "code": {
                "type": "Image",
                "image": { "url": import.image.trim_start_matches("oci://") },
            },
            "config": configuration,
        }],
    });
    let policy = resource(
        version,
        "EnvoyExtensionPolicy",
        NAME,
        workload.namespace(),
        spec,
    );
    let patches: Vec<Value> = needs
        .servers()
        .into_iter()
        .map(|server| {
            let name = server.cluster;
            let ca = server.is_tls.then_some(import.trusted_ca.as_str());
            json!({
                "type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
                "name": name,
                "operation": {
                    "op": "add",
                    "path": "",
                    "value": envoy::cluster(&name, server.host, server.port, ca),
                },
            })
        })
        .collect();
    if patches.is_empty() {
        return vec![policy];
    }
    notes.say(
        "the EnvoyPatchPolicy needs `extensionApis.enableEnvoyPatchPolicy: true` in the configuration of Envoy \
         Gateway",
    );
    let spec = json!({
        "targetRef": reference(gateway),
        "type": "JSONPatch",
        "jsonPatches": patches,
    });
    let clusters = resource(
        version,
        "EnvoyPatchPolicy",
        NAME,
        workload.namespace(),
        spec,
    );
    vec![policy, clusters]
}

fn reference(gateway: &str) -> Value {
    json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway })
}
