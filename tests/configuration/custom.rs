//! What CUSTOM policies, the services that they name, and dry runs may say.

use serde_json::{Value, json};

use crate::{mistakes, resource};

/// A service that policies can name `authz`, which these members complete.
fn provider(members: &Value) -> Value {
    let mut http = json!({"service": "foo/authz.test", "port": 8000});
    for (name, value) in members.as_object().expect("an object of members") {
        http[name] = value.clone();
    }
    json!({"name": "authz", "envoyExtAuthzHttp": http})
}

#[test]
fn policies() {
    let with =
        |rules: Value| json!({"action": "CUSTOM", "provider": {"name": "authz"}, "rules": rules});
    for (policy, expected) in [
        (with(json!([{}])), None),
        (with(json!([])), Some("CUSTOM without `rules`")),
        (
            json!({"action": "CUSTOM", "rules": [{}]}),
            Some("CUSTOM needs `provider.name`"),
        ),
        (
            json!({"action": "CUSTOM", "provider": {}, "rules": [{}]}),
            Some("provider: `name` is missing"),
        ),
        (
            json!({"action": "CUSTOM", "provider": {"name": ""}, "rules": [{}]}),
            Some("provider.name: an empty value"),
        ),
        (
            json!({"action": "CUSTOM", "provider": {"name": "other"}, "rules": [{}]}),
            Some("provider.name: there is no `other` in `extensionProviders`"),
        ),
        (
            json!({"provider": {"name": "authz"}}),
            Some("`provider` is for the action CUSTOM"),
        ),
        (
            with(json!([{}, {
                "from": [{"source": {"ipBlocks": ["10.0.0.1"]}}],
                "to": [{"operation": {"paths": ["/a"]}}],
                "when": [{"key": "request.headers[x-a]", "notValues": ["b"]}],
            }])),
            None,
        ),
        (
            with(json!([{}, {"from": [{"source": {"notRequestPrincipals": ["*"]}}]}])),
            Some("`rules[1]`: request.auth.principal can't be decided upon with the action CUSTOM"),
        ),
        (
            with(json!([{"from": [{"source": {"namespaces": ["a"]}}]}])),
            Some("`rules[0]`: source.principal can't be decided upon"),
        ),
        (
            with(json!([{"when": [{"key": "request.auth.audiences", "values": ["a"]}]}])),
            Some("`rules[0]`: request.auth.claims can't be decided upon"),
        ),
    ] {
        let providers = json!([provider(&json!({}))]);
        let short = mistakes(&json!({
            "authorizationPolicies": [policy],
            "extensionProviders": providers,
        }));
        let whole = mistakes(&json!({
            "extensionProviders": providers,
            "resources": [resource("AuthorizationPolicy", "foo", &policy)],
            "workload": {"namespace": "foo"},
        }));
        for found in [short, whole] {
            let is_it = match (expected, &found[..]) {
                (None, []) => true,
                (Some(expected), [only]) => only.contains(expected),
                _ => false,
            };
            assert!(is_it, "{policy}: expected {expected:?}, got {found:?}");
        }
    }
}

