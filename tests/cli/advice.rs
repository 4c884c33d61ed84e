//! Advice that `check` gives, each piece beside the nearest that is fine.

use std::fs;

use serde_json::Value;

use crate::{folder, portcullis};

/// The codes that are spoken of here. What else is found in these short samples is another test's.
const OTHERS: [&str; 4] = ["any-audience", "no-keys", "no-principal", "shadowed"];

/// What is found in these files: the code, what is pointed at, and what is said with what helps.
fn advice(name: &str, files: &[(&str, &str)]) -> Vec<(String, String, String)> {
    let folder = folder(&format!("advice-{name}"));
    for (file, content) in files {
        fs::write(folder.join(file), content).expect("a file");
    }
    let path = folder.to_str().expect("UTF-8");
    let (printed, status) = portcullis(&["check", "--format=json", path]);
    assert_eq!(status, 0, "{printed}");
    let found: Vec<Value> = serde_json::from_str(&printed).expect("a list of findings");
    let found = found.iter().filter_map(|one| {
        let text = |name: &str| one[name].as_str().unwrap_or_default();
        let number =
            |name: &str| usize::try_from(one[name].as_u64().expect("a number")).expect("it fits");
        let file = files.iter().find(|(file, _)| text("file").ends_with(file));
        let (_, content) = file.expect("one of the files");
        let line = content.lines().nth(number("line") - 1).expect("a line");
        let pointed = line.get(number("column") - 1..).unwrap_or_default();
        let said = format!("{}; {}", text("message"), text("help"));
        (!OTHERS.contains(&text("code")))
            .then(|| (text("code").to_owned(), pointed.to_owned(), said))
    });
    found.collect()
}

/// What is found in a plugin configuration is these: the code, the start of what is pointed at, and a part of what is said.
fn expect(name: &str, content: &str, expected: &[(&str, &str, &str)]) {
    let found = advice(name, &[("a.yaml", content)]);
    let is_one = |((code, at, part), (found, pointed, said)): (
        &(&str, &str, &str),
        &(String, String, String),
    )| { code == found && pointed.starts_with(at) && said.contains(part) };
    let is_right = found.len() == expected.len() && expected.iter().zip(&found).all(is_one);
    assert!(
        is_right,
        "{name}\n{content}\nexpected: {expected:#?}\nfound: {found:#?}"
    );
}

/// A configuration with a rule of this issuer, and a policy of this action with this rule.
fn with_rule(action: &str, issuer: &str, rule: &str) -> String {
    format!(
        "jwtRules: [{{ issuer: \"{issuer}\", audiences: [shop] }}]\nauthorizationPolicies:\n- action: {action}\n  rules:\n  - {rule}\n"
    )
}

const ISSUER: &str = "https://idp.example.com/realms/acme";

