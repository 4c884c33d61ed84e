//! What the tests of Envoy's `jwt_authn` require of several providers, as far as Istio's rules can
//! say it: a good token of any of them or none at all, a policy that demands one, `tokens: all`, and `reportOnly`.

use serde_json::{Value, json};

use super::case::{Case, Suite, text};
use super::envoy_vectors::{key_set, suite};
use super::vectors::{answer, entries, file, guard, list};

const FAILED: &str = "allow_missing_or_failed beside a token that is demanded";
const SEVERAL: &str = "tokens of several providers demanded";

/// Vectors whose requirement Istio can't express, and what it is about.
const NOT_ISTIO: [(&str, &str); 7] = [
    ("envoy-group-TestAllInAnyBothRequireAllAreOk", SEVERAL),
    ("envoy-group-TestAllInAnyBothRequireAllFailed", SEVERAL),
    ("envoy-group-TestAllInAnyFirstAllIsOk", SEVERAL),
    ("envoy-group-TestAnyInAllBothInRequireAnyFailed", SEVERAL),
    ("envoy-group-TestAnyInAllFirstAnyIsOk", SEVERAL),
    ("envoy-req-AllowFailedInAndListTest-BadJwt", FAILED),
    ("envoy-req-AllowFailedInAndListTest-GoodAndBadJwts", FAILED),
];

/// Requests and the tokens in them.
pub fn requirements(name: &str, vectors: &Value) -> Suite {
    let tokens = file("envoy/tokens");
    let keys = key_set(&tokens, "PublicKey");
    let mut suite = suite(name, &tokens);
    for vector in list(&vectors["vectors"]) {
        let id = text(&vector["id"]);
        suite.add_config(
            id,
            config(vector, &keys, |name| format!("https://{name}.com")),
        );
        let mut expect = answer(&vector["expected_status"]);
        if expect["status"] == 200 {
            expect["upstream_headers"] = payload_headers(vector);
        }
        // To Envoy one good token is enough, whatever is beside it.
        if id == "envoy-req-SingleAllowMissingInOrListTest-GoodAndBadJwts" {
            expect = json!({ "status": 401, "reason": "jwt_issuer_unknown" });
        }
        suite
            .cases
            .push(case(vector, vector["request_headers"].clone(), expect));
    }
    suite
}

/// What becomes of each provider's token; here, of one that makes it become that.
pub fn groups(name: &str, vectors: &Value) -> Suite {
    let tokens = file("envoy/tokens");
    let keys = key_set(&tokens, "PublicKey");
    let mut suite = suite(name, &tokens);
    suite.add_token(
        "bad key ID",
        json!({ "literal": "eyJhbGciOiJSUzI1NiIsImtpZCI6MX0.e30.AA" }),
    );
    for vector in list(&vectors["vectors"]) {
        let id = text(&vector["id"]);
        suite.add_config(
            id,
            config(vector, &keys, |_| "https://example.com".to_owned()),
        );
        let headers: Vec<Value> = entries(&vector["provider_status"])
            .filter_map(|(provider, status)| {
                let token = match text(status) {
                    "Ok" => "GoodToken",
                    "JwtExpired" => "ExpiredToken",
                    "JwtHeaderBadKid" => "bad key ID",
                    "JwtUnknownIssuer" => "OtherGoodToken",
                    _ => return None,
                };
                let header = format!("x-{}", provider.trim_end_matches("_provider"));
                Some(json!([header, format!("${{{token}}}")]))
            })
            .collect();
        let expect = match text(&vector["expected_status"]) {
            "JwtHeaderBadKid" => json!({ "status": 401, "reason": "jwt_kid_type" }),
            _ => answer(&vector["expected_status"]),
        };
        suite.cases.push(case(vector, headers.into(), expect));
    }
    suite
}

fn case(vector: &Value, headers: Value, expect: Value) -> Case {
    let id = text(&vector["id"]);
    let mut case = Case::new(id, id, json!({ "headers": headers }), expect);
    let left_out = NOT_ISTIO.iter().find(|(known, _)| *known == id);
    case.left_out = left_out.map(|(_, reason)| *reason);
    case
}

/// A rule for each provider that is named.
fn config(vector: &Value, keys: &str, issuer: impl Fn(&str) -> String) -> Value {
    let required = vector["requirement"].to_string();
    if required == "null" {
        return json!({ "authorizationPolicies": [{ "rules": [{}] }] });
    }
    // Where none is, what is required is that all is good that is there, whosever it is.
    let names_none = !required.contains("_provider");
    let reports = required.contains("allow_missing_or_failed");
    let rules: Vec<Value> = ["example", "other"]
        .into_iter()
        .filter(|name| names_none || required.contains(&format!("{name}_provider")))
        .map(|name| {
            json!({
                "issuer": issuer(name),
                "fromHeaders": [{ "name": format!("x-{name}") }],
                "outputPayloadToHeader": format!("x-{name}-payload"),
                "forwardOriginalToken": true,
                "jwks": keys,
                "reportOnly": reports,
            })
        })
        .collect();
    let mut config = json!({ "jwtRules": rules });
    let of_all = required.contains("requires_all");
    if of_all || names_none {
        config["tokens"] = "all".into();
    }
    // Beside `allow_missing`, a provider is demanded by "all of", and not by "any of".
    if !required.contains("allow_missing") || of_all && !required.contains("requires_any") {
        config["authorizationPolicies"] = guard("*");
    }
    config
}

/// The payload of the token that wins: in Istio, only of one.
fn payload_headers(vector: &Value) -> Value {
    let mut has_won = false;
    let headers = entries(&vector["expected_payload_header_present"]).map(|(name, is_there)| {
        let wins = *is_there == true && !has_won;
        has_won |= wins;
        let source = name.trim_end_matches("-payload");
        let token = list(&vector["request_headers"]).find(|header| header[0] == source);
        let payload = wins.then(|| text(&token.expect("a token")[1]).replace('}', ".payload}"));
        (name.clone(), Value::from(payload))
    });
    headers.collect()
}
