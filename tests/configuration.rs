//! Wrong configurations: each is refused whole, with every mistake, its path, and what to write. And what must load.
#![cfg(not(target_family = "wasm"))]

mod support;

#[path = "configuration/beyond.rs"]
mod beyond;
#[path = "configuration/custom.rs"]
mod custom;
#[path = "configuration/errors.rs"]
mod errors;
#[path = "configuration/istio.rs"]
mod istio;
#[path = "configuration/pages.rs"]
mod pages;

use portcullis::{Node, Policy};
use serde_json::{Value, json};

const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519",
    "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fn mistakes(configuration: &Value) -> Vec<String> {
    mistakes_at(configuration, &Node::default())
}

fn mistakes_at(configuration: &Value, node: &Node) -> Vec<String> {
    match Policy::load(configuration.to_string().as_bytes(), node) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    }
}

fn warnings(policy: &Policy) -> Vec<String> {
    policy.warnings().iter().map(ToString::to_string).collect()
}

fn resource(kind: &str, namespace: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": kind,
        "metadata": {"name": "r", "namespace": namespace},
        "spec": spec,
    })
}

/// A configuration with one rule, which these members complete.
fn rule(members: &Value) -> Value {
    let mut rule = json!({"issuer": "i", "jwks": KEYS});
    let (Value::Object(rule_members), Value::Object(members)) = (&mut rule, members) else {
        panic!("an object of members");
    };
    rule_members.extend(members.clone());
    rule_members.retain(|_, value| !value.is_null());
    json!({"jwtRules": [rule]})
}

fn policy_rule(rule: &Value) -> Value {
    json!({"authorizationPolicies": [{"rules": [rule]}]})
}

#[test]
fn every_mistake_is_listed_at_once() {
    let configuration = json!({
        "resources": [
            resource("RequestAuthentication", "foo", &json!({"jwtRules": [
                {"issuer": "a", "jwksUri": "ftp://x", "audience": "b"},
                {"jwks": "nope"},
            ]})),
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}},
            resource("AuthorizationPolicy", "foo", &json!({"action": "FORBID", "rules": [
                {"to": [{"operation": {"paths": ["/ok", ""], "ports": ["http"]}}]},
                {"when": [{"key": "request.auth.claim[x]", "values": ["y"]}]},
            ]})),
        ],
        "jwks": {"cacheDuration": "soon"},
        "colour": "red",
    });
    assert_eq!(
        mistakes(&configuration),
        [
            "colour: unknown field; the fields here are `resources`, `jwtRules`, `requestAuthentications`, \
             `authorizationPolicies`, `extensionProviders`, `tokens`, `pathNormalization`, \
             `ambiguousPaths`, `corsPreflights`, `workload`, `jwks`, `defaults`, `verification`, `tokenCache`, \
             `maxWaitingRequests`, `dynamicMetadata`, `filterState`, `errors`, `ignoreHostPort`, \
             `ignorePathCase`",
            "resources[0].spec.jwtRules[0].audience: unknown field; the fields here are `issuer`, \
             `audiences`, `jwksUri`, `jwks`, `fromHeaders`, `fromParams`, `fromCookies`, \
             `outputPayloadToHeader`, `forwardOriginalToken`, `outputClaimToHeaders`, `timeout`, \
             `spaceDelimitedClaims`, `presence`",
            "resources[0].spec.jwtRules[0].jwksUri: not an absolute URI: it must start with \
             https:// or http://",
            "resources[0].spec.jwtRules[1].jwks: no key set: expected {\"keys\": [...]}, or PEM; a shared \
             secret is {\"keys\": [{\"kty\": \"oct\", \"k\": ...}]}, with its base64url for `k`",
            "resources[1].apiVersion: `Service` of `v1` is not supported by this version of Portcullis: \
             write a RequestAuthentication, AuthorizationPolicy or PeerAuthentication of \
             security.istio.io/v1, or a Policy or MeshPolicy of \
             authentication.istio.io/v1alpha1, and leave other kinds out",
            "resources[2].spec.action: unknown action: write ALLOW, DENY, AUDIT or CUSTOM",
            "resources[2].spec.rules[0].to[0].operation.paths[1]: an empty value says \
             nothing: write one, or remove it",
            "resources[2].spec.rules[0].to[0].operation.ports[0]: not a port: write a number from 0 \
             to 65535 in quotes",
            "resources[2].spec.rules[1].when[0].key: unknown attribute; the attributes are \
             `request.headers[...]`, `request.auth.claims[...]`, `request.auth.principal`, \
             `request.auth.audiences`, `request.auth.presenter`, `source.ip`, `source.namespace`, \
             `source.principal`, `source.serviceAccount`, `source.trustDomain`, `remote.ip`, \
             `destination.ip`, `destination.port`, `connection.sni`",
            "jwks.cacheDuration: not a duration; write for example \"5s\", \"1m30s\" or \"500ms\"",
        ]
    );
}

