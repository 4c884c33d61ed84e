//! Envoy's own filters, configured for a policy the way Istio's control plane does: `jwt_authn`,
//! then one `rbac` for DENY and one for ALLOW.

mod custom;
mod matchers;
mod rbac;
mod requirement;

use serde_json::{Map, Value, json};

use super::case::{members, strings, text};

/// The native filters for a configuration of ours, or why there are none.
pub fn filters(config: &Value) -> Result<Vec<Value>, String> {
    let known = [
        "resources",
        "jwtRules",
        "requestAuthentications",
        "authorizationPolicies",
        "extensionProviders",
        "workload",
        "jwks",
        "defaults",
        "ignorePathCase",
        // What decides nothing.
        "filterState",
        // By the connection manager.
        "pathNormalization",
    ];
    for name in config.as_object().ok_or("not an object")?.keys() {
        if !known.contains(&name.as_str()) {
            return Err(format!("native filters have no {name}"));
        }
    }
    let config = &amended(&dry_runs_stated(config));
    let workload = Workload(&config["workload"]);
    let mut rules: Vec<&Value> = list(&config["jwtRules"]).collect();
    let domains = workload.trust_domains();
    let policy = |namespace: &str, metadata, spec| {
        let mut policy = rbac::Policy::new(namespace, metadata, spec, &domains);
        policy.ignores_path_case = config["ignorePathCase"] == true;
        policy
    };
    let mut policies: Vec<rbac::Policy<'_>> = list(&config["authorizationPolicies"])
        .map(|spec| policy(workload.namespace(), spec, spec))
        .collect();
    let resources = list(&config["resources"]);
    let mut resources: Vec<_> = resources.filter(|r| workload.is_selected_by(r)).collect();
    resources.sort_by_key(|resource| workload.namespace_of(resource) != workload.namespace());
    for resource in resources {
        match text(&resource["kind"]) {
            "RequestAuthentication" => rules.extend(list(&resource["spec"]["jwtRules"])),
            "AuthorizationPolicy" => {
                let namespace = workload.namespace_of(resource);
                policies.push(policy(namespace, &resource["metadata"], &resource["spec"]));
            }
            // What it requires is the listener's to see to.
            "PeerAuthentication" if !resource.to_string().contains("STRICT") => {}
            other => return Err(format!("native filters have no {other}")),
        }
    }

    let mut filters = custom::filters(&policies, &config["extensionProviders"])?;
    if !rules.is_empty() {
        filters.push(jwt_authn(rules, config)?);
    }
    for action in ["AUDIT", "DENY", "ALLOW"] {
        let of_action: Vec<_> = policies
            .iter()
            .filter(|policy| policy.action() == action)
            .collect();
        if !of_action.is_empty() {
            filters.push(rbac::filter(action, &of_action)?);
        }
    }
    Ok(filters)
}

/// The annotation of a resource, as the short form says it.
fn dry_runs_stated(config: &Value) -> Value {
    let mut config = config.clone();
    let resources = config.get_mut("resources").and_then(Value::as_array_mut);
    for resource in resources.into_iter().flatten() {
        if resource["metadata"]["annotations"]["istio.io/dry-run"] == "true" {
            resource["spec"]["dryRun"] = true.into();
        }
    }
    config
}

/// With the rules for some requests only, as the short form says it.
fn amended(config: &Value) -> Value {
    let mut amended = config.clone();
    let resources = amended.get_mut("resources").and_then(Value::as_array_mut);
    for resource in resources.into_iter().flatten() {
        let name = resource["metadata"]["name"].clone();
        let rules = resource["spec"]["jwtRules"].as_array_mut();
        for rule in rules.into_iter().flatten() {
            for amendment in list(&config["requestAuthentications"]) {
                let is_meant =
                    amendment["issuer"].is_null() || amendment["issuer"] == rule["issuer"];
                if amendment["name"] == name && is_meant {
                    rule["match"] = amendment["match"].clone();
                }
            }
        }
    }
    amended
}

/// Whom the configuration is for.
struct Workload<'a>(&'a Value);

impl<'a> Workload<'a> {
    fn namespace(&self) -> &'a str {
        self.0["namespace"].as_str().unwrap_or_default()
    }

    fn namespace_of(&self, resource: &'a Value) -> &'a str {
        resource["metadata"]["namespace"]
            .as_str()
            .unwrap_or_else(|| self.namespace())
    }

    /// Its own, and the aliases.
    fn trust_domains(&self) -> Vec<String> {
        let own = self.0["trustDomain"].as_str().unwrap_or("cluster.local");
        let aliases = strings(self.0.get("trustDomainAliases"));
        [vec![own.to_owned()], aliases].concat()
    }

    fn class(&self) -> Value {
        let label = &self.0["labels"]["gateway.networking.k8s.io/gateway-class-name"];
        match (&self.0["gatewayClass"], &self.0["waypoint"]) {
            (Value::Null, Value::Bool(true)) => json!("istio-waypoint"),
            (Value::Null, _) => label.clone(),
            (class, _) => class.clone(),
        }
    }

    fn gateway(&self) -> &'a Value {
        match &self.0["gateway"] {
            Value::Null => &self.0["labels"]["gateway.networking.k8s.io/gateway-name"],
            gateway => gateway,
        }
    }

    fn is_selected_by(&self, resource: &Value) -> bool {
        let root = self.0["rootNamespace"].as_str().unwrap_or("istio-system");
        let namespace = resource["metadata"]["namespace"]
            .as_str()
            .unwrap_or_else(|| self.namespace());
        let spec = &resource["spec"];
        let targets: Vec<&Value> = list(&spec["targetRefs"])
            .chain(spec.get("targetRef"))
            .collect();
        if !targets.is_empty() {
            let ours = namespace == self.namespace();
            return targets.iter().any(|target| match text(&target["kind"]) {
                "Gateway" => ours && target["name"] == *self.gateway(),
                "GatewayClass" => namespace == root && self.class() == target["name"],
                _ => ours && self.0["waypoint"] == true && target["name"] == self.0["serviceName"],
            });
        }
        if self.0["waypoint"] == true {
            return false;
        }
        let labels = spec["selector"]["matchLabels"].as_object();
        (namespace == self.namespace() || namespace == root)
            && labels.is_none_or(|labels| {
                labels
                    .iter()
                    .all(|(name, value)| self.0["labels"][name] == *value)
            })
    }
}