#[test]
fn services_that_are_asked() {
    for (members, expected) in [
        (json!({}), None),
        (
            json!({
                "cluster": "c", "timeout": "10s", "pathPrefix": "/check?x=", "failOpen": true,
                "statusOnError": "503", "includeRequestHeadersInCheck": ["a", "B-*", "*-c"],
                "includeAdditionalHeadersInCheck": {"X-A": "b c"},
                "headersToUpstreamOnAllow": ["x"], "headersToDownstreamOnDeny": ["x"],
                "headersToDownstreamOnAllow": ["x"], "includeHeadersInCheck": ["x"],
                "clearRouteCache": true,
            }),
            None,
        ),
        (json!({"port": 8000.0}), None),
        (json!({"clearRouteCache": false}), None),
        (json!({"service": null}), Some(": `service` is missing")),
        (json!({"service": "a/b/c"}), Some(".service: not a service")),
        (json!({"service": "a b"}), Some(".service: not a service")),
        (json!({"port": null}), Some(": `port` is missing")),
        (
            json!({"port": 0}),
            Some(".port: expected a number from 1 to 65535, found a number"),
        ),
        (json!({"port": 65536}), Some(".port: expected a number")),
        (json!({"port": 1.5}), Some(".port: expected a number")),
        (json!({"port": "80"}), Some(".port: expected a number")),
        (
            json!({"timeout": "0s"}),
            Some(": `timeout` is out of bounds"),
        ),
        (
            json!({"pathPrefix": "check"}),
            Some(".pathPrefix: not a path"),
        ),
        (
            json!({"statusOnError": "600"}),
            Some(".statusOnError: not a status"),
        ),
        (
            json!({"statusOnError": 503}),
            Some(".statusOnError: expected a string"),
        ),
        (
            json!({"headersToUpstreamOnAllow": ["*"]}),
            Some(".headersToUpstreamOnAllow[0]: `*` alone is not supported"),
        ),
        (
            json!({"includeRequestHeadersInCheck": [""]}),
            Some(".includeRequestHeadersInCheck[0]: an empty value"),
        ),
        (
            json!({"includeRequestBodyInCheck": {"maxRequestBytes": 1}}),
            Some(": `includeRequestBodyInCheck`: a request is decided upon before its body"),
        ),
        (
            json!({"includeAdditionalHeadersInCheck": {"host": "b"}}),
            Some(".includeAdditionalHeadersInCheck: `host` is no header that can be added"),
        ),
        (
            json!({"includeAdditionalHeadersInCheck": {"a": "b\n"}}),
            Some(".includeAdditionalHeadersInCheck: `a`: write printable ASCII only"),
        ),
        (
            json!({"includeAdditionalHeadersInCheck": {"a": "%REQ(b)%"}}),
            Some(".includeAdditionalHeadersInCheck: `a`: Envoy's formats"),
        ),
        (
            json!({"headersToUpstreamOnAllow": ["x"], "clearRouteCache": false}),
            Some(": `clearRouteCache` can't be false"),
        ),
        (json!({"servise": "a"}), Some(".servise: unknown field")),
    ] {
        let configuration = json!({
            "authorizationPolicies": [],
            "extensionProviders": [provider(&members)],
        });
        let found = mistakes(&configuration);
        let place = "extensionProviders[0].envoyExtAuthzHttp";
        let expected = expected.map(|expected| format!("{place}{expected}"));
        let is_it = match (&expected, &found[..]) {
            (None, []) => true,
            (Some(expected), [only]) => only.starts_with(expected),
            _ => false,
        };
        assert!(is_it, "{members}: expected {expected:?}, got {found:?}");
    }
    let twice = json!({
        "authorizationPolicies": [],
        "extensionProviders": [provider(&json!({})), provider(&json!({}))],
    });
    assert_eq!(
        mistakes(&twice),
        ["two of `extensionProviders` are called `authz`: give each a name of its own"]
    );
}

#[test]
fn dry_runs() {
    let annotated = |kind: &str, spec: &Value, value: Value| {
        let mut resource = resource(kind, "foo", spec);
        resource["metadata"]["annotations"] = json!({"istio.io/dry-run": value});
        mistakes(&json!({
            "extensionProviders": [provider(&json!({}))],
            "resources": [resource],
            "workload": {"namespace": "foo"},
        }))
    };
    let of = |action: &str, value: Value| {
        let named = (action == "CUSTOM").then(|| json!({"name": "authz"}));
        let spec = json!({"action": action, "rules": [{}], "provider": named});
        annotated("AuthorizationPolicy", &spec, value)
    };
    for value in ["true", "false", "1", "F", "TRUE"] {
        for action in ["ALLOW", "DENY"] {
            assert_eq!(of(action, json!(value)), [""; 0], "{value}");
        }
    }
    for value in [json!("yes"), json!(""), json!(true)] {
        assert_eq!(
            of("DENY", value),
            ["resources[0].metadata: the annotation istio.io/dry-run is \"true\" or \"false\""]
        );
    }
    let advice = "a dry run is for the actions ALLOW and DENY only: remove it";
    for action in ["AUDIT", "CUSTOM"] {
        let found = of(action, json!("true"));
        assert_eq!(found, [format!("resources[0]: {advice}")]);
    }
    let short = json!({"authorizationPolicies": [{"action": "AUDIT", "dryRun": true}]});
    assert_eq!(
        mistakes(&short),
        [format!("authorizationPolicies[0]: {advice}")]
    );
    assert_eq!(
        annotated("RequestAuthentication", &json!({}), json!("false")),
        [
            "resources[0]: istio.io/dry-run is not for a RequestAuthentication: remove the annotation"
        ]
    );
}