#[test]
fn what_is_no_configuration() {
    for (text, expected) in [
        (
            "",
            "the plugin configuration is empty: write at least one of `resources`, `jwtRules`, \
             `authorizationPolicies`",
        ),
        (
            "{",
            "the plugin configuration is not JSON: EOF while parsing an object at line 1 column 1",
        ),
        ("[]", "expected an object, found a list"),
        (
            "{}",
            "nothing to do: write at least one of `resources`, `jwtRules`, `authorizationPolicies`",
        ),
    ] {
        let error = Policy::load(text.as_bytes(), &Node::default()).unwrap_err();
        assert_eq!(error.to_string(), expected, "{text}");
    }
}

#[test]
fn jwt_rules() {
    for (members, expected) in [
        (json!({}), None),
        (
            json!({"issuer": null}),
            Some(
                "jwtRules[0]: write `issuer` or `jwksUri`: without either every token would be taken",
            ),
        ),
        (
            json!({"issuer": "", "jwks": null}),
            Some(
                "jwtRules[0]: write `issuer` or `jwksUri`: without either every token would be taken",
            ),
        ),
        (
            json!({"issuer": null, "jwks": null, "jwksUri": "http://a"}),
            None,
        ),
        (json!({"jwks": null}), None),
        // proto3 can't tell an empty string from none.
        (json!({"jwksUri": "", "outputPayloadToHeader": ""}), None),
        (json!({"jwks": "", "jwksUri": "http://a"}), None),
        (json!({"jwks": "", "jwksUri": ""}), None),
        (
            json!({"issuer": "", "jwks": "", "jwksUri": ""}),
            Some(
                "jwtRules[0]: write `issuer` or `jwksUri`: without either every token would be taken",
            ),
        ),
        (json!({"jwks": " "}), Some("jwtRules[0].jwks: it is empty")),
        (
            json!({"jwks": [""]}),
            Some("jwtRules[0].jwks: expected a string, found a list"),
        ),
        (
            json!({"jwksUri": "http://a"}),
            Some("jwtRules[0]: write only one of `jwks` and `jwksUri`"),
        ),
        (
            json!({"jwks": {"keys": []}}),
            Some("jwtRules[0].jwks: the key set is empty"),
        ),
        (
            json!({"jwks": "{\"keys\":{}}"}),
            Some("jwtRules[0].jwks: no key set: expected {\"keys\": [...]}, or PEM"),
        ),
        (
            json!({"jwks": {"keys": [{"kty": "oct", "k": "AA"}]}}),
            Some(
                "jwtRules[0].jwks: no usable key: key 0 is left out: its [k] is shorter than 32 octets",
            ),
        ),
        (
            json!({"jwks": 1}),
            Some("jwtRules[0].jwks: expected a string, found a number: put it in quotes"),
        ),
        (
            json!({"audiences": [""]}),
            Some("jwtRules[0].audiences[0]: an empty value says nothing: write one, or remove it"),
        ),
        (
            json!({"fromHeaders": [{"name": ""}]}),
            Some(
                "jwtRules[0].fromHeaders[0].name: not a header name: write letters, digits and `-`",
            ),
        ),
        (
            json!({"fromHeaders": [{"prefix": "x"}]}),
            Some("jwtRules[0].fromHeaders[0]: `name` is missing"),
        ),
        (
            json!({"fromHeaders": ["x-jwt", {"name": "X-Other", "prefix": "T "}]}),
            None,
        ),
        (
            json!({"fromCookies": ["a", ""]}),
            Some(
                "jwtRules[0].fromCookies[1]: an empty value says nothing: write one, or remove it",
            ),
        ),
        (
            json!({"outputPayloadToHeader": "x y"}),
            Some(
                "jwtRules[0].outputPayloadToHeader: not a header name: write letters, digits, `-` and `_`",
            ),
        ),
        (
            json!({"outputPayloadToHeader": "Host"}),
            Some(
                "jwtRules[0].outputPayloadToHeader: `host` steers the proxy itself and can't be written from a token: choose another header",
            ),
        ),
        (
            json!({"outputClaimToHeaders": [{"header": "x", "claim": "a..b"}]}),
            Some(
                "jwtRules[0].outputClaimToHeaders[0].claim: not a claim: write `name`, `outer.inner` or `[na.me][inner]`",
            ),
        ),
        (
            json!({"outputClaimToHeaders": [{"header": "x"}]}),
            Some("jwtRules[0].outputClaimToHeaders[0]: `claim` is missing"),
        ),
        (
            json!({"timeout": "0s"}),
            Some("jwtRules[0]: `timeout` is out of bounds: write from \"1ms\" to \"1h\""),
        ),
        (
            json!({"timeout": 5}),
            Some(
                "jwtRules[0].timeout: not a duration; write for example \"5s\", \"1m30s\" or \"500ms\"",
            ),
        ),
        (
            json!({"clockSkew": "0s", "requireExpiration": true, "maxTokenLifetime": "1h", "requiredType": "at+jwt"}),
            None,
        ),
        (
            json!({"requiredType": ""}),
            Some("jwtRules[0].requiredType: an empty value says nothing: write one, or remove it"),
        ),
        (
            json!({"forwardOriginalToken": "yes"}),
            Some("jwtRules[0].forwardOriginalToken: expected true or false, found a string"),
        ),
    ] {
        let expected: Vec<&str> = expected.into_iter().collect();
        assert_eq!(mistakes(&rule(&members)), expected, "{members}");
    }
}

