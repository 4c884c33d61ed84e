//! What a document is: no command passes over one that could decide, and each tells what it read.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{folder, portcullis, said};

const RULES: &str = "spec: { action: DENY, rules: [{ to: [{ operation: { paths: [/admin] } }] }] }";
const ALLOW_ALL: &str = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: all, namespace: shop }\nspec: { rules: [{}] }\n";
const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: { name: s }\n";

fn utf8(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn file(folder: &Path, name: &str, content: &str) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, content).expect("a file");
    file
}

/// Documents that look like ours and aren't: the line that is wrong, what is said, and what is said to write.
const LOOKALIKES: [(&str, usize, &str, &str); 22] = [
    (
        "apiVersion: security.istio.oi/v1\nkind: AuthorizationPolicy\n",
        1,
        "security.istio.oi/v1",
        "security.istio.io/v1",
    ),
    (
        "apiVersion: security.istio.oi/v1\nkind: Whatever\n",
        1,
        "security.istio.oi/v1",
        "security.istio.io/v1",
    ),
    (
        "kind: AuthorizationPolicy\n",
        1,
        "`apiVersion` is missing",
        "security.istio.io/v1",
    ),
    (
        "apiVersion:\nkind: AuthorizationPolicy\n",
        1,
        "`apiVersion` is missing",
        "security.istio.io/v1",
    ),
    (
        "ApiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n",
        1,
        "`ApiVersion`",
        "apiVersion",
    ),
    (
        "apiversion: security.istio.io/v1\nKind: RequestAuthentication\n",
        1,
        "`apiversion`",
        "apiVersion",
    ),
    (
        "apiVersion: security.istio.io/v1\nKind: AuthorizationPolicy\n",
        2,
        "`Kind`",
        "kind",
    ),
    (
        "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: AuthorizationPolicy\n",
        1,
        "gateway.envoyproxy.io/v1alpha1",
        "security.istio.io/v1",
    ),
    (
        "apiVersion: security.istio.io/v2\nkind: AuthorizationPolicy\n",
        1,
        "security.istio.io/v2",
        "security.istio.io/v1",
    ),
    (
        "apiVersion: security.istio.io\nkind: AuthorizationPolicy\n",
        1,
        "security.istio.io",
        "security.istio.io/v1",
    ),
    (
        "apiVersion: v1\nkind: PeerAuthentication\n",
        1,
        "`v1`",
        "security.istio.io/v1",
    ),
    (
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicies\n",
        2,
        "AuthorizationPolicies",
        "AuthorizationPolicy",
    ),
    (
        "apiVersion: security.istio.io/v1\nkind: authorizationpolicy\n",
        2,
        "authorizationpolicy",
        "AuthorizationPolicy",
    ),
    (
        "apiVersion: security.istio.io/v1\nkind: PeerAuthenticaton\n",
        2,
        "PeerAuthenticaton",
        "PeerAuthentication",
    ),
    (
        "apiVersion: example.com/v1\nkind: RequestAuthentification\n",
        2,
        "RequestAuthentification",
        "RequestAuthentication",
    ),
    (
        "apiVersion: security.istio.io/v1\nkind: Whatever\n",
        2,
        "Whatever",
        "AuthorizationPolicy",
    ),
    (
        "apiVersion: security.istio.io/v1beta1\nkind: MeshPolicy\n",
        1,
        "security.istio.io/v1beta1",
        "authentication.istio.io/v1alpha1",
    ),
    (
        "apiVersion: security.istio.io/v1\nkind:\n",
        2,
        "`kind` is missing",
        "AuthorizationPolicy",
    ),
    (
        "apiVersion: rbac.istio.io/v1alpha1\nkind: ServiceRole\n",
        2,
        "ServiceRole",
        "AuthorizationPolicy",
    ),
    (
        "apiVersion: authentication.istio.oi/v1alpha1\nkind: Policy\n",
        1,
        "authentication.istio.oi/v1alpha1",
        "authentication.istio.io/v1alpha1",
    ),
    (
        "kind: Widget\napiVersion: example.com/v1\n",
        1,
        "Widget",
        "AuthorizationPolicy",
    ),
    (
        "metadata: { name: bare }\n",
        1,
        "`kind` is missing",
        "AuthorizationPolicy",
    ),
];

