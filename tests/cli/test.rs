//! `test`: the demo's story, and what isn't as expected.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::schema::{configurations, files};
use crate::support::case::text;
use crate::support::project;
use crate::{portcullis, said};

/// The files of a test are in a folder of its own.
fn suite(name: &str, content: &str) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("tests.yaml");
    fs::write(&file, content).expect("a file");
    file.to_str().expect("UTF-8").to_owned()
}

const CONFIGURATION: &str = r#"
configuration:
  jwtRules: [{ issuer: "https://idp.test", jwksUri: "https://idp.test/keys" }]
  authorizationPolicies:
  - name: deny
    action: DENY
    rules: [{ to: [{ operation: { paths: [/closed] } }] }]
  - name: allow
    rules:
    - from: [{ source: { requestPrincipals: ["https://idp.test/*"] } }]
    - to: [{ operation: { paths: [/open] } }]
tokens:
- { name: good, claims: { iss: "https://idp.test", sub: a } }
- { name: old, claims: { iss: "https://idp.test", sub: a, exp: now-61 } }
- { name: skewed, claims: { iss: "https://idp.test", sub: a, exp: now-30 } }
tests:
"#;

/// Every configuration of the demo has tests, which reach all of its rules.
#[test]
fn the_story_of_the_demo() {
    let mut suites = files("envoy/tests", "yaml");
    suites.push(project("envoy/tests.yaml").display().to_string());
    let mut tested = BTreeSet::new();
    for file in &suites {
        let (printed, status) = portcullis(&["test", file]);
        assert_eq!(status, 0, "{printed}");
        assert!(
            printed.ends_with(" tests, 0 not as expected\n"),
            "{printed}"
        );
        assert!(!printed.contains("no test reaches"), "{printed}");
        let suite = document(file);
        let configuration = Path::new(text(&suite["configuration"])).file_name();
        let plugin = suite["plugin"].as_u64().unwrap_or(1);
        tested.insert((configuration.expect("a file").to_owned(), plugin));
    }
    assert_eq!(tested.len(), suites.len(), "two suites for the same");
    for file in files("envoy", "yaml") {
        let document = document(&file);
        if document["static_resources"].is_null() {
            continue;
        }
        // A listener for TLS and plain text has the same one twice.
        let mut there: Vec<&Value> = Vec::new();
        for configuration in configurations(&document) {
            if !there.contains(&configuration) {
                there.push(configuration);
            }
        }
        let name = Path::new(&file).file_name().expect("a file");
        let tested = tested.iter().filter(|(own, _)| own == name);
        assert_eq!(tested.count(), there.len(), "{file}");
    }
}

/// The first one of a file.
fn document(file: &str) -> Value {
    let text = fs::read_to_string(file).expect("a file");
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
    documents.into_iter().next().expect("a document")
}

/// What a rule would refuse that only reports, and what policies would.
#[test]
fn dry_runs() {
    let content = r#"
configuration:
  jwtRules:
  - { issuer: "https://idp.test", jwksUri: "https://idp.test/keys", reportOnly: true, nonJwt: ignore }
  authorizationPolicies:
  - name: tried
    dryRun: true
    rules: [{ from: [{ source: { requestPrincipals: ["*"] } }] }]
tokens:
- { name: good, claims: { iss: "https://idp.test", sub: a } }
- { name: old, claims: { iss: "https://idp.test", sub: a, exp: now-61 } }
- { name: opaque, literal: 2YotnFZFEjr1zCsicMWpAA }
tests:
- { name: old, token: old, expect: { decision: allow, dryRun: denied jwt_expired } }
- { name: good, token: good, expect: { decision: allow, dryRun: "allowed ns[]-policy[tried]-rule[0]" } }
- { name: opaque, token: opaque, expect: { decision: allow, dryRun: denied, headers: { authorization: Bearer 2YotnFZFEjr1zCsicMWpAA } } }
- { name: wrong, token: old, expect: { decision: allow, dryRun: denied jwt_malformed } }
"#;
    let (printed, status) = portcullis(&["test", &suite("dry-runs", content)]);
    assert_eq!(status, 1, "{printed}");
    for line in [
        "✓ old     allow",
        "✓ good    allow",
        "✓ opaque  allow",
        "dryRun: expected denied jwt_malformed, got denied jwt_expired",
        "✗ rule for https://idp.test, which only reports",
        "? dry run: denied reason=jwt_expired issuer=https://idp.test",
        "4 tests, 1 not as expected",
    ] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
}