#[test]
fn authorization_rules() {
    for (rule, expected) in [
        (json!({}), None),
        (json!({"from": []}), Some("from` must not be empty")),
        (json!({"to": []}), Some("to` must not be empty")),
        (json!({"from": [{}]}), Some("from[0]: `source` is missing")),
        (
            json!({"from": [{"source": {}}]}),
            Some("`source` must not be empty"),
        ),
        (
            json!({"to": [{"operation": {"hosts": []}}]}),
            Some("`operation` must not be empty"),
        ),
        (
            json!({"from": [{"source": {"requestPrincipals": ["a", ""]}}]}),
            Some("requestPrincipals[1]: an empty value"),
        ),
        (
            json!({"from": [{"source": {"principals": ["a", ""]}}]}),
            Some("principals[1]: an empty value"),
        ),
        (
            json!({"from": [{"source": {"notIpBlocks": ["a"]}}]}),
            Some("notIpBlocks[0]: not an address"),
        ),
        (
            json!({"from": [{"source": {"remoteIpBlocks": ["10.0.0.0/33"]}}]}),
            Some("remoteIpBlocks[0]: not an address"),
        ),
        (
            json!({"from": [{"source": {"serviceAccounts": ["ns/*"]}}]}),
            Some("serviceAccounts[0]: a service account can't have wildcards"),
        ),
        (
            json!({"from": [{"source": {"serviceAccounts": ["a"], "notNamespaces": ["b"]}}]}),
            Some("can't stand beside"),
        ),
        (
            json!({"from": [{"source": {"trustDomains": ["a/ns"]}}]}),
            Some("trustDomains[0]: a trust domain has no `/`"),
        ),
        (
            json!({"to": [{"operation": {"notPorts": ["65536"]}}]}),
            Some("notPorts[0]: not a port"),
        ),
        (
            json!({"from": [{"source": {"not_request_principals": ["*"]}}]}),
            Some("unknown field"),
        ),
        (
            json!({"to": [{"operation": {"paths": ["/a/{x}"]}}]}),
            Some("paths[0]: `{` and `}` stand only in"),
        ),
        (
            json!({"to": [{"operation": {"methods": "GET"}}]}),
            Some("expected a list, found a string"),
        ),
        (
            json!({"when": [{"values": ["x"]}]}),
            Some("`key` is missing"),
        ),
        (
            json!({"when": [{"key": "", "values": ["x"]}]}),
            Some("an empty key"),
        ),
        (
            json!({"when": [{"key": "request.headers[x-a]"}]}),
            Some("at least one of `values` and `notValues`"),
        ),
        (
            json!({"when": [{"key": "request.headers[x-a]", "values": [""]}]}),
            Some("an empty value"),
        ),
        (
            json!({"when": [{"key": "request.headers[x a]", "values": ["b"]}]}),
            Some("write the header in brackets"),
        ),
        (
            json!({"when": [{"key": "request.headers.x", "values": ["b"]}]}),
            Some("write the header in brackets"),
        ),
        (
            json!({"when": [{"key": "request.auth.claims.x", "values": ["b"]}]}),
            Some("write the claim in brackets"),
        ),
        (
            json!({"when": [{"key": "source.ip", "values": ["b"]}]}),
            Some("values[0]: not an address"),
        ),
        (
            json!({"when": [{"key": "destination.labels[a]", "values": ["b"]}]}),
            Some("replaced by the resource's `selector`"),
        ),
        (
            json!({"when": [{"key": "request.headers[:authority]", "values": ["b"], "notValues": ["c"]}]}),
            None,
        ),
    ] {
        let found = mistakes(&policy_rule(&rule));
        match expected {
            None => assert!(found.is_empty(), "{rule}: {found:?}"),
            Some(expected) => {
                assert_eq!(found.len(), 1, "{rule}: {found:?}");
                assert!(
                    found[0].starts_with("authorizationPolicies[0].rules[0]"),
                    "{found:?}"
                );
                assert!(found[0].contains(expected), "{rule}: {found:?}");
            }
        }
    }
}

#[test]
fn actions() {
    for (policy, expected) in [
        (json!({}), None),
        (json!({"action": "ALLOW"}), None),
        (json!({"action": "DENY", "rules": [{}]}), None),
        (json!({"action": "DENY"}), Some("DENY without `rules`")),
        (
            json!({"action": "deny", "rules": [{}]}),
            Some("unknown action"),
        ),
        (json!({"action": "AUDIT"}), None),
        (json!({"action": "AUDIT", "rules": [{}]}), None),
    ] {
        let short = mistakes(&json!({"authorizationPolicies": [policy]}));
        let whole = mistakes(&json!({
            "resources": [resource("AuthorizationPolicy", "foo", &policy)],
            "workload": {"namespace": "foo"},
        }));
        for found in [short, whole] {
            assert_eq!(
                found.len(),
                usize::from(expected.is_some()),
                "{policy}: {found:?}"
            );
            assert!(
                found
                    .iter()
                    .all(|m| m.contains(expected.unwrap_or_default())),
                "{found:?}"
            );
        }
    }
}

