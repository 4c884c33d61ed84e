//! The listener of a plain Envoy: as tight as what Istio's gateways have (istio/istio, pilot/pkg/networking/core:
//! `buildGatewayConnectionManager`, `buildHTTPConnectionManager`).

use serde_json::{Map, Value, json};

use super::Import;
use super::envoy::{address, extension};

/// As in envoy/envoy.yaml.
const ACCESS_LOG: &str = "%START_TIME% \"%REQ(:METHOD)% %PATH(NQ:PATH)%\" %RESPONSE_CODE% \
    decision=%FILTER_STATE(wasm.portcullis.decision:PLAIN)% \
    reason=%FILTER_STATE(wasm.portcullis.reason:PLAIN)% \
    policy=%FILTER_STATE(wasm.portcullis.policy:PLAIN)%\n";

/// Who connects.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connections {
    /// Proxies in front of us whose `x-forwarded-for` is believed.
    pub(super) trusted_proxies: u64,
    /// Whether nobody may come without a certificate.
    pub(super) need_certificates: bool,
}

/// The connection manager with these filters.
pub(super) fn manager(
    filters: &[Value],
    normalization: Option<&Value>,
    connections: Connections,
) -> Value {
    let mut manager = json!({
        "@type": extension("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "guarded",
        // Without this, a client would say by itself what its address is.
        "use_remote_address": true,
        "xff_num_trusted_hops": connections.trusted_proxies,
        "skip_xff_append": false,
        "request_timeout": "15s",
        "stream_idle_timeout": "60s",
        "upgrade_configs": [{ "upgrade_type": "websocket" }],
        "access_log": [{
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": extension("access_loggers.file.v3.FileAccessLog"),
                "path": "/dev/stdout",
                "log_format": { "text_format_source": { "inline_string": ACCESS_LOG } },
            },
        }],
        "route_config": { "virtual_hosts": [{
            "name": "all",
            "domains": ["*"],
            "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "upstream" } }],
        }] },
        "http_filters": filters,
    });
    if let Some(members) = manager.as_object_mut() {
        members.extend(paths(normalization));
    }
    manager
}

/// The listener, over TLS where certificates are named.
pub(super) fn listener(import: &Import, manager: Value, connections: Connections) -> Value {
    let mut chain = json!({ "filters": [{
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": manager,
    }] });
    let mut listener = json!({
        "name": "guarded",
        "address": address(&import.listen.ip().to_string(), import.listen.port()),
    });
    if let (Some(certificate), Some(key)) = (&import.tls_cert, &import.tls_key)
        && let (Some(chain), Some(listener)) = (chain.as_object_mut(), listener.as_object_mut())
    {
        let mut common = json!({ "tls_certificates": [{
            "certificate_chain": { "filename": certificate },
            "private_key": { "filename": key },
        }] });
        if let (Some(ca), Some(common)) = (&import.client_ca, common.as_object_mut()) {
            let validation = json!({ "trusted_ca": { "filename": ca } });
            common.insert("validation_context".to_owned(), validation);
        }
        let socket = json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": extension("transport_sockets.tls.v3.DownstreamTlsContext"),
                "require_client_certificate": connections.need_certificates,
                "common_tls_context": common,
            },
        });
        chain.insert("transport_socket".to_owned(), socket);
        // Tells the name that `connection.sni` is compared with.
        let inspector = json!([{
            "name": "envoy.filters.listener.tls_inspector",
            "typed_config": { "@type": extension("filters.listener.tls_inspector.v3.TlsInspector") },
        }]);
        listener.insert("listener_filters".to_owned(), inspector);
    }
    if let Some(members) = listener.as_object_mut() {
        members.insert("filter_chains".to_owned(), json!([chain]));
    }
    listener
}

/// `MeshConfig.ProxyPathNormalization`.
fn paths(normalization: Option<&Value>) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    let normalization = normalization.and_then(Value::as_str).unwrap_or("BASE");
    if normalization != "NONE" {
        set("normalize_path", true.into());
    }
    if matches!(normalization, "MERGE_SLASHES" | "DECODE_AND_MERGE_SLASHES") {
        set("merge_slashes", true.into());
    }
    if normalization == "DECODE_AND_MERGE_SLASHES" {
        set(
            "path_with_escaped_slashes_action",
            "UNESCAPE_AND_FORWARD".into(),
        );
    }
    fields
}
