//! Istio's own tables of what a configuration may say, read where they lie, beside the project.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis::{
    Answer, Host, KeySetId, KeyStore, Known, NoHost, Node, Outcome, Policy, Request, Verifier,
    evaluate,
};
use serde_json::{Value, json};

use crate::support::case::text;
use crate::support::peer::{Ahead, Given, Peer};
use crate::support::tally::Tally;
use crate::support::{mint, now, project, read_json};

/// A table of Istio's, which has that many rows at least, or a note that it isn't here.
fn table(name: &str, rows: usize, tally: &mut Tally) -> Vec<Value> {
    let path = "../shared/cases/istio.json";
    if !project(path).exists() {
        tally.missing(rows);
        return Vec::new();
    }
    let table = read_json(path)[name].as_array().expect("a table").clone();
    assert!(table.len() >= rows, "rows of {name} are missing");
    table
}

#[test]
fn validation() {
    let mut tally = Tally::default();
    for row in table("validation", 62, &mut tally) {
        let kind = text(&row["kind"]);
        let kind = kind.split('(').next().unwrap_or(kind);
        let api_version = match kind {
            "AuthorizationPolicy" | "PeerAuthentication" | "RequestAuthentication" => {
                "security.istio.io/v1"
            }
            "MeshPolicy" | "Policy" => "authentication.istio.io/v1alpha1",
            other => {
                tally.leave_out(other);
                continue;
            }
        };
        let configuration = json!({
            "resources": [{
                "apiVersion": api_version,
                "kind": kind,
                "metadata": {
                    "name": row["metadata_name"].as_str().unwrap_or("r"),
                    "namespace": "foo",
                    "annotations": row["annotations"],
                },
                "spec": row["spec"],
            }],
            "extensionProviders": [{
                "name": "my-custom-authz",
                "envoyExtAuthzHttp": { "service": "authz.test", "port": 80 },
            }],
            // So that something applies, whatever the row selects.
            "authorizationPolicies": [{}],
            "workload": { "namespace": "foo", "labels": {}, "serviceName": "httpbin" },
        });
        // The warning is about ports that don't speak HTTP, which a filter for HTTP never sees.
        let is_warned = row["warning"] == true && kind != "AuthorizationPolicy";
        // A private key that lies in a configuration is none any more; Istio only warns.
        let is_private = row["name"] == "jwks with private RSA key warns";
        let expected = match is_private {
            true => (false, false),
            false => (row["valid"] == true, is_warned),
        };
        let loaded = Policy::load(configuration.to_string().as_bytes(), &Node::default());
        let got = match &loaded {
            Ok(policy) => (true, !policy.warnings().is_empty()),
            Err(_) => (false, false),
        };
        tally.check(text(&row["name"]), expected, got);
    }
    tally.finish("Istio, validation");
}

/// What a rule of an AuthorizationPolicy may say.
#[test]
fn rules_of_policies() {
    let mut tally = Tally::default();
    for (name, rows, rule) in [
        (
            "condition_keys",
            19,
            (|row| json!({ "when": [{ "key": row["key"], "values": row["values"] }] }))
                as fn(&Value) -> Value,
        ),
        (
            "path_template_validation",
            11,
            |row| json!({ "to": [{ "operation": { "paths": row["paths"] } }] }),
        ),
        (
            "wildcard_validation",
            4,
            |row| json!({ "when": [{ "key": "source.trustDomain", "values": row["values"] }] }),
        ),
        (
            "trust_domain_validation",
            4,
            |row| json!({ "from": [{ "source": { "trustDomains": row["values"] } }] }),
        ),
    ] {
        for row in table(name, rows, &mut tally) {
            let rule = rule(&row);
            let is_refused = allowing(&json!([]), &rule).is_none();
            tally.check(&format!("{name}: {rule}"), row["error"] == true, is_refused);
        }
    }
    tally.finish("Istio, rules of policies");
}

