//! The requests of the tests of Envoy's `jwt_authn` as cases, as far as Istio's objects can say what
//! its configuration says.

use serde_json::{Map, Value, json};

use super::case::{Case, Suite, text};
use super::vectors::{KEYS, answer, entries, file, guard, list};
use super::{attacks, routing};

/// Settings of a provider, or of a vector, that have no counterpart, and what they are about.
const NO_COUNTERPART: [(&str, &str); 8] = [
    ("allow_failed", "allow_missing_or_failed"),
    ("failed_status_in_metadata", "metadata other than claims"),
    ("header_in_metadata", "metadata other than claims"),
    ("jwt_cache_config", "token cache"),
    ("max_lifetime", "limits of lifetime"),
    ("require_expiration", "limits of lifetime"),
    ("requirement", "requirements"),
    ("subjects", "subjects"),
];

pub fn authenticator(name: &str, vectors: &Value) -> Suite {
    let tokens = file("envoy/tokens");
    let mut suite = suite(name, &tokens);
    for vector in list(&vectors["vectors"]) {
        let id = text(&vector["id"]);
        let uri = format!("{KEYS}/{id}");
        suite.add_server(&uri, &key_server(vector, &tokens));
        let providers = &tokens["configs"][text(&vector["config"])]["providers"];
        let one = vector["provider"].as_str();
        let providers: Vec<Map<String, Value>> = entries(providers)
            .filter(|(name, _)| one.is_none_or(|one| one == *name))
            .map(|(_, provider)| overridden(provider, &vector["provider_overrides"]))
            .collect();
        let mut expect = answer(&vector["expected_status"]);
        let mut config = json!({
            "jwtRules": providers.iter().map(|provider| rule(provider, &uri)).collect::<Vec<_>>(),
            "authorizationPolicies": guard("*"),
        });
        if let Some(headers) = vector.get("expected_upstream_headers") {
            if vector["expected_status"] == "JwtMissed" {
                config["authorizationPolicies"] = json!([]);
                expect = json!({ "status": 200 });
            }
            expect["upstream_headers"] = headers.clone();
        }
        if let Some(claims) = vector["expected_metadata"].get("my_payload") {
            config["dynamicMetadata"] = json!({ "header": routing::CLAIMS });
            expect["upstream_headers"][routing::CLAIMS] = routing::encoded(claims).into();
        }
        suite.add_config(id, config);
        let mut case = Case::new(id, id, request(vector), expect);
        let settings = providers.iter().chain(vector.as_object());
        case.left_out = settings.into_iter().find_map(no_counterpart);
        suite.cases.push(case);
    }
    suite
}

pub fn integration(name: &str, vectors: &Value) -> Suite {
    let tokens = file("envoy/tokens");
    let mut suite = suite(name, &tokens);
    let provider = &tokens["configs"]["ExampleConfig"]["providers"]["example_provider"];
    for vector in list(&vectors["vectors"]) {
        let id = text(&vector["id"]);
        let uri = format!("{KEYS}/{id}");
        suite.add_server(&uri, &key_server(vector, &tokens));
        let mut rule = rule(provider.as_object().expect("a provider"), &uri);
        let about = text(&vector["config"]);
        let mut config = json!({ "authorizationPolicies": guard("/") });
        if about == "remote_jwks, cluster does not exist" {
            config["jwks"] = json!({});
        } else if !about.starts_with("remote_jwks") {
            rule.remove("jwksUri");
            rule.insert("jwks".to_owned(), key_set(&tokens, "PublicKey").into());
        }
        config["jwtRules"] = json!([rule]);
        suite.add_config(id, config);

        let mut expect = json!({ "status": vector["expected_http"] });
        // Without a token, it is the policy that refuses.
        if id == "envoy-http-Local-MissingToken" {
            expect = json!({ "status": 403, "reason": "policy_denied", "www_authenticate": null });
        } else if let Some(headers) = vector.get("expected_response_headers") {
            expect["www_authenticate"] = headers["www-authenticate"].clone();
        }
        if let Some(headers) = vector.get("expected_upstream_headers") {
            let headers = headers.to_string().replace(
                "${ExpectedPayloadValue}",
                text(&tokens["expected"]["ExpectedPayloadValue"]),
            );
            expect["upstream_headers"] = serde_json::from_str(&headers).expect("the headers again");
        }
        let mut case = Case::new(id, id, request(vector), expect);
        case.left_out = match about {
            "filter_state_rules" => Some("filter state"),
            "per-route requirement_name: abc" => Some("configuration of routes"),
            _ if about.contains("clear_route_cache") => Some("choice of routes"),
            _ => None,
        };
        suite.cases.push(case);
    }
    suite
}

/// All tokens are made for some time between 2010 and 2033.
pub fn suite(name: &str, tokens: &Value) -> Suite {
    let mut suite = Suite::new(name);
    suite.clock = Some(1_760_000_000);
    for (name, token) in entries(&tokens["tokens"]) {
        suite.add_token(name, json!({ "literal": token["jwt"] }));
    }
    suite
}

fn key_server(vector: &Value, tokens: &Value) -> Value {
    let keys = vector["jwks"].as_str().unwrap_or("PublicKey");
    match &vector["jwks_server"] {
        Value::Object(answer) => json!({ "status": answer["status"], "body": "" }),
        Value::String(answer) if answer == "error" => json!({ "status": 500 }),
        Value::String(_) => json!({ "body": "-----BEGIN PUBLIC KEY-----" }),
        _ => json!({ "body": key_set(tokens, keys) }),
    }
}

/// Without the trailing comma that upstream's has.
pub fn key_set(tokens: &Value, name: &str) -> String {
    tokens["jwks"][name]["json"].to_string()
}

fn overridden(provider: &Value, overrides: &Value) -> Map<String, Value> {
    let mut provider = provider.as_object().expect("a provider").clone();
    for (name, value) in entries(overrides) {
        if value.is_null() {
            provider.remove(name);
        } else {
            provider.insert(name.clone(), value.clone());
        }
    }
    provider
}

fn rule(provider: &Map<String, Value>, uri: &str) -> Map<String, Value> {
    let mut rule = provider.clone();
    // Envoy's own concern: nothing of it shows in what becomes of a request.
    rule.remove("clear_route_cache");
    rule.remove("remote_jwks");
    rule.remove("payload_in_metadata");
    if let Some(normalised) = rule.remove("normalize_payload_in_metadata") {
        let claims = normalised["space_delimited_claims"].clone();
        rule.insert("spaceDelimitedClaims".to_owned(), claims);
    }
    rule.insert("jwksUri".to_owned(), uri.into());
    if let Some(forward) = rule.remove("forward") {
        rule.insert("forwardOriginalToken".to_owned(), forward);
    }
    let rule = attacks::rule(&rule.into());
    rule.as_object().expect("a rule").clone()
}

fn request(vector: &Value) -> Value {
    let mut request = json!({});
    let mut headers = Vec::new();
    for header in list(&vector["request_headers"]) {
        match text(&header[0]) {
            ":method" => request["method"] = header[1].clone(),
            ":path" => request["path"] = header[1].clone(),
            ":authority" => request["authority"] = header[1].clone(),
            ":scheme" => {}
            _ => headers.push(header),
        }
    }
    request["headers"] = json!(headers);
    request
}

fn no_counterpart(settings: &Map<String, Value>) -> Option<&'static str> {
    let found = NO_COUNTERPART.iter().find(|(name, _)| {
        settings
            .get(*name)
            .is_some_and(|value| !value.is_null() && *value != json!({}))
    });
    found.map(|(_, reason)| *reason)
}
