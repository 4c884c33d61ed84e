//! What Portcullis can't do yet. Every tier asks here, and prints what that leaves out.

use serde_json::Value;

/// The feature a configuration needs and Portcullis lacks.
pub fn not_yet(config: &Value) -> Option<&'static str> {
    config["resources"]
        .as_array()
        .into_iter()
        .flatten()
        .find_map(resource)
        .or_else(|| {
            let policies = config["authorizationPolicies"].as_array();
            policies.into_iter().flatten().find_map(action)
        })
}

fn resource(resource: &Value) -> Option<&'static str> {
    match resource["kind"].as_str()? {
        "PeerAuthentication" => Some("PeerAuthentication"),
        "Policy" | "MeshPolicy" => Some("v1alpha1 Policy"),
        "RequestAuthentication" => None,
        _ if !resource["metadata"]["annotations"]["istio.io/dry-run"].is_null() => Some("dry run"),
        _ => action(&resource["spec"]),
    }
}

fn action(policy: &Value) -> Option<&'static str> {
    match policy["action"].as_str()? {
        "AUDIT" | "CUSTOM" => Some("CUSTOM and AUDIT"),
        _ => None,
    }
}
