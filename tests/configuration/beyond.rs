//! What Istio doesn't have: paths, hosts, and conditions on claims.

use serde_json::{Value, json};

use crate::{mistakes, policy_rule, resource};

#[test]
fn paths_and_hosts() {
    let all = |fields: Value| {
        let mut configuration = policy_rule(&json!({}));
        let (Value::Object(all), Value::Object(fields)) = (&mut configuration, fields) else {
            panic!("objects");
        };
        all.extend(fields);
        mistakes(&configuration)
    };
    let none: [&str; 0] = [];
    for mode in ["NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"] {
        assert_eq!(all(json!({ "pathNormalization": mode })), none, "{mode}");
    }
    for answer in ["allow", "authorize"] {
        assert_eq!(all(json!({ "corsPreflights": answer })), none, "{answer}");
    }
    for answer in ["allow", "reject"] {
        assert_eq!(all(json!({ "ambiguousPaths": answer })), none, "{answer}");
    }
    assert_eq!(
        all(json!({
            "pathNormalization": "base",
            "ambiguousPaths": "REJECT",
            "corsPreflights": true,
            "ignoreHostPort": "yes",
        })),
        [
            "ignoreHostPort: expected true or false, found a string",
            "pathNormalization: unknown normalization: write NONE, BASE, MERGE_SLASHES or \
             DECODE_AND_MERGE_SLASHES",
            "ambiguousPaths: unknown answer: write `allow` or `reject`",
            "corsPreflights: expected a string, found a boolean: put it in quotes",
        ]
    );
}

#[test]
fn a_port_that_is_ignored_can_not_be_asked_for() {
    let hosts = json!([
        "a.test",
        "a.test:*",
        "*:*",
        "[::1]",
        "[::1]:*",
        "a.test:80",
        "[::1]:80",
        "*:80"
    ]);
    let operation =
        json!({ "to": [{ "operation": { "hosts": hosts, "notHosts": ["b.test:8*"] } }] });
    let mut configuration = policy_rule(&operation);
    configuration["resources"] = json!([resource(
        "AuthorizationPolicy",
        "foo",
        &json!({ "rules": [{ "to": [{ "operation": { "hosts": ["a.test:80"] } }] }] }),
    )]);
    configuration["workload"] = json!({ "namespace": "foo" });
    let none: [&str; 0] = [];
    assert_eq!(mistakes(&configuration), none);
    configuration["ignoreHostPort"] = true.into();
    let advice = "`ignoreHostPort` leaves no port to compare: write the host without, or `:*`";
    let operation = "authorizationPolicies[0].rules[0].to[0].operation";
    assert_eq!(
        mistakes(&configuration),
        [
            format!("resources[0].spec.rules[0].to[0].operation.hosts[0]: {advice}"),
            format!("{operation}.hosts[5]: {advice}"),
            format!("{operation}.hosts[6]: {advice}"),
            format!("{operation}.hosts[7]: {advice}"),
            format!("{operation}.notHosts[0]: {advice}"),
        ]
    );
}

