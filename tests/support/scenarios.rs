//! The abstract authorization scenarios, in the words of our configuration.

use serde_json::{Value, json};

use super::case::{Case, Oracle, Suite, text};
use super::read_json;

pub fn authorization() -> Suite {
    let file = read_json("tests/vectors/scenarios/authz_semantics.json");
    let mut suite = Suite::new("authorization scenarios");
    suite.add_keys("all", super::mint::public_set(&json!(["kp256"])));
    for vector in file["vectors"].as_array().expect("a list") {
        let id = text(&vector["id"]);
        suite.add_token(id, token(&vector["claims"]));
        let status = match text(&vector["expected"]) {
            "allow" => json!(200),
            "deny" => json!([401, 403]),
            // The standards leave room, and Istio's own cases say what fills it.
            _ => json!([200, 403]),
        };
        let mut case = Case::new(
            id,
            id,
            json!({ "headers": { "authorization": format!("Bearer ${{{id}}}") } }),
            json!({ "status": status }),
        );
        case.oracle = Oracle::Skip("scenario".to_owned());
        suite.add_config(
            id,
            json!({
                "jwtRules": [{ "issuer": "https://issuer.test", "jwks": "${keys.all}" }],
                "authorizationPolicies": policies(&vector["rule"]),
            }),
        );
        suite.cases.push(case);
    }
    suite
}

/// Claims are an object, or the text of one that no object can be.
fn token(claims: &Value) -> Value {
    let issued = r#"{"iss":"https://issuer.test","#;
    let raw = claims
        .as_str()
        .map_or_else(|| claims.to_string(), str::to_owned);
    let raw = match raw.trim_start_matches('{') {
        "}" => issued.replace(',', "}"),
        rest => format!("{issued}{rest}"),
    };
    json!({ "kid": "kp256", "raw": raw })
}

fn policies(rule: &Value) -> Value {
    let policy = |name: &str, rule: &Value| json!({ "name": name, "action": name, "rules": [{ "when": conditions(rule) }] });
    match (rule.get("deny"), rule.get("allow")) {
        (Some(deny), Some(allow)) => json!([policy("DENY", deny), policy("ALLOW", allow)]),
        _ if rule.is_null() => json!([{ "name": "ALLOW" }]),
        _ => json!([policy("ALLOW", rule)]),
    }
}

fn conditions(rule: &Value) -> Vec<Value> {
    if let Some(all) = rule["all"].as_array() {
        return all.iter().flat_map(conditions).collect();
    }
    if let Some(value) = rule.get("is") {
        return vec![json!({ "claim": rule["claim"], "equals": value })];
    }
    let (rule, values) = match rule.get("not") {
        Some(rule) => (rule, "notValues"),
        None => (rule, "values"),
    };
    let wanted = match rule.get("one_of") {
        Some(list) => list.clone(),
        None => json!([rule["has_word"]]),
    };
    let path = text(&rule["claim"]).replace('.', "][");
    vec![json!({ "key": format!("request.auth.claims[{path}]"), values: wanted })]
}