#[test]
fn resources_are_strict_in_spec_and_lenient_around_it() {
    let mut resource = resource(
        "AuthorizationPolicy",
        "foo",
        &json!({"rules": [{"from": [{"source": {"request_principals": ["*"]}}]}]}),
    );
    resource["metadata"]["uid"] = json!("1-2-3");
    resource["metadata"]["annotations"] = json!({"a": "b", "istio.io/dry-run": "false"});
    resource["status"] = json!({"conditions": [1, 2]});
    let configuration =
        |resource: &Value| json!({"resources": [resource], "workload": {"namespace": "foo"}});
    assert_eq!(mistakes(&configuration(&resource)), [""; 0]);

    resource["spec"]["rulez"] = json!([]);
    assert_eq!(
        mistakes(&configuration(&resource)),
        [
            "resources[0].spec.rulez: unknown field; the fields here are `action`, `provider`, \
          `rules`, `selector`, `targetRef`, `targetRefs`"
        ]
    );
    resource.as_object_mut().unwrap().remove("spec");
    assert_eq!(mistakes(&configuration(&resource)), [""; 0]);
}

#[test]
fn a_resource_that_can_not_be_placed_is_a_mistake() {
    let nowhere = Node::default();
    let here = Node {
        trust_domain: None,
        namespace: Some("foo".to_owned()),
        labels: Some([("app".to_owned(), "x".to_owned())].into()),
    };
    let unknown_namespace =
        "resources[0]: it can't be told whether this resource applies: write `workload.namespace`";
    let unknown_labels =
        "resources[0]: it can't be told whether the selector matches: write `workload.labels`";
    let unknown_gateway = "resources[0]: it can't be told whether this resource applies: \
                           write `workload.gateway` or `workload.labels`";
    let selector = json!({"selector": {"matchLabels": {"app": "x"}}});
    let unknown_class = "resources[0]: it can't be told whether this resource applies: \
                         write `workload.gatewayClass` or `workload.labels`";
    let gateway = json!({"targetRefs": [
        {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g"}
    ]});
    let class = json!({"targetRefs": [
        {"group": "gateway.networking.k8s.io", "kind": "GatewayClass", "name": "c"}
    ]});
    let service = json!({"targetRefs": [{"kind": "Service", "name": "s"}]});
    let service_or_gateway = json!({"targetRefs": [
        {"kind": "Service", "name": "s"},
        {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g"},
    ]});
    for (namespace, spec, workload, expected) in [
        ("foo", json!({}), json!({}), Some(unknown_namespace)),
        ("istio-system", json!({}), json!({}), None),
        ("foo", json!({}), json!({"namespace": "bar"}), None),
        (
            "istio-system",
            selector.clone(),
            json!({}),
            Some(unknown_labels),
        ),
        (
            "foo",
            selector.clone(),
            json!({"namespace": "foo"}),
            Some(unknown_labels),
        ),
        ("foo", selector.clone(), json!({"namespace": "bar"}), None),
        (
            "foo",
            selector.clone(),
            json!({"namespace": "foo", "labels": {}}),
            None,
        ),
        (
            "foo",
            selector.clone(),
            json!({"namespace": "foo", "waypoint": true}),
            None,
        ),
        (
            "foo",
            gateway.clone(),
            json!({"namespace": "foo"}),
            Some(unknown_gateway),
        ),
        ("foo", gateway.clone(), json!({"namespace": "bar"}), None),
        (
            "foo",
            gateway.clone(),
            json!({"namespace": "foo", "labels": {}}),
            None,
        ),
        (
            "foo",
            gateway.clone(),
            json!({"namespace": "foo", "gateway": "g"}),
            None,
        ),
        (
            "istio-system",
            gateway.clone(),
            json!({"gateway": "g"}),
            Some(unknown_namespace),
        ),
        (
            "istio-system",
            class.clone(),
            json!({}),
            Some(unknown_class),
        ),
        (
            "istio-system",
            class.clone(),
            json!({"waypoint": true}),
            None,
        ),
        (
            "istio-system",
            class.clone(),
            json!({"gatewayClass": "c"}),
            None,
        ),
        ("foo", class, json!({}), None),
        ("foo", service.clone(), json!({}), None),
        (
            "foo",
            service.clone(),
            json!({"namespace": "bar", "waypoint": true}),
            None,
        ),
        (
            "foo",
            service,
            json!({"namespace": "foo", "waypoint": true, "serviceName": "s"}),
            None,
        ),
        (
            "foo",
            service_or_gateway.clone(),
            json!({"namespace": "foo", "waypoint": true, "gateway": "g"}),
            None,
        ),
    ] {
        let configuration = json!({
            "resources": [resource("AuthorizationPolicy", namespace, &spec)],
            "workload": workload,
        });
        let expected: Vec<&str> = expected.into_iter().collect();
        assert_eq!(
            mistakes_at(&configuration, &nowhere),
            expected,
            "{configuration}"
        );
        assert_eq!(
            mistakes_at(&configuration, &here),
            [""; 0],
            "{configuration}"
        );
    }
}

#[test]
fn what_the_node_does_not_know_must_be_written() {
    let labelled = Node {
        trust_domain: None,
        namespace: Some("foo".to_owned()),
        labels: Some(
            [(
                "gateway.networking.k8s.io/gateway-name".to_owned(),
                "g".to_owned(),
            )]
            .into(),
        ),
    };
    let target = |group: &str, kind: &str| {
        let target = json!({"group": group, "kind": kind, "name": "x"});
        json!({"targetRefs": [target]})
    };
    for (namespace, spec, workload, unknown) in [
        (
            "istio-system",
            target("gateway.networking.k8s.io", "GatewayClass"),
            json!({}),
            "`workload.gatewayClass` or `workload.labels`",
        ),
        (
            "foo",
            target("core", "Service"),
            json!({"waypoint": true}),
            "`workload.serviceName`",
        ),
        (
            "foo",
            target("networking.istio.io", "ServiceEntry"),
            json!({"waypoint": true}),
            "`workload.serviceName`",
        ),
    ] {
        for kind in ["RequestAuthentication", "AuthorizationPolicy"] {
            let configuration = json!({
                "resources": [resource(kind, namespace, &spec)],
                "workload": workload,
            });
            assert_eq!(
                mistakes_at(&configuration, &labelled),
                [format!(
                    "resources[0]: it can't be told whether this resource applies: write {unknown}"
                )]
            );
        }
    }
}

#[test]
fn placement_is_told_with_the_other_mistakes() {
    let configuration = json!({
        "resources": [
            resource("AuthorizationPolicy", "foo", &json!({})),
            resource("AuthorizationPolicy", "foo", &json!({"action": "no"})),
        ],
        "colour": 1,
    });
    let found = mistakes(&configuration);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].starts_with("colour: unknown field"), "{found:?}");
    assert!(
        found[1].starts_with("resources[1].spec.action: "),
        "{found:?}"
    );
    assert!(
        found[2].starts_with("resources[0]: it can't be told"),
        "{found:?}"
    );
}