#[test]
fn issuers_of_principals() {
    let never = "never-matches";
    for (name, issuer, value, expected) in [
        // Auth0's issuers end in a slash.
        (
            "slash",
            "https://tenant.auth0.com/",
            "https://tenant.auth0.com/*",
            Some("write `https://tenant.auth0.com//*`"),
        ),
        (
            "slash-right",
            "https://tenant.auth0.com/",
            "https://tenant.auth0.com//*",
            None,
        ),
        (
            "slash-subject",
            ISSUER,
            "https://idp.example.com/realms/acme//alice",
            Some("acme/alice`"),
        ),
        (
            "alone",
            ISSUER,
            ISSUER,
            Some("write `https://idp.example.com/realms/acme/*`"),
        ),
        (
            "alone-host",
            ISSUER,
            "https://idp.example.com",
            Some("write `https://idp.example.com/*`"),
        ),
        (
            "subject",
            ISSUER,
            "https://idp.example.com/realms/acme/alice",
            None,
        ),
        (
            "any-subject",
            ISSUER,
            "https://idp.example.com/realms/acme/*",
            None,
        ),
        (
            "some-subjects",
            ISSUER,
            "https://idp.example.com/realms/acme/a*",
            None,
        ),
        (
            "another",
            ISSUER,
            "https://other.example/*",
            Some("takes tokens of `https://other.example`"),
        ),
        (
            "near",
            ISSUER,
            "https://idp.exmaple.com/realms/acme/*",
            Some("do you mean `https://idp.example.com/realms/acme`?"),
        ),
        ("suffix", ISSUER, "*/realms/acme/alice", None),
        (
            "another-suffix",
            ISSUER,
            "*/realms/other/alice",
            Some("takes tokens of `*/realms/other`"),
        ),
        ("any", ISSUER, "*", None),
        ("any-issuer", ISSUER, "*alice", None),
        (
            "slash-in-subject",
            "https://token.actions.githubusercontent.com",
            "https://token.actions.githubusercontent.com/repo:shop/app:ref",
            Some("`request.auth.claims[sub]`"),
        ),
        (
            "peer",
            ISSUER,
            "cluster.local/ns/shop/sa/web",
            Some("`principals`"),
        ),
        (
            "like-a-peer",
            "cluster.local/ns/shop/sa",
            "cluster.local/ns/shop/sa/web",
            None,
        ),
    ] {
        let rule = format!("from: [{{ source: {{ requestPrincipals: [\"{value}\"] }} }}]");
        let found: Vec<_> = expected.iter().map(|part| (never, "\"", *part)).collect();
        expect(name, &with_rule("ALLOW", issuer, &rule), &found);
        let rule = format!("when: [{{ key: request.auth.principal, values: [\"{value}\"] }}]");
        expect(name, &with_rule("ALLOW", issuer, &rule), &found);
    }
    for (name, issuer, value, expected) in [
        ("iss", ISSUER, ISSUER, None),
        ("iss-start", ISSUER, "https://idp.example.com/*", None),
        (
            "iss-other",
            ISSUER,
            "https://other.example/*",
            Some("takes tokens of"),
        ),
        (
            "iss-slash",
            "https://tenant.auth0.com/",
            "https://tenant.auth0.com",
            Some("is `https://tenant.auth0.com/`"),
        ),
    ] {
        let rule =
            format!("when: [{{ key: \"request.auth.claims[iss]\", values: [\"{value}\"] }}]");
        let found: Vec<_> = expected.iter().map(|part| (never, "\"", *part)).collect();
        expect(name, &with_rule("ALLOW", issuer, &rule), &found);
    }
}

#[test]
fn principals_of_peers() {
    for (name, value, expected) in [
        (
            "token",
            "https://idp.example.com/realms/acme/alice",
            Some("requestPrincipals"),
        ),
        (
            "other-token",
            "https://other.example/*",
            Some("requestPrincipals"),
        ),
        (
            "address",
            "someone@example.com/someone@example.com",
            Some("requestPrincipals"),
        ),
        (
            "spiffe",
            "spiffe://cluster.local/ns/shop/sa/web",
            Some("write `cluster.local/ns/shop/sa/web`"),
        ),
        ("domain", "cluster.local/ns/shop/sa/web", None),
        ("own-domain", "td.example.com/ns/shop/sa/web", None),
        ("any", "*", None),
        ("end", "*/sa/https:web", None),
        ("template", "{{ .Values.a:b }}", None),
    ] {
        let rule = format!("from: [{{ source: {{ principals: [\"{value}\"] }} }}]");
        let found: Vec<_> = expected
            .iter()
            .map(|part| ("never-matches", "\"", *part))
            .collect();
        expect(name, &with_rule("ALLOW", ISSUER, &rule), &found);
    }
}

