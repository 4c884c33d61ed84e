//! What Portcullis can't do yet. Every tier asks here, and prints what that leaves out.

use serde_json::Value;

/// The feature a configuration needs and Portcullis lacks.
pub fn not_yet(config: &Value) -> Option<&'static str> {
    let resources = config["resources"].as_array();
    resources.into_iter().flatten().find_map(resource)
}

fn resource(resource: &Value) -> Option<&'static str> {
    match resource["kind"].as_str()? {
        "PeerAuthentication" => Some("PeerAuthentication"),
        "Policy" | "MeshPolicy" => Some("v1alpha1 Policy"),
        _ => None,
    }
}