#[test]
fn service_accounts() {
    let mut tally = Tally::default();
    for row in table("service_account_match", 8, &mut tally) {
        let rule = json!({ "from": [{ "source": { "serviceAccounts": [row["value"]] } }] });
        let policy = allowing(&json!([]), &rule).expect("a good rule");
        let peer = Peer::parse(Some(&json!({ "mtls": true, "uri_san": row["identity"] })));
        let host = Given::new(&peer, &Ahead::default(), None);
        let got = passes(&policy, &host, Vec::new());
        tally.check(&row.to_string(), row["match"] == true, got);
    }
    tally.finish("Istio, service accounts");
}

#[test]
fn request_principals() {
    let mut tally = Tally::default();
    for row in table("request_principal_match", 4, &mut tally) {
        let rule = json!({ "from": [{ "source": { "requestPrincipals": [row["value"]] } }] });
        for (issuer, is_issuer) in samples(&row["iss"]) {
            for (subject, is_subject) in samples(&row["sub"]) {
                let got = passes_with(&rule, &json!({ "iss": issuer, "sub": subject }));
                let id = format!("{} {issuer} {subject}", row["value"]);
                tally.check(&id, is_issuer && is_subject, got == Some(true));
            }
        }
    }
    tally.finish("Istio, request principals");
}

/// On which paths a v1alpha1 Policy asks for a token.
#[test]
fn trigger_rules() {
    let mut tally = Tally::default();
    for row in table("v1alpha1_trigger_rules", 20, &mut tally) {
        let passes = passes_untold(&row["triggerRules"], text(&row["path"]));
        let expected = Some(row["jwt_required"] != true);
        tally.check(&row.to_string(), expected, passes);
    }
    tally.finish("Istio, trigger rules");
}

#[test]
fn string_matches_of_trigger_rules() {
    let mut tally = Tally::default();
    for row in table("v1alpha1_string_match", 8, &mut tally) {
        let mut pattern = json!({});
        if !row["pattern"].is_null() {
            pattern[text(&row["kind"])] = row["pattern"].clone();
        }
        let rules = json!([{ "excludedPaths": [pattern] }]);
        // One that says nothing matches nothing in Istio, and is refused here.
        let expected = (!row["pattern"].is_null()).then_some(row["match"] == true);
        let passes = passes_untold(&rules, text(&row["value"]));
        tally.check(&row.to_string(), expected, passes);
    }
    tally.finish("Istio, string matches");
}

/// Whether a request without a token passes under these trigger rules; `None` where they are
/// refused.
fn passes_untold(trigger_rules: &Value, path: &str) -> Option<bool> {
    let jwks = mint::public_set(&json!(["krsa"]));
    let configuration = json!({
        "resources": [{
            "apiVersion": "authentication.istio.io/v1alpha1",
            "kind": "Policy",
            "metadata": { "name": "default" },
            "spec": { "origins": [{
                "jwt": { "issuer": "i", "jwks": jwks, "triggerRules": trigger_rules },
            }] },
        }],
    });
    let policy = Policy::load(configuration.to_string().as_bytes(), &Node::default()).ok()?;
    let path = (":path".to_owned(), path.into());
    Some(passes(&policy, &NoHost, vec![path]))
}

/// Texts, and whether such a matcher of Envoy's takes them.
fn samples(matcher: &Value) -> Vec<(String, bool)> {
    let (kind, pattern) = matcher
        .as_object()
        .and_then(|matcher| matcher.iter().next())
        .expect("a matcher");
    let pattern = text(pattern);
    let (start, end) = match kind.as_str() {
        "exact" => (false, false),
        "prefix" => (false, true),
        "suffix" => (true, false),
        "regex" if pattern == ".+" => return vec![("x".to_owned(), true)],
        _ => panic!("{matcher}: no samples"),
    };
    vec![
        (pattern.to_owned(), true),
        (format!("x{pattern}"), start),
        (format!("{pattern}x"), end),
    ]
}