#[test]
fn names_of_claims_and_headers() {
    for (name, key, expected) in [
        (
            "quotes",
            r#"request.auth.claims["role"]"#,
            Some("`request.auth.claims[role]`"),
        ),
        (
            "inner-quotes",
            "request.auth.claims[realm_access]['roles']",
            Some("`request.auth.claims[realm_access][roles]`"),
        ),
        (
            "header",
            "request.headers['user']",
            Some("`request.headers[user]`"),
        ),
        ("header-right", "request.headers[user]", None),
        ("apostrophe", "request.headers[o'clock]", None),
        (
            "dotted",
            "request.auth.claims[realm_access.roles]",
            Some("[realm_access][roles]`"),
        ),
        (
            "client",
            "request.auth.claims[resource_access.my.app.roles]",
            Some("[resource_access][my.app][roles]`"),
        ),
        ("nested", "request.auth.claims[realm_access][roles]", None),
        (
            "kubernetes",
            "request.auth.claims[kubernetes.io][namespace]",
            None,
        ),
        (
            "address",
            "request.auth.claims[https://app.example.com/roles]",
            None,
        ),
    ] {
        let key = key.replace('"', "\\\"");
        let rule = format!("when: [{{ key: \"{key}\", values: [a] }}]");
        let found: Vec<_> = expected
            .iter()
            .map(|part| ("never-matches", "\"", *part))
            .collect();
        expect(name, &with_rule("ALLOW", ISSUER, &rule), &found);
    }
    for (name, claim, expected) in [
        (
            "address-cut",
            "https://app.example.com/roles",
            Some("write `[https://app.example.com/roles]`"),
        ),
        ("address-right", "[https://app.example.com/roles]", None),
        (
            "kubernetes-cut",
            "kubernetes.io.serviceaccount.name",
            Some("write `[kubernetes.io][serviceaccount][name]`"),
        ),
        (
            "kubernetes-old",
            "kubernetes.io/serviceaccount/name",
            Some("write `[kubernetes.io/serviceaccount/name]`"),
        ),
        (
            "kubernetes-alone",
            "kubernetes.io",
            Some("write `[kubernetes.io]`"),
        ),
        ("kubernetes-like", "kubernetes.iox", None),
        ("urn", "urn:zitadel:iam:org:project:roles.admin", None),
        ("nested-names", "realm_access.roles", None),
        ("one-name", "realm_access_roles", None),
        (
            "dotted-name",
            "[realm_access.roles]",
            Some("write `[realm_access][roles]`"),
        ),
        ("quoted-name", "'role'", Some("write `role`")),
        ("colon", "cognito:groups", None),
        ("local", "http://localhost/roles.admin", None),
    ] {
        let found: Vec<_> = expected
            .iter()
            .map(|part| ("never-matches", "\"", *part))
            .collect();
        let rule = format!("when: [{{ claim: \"{claim}\", anyOf: [a] }}]");
        expect(name, &with_rule("ALLOW", ISSUER, &rule), &found);
        let output = format!(
            "jwtRules: [{{ issuer: {ISSUER}, outputClaimToHeaders: [{{ header: x-a, claim: \"{claim}\" }}] }}]\n"
        );
        expect(name, &output, &found);
    }
}

#[test]
fn scopes_are_words() {
    for (name, when, expected) in [
        (
            "scope",
            "key: \"request.auth.claims[scope]\", values: [\"read write\"]",
            true,
        ),
        (
            "scope-start",
            "key: \"request.auth.claims[scope]\", values: [\"read w*\"]",
            true,
        ),
        (
            "scope-word",
            "key: \"request.auth.claims[scope]\", values: [read, write]",
            false,
        ),
        (
            "role",
            "key: \"request.auth.claims[role]\", values: [\"shop owner\"]",
            false,
        ),
        ("claim", "claim: scope, allOf: [\"read write\"]", true),
        ("claim-whole", "claim: scope, equals: read write", false),
        ("claim-role", "claim: role, anyOf: [\"shop owner\"]", false),
        ("scopes", "scopes: { anyOf: [\"read write\"] }", true),
        ("scopes-words", "scopes: { allOf: [read, write] }", false),
    ] {
        let expected = expected.then_some(("never-matches", "\"", "one by one"));
        let rule = format!("when: [{{ {when} }}]");
        expect(
            name,
            &with_rule("ALLOW", ISSUER, &rule),
            expected.as_slice(),
        );
    }
}