/// Where documents stand: alone, among others in a file, in lists, in lists of lists, in a ConfigMap.
fn placed(document: &str) -> Vec<(&'static str, String, usize)> {
    let indented = |by: &str| -> String {
        let lines = document.lines().chain([RULES]);
        lines.map(|line| format!("{by}{line}\n")).collect()
    };
    let item = |by: &str| {
        let mut item = indented(by);
        item.replace_range(by.len() - 2..by.len(), "- ");
        item
    };
    let list = "apiVersion: v1\nkind: List\nitems:\n";
    let inner = format!("- apiVersion: v1\n  kind: List\n  items:\n{}", item("    "));
    vec![
        ("alone", format!("{document}{RULES}\n"), 0),
        (
            "second",
            format!("{SERVICE}---\n{ALLOW_ALL}---\n{document}{RULES}\n"),
            9,
        ),
        ("list", format!("{list}{}", item("  ")), 3),
        ("nested", format!("{list}{inner}"), 6),
        (
            "map",
            format!(
                "apiVersion: v1\nkind: ConfigMap\ndata:\n  policies.yaml: |\n{}",
                indented("    ")
            ),
            4,
        ),
    ]
}

#[test]
fn what_looks_like_ours_is_never_passed_over() {
    let folder = folder("lookalikes");
    for (document, line, wrong, right) in LOOKALIKES {
        for (place, content, before) in placed(document) {
            let path = file(&folder, "policies.yaml", &content);
            let path = utf8(&path);
            let (printed, status) = portcullis(&["check", "--format", "json", path]);
            assert_eq!(status, 1, "{place}: {content}{printed}");
            let found: Value = serde_json::from_str(&printed).expect("JSON");
            let first = found
                .as_array()
                .and_then(|found| found.iter().find(|one| one["severity"] == "mistake"));
            let first = first.unwrap_or_else(|| panic!("{place}: {content}{printed}"));
            let said_so = format!("{} {}", first["message"], first["help"]);
            assert!(
                said_so.contains(wrong) && said_so.contains(right),
                "{place}: {content}{said_so}"
            );
            assert_eq!(first["line"], line + before, "{place}: {content}{said_so}");

            let arguments = [
                "explain",
                path,
                "--namespace",
                "shop",
                "--",
                "https://a.test/admin",
            ];
            let (printed, errors, status) = said(&arguments);
            assert_eq!(
                (printed.as_str(), status),
                ("", 2),
                "{place}: {content}{errors}"
            );
            assert!(errors.contains(wrong), "{place}: {content}{errors}");

            let tests = "configuration: policies.yaml\nnamespace: shop\ntests: [{ name: t, request: { path: /admin }, expect: allow }]\n";
            let suite = file(&folder, "suite.tests", tests);
            let (printed, errors, status) = said(&["test", utf8(&suite)]);
            assert_eq!(
                (printed.as_str(), status),
                ("", 2),
                "{place}: {content}{errors}"
            );
            assert!(errors.contains(wrong), "{place}: {content}{errors}");
        }
    }
}

