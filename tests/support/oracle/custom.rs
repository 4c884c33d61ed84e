//! Policies with the action CUSTOM as Istio's control plane has Envoy decide them: for each service,
//! an `rbac` filter that only notes which policy a request matches, and an `ext_authz` filter that
//! is on where one was noted (pilot/pkg/security/authz/builder).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::case::{members, text};
use super::{list, rbac, seconds};

const PREFIX: &str = "istio_ext_authz_";
const POLICY: &str = "istio-ext-authz";

pub fn filters(policies: &[rbac::Policy<'_>], providers: &Value) -> Result<Vec<Value>, String> {
    let mut by_provider: BTreeMap<&str, Vec<&rbac::Policy<'_>>> = BTreeMap::new();
    for policy in policies.iter().filter(|policy| policy.action() == "CUSTOM") {
        let name = text(&policy.spec["provider"]["name"]);
        by_provider.entry(name).or_default().push(policy);
    }
    let mut filters = Vec::new();
    for (name, policies) in by_provider {
        let provider = list(providers).find(|provider| provider["name"] == name);
        let provider = provider.ok_or("no such provider")?;
        // Each pair has notes of its own, as if there were but one.
        let prefix = format!("{PREFIX}{name}_");
        let rules: Map<String, Value> = rbac::rules(&policies)?
            .into_iter()
            .map(|(id, rule)| (format!("{POLICY}-{id}"), rule))
            .collect();
        filters.push(json!({
            "name": "envoy.filters.http.rbac",
            "typed_config": {
                "@type": rbac::RBAC,
                "shadow_rules": { "action": "DENY", "policies": rules },
                "shadow_rules_stat_prefix": prefix,
            },
        }));
        filters.push(ext_authz(&provider["envoyExtAuthzHttp"], &prefix)?);
    }
    Ok(filters)
}

fn ext_authz(provider: &Value, prefix: &str) -> Result<Value, String> {
    let known = [
        "service",
        "port",
        "cluster",
        "timeout",
        "pathPrefix",
        "failOpen",
        "statusOnError",
        "includeRequestHeadersInCheck",
        "includeHeadersInCheck",
        "includeAdditionalHeadersInCheck",
        "headersToUpstreamOnAllow",
        "headersToDownstreamOnDeny",
        "headersToDownstreamOnAllow",
        "clearRouteCache",
    ];
    members(provider, "envoyExtAuthzHttp", &known);
    let timeout = seconds(provider.get("timeout").map_or("600s", text))?;
    let shown = match &provider["includeRequestHeadersInCheck"] {
        Value::Null => &provider["includeHeadersInCheck"],
        shown => shown,
    };
    let added = provider["includeAdditionalHeadersInCheck"].as_object();
    let added = added.into_iter().flatten();
    let added: Vec<Value> = added
        .map(|(name, value)| json!({ "key": name, "value": value }))
        .collect();
    let mut config = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "failure_mode_allow": provider["failOpen"] == true,
        "clear_route_cache": provider["clearRouteCache"] == true,
        "filter_enabled_metadata": {
            "filter": "envoy.filters.http.rbac",
            "path": [{ "key": format!("{prefix}shadow_effective_policy_id") }],
            "value": { "string_match": { "prefix": POLICY } },
        },
        "http_service": {
            "server_uri": {
                "uri": format!("http://{}", text(&provider["service"])),
                "cluster": provider.get("cluster").ok_or("no cluster")?,
                "timeout": format!("{timeout}s"),
            },
            "path_prefix": provider.get("pathPrefix").map_or("", text),
            "authorization_request": {
                "allowed_headers": patterns(shown),
                "headers_to_add": added,
            },
            "authorization_response": {
                "allowed_upstream_headers": patterns(&provider["headersToUpstreamOnAllow"]),
                "allowed_client_headers": patterns(&provider["headersToDownstreamOnDeny"]),
                "allowed_client_headers_on_success":
                    patterns(&provider["headersToDownstreamOnAllow"]),
            },
        },
    });
    if let Some(status) = provider.get("statusOnError") {
        let code: u16 = text(status).parse().map_err(|_| "not a status")?;
        config["status_on_error"] = json!({ "code": code });
    }
    Ok(json!({ "name": "envoy.filters.http.ext_authz", "typed_config": config }))
}

fn patterns(names: &Value) -> Value {
    let patterns = list(names).map(|name| {
        let name = text(name);
        let (kind, name) = match (name.strip_prefix('*'), name.strip_suffix('*')) {
            (Some(suffix), _) => ("suffix", suffix),
            (None, Some(prefix)) => ("prefix", prefix),
            (None, None) => ("exact", name),
        };
        json!({ kind: name, "ignore_case": true })
    });
    let patterns: Vec<Value> = patterns.collect();
    match patterns.is_empty() {
        true => Value::Null,
        false => json!({ "patterns": patterns }),
    }
}