#[test]
fn audiences_of_no_rule() {
    for (name, audiences, values, expected) in [
        (
            "unknown",
            "[shop]",
            "values: [billing]",
            Some("write it there"),
        ),
        (
            "near",
            "[shop]",
            "values: [shopp]",
            Some("do you mean `shop`?"),
        ),
        ("known", "[shop]", "values: [shop]", None),
        ("start", "[shop]", "values: [\"sh*\"]", None),
        ("not", "[shop]", "notValues: [billing]", None),
        ("any", "[]", "values: [billing]", None),
        // These are compared without scheme and slash, as Envoy does.
        (
            "scheme",
            "[shop.example.com]",
            "values: [\"https://shop.example.com/\"]",
            None,
        ),
    ] {
        let content = format!(
            "jwtRules: [{{ issuer: {ISSUER}, audiences: {audiences} }}]\nauthorizationPolicies:\n- rules:\n  - when: [{{ key: request.auth.audiences, {values} }}]\n"
        );
        let expected = expected.map(|part| ("unknown-audience", "", part));
        expect(name, &content, expected.as_slice());
    }
}

#[test]
fn rules_that_are_two() {
    let from = "- from: [{ source: { requestPrincipals: [\"*\"] } }]";
    for (name, action, rules, expected) in [
        (
            "to",
            "ALLOW",
            format!("{from}\n  - to: [{{ operation: {{ paths: [/orders] }} }}]"),
            true,
        ),
        (
            "methods",
            "ALLOW",
            format!("{from}\n  - to: [{{ operation: {{ methods: [GET] }} }}]"),
            true,
        ),
        (
            "from",
            "ALLOW",
            format!("- to: [{{ operation: {{ paths: [/orders] }} }}]\n  {from}"),
            true,
        ),
        (
            "one",
            "ALLOW",
            format!("{from}\n    to: [{{ operation: {{ paths: [/orders] }} }}]"),
            false,
        ),
        (
            "health",
            "ALLOW",
            format!("{from}\n  - to: [{{ operation: {{ paths: [/healthz, /api/status] }} }}]"),
            false,
        ),
        (
            "preflight",
            "ALLOW",
            format!("{from}\n  - to: [{{ operation: {{ methods: [OPTIONS] }} }}]"),
            false,
        ),
        (
            "when",
            "ALLOW",
            format!(
                "{from}\n  - to: [{{ operation: {{ paths: [/orders] }} }}]\n    when: [{{ key: source.ip, values: [10.0.0.1] }}]"
            ),
            false,
        ),
        (
            "audit",
            "AUDIT",
            format!("{from}\n  - to: [{{ operation: {{ paths: [/orders] }} }}]"),
            false,
        ),
    ] {
        let content = format!(
            "jwtRules: [{{ issuer: {ISSUER}, audiences: [shop] }}]\nauthorizationPolicies:\n- action: {action}\n  rules:\n  {rules}\n"
        );
        let expected = expected.then_some(("either-rule", "", "either rule is enough"));
        expect(name, &content, expected.as_slice());
    }
}

#[test]
fn tokens_that_are_denied() {
    for (name, action, source, expected) in [
        ("any", "DENY", "requestPrincipals: [\"*\"]", true),
        ("not", "DENY", "notRequestPrincipals: [\"*\"]", false),
        ("some", "DENY", "requestPrincipals: [\"*bob\"]", false),
        (
            "elsewhere",
            "DENY",
            "requestPrincipals: [\"*\"], notNamespaces: [shop]",
            false,
        ),
        ("allow", "ALLOW", "requestPrincipals: [\"*\"]", false),
    ] {
        let rule = format!("from: [{{ source: {{ {source} }} }}]");
        let expected = expected.then_some(("denies-tokens", "\"*\"", "notRequestPrincipals"));
        expect(name, &with_rule(action, ISSUER, &rule), expected.as_slice());
    }
}