/// What decides about requests elsewhere, and isn't read here.
const OF_OTHERS: [(&str, &str); 6] = [
    (
        "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nspec: { jwt: { providers: [{ name: a }] } }\n",
        "SecurityPolicy 1",
    ),
    (
        "apiVersion: policy.linkerd.io/v1alpha1\nkind: AuthorizationPolicy\nspec: { requiredAuthenticationRefs: [] }\n",
        "AuthorizationPolicy 1",
    ),
    (
        "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nspec: { configPatches: [{ patch: { value: { name: envoy.filters.http.jwt_authn } } }] }\n",
        "EnvoyFilter 1",
    ),
    (
        "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nspec: { url: 'oci://a.test/other:1' }\n",
        "WasmPlugin 1",
    ),
    (
        "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyExtensionPolicy\nspec: { wasm: [{ name: other }] }\n",
        "EnvoyExtensionPolicy 1",
    ),
    (
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nspec: { http: [{ match: [{ headers: { '@request.auth.claims.sub': { exact: a } } }] }] }\n",
        "VirtualService 1",
    ),
];

#[test]
fn what_others_decide_is_named() {
    let folder = folder("of-others");
    for (document, named) in OF_OTHERS {
        let path = file(&folder, "all.yaml", &format!("{ALLOW_ALL}---\n{document}"));
        let (printed, status) = portcullis(&["check", utf8(&path)]);
        assert_eq!(status, 0, "{printed}");
        assert!(printed.contains("advice[not-read]"), "{printed}");
        assert!(
            printed.contains(&format!("doesn't read ({named})")),
            "{printed}"
        );
        let (_, status) = portcullis(&["check", "--deny", "not-read", utf8(&path)]);
        assert_eq!(status, 1, "{document}");
        let arguments = [
            "explain",
            utf8(&path),
            "--namespace",
            "shop",
            "--",
            "https://a.test/",
        ];
        let (_, errors, status) = said(&arguments);
        assert_eq!(status, 0, "{errors}");
        assert!(
            errors.contains(&format!("doesn't read ({named})")),
            "{errors}"
        );
        // Alone there is nothing to check, and it says what there is.
        let path = file(&folder, "alone.yaml", document);
        let (_, errors, status) = said(&["check", utf8(&path)]);
        assert_eq!(status, 2, "{errors}");
        assert!(errors.contains(named), "{errors}");
    }
}

/// Items of a list of one kind are of it, whether they say so or not.
#[test]
fn typed_lists() {
    let folder = folder("typed-lists");
    let list = |version: &str, kind: &str| {
        let wrong = "spec: { action: FORBID }";
        format!(
            "apiVersion: {version}\nkind: {kind}\nitems:\n- metadata: {{ name: a }}\n  {wrong}\n- metadata: {{ name: b }}\n  {wrong}\n"
        )
    };
    for (content, count) in [
        (list("security.istio.io/v1", "AuthorizationPolicyList"), 2),
        (list("security.istio.oi/v1", "AuthorizationPolicyList"), 2),
        (list("security.istio.io/v1", "AuthorizationPoliciesList"), 2),
        (list("v1", "ServiceList"), 0),
    ] {
        let path = file(&folder, "list.yaml", &format!("{ALLOW_ALL}---\n{content}"));
        let (printed, status) = portcullis(&["check", "--format", "json", utf8(&path)]);
        let found: Value = serde_json::from_str(&printed).expect("JSON");
        assert_eq!(
            found.as_array().map(Vec::len),
            Some(count),
            "{content}{printed}"
        );
        assert_eq!(status, i32::from(count > 0), "{content}");
    }
}