#[test]
fn one_is_no_plural() {
    let policy = |action: &str| json!({"action": action, "rules": [{}]});
    let rule = json!({"issuer": "https://a.test"});
    for (rules, policies, expected) in [
        (
            json!([rule]),
            json!([policy("ALLOW")]),
            "1 JWT rule, 0 DENY and 1 ALLOW policy apply to workload `` in namespace ``",
        ),
        (
            json!([rule, rule]),
            json!([policy("AUDIT"), policy("ALLOW")]),
            "2 JWT rules, 1 AUDIT, 0 DENY and 1 ALLOW policies apply to workload `` in namespace ``",
        ),
    ] {
        let configuration = json!({"jwtRules": rules, "authorizationPolicies": policies});
        let policy = Policy::load(configuration.to_string().as_bytes(), &Node::default()).unwrap();
        assert_eq!(policy.summary(), expected);
    }
}

#[test]
fn what_is_for_others_is_named() {
    let configuration = json!({
        "resources": [
            resource("AuthorizationPolicy", "foo", &json!({"selector": {"matchLabels": {"app": "shopp"}}})),
            resource("RequestAuthentication", "bar", &json!({})),
        ],
        "workload": {"name": "shop", "namespace": "foo", "labels": {"app": "shop"}},
    });
    let policy = Policy::load(configuration.to_string().as_bytes(), &Node::default()).unwrap();
    assert_eq!(
        policy.summary(),
        "0 JWT rules, 0 DENY and 0 ALLOW policies apply to workload `shop` in namespace `foo`; \
         for other workloads: AuthorizationPolicy foo/r, RequestAuthentication bar/r"
    );
    let many: Vec<Value> = (0..12)
        .map(|_| resource("AuthorizationPolicy", "bar", &json!({})))
        .collect();
    let many = json!({"resources": many, "workload": {"namespace": "foo"}});
    let many = Policy::load(many.to_string().as_bytes(), &Node::default()).unwrap();
    assert!(
        many.summary()
            .ends_with("AuthorizationPolicy bar/r and 2 more")
    );
    assert_eq!(
        warnings(&policy),
        ["nothing applies here, so every request passes"]
    );
}

