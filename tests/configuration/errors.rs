//! How refusals look: what would make of one something else is a mistake.

use portcullis::Reason;
use serde_json::{Value, json};

use crate::mistakes;

fn errors(errors: &Value) -> Vec<String> {
    mistakes(&json!({ "authorizationPolicies": [], "errors": errors }))
}

#[test]
fn good_ones() {
    for good in [
        json!({}),
        json!({ "profile": "istio", "format": "text" }),
        json!({ "profile": "rfc6750", "format": "json", "realm": "a \"b\"" }),
        json!({ "resourceMetadata": "https://a.test/.well-known/oauth-protected-resource" }),
        json!({ "redirect": "https://login.test" }),
        json!({ "redirect": "https://login.test/start?rd={url}#{url}" }),
        json!({ "redirect": "https://login.test/#/start/{url}/" }),
        json!({ "overrides": [{ "reasons": ["*"], "status": 404 }] }),
        json!({ "overrides": [{ "reasons": ["jwt_*", "*_denied"], "status": 599.0, "body": "" }] }),
        json!({ "overrides": [{ "reasons": ["jwt_expired"], "headers": { "Content-Type": "a/b" } }] }),
    ] {
        let none: [&str; 0] = [];
        assert_eq!(errors(&good), none, "{good}");
    }
}

#[test]
fn mistakes_in_them() {
    for (wrong, mistake) in [
        (
            json!({ "profile": "rfc" }),
            "errors.profile: unknown profile: write `istio` or `rfc6750`",
        ),
        (
            json!({ "format": "html" }),
            "errors.format: unknown format: write `text` or `json`",
        ),
        (
            json!({ "resourceMetadata": "/.well-known/x" }),
            "errors.resourceMetadata: not an absolute URI: it must start with https:// or http://",
        ),
        (
            json!({ "redirect": "https://a.test/?rd={path}" }),
            "errors.redirect: unknown placeholder: `{url}` is the only one",
        ),
        (
            json!({ "redirect": "https://{url}/" }),
            "errors.redirect: `{url}` must stand in the query or the fragment",
        ),
        (
            json!({ "redirect": "https://a.test/{url}" }),
            "errors.redirect: `{url}` must stand in the query or the fragment",
        ),
        (
            json!({ "redirect": "https://a.test/ {url}" }),
            "errors.redirect: not a URI: percent-encode spaces and characters beyond ASCII",
        ),
        (
            json!({ "reasonHeader": "grpc-status" }),
            "errors: `reasonHeader`: clients read answers by `grpc-status`: choose another header",
        ),
    ] {
        assert_eq!(errors(&wrong), [mistake], "{wrong}");
    }
    for status in [
        json!(200),
        json!(302),
        json!(100),
        json!(600),
        json!(403.5),
        json!("403"),
    ] {
        assert_eq!(
            errors(&json!({ "overrides": [{ "reasons": ["*"], "status": status }] })),
            [
                "errors.overrides[0].status: not the status of a refusal: write a number from 400 to 599"
            ],
            "{status}"
        );
    }
    for reason in [
        "expired",
        "JWT_EXPIRED",
        "",
        "jwt*expired",
        "proxy_unconfigured",
    ] {
        assert_eq!(
            errors(&json!({ "overrides": [{ "reasons": [reason], "status": 403 }] })),
            [
                "errors.overrides[0].reasons[0]: unknown reason: write a code such \
                 as `jwt_expired`, or a pattern such as `jwt_*`"
            ],
            "{reason}"
        );
    }
    for name in [
        ":status",
        "content-length",
        "transfer-encoding",
        "grpc-status",
        "Grpc-Message",
        "a b",
        "",
    ] {
        assert_eq!(
            errors(&json!({ "overrides": [{ "reasons": ["*"], "headers": { name: "x" } }] })),
            [format!(
                "errors.overrides[0].headers: `{name}` is no header that an answer can get"
            )],
        );
    }
    assert_eq!(
        errors(&json!({ "overrides": [
            { "status": 403 },
            { "reasons": ["*"] },
            { "reasons": ["*"], "headers": { "x-a": "b\r\nset-cookie: c" } },
        ] })),
        [
            "errors.overrides[0]: `reasons` is empty: write codes such as `jwt_expired`, or `*`",
            "errors.overrides[1]: nothing is changed: write at least one of `status`, `headers`, `body`",
            "errors.overrides[2].headers: `x-a`: write printable ASCII only",
        ]
    );
}

#[test]
fn every_code_is_in_the_reference() {
    let page = include_str!("../../docs/configuration.md");
    for code in Reason::ALL.iter().map(|reason| reason.code()) {
        assert!(page.contains(&format!("`{code}`")), "{code}");
    }
}