fn jwt_authn(mut rules: Vec<&Value>, config: &Value) -> Result<Value, String> {
    rules.sort_by_key(|rule| rule["issuer"].as_str().unwrap_or_default());
    let mut providers = Map::new();
    for (index, rule) in rules.iter().enumerate() {
        providers.insert(
            format!("origins-{index}"),
            provider(rule, &config["defaults"])?,
        );
    }
    let named = rules.iter().enumerate();
    let named: Vec<_> = named
        .map(|(index, rule)| (format!("origins-{index}"), *rule))
        .collect();
    Ok(json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": providers,
            "rules": requirement::rules(&named, config["ignorePathCase"] == true)?,
            "bypass_cors_preflight": true,
        },
    }))
}

fn provider(rule: &Value, defaults: &Value) -> Result<Value, String> {
    if rule.get("jwks").or(rule.get("jwksUri")).is_none() {
        return Err("native filters discover no keys".to_owned());
    }
    let mut spaced = strings(rule.get("spaceDelimitedClaims"));
    spaced.extend(["permission", "scope"].map(str::to_owned));
    let mut provider = json!({
        "payload_in_metadata": "payload",
        "normalize_payload_in_metadata": { "space_delimited_claims": spaced },
    });
    let known = [
        "issuer",
        "audiences",
        "jwks",
        "jwksUri",
        "timeout",
        "fromHeaders",
        "fromParams",
        "fromCookies",
        "forwardOriginalToken",
        "outputPayloadToHeader",
        "outputClaimToHeaders",
        "spaceDelimitedClaims",
        "presence",
        "match",
        // What Istio can't ask for.
        "maxTokenLifetime",
        "nonJwt",
        "reportOnly",
        "requireExpiration",
        "requiredType",
    ];
    for (name, value) in members(rule, "JWTRule", &known) {
        match name.as_str() {
            "issuer" | "audiences" => provider[name] = value.clone(),
            "jwks" => provider["local_jwks"] = json!({ "inline_string": value }),
            "jwksUri" => provider["remote_jwks"] = remote_jwks(value, rule.get("timeout"))?,
            "fromHeaders" => {
                provider["from_headers"] = list(value)
                    .map(|h| json!({ "name": h["name"], "value_prefix": h["prefix"].as_str().unwrap_or("") }))
                    .collect();
            }
            "fromParams" => provider["from_params"] = value.clone(),
            "fromCookies" => provider["from_cookies"] = value.clone(),
            "forwardOriginalToken" => provider["forward"] = value.clone(),
            "outputPayloadToHeader" => provider["forward_payload_header"] = value.clone(),
            "outputClaimToHeaders" => {
                provider["claim_to_headers"] = list(value)
                    .map(|o| json!({ "header_name": o["header"], "claim_name": o["claim"] }))
                    .collect();
            }
            _ => {}
        }
    }
    if let Some(skew) = defaults.get("clockSkew") {
        let seconds = seconds(text(skew))?;
        if seconds < 1.0 {
            return Err("Envoy takes a clock skew of zero for its default".to_owned());
        }
        provider["clock_skew_seconds"] = (seconds as u64).into();
    }
    Ok(provider)
}

fn remote_jwks(uri: &Value, timeout: Option<&Value>) -> Result<Value, String> {
    let timeout = seconds(timeout.map_or("5s", text))?;
    Ok(json!({
        "http_uri": { "uri": uri, "cluster": "jwks", "timeout": format!("{timeout}s") },
        "cache_duration": "300s",
    }))
}

/// Istio's durations: `1m30s`, `10ms`.
fn seconds(duration: &str) -> Result<f64, String> {
    let mut total = 0.0;
    let mut rest = duration;
    while !rest.is_empty() {
        let unit = rest
            .find(|c: char| c.is_ascii_alphabetic())
            .ok_or(duration)?;
        let next = rest[unit..].find(|c: char| !c.is_ascii_alphabetic());
        let end = next.map_or(rest.len(), |next| unit + next);
        let number: f64 = rest[..unit].parse().map_err(|_| duration)?;
        total += number
            * match &rest[unit..end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 0.001,
                _ => return Err(format!("not a duration: {duration}")),
            };
        rest = &rest[end..];
    }
    Ok(total)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// `values` and `notValues` under Istio's names for them.
fn both(value: &Value, name: &str) -> (Vec<String>, Vec<String>) {
    (strings(value.get(name)), strings(value.get(negative(name))))
}

fn negative(name: &str) -> String {
    format!("not{}{}", name[..1].to_ascii_uppercase(), &name[1..])
}
