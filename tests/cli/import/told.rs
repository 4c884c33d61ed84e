//! `import`: nothing that could decide is lost without a word, and what it says is about what was read.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{folder, said};

const POLICY: &str = "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: own, namespace: shop }
spec: { selector: { matchLabels: { app: shop } }, rules: [{}] }
";
const MESH: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: { name: istio, namespace: istio-system }
data:
  mesh: |
    defaultConfig: { gatewayTopology: { numTrustedProxies: 2 } }
    pathNormalization: { normalization: DECODE_AND_MERGE_SLASHES }
    extensionProviders:
    - { name: unused, envoyExtAuthzHttp: { service: a.test, port: \"80\", includeRequestBodyInCheck: {} } }
    - { name: grpc, envoyExtAuthzGrpc: { service: a.test, port: 80 } }
    - { name: own, envoyExtAuthzHttp: { service: authz.shop.svc.cluster.local, port: 80 } }
";

fn file(folder: &Path, content: &str) -> PathBuf {
    let file = folder.join("dump.yaml");
    fs::write(&file, content).expect("a file");
    file
}

/// What importing some documents prints and says, and its status.
fn imported(folder: &Path, documents: &[&str], options: &[&str]) -> (String, String, i32) {
    let file = file(folder, &documents.join("---\n"));
    let file = file.to_str().expect("UTF-8");
    said(&[&["import", file], options].concat())
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Documents that decide, and what is said of each. Where nothing is made, the second number is 0.
#[test]
fn what_decides_is_named() {
    let folder = folder("import-decides");
    for (document, is_made, message) in [
        (
            "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nmetadata: { name: a, namespace: b }\nspec: {}\n",
            true,
            "left out: SecurityPolicy b/a (",
        ),
        (
            "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyExtensionPolicy\nmetadata: { name: a }\nspec: {}\n",
            true,
            "left out: EnvoyExtensionPolicy a (",
        ),
        (
            "apiVersion: policy.linkerd.io/v1alpha1\nkind: AuthorizationPolicy\nmetadata: { name: a, namespace: b }\nspec: {}\n",
            true,
            "left out: AuthorizationPolicy b/a (",
        ),
        (
            "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: { name: a, namespace: b }\nspec: { url: other }\n",
            true,
            "left out: WasmPlugin b/a (",
        ),
        (
            "apiVersion: rbac.istio.io/v1alpha1\nkind: ServiceRole\nmetadata: { name: a, namespace: b }\nspec: {}\n",
            true,
            "left out: ServiceRole b/a (",
        ),
        (
            "http_filters: [{ name: envoy.filters.http.jwt_authn }]\n",
            true,
            "left out: envoy.filters.http.jwt_authn (",
        ),
        (
            "jwtRules: [{ issuer: \"https://idp.example.com\" }]\n",
            true,
            "left out: a configuration of the plugin (",
        ),
        (
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicies\nmetadata: { name: a }\nspec: {}\n",
            false,
            "Portcullis reads no `AuthorizationPolicies` of `security.istio.io/v1`",
        ),
        (
            "apiVersion: security.istio.oi/v1\nkind: AuthorizationPolicy\nmetadata: { name: a }\nspec: {}\n",
            false,
            "write `apiVersion: security.istio.io/v1`",
        ),
        (
            "apiVersion: security.istio.io/v1beta1\nkind: MeshPolicy\nmetadata: { name: a }\nspec: {}\n",
            false,
            "authentication.istio.io/v1alpha1",
        ),
        (
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: { name: strict, namespace: shop }\nspec:\nmtls: { mode: STRICT }\n",
            false,
            "mistake: PeerAuthentication shop/strict: unknown field `mtls`",
        ),
    ] {
        let (printed, said, status) = imported(&folder, &[POLICY, document], &[]);
        assert_eq!(status, 1, "{document}: {said}");
        assert_eq!(!printed.is_empty(), is_made, "{document}: {said}");
        assert!(said.contains(message), "{document}: {said}");
        assert!(!said.contains("nothing of it decides"), "{said}");
        assert!(said.contains("dump.yaml:"), "{document}: {said}");
    }
    let clusters = "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyPatchPolicy\nmetadata: { name: a }\n\
        spec: { jsonPatches: [{ type: type.googleapis.com/envoy.config.cluster.v3.Cluster, name: a }] }\n";
    let (_, said, status) = imported(&folder, &[POLICY, clusters], &[]);
    assert_eq!(status, 0, "{said}");
    let both = clusters.replace(
        "[{ type",
        "[{ type: type.googleapis.com/envoy.config.listener.v3.Listener }, { type",
    );
    let (_, said, status) = imported(&folder, &[POLICY, &both], &[]);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("left out: EnvoyPatchPolicy a ("), "{said}");
    let other = "apiVersion: v1\nkind: Service\nmetadata: { name: a }\n";
    let (_, said, status) = imported(&folder, &[POLICY, other], &[]);
    assert_eq!(status, 0, "{said}");
    assert!(
        said.contains("1 document of another kind (Service 1)"),
        "{said}"
    );
}

/// Many are counted, and the first are named.
#[test]
fn many_are_counted() {
    let folder = folder("import-many");
    let one =
        "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nmetadata: { name: a }\n";
    let documents: Vec<&str> = [POLICY].into_iter().chain([one; 25]).collect();
    let (_, said, status) = imported(&folder, &documents, &[]);
    assert_eq!(status, 1);
    assert!(said.contains("and 15 more: it decides"), "{said}");
    assert!(said.contains("SecurityPolicy 25"), "{said}");
}

#[test]
fn for_services_and_classes() {
    let folder = folder("import-services");
    let attached = |group: &str, kind: &str, name: &str, namespace: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
             metadata: {{ name: {name}, namespace: {namespace} }}\n\
             spec: {{ targetRefs: [{{ kind: {kind}, group: \"{group}\", name: {name} }}], action: DENY, rules: [{{}}] }}\n"
        )
    };
    let service = attached("", "Service", "productpage", "shop");
    let entry = attached("networking.istio.io", "ServiceEntry", "outside", "shop");
    let class = attached(
        "gateway.networking.k8s.io",
        "GatewayClass",
        "istio-waypoint",
        "istio-system",
    );

    // One service alone leaves no choice.
    for (only, member) in [
        (&service, "serviceName: productpage"),
        (&entry, "serviceName: outside"),
        (&class, "gatewayClass: istio-waypoint"),
    ] {
        let (printed, said, status) = imported(&folder, &[only], &[]);
        assert_eq!(status, 0, "{said}");
        assert!(printed.contains(member), "{printed}");
        assert!(printed.contains("DENY"), "{printed}");
        assert!(said.contains("is taken to be"), "{said}");
    }

    // Beside others it would be lost.
    let options = r#"--namespace shop --workload '{"serviceName":"productpage","waypoint":true}'"#;
    for target in ["plugin-config", "wasmplugin", "envoy-gateway", "envoy"] {
        let (printed, said, status) = imported(&folder, &[POLICY, &service], &["--to", target]);
        assert_eq!(status, 1, "{target}: {said}");
        assert!(!printed.contains("DENY"), "{printed}");
        assert!(
            said.contains("left out: AuthorizationPolicy shop/productpage:"),
            "{said}"
        );
        assert!(said.contains(options), "{said}");
    }
    let workload = r#"{"serviceName":"productpage","waypoint":true}"#;
    let chosen = ["--namespace", "shop", "--workload", workload];
    let (printed, said, status) = imported(&folder, &[POLICY, &service], &chosen);
    assert_eq!(status, 0, "{said}");
    assert!(printed.contains("DENY"), "{printed}");
    assert!(
        said.contains("for other workloads: AuthorizationPolicy shop/own"),
        "{said}"
    );

    let plugin = ["--to", "wasmplugin"];
    let (printed, said, status) = imported(&folder, &[&service], &plugin);
    assert_eq!(status, 0, "{said}");
    let plugin = yaml(printed.split("---").next().expect("a document"));
    assert_eq!(plugin["spec"]["targetRefs"][0]["kind"], "Service");
    assert_eq!(plugin["spec"]["pluginConfig"]["workload"]["waypoint"], true);
}

/// Nothing is guessed where there are several, and each is named with the command for it.
#[test]
fn several_workloads() {
    let folder = folder("import-several");
    let other = POLICY
        .replace("app: shop", "app: cart")
        .replace("own", "cart");
    let elsewhere = POLICY.replace("namespace: shop", "namespace: bank");
    let gateway = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
        metadata: { name: web, namespace: bank }\n\
        spec: { targetRefs: [{ kind: Gateway, group: gateway.networking.k8s.io, name: web }], rules: [{}] }\n";
    let documents = [POLICY, &other, &elsewhere, gateway];
    let (printed, told, status) = imported(&folder, &documents, &["--to=envoy"]);
    assert_eq!((printed.as_str(), status), ("", 2), "{told}");
    for options in [
        "--namespace bank --gateway web",
        "--namespace bank --label app=shop",
        "--namespace shop --label app=cart",
        "--namespace shop --label app=shop",
    ] {
        let line = format!("dump.yaml --to=envoy {options}\n");
        assert!(told.contains(&line), "{told}");
        let chosen: Vec<&str> = ["--to=envoy"]
            .into_iter()
            .chain(options.split(' '))
            .collect();
        let (printed, said, status) = imported(&folder, &documents, &chosen);
        assert_eq!(status, 0, "{options}: {said}");
        let policies = printed.matches("kind: AuthorizationPolicy").count();
        assert_eq!(policies, 1, "{printed}");
        assert!(said.contains("for other workloads: "), "{said}");
    }
    for spelled in ["--label=app=cart", "--labels=app=cart"] {
        let options = ["--namespace=shop", spelled];
        let (printed, ..) = imported(&folder, &documents, &options);
        assert!(printed.contains("name: cart"), "{printed}");
    }
}

/// What is for others has no say in what is told.
#[test]
fn warnings_are_about_what_applies() {
    let folder = folder("import-warnings");
    let peer = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
        metadata: { name: peers, namespace: bank }\n\
        spec: { rules: [{ from: [{ source: { principals: [\"*\"] } }] }] }\n";
    let own = ["--namespace=shop", "--label=app=shop", "--to=envoy"];
    let (_, said, status) = imported(&folder, &[POLICY, peer], &own);
    assert_eq!(status, 0, "{said}");
    assert!(!said.contains("client certificates"), "{said}");
    assert!(!said.contains("trust domain"), "{said}");
}

#[test]
fn providers_of_the_mesh() {
    let folder = folder("import-providers");
    let custom = |name: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
             metadata: {{ name: asked, namespace: shop }}\n\
             spec: {{ action: CUSTOM, provider: {{ name: {name} }}, rules: [{{}}] }}\n"
        )
    };
    let (printed, said, status) = imported(&folder, &[POLICY, MESH], &[]);
    assert_eq!(status, 0, "{said}");
    assert!(!printed.contains("extensionProviders"), "{printed}");
    let (printed, said, status) = imported(&folder, &[&custom("own"), MESH], &["--to=envoy"]);
    assert_eq!(status, 0, "{said}");
    assert!(!printed.contains("unused"), "{printed}");
    assert!(
        printed.contains("outbound|80||authz.shop.svc.cluster.local"),
        "{printed}"
    );
    let manager = &yaml(&printed)["static_resources"]["listeners"][0]["filter_chains"][0]["filters"]
        [0]["typed_config"];
    assert_eq!(manager["xff_num_trusted_hops"], 2);
    assert_eq!(manager["merge_slashes"], true);
    assert_eq!(
        manager["path_with_escaped_slashes_action"],
        "UNESCAPE_AND_FORWARD"
    );
    for (documents, message) in [
        (
            vec![custom("own")],
            "kubectl get cm istio -n istio-system -o yaml",
        ),
        (
            vec![custom("nobody"), MESH.to_owned()],
            "there is no `nobody` among the `extensionProviders`",
        ),
        (vec![custom("grpc"), MESH.to_owned()], "asked over gRPC"),
        (
            vec![custom("unused"), MESH.to_owned()],
            "the extension provider `unused`: expected a number",
        ),
    ] {
        let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
        let (printed, said, status) = imported(&folder, &documents, &[]);
        assert_eq!((printed.as_str(), status), ("", 1), "{said}");
        assert!(said.contains(message), "{said}");
        assert!(!said.contains("resources["), "{said}");
    }
}

/// A mistake stands where it was read, and speaks of options.
#[test]
fn mistakes_are_about_the_input() {
    let folder = folder("import-mistakes");
    let wrong = POLICY.replace("rules: [{}]", "action: FORBID, rules: [{}]");
    let (printed, told, status) = imported(&folder, &[POLICY, &wrong], &[]);
    assert_eq!((printed.as_str(), status), ("", 1));
    assert!(told.contains("dump.yaml:9:"), "{told}");
    assert!(
        told.contains("mistake: AuthorizationPolicy shop/own: unknown action"),
        "{told}"
    );

    let older = "apiVersion: authentication.istio.io/v1alpha1\nkind: Policy\n\
        metadata: { name: x, namespace: shop }\nspec: { targets: [{ name: a }, { name: b }] }\n";
    let (_, said, status) = imported(&folder, &[older], &[]);
    assert_eq!(status, 1, "{said}");
    assert!(
        said.contains(r#"--workload '{"serviceName": "..."}'"#),
        "{said}"
    );
    assert!(!said.contains("workload.serviceName"), "{said}");
    // One service alone leaves no choice.
    let one = older.replace(", { name: b }", "");
    let (printed, said, status) = imported(&folder, &[&one], &[]);
    assert_eq!(status, 0, "{said}");
    assert!(printed.contains("serviceName: a"), "{printed}");
}

#[test]
fn a_typed_list() {
    let folder = folder("import-typed");
    let list = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicyList\nitems:\n\
        - metadata: { name: a, namespace: shop }\n  spec: { action: DENY, rules: [{}] }\n";
    let (printed, said, status) = imported(&folder, &[list], &[]);
    assert_eq!(status, 0, "{said}");
    assert!(printed.contains("action: DENY"), "{printed}");
}

/// Hosts as people call them in a compose file, twice on other ports.
#[test]
fn names_that_kubernetes_takes() {
    let folder = folder("import-names");
    let rules = "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\n\
        metadata: { name: a, namespace: shop }\nspec:\n  jwtRules:\n\
        \x20 - { issuer: a, jwksUri: \"https://oidc_provider_jwks_uri/keys\", audiences: [a] }\n\
        \x20 - { issuer: b, jwksUri: \"https://oidc-provider-jwks-uri:8443/keys\", audiences: [a] }\n\
        \x20 - { issuer: c, jwksUri: \"http://oidc_provider_jwks_uri:8080/keys\", audiences: [a] }\n";
    let (printed, said, status) = imported(&folder, &[rules], &["--to=wasmplugin"]);
    assert_eq!(status, 0, "{said}");
    let mut names = Vec::new();
    for document in printed.split("---\n").map(yaml) {
        let name = document["metadata"]["name"].as_str().expect("a name");
        let is_valid =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        assert!(name.bytes().all(is_valid), "{name}");
        names.push((document["kind"].to_string(), name.to_owned()));
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "{printed}");
    assert_eq!(count, 5, "{printed}");
}

/// A configuration in the short form goes wherever resources go.
#[test]
fn the_short_form() {
    let folder = folder("import-short");
    let short = "jwks: { cluster: idp }\n\
        jwtRules: [{ issuer: \"https://idp.example.com\", jwksUri: \"https://idp.example.com/keys\", audiences: [a] }]\n\
        authorizationPolicies: [{ name: staff, rules: [{ from: [{ source: { requestPrincipals: [\"*\"] } }] }] }]\n";
    for target in ["plugin-config", "wasmplugin", "envoy-gateway", "envoy"] {
        let (printed, told, status) = imported(&folder, &[short], &["--to", target]);
        assert_eq!(status, 0, "{target}: {told}");
        assert!(printed.contains("name: staff"), "{printed}");
        assert!(!printed.contains(" resources:"), "{printed}");
        let file = file(&folder, &printed);
        let (found, _, status) = said(&["check", file.to_str().expect("UTF-8")]);
        assert_eq!(status, 0, "{target}: {found}");
    }
    let (printed, ..) = imported(&folder, &[short], &["--to=envoy"]);
    let clusters = &yaml(&printed)["static_resources"]["clusters"];
    assert_eq!(clusters[1]["name"], "idp", "{printed}");
    assert!(clusters[1]["transport_socket"].is_object(), "{printed}");
    let wrong = short.replace("audiences", "audience");
    let (printed, said, status) = imported(&folder, &[&wrong], &["--to=envoy"]);
    assert_eq!((printed.as_str(), status), ("", 1), "{said}");
    assert!(said.contains("dump.yaml:2:"), "{said}");
    let (_, said, status) = imported(&folder, &[short, short], &[]);
    assert_eq!(status, 2, "{said}");
    assert!(said.contains("dump.yaml:5"), "{said}");
}

/// Each once, also where a dump has a thing twice.
#[test]
fn a_thing_twice() {
    let folder = folder("import-twice");
    let mut all = String::new();
    for index in 0..1_000 {
        let one = POLICY.replace("own", &format!("p{index}"));
        writeln!(all, "{one}---").expect("text");
    }
    let (printed, said, status) = imported(&folder, &[&all, &all], &[]);
    assert_eq!(status, 0, "{said}");
    assert_eq!(printed.matches("kind: AuthorizationPolicy").count(), 1_000);
    assert!(said.contains("2000 policies"), "{said}");
}
