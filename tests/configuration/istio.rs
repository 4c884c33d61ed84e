//! Istio's own tables of what a configuration may say, read where they lie, beside the project.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis::{
    Answer, KeySetId, KeyStore, Known, NoHost, Node, Outcome, Policy, Request, evaluate,
};
use serde_json::{Value, json};

use crate::support::case::text;
use crate::support::tally::Tally;
use crate::support::{project, read_json};

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
        if kind != "RequestAuthentication" {
            tally.leave_out(kind);
            continue;
        }
        let configuration = json!({
            "resources": [{
                "apiVersion": "security.istio.io/v1",
                "kind": kind,
                "metadata": {
                    "name": row["metadata_name"].as_str().unwrap_or("r"),
                    "namespace": "foo",
                    "annotations": row["annotations"],
                },
                "spec": row["spec"],
            }],
            // So that something applies, whatever the row selects.
            "authorizationPolicies": [{}],
            "workload": { "namespace": "foo", "labels": {} },
        });
        let expected = (row["valid"] == true, row["warning"] == true);
        let loaded = Policy::load(configuration.to_string().as_bytes(), &Node::default());
        let got = match &loaded {
            Ok(policy) => (true, !policy.warnings().is_empty()),
            Err(_) => (false, false),
        };
        tally.check(text(&row["name"]), expected, got);
    }
    tally.finish("Istio, validation");
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
        host: &NoHost,
        now: 0,
    };
    match evaluate(policy, known, &request) {
        Outcome::Await(ids) => (keys, ids[0]),
        other => panic!("expected to wait, got {other:?}"),
    }
}
