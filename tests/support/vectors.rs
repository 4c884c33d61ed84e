//! Whole tokens and requests of the tests of Envoy, of its jwt_verify_lib and of Istio, as cases.
//! They come from other projects, so they are read where they lie, beside this one, and a clone
//! elsewhere does without.

use serde_json::{Value, json};

use super::case::{Case, Suite, text};
use super::{envoy_requirements, envoy_vectors, project, read_json};

type Loader = fn(&str, &Value) -> Suite;

const FILES: [(&str, usize, Loader); 8] = [
    ("jwt_verify_lib/verify", 30, verify),
    ("istio/samples", 5, samples),
    ("istio/request_authentication", 17, request_authentication),
    ("istio/authz_jwt", 16, claims),
    ("envoy/authenticator", 31, envoy_vectors::authenticator),
    ("envoy/http_integration", 11, envoy_vectors::integration),
    ("envoy/requirements", 22, envoy_requirements::requirements),
    ("envoy/requirement_groups", 10, envoy_requirements::groups),
];

/// Where keys are served.
pub const KEYS: &str = "http://idp.test/jwks";

/// The suites that are there, and how many cases are missing.
pub fn suites() -> (Vec<Suite>, usize) {
    if !project("../shared/vectors").exists() {
        return (Vec::new(), FILES.iter().map(|(_, count, _)| count).sum());
    }
    let suites = FILES.iter().map(|(name, count, load)| {
        let suite = load(name, &file(name));
        assert_eq!(suite.cases.len(), *count, "vectors of {name}");
        suite
    });
    (suites.collect(), 0)
}

pub fn file(name: &str) -> Value {
    read_json(&format!("../shared/vectors/{name}.json"))
}

pub fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// Refuses every request without a verified token; all tokens here have a subject.
pub fn guard(paths: &str) -> Value {
    json!([{
        "name": "guard",
        "action": "DENY",
        "rules": [{
            "to": [{ "operation": { "paths": [paths] } }],
            "when": [{ "key": "request.auth.claims[sub]", "notValues": ["*"] }],
        }],
    }])
}

/// What a status of Envoy's is here: answer and reason.
pub fn answer(status: &Value) -> Value {
    let refused = |status: u16, reason: &str| json!({ "status": status, "reason": reason });
    match text(status) {
        "Ok" => json!({ "status": 200 }),
        "JwksFetchFail" | "JwksPemBadBase64" => refused(401, "jwks_unavailable"),
        "JwksKidAlgMismatch" => refused(401, "jwt_key_not_found"),
        "JwtAudienceNotAllowed" => refused(403, "jwt_audience_not_allowed"),
        "JwtExpired" => refused(401, "jwt_expired"),
        "JwtUnknownIssuer" => refused(401, "jwt_issuer_unknown"),
        "JwtVerificationFail" => refused(401, "jwt_signature_invalid"),
        // In Istio, whether there must be a token is the policies' business.
        "JwtMissed" => refused(403, "policy_denied"),
        other => panic!("unknown status {other}"),
    }
}

/// Signature, time and audience, of one token by one set of keys.
fn verify(name: &str, file: &Value) -> Suite {
    let mut suite = Suite::new(name);
    suite.clock = Some(0);
    for vector in list(&file["vectors"]) {
        let id = text(&vector["id"]);
        let keys = text(&vector["jwks_raw"]);
        let uri = format!("{KEYS}/{id}");
        suite.add_server(&uri, &json!({ "body": keys }));
        let mut rule = json!({ "jwksUri": uri, "clockSkew": format!("{}s", vector["clock_skew"]) });
        if let Some(audiences) = vector.get("audiences") {
            rule["audiences"] = audiences.clone();
        }
        let config = json!({ "jwtRules": [rule], "authorizationPolicies": guard("*") });
        suite.add_config(id, config);
        let mut case = Case::new(
            id,
            id,
            bearer(&vector["jwt"]),
            answer(&vector["expected_status"]),
        );
        case.at = vector["now"].as_u64().expect("seconds");
        if keys.contains("\"oct\"") {
            case.left_out = Some("a shared secret that is fetched");
        }
        // Envoy tries a key without `alg` whatever its curve; here the curve decides.
        if id == "jvl-verify-pem_ec-AlgUnspecifiedDoesNotMatchJwtFail" {
            case.expect["reason"] = "jwt_key_not_found".into();
        }
        suite.cases.push(case);
    }
    suite
}