/// Templates write empty strings for what isn't set. A string that must be there isn't one of them, nor
/// is an item of a list, nor what a `oneof` tells apart.
#[test]
fn an_empty_string_is_unset_where_istio_can_not_tell() {
    let jwt = json!({"issuer": "https://a.test", "jwksUri": "", "jwks": ""});
    let empty = json!({
        "resources": [
            resource("RequestAuthentication", "foo", &json!({"jwtRules": [{
                "issuer": "https://a.test",
                "jwks_uri": "",
                "jwks": "",
                "output_payload_to_header": "",
                "from_headers": [{"name": "x", "prefix": ""}],
            }]})),
            resource("AuthorizationPolicy", "foo", &json!({"targetRefs": [
                {"group": "", "kind": "Service", "name": "a", "namespace": ""},
            ]})),
        ],
        "extensionProviders": [{"name": "authz", "envoyExtAuthzHttp": {
            "service": "authz.test", "port": 80, "pathPrefix": "", "statusOnError": "",
        }}],
        "workload": {"namespace": "foo", "labels": {}, "serviceName": "a"},
        "errors": {"reasonHeader": ""},
    });
    assert_eq!(mistakes(&empty), [""; 0]);
    let policy = |fields: Value| {
        let mut policy = resource("Policy", "foo", &fields);
        policy["apiVersion"] = json!("authentication.istio.io/v1alpha1");
        policy["metadata"]["name"] = json!("default");
        json!({"resources": [policy], "workload": {"namespace": "foo", "labels": {}}})
    };
    let older = |jwt: &Value| policy(json!({"origins": [{"jwt": jwt}]}));
    assert_eq!(mistakes(&older(&jwt)), [""; 0]);
    for (configuration, mistake) in [
        (
            older(&json!({"issuer": "", "jwksUri": "http://a.test"})),
            "jwt.issuer: an empty value says nothing",
        ),
        (
            older(
                &json!({"issuer": "a", "jwksUri": "http://a.test", "triggerRules": [
                    {"includedPaths": [{"exact": "", "prefix": "/"}]},
                ]}),
            ),
            "write one of `exact`, `prefix`, `suffix` and `regex`",
        ),
        (
            json!({"jwtRules": [{"issuer": "https://a.test", "fromParams": [""]}]}),
            "fromParams[0]: an empty value says nothing",
        ),
        (
            json!({"jwtRules": [{"issuer": "https://a.test", "timeout": ""}]}),
            "timeout: not a duration",
        ),
        (
            json!({"jwtRules": [{"issuer": "https://a.test"}], "dynamicMetadata": {"header": ""}}),
            "dynamicMetadata.header: not a header name",
        ),
        (
            json!({"jwtRules": [{"issuer": "https://a.test"}], "jwks": {"cluster": ""}}),
            "jwks.cluster: an empty value says nothing",
        ),
    ] {
        let found = mistakes(&configuration);
        assert!(
            found.iter().any(|own| own.contains(mistake)),
            "{mistake}: {found:?}"
        );
    }
}

#[test]
fn an_empty_name_places_nothing() {
    // As an unset variable of a template leaves it.
    for name in [
        "name",
        "namespace",
        "gateway",
        "gatewayClass",
        "serviceName",
        "rootNamespace",
    ] {
        let configuration = json!({
            "authorizationPolicies": [{}],
            "workload": {name: ""},
            "jwks": {"cluster": "", "clusters": [{"host": "", "cluster": ""}]},
        });
        let empty = "an empty value says nothing: write one, or remove it";
        assert_eq!(
            mistakes(&configuration),
            [
                format!("workload.{name}: {empty}"),
                format!("jwks.cluster: {empty}"),
                format!("jwks.clusters[0].host: {empty}"),
                format!("jwks.clusters[0].cluster: {empty}"),
            ]
        );
    }
}

#[test]
fn selectors_and_references() {
    let gateway = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g"});
    let with = |name: &str, value: &str| {
        let mut changed = gateway.clone();
        changed[name] = json!(value);
        changed
    };
    for (spec, expected) in [
        (json!({"targetRef": gateway}), None),
        (json!({"targetRefs": [gateway]}), None),
        (
            json!({"selector": {"matchLabels": {"": "x"}}}),
            Some("a label without a name"),
        ),
        (
            json!({"selector": {"matchLabels": {"app-*": "x"}}}),
            Some("without wildcards"),
        ),
        (
            json!({"selector": {"matchLabels": {"a": "b"}}, "targetRefs": [gateway]}),
            Some("only one of `selector`, `targetRef` and `targetRefs`"),
        ),
        (
            json!({"selector": {}, "targetRef": gateway}),
            Some("only one of `selector`, `targetRef` and `targetRefs`"),
        ),
        (
            json!({"targetRef": gateway, "targetRefs": [gateway]}),
            Some("only one of `selector`, `targetRef` and `targetRefs`"),
        ),
        (json!({"targetRefs": vec![&gateway; 16]}), None),
        (
            json!({"targetRefs": vec![&gateway; 17]}),
            Some("`targetRefs` must not have more than 16 entries"),
        ),
        (
            json!({"targetRef": with("namespace", "bar")}),
            Some("`namespace` must not be set"),
        ),
        (
            json!({"targetRef": with("group", "x")}),
            Some("can't be referred to"),
        ),
        (
            json!({"targetRef": with("name", "")}),
            Some("targetRef.name: an empty value says nothing"),
        ),
        (
            json!({"targetRefs": [{"kind": "Service"}]}),
            Some("targetRefs[0]: `name` is missing"),
        ),
        (
            json!({"targetRefs": [{"kind": "Service", "name": "s"}]}),
            None,
        ),
        (
            json!({"targetRefs": [{"kind": "ServiceEntry", "name": "s"}]}),
            Some("`/ServiceEntry` can't be referred to"),
        ),
    ] {
        for kind in ["RequestAuthentication", "AuthorizationPolicy"] {
            let found = mistakes(&json!({
                "resources": [resource(kind, "foo", &spec)],
                "workload": {"namespace": "foo", "labels": {}},
            }));
            assert_eq!(
                found.len(),
                usize::from(expected.is_some()),
                "{kind} {spec}: {found:?}"
            );
            assert!(
                found
                    .iter()
                    .all(|m| m.contains(expected.unwrap_or_default())),
                "{found:?}"
            );
        }
    }
}

