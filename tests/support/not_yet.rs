//! What Portcullis can't do yet. Every tier asks here, and prints what that leaves out.

use serde_json::Value;

/// The feature a configuration needs and Portcullis lacks.
pub fn not_yet(config: &Value) -> Option<&'static str> {
    config["resources"]
        .as_array()
        .into_iter()
        .flatten()
        .find_map(resource)
        .or_else(|| member(&config["authorizationPolicies"]))
}

fn resource(resource: &Value) -> Option<&'static str> {
    let spec = &resource["spec"];
    match resource["kind"].as_str()? {
        "PeerAuthentication" => Some("PeerAuthentication"),
        "Policy" | "MeshPolicy" => Some("v1alpha1 Policy"),
        "RequestAuthentication" => None,
        _ if !resource["metadata"]["annotations"]["istio.io/dry-run"].is_null() => Some("dry run"),
        _ => member(spec),
    }
}

/// Looks at every member of a policy, however deep.
fn member(value: &Value) -> Option<&'static str> {
    match value {
        Value::Array(list) => list.iter().find_map(member),
        Value::Object(map) => map
            .iter()
            .find_map(|(name, value)| named(name, value).or_else(|| member(value))),
        _ => None,
    }
}

fn named(name: &str, value: &Value) -> Option<&'static str> {
    let text = value.as_str().unwrap_or_default();
    match name.trim_start_matches("not").to_ascii_lowercase().as_str() {
        "principals" | "namespaces" | "serviceaccounts" | "trustdomains" => Some("peer identity"),
        "ipblocks" | "remoteipblocks" => Some("addresses"),
        "ports" => Some("ports"),
        "paths" if value.to_string().contains('{') => Some("path templates"),
        "action" if text == "CUSTOM" || text == "AUDIT" => Some("CUSTOM and AUDIT"),
        "key" if text.starts_with("source.") || text.starts_with("connection.") => {
            Some("peer identity")
        }
        "key" if text == "remote.ip" || text.starts_with("destination.") => Some("addresses"),
        "key" if text.starts_with("experimental.") => Some("other filters' metadata"),
        _ => None,
    }
}