/// A policy that allows what the rule matches; `None` where it is refused.
fn allowing(jwt_rules: &Value, rule: &Value) -> Option<Policy> {
    let configuration = json!({
        "jwtRules": jwt_rules,
        "authorizationPolicies": [{ "rules": [rule] }],
    });
    Policy::load(configuration.to_string().as_bytes(), &Node::default()).ok()
}

/// Whether a request with a token of these claims passes; `None` where the rule is refused.
fn passes_with(rule: &Value, claims: &Value) -> Option<bool> {
    let kid = "ked25519";
    let jwks = mint::public_set(&json!([kid]));
    let policy = allowing(&json!([{ "issuer": claims["iss"], "jwks": jwks }]), rule)?;
    let token = mint::token(&json!({ "kid": kid, "claims": claims }));
    let authorization = ("authorization".to_owned(), format!("Bearer {token}").into());
    Some(passes(&policy, &NoHost, vec![authorization]))
}

fn passes(policy: &Policy, host: &dyn Host, headers: Vec<(String, Vec<u8>)>) -> bool {
    let known = Known {
        keys: &KeyStore::new(policy, 0),
        waited: &[],
        checked: &[],
        verifier: &Verifier::default(),
        host,
        now: &now(),
    };
    let outcome = evaluate(policy, known, &Request::new(headers));
    matches!(outcome, Outcome::Forward(..))
}

#[test]
fn key_set_addresses() {
    let mut tally = Tally::default();
    for row in table("parse_jwks_uri", 4, &mut tally) {
        let uri = text(&row["uri"]);
        let expected = (row["error"] == false).then(|| {
            let meaning = &row["expect"];
            let cluster = format!(
                "outbound|{}||{}",
                meaning["port"],
                text(&meaning["hostname"])
            );
            (text(&meaning["scheme"]).to_owned(), cluster)
        });
        let got = load(uri).map(|policy| {
            let (mut keys, id) = wanted(&policy);
            let fetch = keys.start(id, true, 0).expect("a fetch");
            (fetch.scheme().to_owned(), fetch.cluster().to_owned())
        });
        tally.check(uri, expected, got);
    }
    tally.finish("Istio, addresses of key sets");
}

#[test]
fn answers_of_key_servers() {
    let mut tally = Tally::default();
    let policy = load("http://a.test").expect("a good configuration");
    for row in table("validate_jwks_format", 3, &mut tally) {
        // Istio keeps a set without keys as it is. Here it counts once there were some, and the
        // answer to the first fetch is a failed one.
        if row["name"] == "valid empty keys" {
            tally.leave_out("a set without keys");
            continue;
        }
        let (mut keys, id) = wanted(&policy);
        keys.start(id, true, 0).expect("a fetch");
        let answer = Answer {
            body: text(&row["body"]).as_bytes(),
            ..Answer::default()
        };
        let taken = keys.finish(id, Ok(answer), 0);
        tally.check(text(&row["name"]), row["error"] == true, taken.is_err());
    }
    tally.finish("Istio, answers of key servers");
}

/// A policy with one rule, whose keys are there.
fn load(uri: &str) -> Option<Policy> {
    let configuration = json!({ "jwtRules": [{ "issuer": "i", "jwksUri": uri }] });
    Policy::load(configuration.to_string().as_bytes(), &Node::default()).ok()
}

/// A store for the policy, and the key set that a token of its rule needs.
fn wanted(policy: &Policy) -> (KeyStore, KeySetId) {
    let parts = [r#"{"alg":"RS256"}"#, r#"{"iss":"i"}"#, "signature"];
    let token = parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let authorization = format!("Bearer {token}").into_bytes();
    let request = Request::new(vec![("authorization".to_owned(), authorization)]);
    let keys = KeyStore::new(policy, 0);
    let known = Known {
        keys: &keys,
        waited: &[],
        checked: &[],
        verifier: &Verifier::default(),
        host: &NoHost,
        now: &0,
    };
    match evaluate(policy, known, &request) {
        Outcome::Await(ids) => (keys, ids[0]),
        other => panic!("expected to wait, got {other:?}"),
    }
}