#[test]
fn other_forms_of_paths() {
    for (name, settings, action, paths, expected) in [
        (
            "not-paths",
            "",
            "ALLOW",
            "notPaths: [/internal]",
            Some("`//internal`"),
        ),
        (
            "prefix",
            "",
            "ALLOW",
            "notPaths: [\"/internal/*\"]",
            Some("`//internal/x`"),
        ),
        (
            "merged",
            "pathNormalization: MERGE_SLASHES",
            "ALLOW",
            "notPaths: [/internal]",
            None,
        ),
        (
            "refused",
            "ambiguousPaths: reject",
            "ALLOW",
            "notPaths: [/internal]",
            None,
        ),
        (
            "listed",
            "",
            "ALLOW",
            "paths: [\"/api/*\"], notPaths: [/api/internal]",
            None,
        ),
        ("end", "", "ALLOW", "notPaths: [\"*/internal\"]", None),
        (
            "metrics",
            "",
            "ALLOW",
            "notPaths: [/metrics]",
            Some("`//metrics`"),
        ),
        ("deny-not", "", "DENY", "notPaths: [/healthz]", None),
        ("deny", "", "DENY", "paths: [/admin]", None),
        (
            "as-sent",
            "pathNormalization: NONE",
            "DENY",
            "paths: [\"/admin/*\"]",
            Some("`/./admin/x`"),
        ),
        (
            "as-sent-allow",
            "pathNormalization: NONE",
            "ALLOW",
            "paths: [/admin]",
            None,
        ),
        (
            "as-sent-all",
            "pathNormalization: NONE",
            "DENY",
            "paths: [\"/*\"]",
            None,
        ),
    ] {
        let content = format!(
            "{settings}\nauthorizationPolicies:\n- action: {action}\n  rules:\n  - to: [{{ operation: {{ {paths} }} }}]\n"
        );
        let expected = expected.map(|part| ("path-forms", "", part));
        expect(name, &content, expected.as_slice());
    }
    // Health checks are left out of rules that require something, since another rule lets them in.
    for (path, expected) in [("/healthz", false), ("/internal", true)] {
        let rule = format!(
            "{{ from: [{{ source: {{ requestPrincipals: [\"*\"] }} }}], to: [{{ operation: {{ notPaths: [{path}] }} }}] }}"
        );
        let expected = expected.then_some(("path-forms", path, "MERGE_SLASHES"));
        expect(
            "of-some",
            &with_rule("ALLOW", ISSUER, &rule),
            expected.as_slice(),
        );
    }
}

/// A policy that stands alone.
fn policy(name: &str, namespace: &str, app: &str, path: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{ name: {name}{namespace} }}\nspec:\n  selector: {{ matchLabels: {{ app: {app} }} }}\n  rules: [{{ to: [{{ operation: {{ paths: [{path}] }} }}] }}]\n"
    )
}

#[test]
fn names_that_nothing_else_has() {
    let of = |name: &str, namespace: &str, app: &str| {
        policy(
            name,
            &format!(", namespace: {namespace}"),
            app,
            &format!("/{name}"),
        )
    };
    let three = |(one, app): (&str, &str), (other, its): (&str, &str)| {
        of("a", one, app) + &of("b", one, app) + &of("c", other, its)
    };
    for (name, content, expected) in [
        (
            "namespace",
            three(("shop", "web"), ("shopp", "web")),
            Some(("shopp", "`shop`")),
        ),
        ("numbers", three(("shop1", "web"), ("shop2", "web")), None),
        ("letters", three(("team-a", "web"), ("team-b", "web")), None),
        (
            "label",
            three(("shop", "orders"), ("shop", "ordres")),
            Some(("ordres", "`orders`")),
        ),
        (
            "another-namespace",
            three(("shop", "orders"), ("bank", "ordres")),
            None,
        ),
        (
            "used-twice",
            three(("shop", "web"), ("shopp", "web")) + &of("d", "shopp", "web"),
            None,
        ),
        (
            "one-each",
            of("a", "shop", "web") + &of("b", "shopp", "web"),
            None,
        ),
    ] {
        let expected = expected.map(|(at, part)| ("misspelt", at, part));
        expect(name, &content, expected.as_slice());
    }
}