#[test]
fn every_command_tells_what_it_read() {
    let folder = folder("summary");
    let rule = "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: { name: r, namespace: shop }\nspec: { jwtRules: [{ issuer: a, audiences: [b], jwksUri: 'https://a.test/keys' }] }\n";
    let deployment = "apiVersion: apps/v1\nkind: Deployment\n";
    let policies = format!("{ALLOW_ALL}---\n{rule}---\n{SERVICE}");
    file(&folder, "a.yaml", &policies);
    file(&folder, "b.yaml", &format!("{deployment}---\n{deployment}"));
    let read = "1 policy, 1 token rule";
    let whole = format!("2 files: {read}; 3 documents of other kinds (Deployment 2, Service 1)");
    let (printed, status) = portcullis(&["check", utf8(&folder)]);
    assert_eq!(status, 0, "{printed}");
    assert!(printed.lines().any(|line| line == whole), "{printed}");
    for format in ["json", "github", "sarif"] {
        let (_, errors, _) = said(&["check", "--format", format, utf8(&folder)]);
        assert_eq!(errors, format!("portcullis: {whole}\n"), "{format}");
    }
    let (sarif, _) = portcullis(&["check", "--format", "sarif", utf8(&folder)]);
    let sarif: Value = serde_json::from_str(&sarif).expect("JSON");
    let told = &sarif["runs"][0]["properties"]["read"];
    assert_eq!(told["files"], 2);
    assert_eq!(told["policies"], 1);
    assert_eq!(told["tokenRules"], 1);
    assert_eq!(told["otherKinds"]["Deployment"], 2);

    let one = format!("1 file: {read}; 1 document of another kind (Service 1)");
    let path = folder.join("a.yaml");
    let arguments = [
        "explain",
        utf8(&path),
        "--namespace",
        "shop",
        "--",
        "https://a.test/",
    ];
    let (_, errors, _) = said(&arguments);
    assert_eq!(errors, format!("portcullis: {one}\n"));
    let tests = "configuration: a.yaml\nnamespace: shop\ntests: [{ name: t, expect: allow }]\n";
    let suite = file(&folder, "suite.tests", tests);
    let (printed, errors, status) = said(&["test", utf8(&suite)]);
    assert_eq!(status, 0, "{printed}{errors}");
    assert_eq!(errors, format!("portcullis: {one}\n"));
}

/// What isn't ours stays no mistake, however near its words are.
#[test]
fn what_is_of_others_is_no_mistake() {
    let folder = folder("no-lookalikes");
    for content in [
        "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nspec: { rules: [{ name: a, match: {} }] }\n",
        "apiVersion: kyverno.io/v1\nkind: Policy\nspec: { rules: [{ name: a, match: {} }] }\n",
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nspec: { ingress: [{ from: [{ podSelector: {} }] }] }\n",
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nrules: [{ apiGroups: [''], resources: [pods], verbs: [get] }]\n",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nspec: { http: [{ route: [] }] }\n",
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nspec: { group: security.istio.io, names: { kind: AuthorizationPolicy }, versions: [{ schema: { jwtRules: {} } }] }\n",
        "apiVersion: v1\nkind: ConfigMap\ndata: { script.sh: 'echo security.istio.io/v1 AuthorizationPolicy: [' }\n",
        "apiVersion: authorization.k8s.io/v1\nkind: SubjectAccessReview\n",
        "replicas: 3\nimage: { repository: a }\n",
        "- a\n- b\n",
        "just text\n",
    ] {
        file(&folder, "ours.yaml", ALLOW_ALL);
        file(&folder, "others.yaml", content);
        let (printed, status) = portcullis(&["check", utf8(&folder)]);
        assert_eq!(status, 0, "{content}{printed}");
        assert!(
            printed.contains("1 document of another kind ("),
            "{content}{printed}"
        );
    }
}