#[test]
fn what_those_behind_us_get() {
    for (name, value, expected) in [
        (
            "filterState",
            json!(["decision", "reason", "policy", "principal", "dryRun"]),
            None,
        ),
        (
            "filterState",
            json!(["reason", "dry_run"]),
            Some(
                "filterState[1]: nothing that can be told: write `decision`, `reason`, `policy`, \
                 `principal` or `dryRun`",
            ),
        ),
        (
            "filterState",
            json!("reason"),
            Some("filterState: expected a list, found a string: put it in brackets"),
        ),
        ("dynamicMetadata", json!({"header": "X-Claims"}), None),
        (
            "dynamicMetadata",
            json!({}),
            Some("dynamicMetadata: `header` is missing"),
        ),
        (
            "dynamicMetadata",
            json!({"header": "host"}),
            Some(
                "dynamicMetadata.header: `host` steers the proxy itself and can't be written from \
                 a token: choose another header",
            ),
        ),
        (
            "dynamicMetadata",
            json!({"header": ":path"}),
            Some("dynamicMetadata.header: not a header name: write letters, digits, `-` and `_`"),
        ),
        (
            "dynamicMetadata",
            json!({"header": "X-Sub"}),
            Some("dynamicMetadata.header: a JWT rule writes `x-sub`, too: choose another header"),
        ),
    ] {
        let outputs = json!([{"header": "x-sub", "claim": "sub"}]);
        let mut configuration = rule(&json!({"outputClaimToHeaders": outputs}));
        configuration[name] = value;
        let expected: Vec<&str> = expected.into_iter().collect();
        assert_eq!(mistakes(&configuration), expected, "{configuration}");
    }
}

#[test]
fn how_key_sets_are_fetched() {
    for (jwks, expected) in [
        (json!({}), None),
        (
            json!({"cluster": "c", "clusters": [{"host": "a", "cluster": "b"}], "shared": true}),
            None,
        ),
        (json!({"cacheDuration": "10s", "staleIfError": "0s"}), None),
        (
            json!({"cacheDuration": "1m", "minCacheDuration": "1m"}),
            None,
        ),
        (
            json!({"cacheDuration": "10ms"}),
            Some("jwks: `cacheDuration` is too short: write at least \"1s\""),
        ),
        (
            json!({"refetchInterval": "0s"}),
            Some("jwks: `refetchInterval` is too short: write at least \"1s\""),
        ),
        (
            json!({"minCacheDuration": "0s"}),
            Some("jwks: `minCacheDuration` is too short: write at least \"1s\""),
        ),
        (
            json!({"minCacheDuration": "6m"}),
            Some("jwks: `minCacheDuration` is longer than `cacheDuration`: write a shorter one"),
        ),
        (
            json!({"shared": "yes"}),
            Some("jwks.shared: expected true or false, found a string"),
        ),
    ] {
        let configuration = json!({"jwtRules": [], "jwks": jwks});
        let expected: Vec<&str> = expected.into_iter().collect();
        assert_eq!(mistakes(&configuration), expected, "{jwks}");
    }
}

#[test]
fn no_key_set_is_at_a_link_local_address_unless_that_is_allowed() {
    let advice = "no key set is fetched from link-local addresses and cloud metadata services: \
                  name another host, or write `jwks.allowLinkLocal: true`";
    let uri = "http://169.254.169.254/latest";
    let mut configuration = json!({
        "jwtRules": [{"issuer": "a", "jwksUri": uri}, {"issuer": "http://[fe80::1]/b"}],
        "resources": [resource("RequestAuthentication", "foo", &json!({
            "jwtRules": [{"issuer": "a", "jwksUri": uri}],
        }))],
        "workload": {"namespace": "foo"},
    });
    assert_eq!(
        mistakes(&configuration),
        [
            format!("resources[0].spec.jwtRules[0].jwksUri: {advice}"),
            format!("jwtRules[0].jwksUri: {advice}"),
            format!("jwtRules[1]: {advice}"),
        ]
    );
    configuration["jwks"] = json!({"allowLinkLocal": true});
    assert_eq!(mistakes(&configuration), [""; 0]);
}