#[test]
fn two_of_one_name() {
    let same = "same-name";
    for (name, files, expected) in [
        (
            "differ",
            [
                policy("a", ", namespace: shop", "web", "/a"),
                policy("a", ", namespace: shop", "web", "/b"),
            ],
            true,
        ),
        (
            "equal",
            [
                policy("a", ", namespace: shop", "web", "/a"),
                policy("a", ", namespace: shop", "web", "/a"),
            ],
            false,
        ),
        (
            "namespaces",
            [
                policy("a", ", namespace: shop", "web", "/a"),
                policy("a", ", namespace: bank", "web", "/b"),
            ],
            false,
        ),
        // Somebody may say with `kubectl -n` in which namespace.
        (
            "no-namespace",
            [policy("a", "", "web", "/a"), policy("a", "", "web", "/b")],
            false,
        ),
    ] {
        let found = advice(name, &[("1.yaml", &files[0]), ("2.yaml", &files[1])]);
        let codes: Vec<&str> = found.iter().map(|(code, ..)| code.as_str()).collect();
        assert_eq!(
            codes,
            expected.then_some(same).as_slice(),
            "{name}: {found:?}"
        );
        assert!(
            found
                .iter()
                .all(|(_, _, said)| said.contains("1.yaml:4 has another AuthorizationPolicy")),
            "{found:?}"
        );
    }
    // Of several pairs in two files one is enough, as they may be for two clusters.
    let all = |path: &str| {
        policy("a", ", namespace: shop", "web", path)
            + &policy("b", ", namespace: shop", "web", path)
    };
    let found = advice(
        "two-files",
        &[("1.yaml", &all("/a")), ("2.yaml", &all("/b"))],
    );
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].2.contains("(and so it is of another resource)"),
        "{found:?}"
    );
    let both = policy("a", "", "web", "/a") + &policy("a", "", "web", "/b");
    expect("one-file", &both, &[(same, "a }", "this file has another")]);
}

/// What stands alone may be beside a rule that isn't seen, so less is sure.
#[test]
fn what_stands_alone() {
    let rule = "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: { name: tokens }\nspec: { jwtRules: [{ issuer: \"https://tenant.auth0.com/\", audiences: [shop] }] }\n";
    for (name, from, expected) in [
        (
            "slash",
            "source: { requestPrincipals: [\"https://tenant.auth0.com/*\"] }",
            Some("//*`"),
        ),
        (
            "unseen",
            "source: { requestPrincipals: [\"https://other.example/*\"] }",
            None,
        ),
        (
            "peer",
            "source: { principals: [\"https://tenant.auth0.com/alice\"] }",
            Some("requestPrincipals"),
        ),
    ] {
        let content = format!(
            "{rule}---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{ name: a }}\nspec:\n  rules: [{{ from: [{{ {from} }}] }}]\n"
        );
        let expected = expected.map(|part| ("never-matches", "\"", part));
        expect(name, &content, expected.as_slice());
    }
}

/// What all configurations of a file have is said once.
#[test]
fn elsewhere_once_a_file() {
    let one = "workload: { namespace: shop }\nresources:\n- { apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: { name: a, namespace: bank } }\n";
    let file = folder("advice-elsewhere").join("a.yaml");
    fs::write(&file, format!("{one}---\n{one}---\n{one}")).expect("a file");
    let (printed, status) = portcullis(&["check", file.to_str().expect("UTF-8")]);
    assert_eq!(status, 0, "{printed}");
    assert_eq!(printed.matches("advice[elsewhere]").count(), 1, "{printed}");
    assert!(
        printed.contains("(and others in 2 more configurations of this file)"),
        "{printed}"
    );
}
