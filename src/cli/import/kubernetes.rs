//! Istio's WasmPlugin, Envoy Gateway's EnvoyExtensionPolicy, and what their key sets need.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::gathered::Gathered;
use super::needs::{self, Needs};
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
    let proxy = import.proxy.unwrap_or_else(|| {
        let (proxy, word, other) = match is_gateway {
            true => (Proxy::Gateway, "a gateway", "sidecar"),
            false => (Proxy::Sidecar, "sidecars", "gateway"),
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
    let mut documents = vec![plugin];
    for ((host, port), is_tls) in &needs.servers {
        documents.extend(reach(host, *port, *is_tls, namespace, gathered, notes));
    }
    documents
}

/// What makes Istio lead to a server, by the name that the plugin asks for.
fn reach(
    host: &str,
    port: u16,
    is_tls: bool,
    namespace: &str,
    gathered: &Gathered,
    notes: &mut Notes,
) -> Vec<Value> {
    if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        notes.left_out(format!(
            "{host}:{port}: Istio has no cluster for an address: name one in `jwks.clusters`"
        ));
        return Vec::new();
    }
    // Services of the cluster are known to Istio by this name.
    let is_of_mesh = host.ends_with(".svc.cluster.local");
    let version = "networking.istio.io/v1";
    let name = format!("{NAME}-{}", host.replace('.', "-"));
    let mut documents = Vec::new();
    if !is_of_mesh && !gathered.entries.contains(host) {
        let protocol = if is_tls { "HTTPS" } else { "HTTP" };
        let ports = json!([{
            "number": port,
            "name": format!("{}-{port}", protocol.to_ascii_lowercase()),
            "protocol": protocol,
        }]);
        let spec = json!({
            "hosts": [host],
            "location": "MESH_EXTERNAL",
            "resolution": "DNS",
            "ports": ports,
        });
        documents.push(resource(
            version,
            "ServiceEntry",
            &name,
            Some(namespace),
            spec,
        ));
    }
    if is_tls && !gathered.rules.contains(host) {
        let tls = json!({ "mode": "SIMPLE", "sni": host });
        let settings = json!([{ "port": { "number": port }, "tls": tls }]);
        let spec = json!({ "host": host, "trafficPolicy": { "portLevelSettings": settings } });
        documents.push(resource(
            version,
            "DestinationRule",
            &name,
            Some(namespace),
            spec,
        ));
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
        .servers
        .iter()
        .map(|((host, port), is_tls)| {
            let name = needs::cluster(host, *port);
            let ca = is_tls.then_some(import.trusted_ca.as_str());
            json!({
                "type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
                "name": name,
                "operation": {
                    "op": "add",
                    "path": "",
                    "value": envoy::cluster(&name, host, *port, ca),
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
