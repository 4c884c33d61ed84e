//! A plain Envoy: what it takes beside the plugin's configuration.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::Import;
use super::listener::{Connections, listener, manager};
use super::needs::Needs;
use crate::cli::Failure;
use crate::cli::source::Source;

/// Makes labels of metrics.
const STATS_TAGS: &str = include_str!("../../../envoy/observability/stats-tags.yaml");

/// The whole configuration of an Envoy that guards one upstream.
///
/// # Errors
///
/// An upstream that can't be read.
pub(super) fn bootstrap(
    import: &Import,
    mut configuration: Value,
    needs: &Needs,
    connections: Connections,
) -> Result<Value, Failure> {
    let (host, port) = import
        .upstream
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse().ok()?)))
        .ok_or_else(|| Failure(format!("`{}`: write HOST:PORT", import.upstream)))?;
    let normalization = configuration.get("pathNormalization").cloned();
    if let Some(members) = configuration.as_object_mut() {
        members
            .entry("filterState")
            .or_insert_with(|| json!(["decision", "reason", "policy"]));
    }
    let filters = [
        direct_address(),
        plugin(import, &configuration),
        json!({
            "name": "envoy.filters.http.router",
            "typed_config": { "@type": extension("filters.http.router.v3.Router") },
        }),
    ];
    let manager = manager(&filters, normalization.as_ref(), connections);
    let mut clusters = vec![cluster("upstream", host, port, None)];
    for server in needs.servers() {
        let ca = server.is_tls.then_some(import.trusted_ca.as_str());
        clusters.push(cluster(&server.cluster, server.host, server.port, ca));
    }
    Ok(json!({
        "admin": { "address": address(&import.admin.ip().to_string(), import.admin.port()) },
        "stats_config": stats()?,
        "static_resources": {
            "listeners": [listener(import, manager, connections)],
            "clusters": clusters,
        },
    }))
}

fn stats() -> Result<Value, Failure> {
    let tags = Source {
        name: "stats-tags.yaml".to_owned(),
        text: STATS_TAGS.to_owned(),
    };
    let tags = tags.documents().map_err(|error| Failure(error.message))?;
    let tags = tags.first().map(|document| document.value());
    Ok(tags
        .and_then(|mut tags| tags.get_mut("stats_config").map(Value::take))
        .unwrap_or_default())
}

/// Tells the plugin who is at the other end of the connection, whatever `x-forwarded-for` says.
fn direct_address() -> Value {
    json!({
        "name": "envoy.filters.http.set_filter_state",
        "typed_config": {
            "@type": extension("filters.http.set_filter_state.v3.Config"),
            "on_request_headers": [{
                "object_key": "portcullis.direct_remote_address",
                "factory_key": "envoy.string",
                "format_string": { "text_format_source": {
                    "inline_string": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
                } },
            }],
        },
    })
}

fn plugin(import: &Import, configuration: &Value) -> Value {
    json!({
        "name": "portcullis",
        "typed_config": {
            "@type": extension("filters.http.wasm.v3.Wasm"),
            "config": {
                "name": "portcullis",
                "failure_policy": "FAIL_RELOAD",
                "vm_config": {
                    "vm_id": "portcullis",
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "filename": import.plugin } },
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.Struct",
                    "value": configuration,
                },
            },
        },
    })
}

/// A cluster of one host, over TLS where certificates are named that it is trusted by.
pub(super) fn cluster(name: &str, host: &str, port: u16, trusted_ca: Option<&str>) -> Value {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_address = host.parse::<IpAddr>().is_ok();
    let mut cluster = json!({
        "name": name,
        "type": if is_address { "STATIC" } else { "STRICT_DNS" },
        "connect_timeout": "2s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address(host, port) } }] }],
        },
    });
    let Some(trusted_ca) = trusted_ca else {
        return cluster;
    };
    let kind = if is_address { "IP_ADDRESS" } else { "DNS" };
    let mut tls = json!({
        "@type": extension("transport_sockets.tls.v3.UpstreamTlsContext"),
        "common_tls_context": { "validation_context": {
            "trusted_ca": { "filename": trusted_ca },
            "match_typed_subject_alt_names": [{ "san_type": kind, "matcher": { "exact": host } }],
        } },
    });
    // Addresses are no names for SNI (RFC 6066 section 3).
    if let Some(members) = tls.as_object_mut().filter(|_| !is_address) {
        members.insert("sni".to_owned(), host.into());
    }
    if let Some(members) = cluster.as_object_mut() {
        members.insert(
            "transport_socket".to_owned(),
            json!({ "name": "envoy.transport_sockets.tls", "typed_config": tls }),
        );
    }
    cluster
}

pub(super) fn address(host: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": host, "port_value": port } })
}

pub(super) fn extension(name: &str) -> String {
    format!("type.googleapis.com/envoy.extensions.{name}")
}