/// What holds a configuration or resources where nobody would look for them: they are read, or it is a mistake.
#[test]
fn what_is_hidden_in_other_documents() {
    let folder = folder("hidden-documents");
    let config = "{ authorizationPolicies: [{ name: a, action: FORBID }] }";
    let policy =
        "{ apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, spec: { action: FORBID } }";
    let near =
        "{ apiVersion: security.istio.oi/v1, kind: AuthorizationPolicy, spec: { action: DENY } }";
    let wasm = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
    let string = "'@type': type.googleapis.com/google.protobuf.StringValue";
    for content in [
        format!(
            "apiVersion: extensions.istio.oi/v1alpha1\nkind: WasmPlugin\nspec: {{ pluginConfig: {config} }}\n"
        ),
        format!(
            "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugins\nspec: {{ pluginConfig: {config} }}\n"
        ),
        format!(
            "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nspec: {{ config: {config} }}\n"
        ),
        format!(
            "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyExtensionPolicies\nspec: {{ wasm: [{{ config: {config} }}] }}\n"
        ),
        format!(
            "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nspec: {{ values: {{ config: {config} }} }}\n"
        ),
        format!("config: {config}\n"),
        format!("apiVersion: template.openshift.io/v1\nkind: Template\nobjects: [{policy}]\n"),
        format!(
            "apiVersion: kubernetes.crossplane.io/v1alpha2\nkind: Object\nspec: {{ forProvider: {{ manifest: {policy} }} }}\n"
        ),
        format!(
            "apiVersion: kubernetes.crossplane.io/v1alpha2\nkind: Object\nspec: {{ forProvider: {{ manifest: {near} }} }}\n"
        ),
        format!(
            "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nspec: {{ configPatches: [{{ patch: {{ value: {{ typed_config: {{ '@type': type.googleapis.com/udpa.type.v1.TypedStruct, type_url: {wasm}, value: {{ config: {{ name: portcullis, configuration: {{ {string}, value: '{{\"authorizationPolicies\": [{{\"action\": \"FORBID\"}}]}}' }} }} }} }} }} }} }}] }}\n"
        ),
        format!("- {policy}\n- {{ kind: Service, apiVersion: v1 }}\n"),
        format!("kind: list\nitems: [{policy}]\n"),
        format!("kind: List\nItems: [{near}]\n"),
    ] {
        file(&folder, "ours.yaml", ALLOW_ALL);
        file(&folder, "hidden.yaml", &content);
        let (printed, status) = portcullis(&["check", utf8(&folder)]);
        assert_eq!(status, 1, "{content}{printed}");
        let path = folder.join("hidden.yaml");
        let (printed, status) = portcullis(&["check", utf8(&path)]);
        assert_eq!(status, 1, "{content}{printed}");
    }
}

/// A right configuration that nothing hands over has no effect.
#[test]
fn what_hands_nothing_over() {
    let folder = folder("nothing-over");
    let config = "{ authorizationPolicies: [{ name: a, action: DENY, rules: [{ to: [{ operation: { paths: [/a] } }] }] }] }";
    for (version, kind, spec) in [
        (
            "extensions.istio.oi/v1alpha1",
            "WasmPlugin",
            "pluginConfig: CONFIG",
        ),
        (
            "extensions.istio.io/v1alpha1",
            "WasmPlugins",
            "pluginConfig: CONFIG",
        ),
        (
            "extensions.istio.io/v1alpha1",
            "wasmplugin",
            "pluginConfig: CONFIG",
        ),
        (
            "extensions.istio.io/v1alpha1",
            "WasmPlugin",
            "config: CONFIG",
        ),
        (
            "gateway.envoyproxy.io/v1alpha1",
            "EnvoyExtensionPolicies",
            "wasm: [{ config: CONFIG }]",
        ),
        (
            "gateway.envoyproxy.io/v1alpha1",
            "EnvoyExtensionPolicy",
            "wasm: [{ pluginConfig: CONFIG }]",
        ),
    ] {
        let spec = spec.replace("CONFIG", config);
        let content = format!("apiVersion: {version}\nkind: {kind}\nspec: {{ {spec} }}\n");
        file(&folder, "ours.yaml", ALLOW_ALL);
        file(&folder, "hidden.yaml", &content);
        let (printed, status) = portcullis(&["check", utf8(&folder)]);
        assert_eq!(status, 1, "{content}{printed}");
        assert!(printed.contains("nothing hands over"), "{content}{printed}");
        let (_, errors, status) = said(&["explain", utf8(&folder), "--", "https://a.test/"]);
        assert_eq!(status, 2, "{content}{errors}");
    }
}
