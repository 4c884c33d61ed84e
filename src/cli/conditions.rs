//! Which conditions rules have, in any spelling: some need more of a proxy than HTTP.

use serde_json::Value;

/// On who is at the other end of a connection.
pub(super) const PEERS: [&str; 8] = [
    "namespaces",
    "principals",
    "serviceaccounts",
    "source.namespace",
    "source.principal",
    "source.serviceaccount",
    "source.trustdomain",
    "trustdomains",
];
/// Those of them that a trust domain counts for.
pub(super) const TRUST: [&str; 4] = [
    "principals",
    "source.principal",
    "source.trustdomain",
    "trustdomains",
];
/// On the address of the TCP peer.
pub(super) const ADDRESSES: [&str; 2] = ["ipblocks", "source.ip"];
/// On the address that Envoy takes for the client's.
pub(super) const REMOTE: [&str; 2] = ["remoteipblocks", "remote.ip"];
/// On paths.
pub(super) const PATHS: [&str; 1] = ["paths"];
/// On what only HTTP has.
pub(super) const HTTP: [&str; 9] = [
    "hosts",
    "methods",
    "paths",
    "remoteipblocks",
    "requestprincipals",
    "remote.ip",
    "request.auth",
    "request.headers",
    "experimental",
];

/// Whether one of these conditions stands somewhere in rules, also as its `not` form.
pub(super) fn mentions(rules: &Value, conditions: &[&str]) -> bool {
    let is_one = |name: &str| {
        let name = name.replace('_', "").to_ascii_lowercase();
        let name = name.strip_prefix("not").unwrap_or(&name);
        conditions.iter().any(|condition| {
            let rest = name.strip_prefix(condition);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    };
    match rules {
        Value::Array(items) => items.iter().any(|item| mentions(item, conditions)),
        Value::Object(members) => members.iter().any(|(name, value)| match name.as_str() {
            "key" => value.as_str().is_some_and(is_one),
            name => is_one(name) || mentions(value, conditions),
        }),
        _ => false,
    }
}