#[test]
fn conditions_on_claims() {
    let unread = "write what the claim must be: `present`, `equals`, `notEquals`, `atLeast`, \
                  `atMost`, `above`, `below`, `anyOf`, `allOf` or `noneOf`";
    let part = "write exactly one of `header`, `host` and `pathSegment`";
    let star = "write one `*` for the part of the host: `*.example.com`, or `*`";
    let segment = "not a segment: count from 1, to 255";
    let empty = "the list is empty: write at least one value";
    for (when, expected) in [
        (json!({ "claim": "a", "equals": true }), None),
        (
            json!({ "claim": "a", "equals": { "pathSegment": 255.0 } }),
            None,
        ),
        (
            json!({ "claim": "a", "anyOf": [1, true, "x", { "header": "x-a" }] }),
            None,
        ),
        (json!({ "scopes": { "allOf": ["x"] } }), None),
        (json!({ "claim": "a" }), Some(("", unread))),
        (
            json!({ "claim": "a", "present": false, "equals": 1 }),
            Some((
                "",
                "`present: false` can't stand beside a comparison: write it alone",
            )),
        ),
        (
            json!({ "claim": "a..b", "present": true }),
            Some((
                ".claim",
                "not a claim: write `name`, `outer.inner` or `[na.me][inner]`",
            )),
        ),
        (
            json!({ "claim": "a", "atLeast": "18" }),
            Some((".atLeast", "expected a number, found a string")),
        ),
        (
            json!({ "claim": "a", "equals": ["x"] }),
            Some((
                ".equals",
                "expected a boolean, a number, a string, or a part of the request, found a list",
            )),
        ),
        (
            json!({ "claim": "a", "equals": "" }),
            Some((
                ".equals",
                "an empty value says nothing: write one, or remove it",
            )),
        ),
        (
            json!({ "claim": "a", "allOf": [] }),
            Some((".allOf", empty)),
        ),
        (
            json!({ "claim": "a", "noneOf": "x" }),
            Some((
                ".noneOf",
                "expected a list, found a string: put it in brackets",
            )),
        ),
        (
            json!({ "claim": "a", "equals": {} }),
            Some((".equals", part)),
        ),
        (
            json!({ "claim": "a", "equals": { "header": "x-a", "pathSegment": 1 } }),
            Some((".equals", part)),
        ),
        (
            json!({ "claim": "a", "equals": { "pathSegment": 0 } }),
            Some((".equals.pathSegment", segment)),
        ),
        (
            json!({ "claim": "a", "equals": { "pathSegment": 1.5 } }),
            Some((".equals.pathSegment", segment)),
        ),
        (
            json!({ "claim": "a", "equals": { "header": "Host" } }),
            Some((
                ".equals.header",
                "the host is no header here: write `{host: \"*\"}`",
            )),
        ),
        (
            json!({ "claim": "a", "equals": { "header": ":path" } }),
            Some((
                ".equals.header",
                "not a header name: write letters, digits and `-`",
            )),
        ),
        (
            json!({ "claim": "a", "equals": { "host": "a.test" } }),
            Some((".equals.host", star)),
        ),
        (
            json!({ "claim": "a", "equals": { "host": "*.*" } }),
            Some((".equals.host", star)),
        ),
        (
            json!({ "claim": "a", "key": "b", "equals": 1 }),
            Some((
                ".key",
                "unknown field; the fields here are `claim`, `present`, `equals`, `notEquals`, \
                 `atLeast`, `atMost`, `above`, `below`, `anyOf`, `allOf`, `noneOf`",
            )),
        ),
        (
            json!({ "scopes": {} }),
            Some((
                ".scopes",
                "write what must be in the list: `anyOf`, `allOf` or `noneOf`",
            )),
        ),
        (
            json!({ "scopes": ["x"] }),
            Some((".scopes", "expected an object, found a list")),
        ),
    ] {
        let expected = expected.map(|(place, message)| {
            format!("authorizationPolicies[0].rules[0].when[0]{place}: {message}")
        });
        let found = mistakes(&policy_rule(&json!({ "when": [when] })));
        assert_eq!(found, Vec::from_iter(expected), "{when}");
    }
}

#[test]
fn istio_resources_have_none_of_it() {
    for when in [
        json!({ "claim": "a", "equals": true }),
        json!({ "scopes": { "allOf": ["x"] } }),
    ] {
        let spec = json!({ "rules": [{ "when": [when] }] });
        let found = mistakes(&json!({
            "workload": { "namespace": "foo" },
            "resources": [resource("AuthorizationPolicy", "foo", &spec)],
        }));
        let unknown = "unknown field; the fields here are `key`, `values`, `notValues`";
        assert!(
            found.iter().any(|mistake| mistake.ends_with(unknown)),
            "{found:?}"
        );
    }
}