#[test]
fn warnings_do_not_refuse() {
    let mut keys: Value = serde_json::from_str(KEYS).unwrap();
    keys["keys"]
        .as_array_mut()
        .unwrap()
        .push(json!({"kty": "new"}));
    let configuration = json!({"jwtRules": [
        {"issuer": "a"},
        {"issuer": "b", "jwks": keys},
        {"issuer": "c", "jwksUri": "https://c.test/.well-known/openid-configuration?x"},
        {"issuer": "d", "jwksUri": "https://d.test/.well-known/oauth-authorization-server/d"},
        {"issuer": "e", "jwksUri": "https://e.test/.well-known/openid-configuration/jwks"},
        {"issuer": "f", "jwksUri": "https://f.test/.well-known/jwks.json"},
    ]});
    let policy = Policy::load(configuration.to_string().as_bytes(), &Node::default()).unwrap();
    let metadata = "`jwksUri` looks like the address of the issuer's metadata, not of its key set: remove it, \
                    and the key set is found by the issuer's name; or write what `jwks_uri` says there";
    assert_eq!(
        warnings(&policy),
        [
            "jwtRules[0]: neither `jwks` nor `jwksUri` is written, and the issuer's name doesn't \
             tell where its keys are: every token of this issuer will be refused",
            "jwtRules[1].jwks: key 1 is left out: its [kty] and [crv] are not supported",
            &format!("jwtRules[2]: {metadata}"),
            &format!("jwtRules[3]: {metadata}"),
        ]
    );
    assert_eq!(
        policy.summary(),
        "6 JWT rules, 0 DENY and 0 ALLOW policies apply to workload `` in namespace ``"
    );
}

#[test]
fn one_cluster_for_several_hosts_is_told() {
    let told = |jwks: Value, uris: &[&str]| {
        let rules = uris.iter().enumerate();
        let rules =
            rules.map(|(issuer, uri)| json!({"issuer": issuer.to_string(), "jwksUri": uri}));
        let configuration = json!({"jwks": jwks, "jwtRules": rules.collect::<Vec<_>>()});
        let policy = Policy::load(configuration.to_string().as_bytes(), &Node::default());
        warnings(&policy.unwrap())
    };
    let (a, b) = ("https://a.test/keys", "https://b.test/keys");
    let [warning] = &told(json!({"cluster": "idp"}), &[b, a, "https://a.test:8443/"])[..] else {
        panic!("one warning");
    };
    assert!(warning.starts_with("jwks.cluster: "), "{warning}");
    assert!(warning.ends_with(": a.test, b.test"), "{warning}");
    let named = json!({"cluster": "idp", "clusters": [{"host": "b.test", "cluster": "b"}]});
    for (jwks, uris) in [
        (json!({"cluster": "idp"}), &[a][..]),
        (json!({"cluster": "idp"}), &[a, "https://a.test/other"]),
        (named, &[a, b]),
        (json!({}), &[a, b]),
    ] {
        assert_eq!(told(jwks.clone(), uris), [""; 0], "{jwks}");
    }
}

#[test]
fn names_stand_in_logs() {
    let policies = |name: &str| json!({"authorizationPolicies": [{"name": name}]});
    let resource = |name: &str, namespace: &str| {
        json!({"workload": {"namespace": "foo", "labels": {}}, "resources": [{
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": name, "namespace": namespace},
        }]})
    };
    let provider = |name: &str, cluster: &str| {
        json!({"jwtRules": [], "extensionProviders": [{"name": name, "envoyExtAuthzHttp": {
            "service": "a.test", "port": 80, "cluster": cluster,
        }}]})
    };
    for odd in [
        "a\nb",
        "\u{1b}[2Ja",
        "a\r",
        "a\0",
        "\u{7f}",
        "\u{9b}",
        "\u{202e}a",
        "a\u{2028}",
    ] {
        for (configuration, place) in [
            (policies(odd), "authorizationPolicies[0].name"),
            (resource(odd, "foo"), "resources[0].metadata.name"),
            (resource("a", odd), "resources[0].metadata.namespace"),
            (provider(odd, "a"), "extensionProviders[0].name"),
            (
                provider("a", odd),
                "extensionProviders[0].envoyExtAuthzHttp.cluster",
            ),
            (
                json!({"jwtRules": [], "workload": {"name": odd}}),
                "workload.name",
            ),
            (
                json!({"jwtRules": [], "workload": {"namespace": odd}}),
                "workload.namespace",
            ),
            (
                json!({"jwtRules": [], "jwks": {"cluster": odd}}),
                "jwks.cluster",
            ),
            (
                json!({"jwtRules": [], "jwks": {"clusters": [{"host": "a", "cluster": odd}]}}),
                "jwks.clusters[0].cluster",
            ),
        ] {
            let found = mistakes(&configuration);
            let [mistake] = &found[..] else {
                panic!("{odd:?} {configuration}: {found:?}");
            };
            let expected = format!("{place}: names are written to logs");
            assert!(mistake.starts_with(&expected), "{odd:?}: {mistake}");
        }
    }
    for (name, expected) in [("größe 1", 0), ("", 1)] {
        assert_eq!(mistakes(&policies(name)).len(), expected, "{name:?}");
    }
    assert_eq!(mistakes(&resource("größe", "foo")), [""; 0]);
}