fn bearer(token: &Value) -> Value {
    json!({ "headers": { "authorization": format!("Bearer {}", text(token)) } })
}

fn samples(name: &str, file: &Value) -> Suite {
    let mut suite = Suite::new(name);
    suite.clock = Some(0);
    suite.add_config(
        name,
        json!({
            "jwtRules": [{ "issuer": "testing@secure.istio.io", "jwks": file["jwks"].to_string() }],
            "authorizationPolicies": guard("*"),
        }),
    );
    for vector in list(&file["vectors"]) {
        let expect = answer(&vector["expected_status"]);
        let mut case = Case::new(text(&vector["id"]), name, bearer(&vector["jwt"]), expect);
        case.at = vector["now"].as_u64().expect("seconds");
        suite.cases.push(case);
    }
    suite
}

fn request_authentication(name: &str, file: &Value) -> Suite {
    let mut suite = with_tokens(name, file);
    suite.add_server(KEYS, &json!({ "body": "<html>" }));
    for (name, config) in entries(&file["configs"]) {
        let mut rules = config["jwtRules"].clone();
        for rule in rules.as_array_mut().expect("rules") {
            let rule = rule.as_object_mut().expect("a rule");
            match rule.remove("jwks").as_ref().map(text) {
                Some("$jwks") => rule.insert("jwks".to_owned(), file["jwks"].to_string().into()),
                _ => rule.insert("jwksUri".to_owned(), KEYS.into()),
            };
        }
        let mut ours = json!({ "jwtRules": rules });
        if let Some(allowed) = config.get("authz_allow") {
            let allowed: Vec<Value> = list(allowed).map(allow).collect();
            ours["authorizationPolicies"] = json!([{ "name": "allow", "rules": allowed }]);
        }
        suite.add_config(name, ours);
    }
    for vector in list(&file["vectors"]) {
        let mut request = json!({
            "method": vector["method"],
            "path": vector["path"],
            "headers": vector["request_headers"],
        });
        if let Some(host) = vector.get("host") {
            request["authority"] = host.clone();
        }
        let mut expect = json!({ "status": vector["expected_http"] });
        if let Some(headers) = vector.get("expected_upstream_headers") {
            expect["upstream_headers"] = headers.clone();
        }
        let config = text(&vector["config"]);
        suite
            .cases
            .push(Case::new(text(&vector["id"]), config, request, expect));
    }
    suite
}

/// A rule of a policy, of which the file has the conditions side by side.
fn allow(conditions: &Value) -> Value {
    let mut operation = conditions.clone();
    let principals = operation["requestPrincipals"].take();
    operation
        .as_object_mut()
        .expect("conditions")
        .remove("requestPrincipals");
    let mut rule = json!({});
    if !principals.is_null() {
        rule["from"] = json!([{ "source": { "requestPrincipals": principals } }]);
    }
    if operation != json!({}) {
        rule["to"] = json!([{ "operation": operation }]);
    }
    rule
}

fn claims(name: &str, vectors: &Value) -> Suite {
    let file = file("istio/request_authentication");
    let mut suite = with_tokens(name, &file);
    let mut rules = vectors["request_authentication"]["jwtRules"].clone();
    for rule in rules.as_array_mut().expect("rules") {
        rule["jwks"] = file["jwks"].to_string().into();
    }
    suite.add_config(
        name,
        json!({
            "jwtRules": rules,
            "authorizationPolicies": [{ "name": "allow", "rules": vectors["allow_rules"] }],
        }),
    );
    for vector in list(&vectors["vectors"]) {
        let mut request = json!({ "method": vector["method"], "path": vector["path"] });
        if let Some(token) = vector["token"].as_str() {
            request["headers"] = json!({ "authorization": format!("Bearer ${{{token}}}") });
        }
        let expect = json!({ "status": vector["expected_http"] });
        suite
            .cases
            .push(Case::new(text(&vector["id"]), name, request, expect));
    }
    suite
}

/// A suite at the time of all vectors of Istio's, with the tokens of this file.
fn with_tokens(name: &str, file: &Value) -> Suite {
    let mut suite = Suite::new(name);
    suite.clock = Some(1_760_000_000);
    for (name, token) in entries(&file["tokens"]) {
        suite.add_token(name, json!({ "literal": token["jwt"] }));
    }
    suite
}