#[test]
fn what_is_not_as_expected_is_explained() {
    let file = suite(
        "unexpected",
        &format!(
            "{CONFIGURATION}
- {{ name: good, token: good, expect: allow }}
- {{ name: skewed, token: skewed, expect: allow }}
- {{ name: wrong decision, token: old, expect: allow }}
- {{ name: wrong reason, token: old, expect: {{ decision: deny, status: 401, reason: jwt_malformed }} }}
- {{ name: wrong rule, request: {{ path: /closed }}, expect: {{ decision: deny, rule: other }} }}
- {{ name: wrong header, token: good, expect: {{ decision: allow, headers: {{ authorization: x }} }} }}
"
        ),
    );
    let (printed, status) = portcullis(&["test", &file]);
    assert_eq!(status, 1, "{printed}");
    for line in [
        "✓ good            allow",
        "✓ skewed          allow",
        "✗ wrong decision  deny 401 jwt_expired",
        "decision: expected allow, got deny",
        "reason: expected jwt_malformed, got jwt_expired",
        "rule: expected other, got ns[]-policy[deny]-rule[0]",
        "authorization: expected x, got none",
        "✗ times: Jwt is expired (jwt_expired); clocks may be 60 s apart",
        "no test reaches ns[]-policy[allow]-rule[1]",
        "6 tests, 4 not as expected",
    ] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
    assert!(
        !printed.contains("no test reaches ns[]-policy[deny]"),
        "{printed}"
    );
    let (printed, status) = portcullis(&["test", "--format", "junit", &file]);
    assert_eq!(status, 1, "{printed}");
    assert!(printed.contains("tests=\"6\" failures=\"4\""), "{printed}");
    assert!(
        printed.contains("<failure message=\"decision: expected allow, got deny\">"),
        "{printed}"
    );
    assert!(!printed.contains('\u{1b}'), "{printed}");
}

#[test]
fn keys_are_each_issuers_own() {
    let file = suite(
        "issuers",
        r#"
configuration:
  jwtRules:
  - { issuer: one, jwksUri: "https://one.test/keys" }
  - { issuer: two, jwks: '{"keys": []}' }
tokens:
- { name: one, claims: { iss: one } }
- { name: borrowed, claims: { iss: one }, signedBy: two }
- { name: tampered, claims: { iss: one }, tampered: true }
- { name: unknown, claims: { iss: three } }
- { name: text, literal: no.token }
tests:
- { name: one, token: one, expect: allow }
- { name: borrowed, token: borrowed, expect: { decision: deny, reason: jwt_key_not_found } }
- { name: tampered, token: tampered, expect: { decision: deny, reason: jwt_signature_invalid } }
- { name: unknown, token: unknown, expect: { decision: deny, reason: jwt_issuer_unknown } }
- { name: text, token: text, expect: { decision: deny, reason: jwt_malformed } }
"#,
    );
    let (printed, status) = portcullis(&["test", &file]);
    // The configuration of `two` is refused before its keys are replaced.
    assert_eq!((printed.as_str(), status), ("", 2));
    let text = fs::read_to_string(&file).expect("the file");
    let text = text.replace(
        r#"jwks: '{"keys": []}'"#,
        r#"jwksUri: "https://two.test/keys""#,
    );
    fs::write(&file, text).expect("a file");
    let (printed, status) = portcullis(&["test", &file]);
    assert_eq!(status, 0, "{printed}");
}

#[test]
fn a_file_that_is_wrong_is_not_run() {
    for tests in [
        "",
        "- { name: x, expect: maybe }",
        "- { name: x, expect: { decision: deny, raeson: jwt_expired } }",
        "- { name: x, token: nobody, expect: deny }",
        "- { name: x, request: { method: GET, pth: / }, expect: deny }",
        "- { name: x, expect: { decision: deny, reason: jwt_expird } }",
    ] {
        let file = suite("wrong", &format!("{CONFIGURATION}{tests}\n"));
        let (printed, status) = portcullis(&["test", &file]);
        assert_eq!((printed.as_str(), status), ("", 2), "{tests}");
    }
}

/// What is wrong with a test is told at its line, by `test` and by `check`.
#[test]
fn mistakes_of_tests_are_told_where_they_are() {
    let first = CONFIGURATION.lines().count() + 1;
    for (test, column, says) in [
        ("- { name: x, token: nobody, expect: deny }", 21, "`nobody`"),
        (
            "- { name: x, expect: { decision: deny, reason: jwt_expird } }",
            48,
            "`jwt_expired`",
        ),
        (
            "- { name: x, expect: { decision: deny, raeson: jwt_expired } }",
            40,
            "`reason`",
        ),
        ("- { name: x, expect: maybe }", 22, "`allow` or `deny`"),
    ] {
        let file = suite(
            "placed",
            &format!("{CONFIGURATION}- {{ name: a, expect: deny }}\n{test}\n"),
        );
        let (_, errors, status) = said(&["test", &file]);
        assert_eq!(status, 2, "{errors}");
        let place = format!("tests.yaml:{}:{column}: ", first + 1);
        assert!(
            errors.contains(&place) && errors.contains(says),
            "{place}{says}: {errors}"
        );
        let (printed, status) = portcullis(&["check", "--format=json", &file]);
        let found: Value = serde_json::from_str(&printed).expect("JSON");
        assert_eq!(status, 1, "{printed}");
        let found = found.as_array().expect("findings");
        let line = found
            .iter()
            .find(|one| one["severity"] == "mistake")
            .map(|one| &one["line"]);
        assert_eq!(line, Some(&Value::from(first + 1)), "{printed}");
    }
}

#[test]
fn one_test_is_one() {
    let file = suite(
        "one",
        &format!("{CONFIGURATION}- {{ name: a, expect: deny }}\n"),
    );
    let (printed, status) = portcullis(&["test", &file]);
    assert_eq!(status, 0, "{printed}");
    assert!(
        printed.ends_with("\n1 test, 0 not as expected\n"),
        "{printed}"
    );
}
