//! `check`: every mistake is found, at its line; what is good passes.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::case::text;
use crate::support::tally::Tally;
use crate::support::{project, read_json};
use crate::{folder, portcullis};

const ISTIO: &str = "../shared/cases/istio.json";

/// What is found in a file.
fn found(path: &Path) -> (Vec<Value>, i32) {
    let path = path.to_str().expect("UTF-8");
    let (printed, status) = portcullis(&["check", "--format", "json", path]);
    (
        serde_json::from_str(&printed).expect("a list of findings"),
        status,
    )
}

/// The lines that mistakes in this text point at, and what they say.
fn mistakes(file: &Path, content: &str) -> Vec<(String, String)> {
    fs::write(file, content).expect("a file");
    let (found, status) = found(file);
    let mistakes = found.iter().filter(|one| one["severity"] == "mistake");
    let mistakes: Vec<_> = mistakes
        .map(|mistake| {
            let number =
                usize::try_from(mistake["line"].as_u64().expect("a line")).expect("a line");
            let line = content.lines().nth(number - 1).unwrap_or_default();
            (line.trim().to_owned(), text(&mistake["message"]).to_owned())
        })
        .collect();
    assert_eq!(status, i32::from(!mistakes.is_empty()), "{content}");
    mistakes
}

fn resource(kind: &str, name: &str, annotations: &Value, spec: &Value) -> String {
    let group = match kind {
        "MeshPolicy" | "Policy" => "authentication.istio.io/v1alpha1",
        _ => "security.istio.io/v1",
    };
    let resource = json!({
        "apiVersion": group,
        "kind": kind,
        "metadata": { "name": name, "namespace": "foo", "annotations": annotations },
        "spec": spec,
    });
    format!("{resource:#}\n")
}

/// The lines that are pointed at in Istio's invalid resources, but for those whose value is empty.
/// Where something is missing, it is what it is missing in.
const LINES: [(&str, &[&str]); 29] = [
    ("empty issuer and jwksUri", &[r#""issuer": """#]),
    (
        "bad JwksUri - invalid port",
        &[r#""jwksUri": "https://foo.com:not-a-number""#],
    ),
    ("bad workload selector - empty key", &[r#""selector": {"#]),
    (
        "bad targetRef - non-empty namespace",
        &[r#""namespace": "bar""#],
    ),
    ("bad targetRef - wrong group", &[r#""targetRef": {"#]),
    (
        "targetRef and selector cannot both be set",
        &[r#""selector": {"#],
    ),
    ("bad header location", &[r#""name": "","#]),
    ("bad cookie location", &[r#""","#]),
    (
        "null header value in outputClaimToHeader",
        &[r#""header": """#],
    ),
    ("custom-nil-provider", &[r#""spec": {"#]),
    ("custom-invalid-rule", &["{", "{", "{"]),
    ("provider-wrong-action", &[r#""name": """#]),
    ("selector-empty-key", &[r#""selector": {"#]),
    ("selector-wildcard-key", &[r#""selector": {"#]),
    ("target-ref-empty-name", &[r#""targetRef": {"#]),
    ("target-ref-wrong-kind", &[r#""targetRef": {"#]),
    ("from-empty", &[r#""from": []"#]),
    ("source-empty", &[r#""source": {}"#]),
    (
        "invalid ip and port in ipBlocks",
        &[r#""ip1""#, r#""ip2""#, r#""port2""#, r#""port1""#],
    ),
    ("condition-key-missing", &["{"]),
    ("condition-key-empty", &[r#""key": "","#]),
    ("condition-notValue-invalid", &[r#""a.b.c.d""#]),
    ("empty port level mtls", &[r#""portLevelMtls": {},"#]),
    ("service-specific policy with namespace-wide name", &["{"]),
    (
        "Bad JkwsURI",
        &[r#""jwksUri": "secure.istio.io/oauth/v1/certs","#],
    ),
    (
        "Bad JkwsURI Port",
        &[r#""jwksUri": "https://secure.istio.io:not-a-number/oauth/v1/certs","#],
    ),
    ("bad-name", &["{"]),
    ("empty origin", &["{}"]),
    ("value-empty", &[r#""""#]),
];

#[test]
fn istio_s_validation() {
    let mut tally = Tally::default();
    if !project(ISTIO).exists() {
        tally.missing(62);
        return tally.finish("check, Istio's validation");
    }
    let file = folder("validation").join("resource.json");
    for row in read_json(ISTIO)["validation"].as_array().expect("a table") {
        let kind = text(&row["kind"]).split('(').next().expect("a kind");
        let id = text(&row["name"]);
        let name = row["metadata_name"].as_str().unwrap_or("r");
        let content = resource(kind, name, &row["annotations"], &row["spec"]);
        let found = mistakes(&file, &content).into_iter();
        let lines: Vec<String> = found.map(|(line, _)| line).collect();
        let mut key_sets = content.lines().map(str::trim);
        let key_set = key_sets.find(|line| line.starts_with(r#""jwks": "#));
        let expected = match LINES.iter().find(|(name, _)| *name == id) {
            // Istio only warns of it.
            None if id == "jwks with private RSA key warns" => &[key_set.expect("a key set")],
            _ if row["valid"] == true => &[][..],
            Some((_, lines)) => lines,
            None => &[r#""""#],
        };
        let expected = expected.iter().map(|line| (*line).to_owned()).collect();
        tally.check(id, expected, lines);
    }
    tally.finish("check, Istio's validation");
}

/// A table of Istio's: its name, where a row has what is wrong, and the `spec` to write that in.
type Table = (&'static str, &'static str, fn(&Value) -> Value);

#[test]
fn istio_s_rules() {
    let mut tally = Tally::default();
    if !project(ISTIO).exists() {
        tally.missing(42);
        return tally.finish("check, Istio's rules");
    }
    let file = folder("rules").join("resource.json");
    let tables: [Table; 5] = [
        (
            "condition_keys",
            "",
            |row| json!({ "rules": [{ "when": [{ "key": row["key"], "values": row["values"] }] }] }),
        ),
        (
            "path_template_validation",
            "paths",
            |row| json!({ "rules": [{ "to": [{ "operation": { "paths": row["paths"] } }] }] }),
        ),
        (
            "trust_domain_validation",
            "values",
            |row| json!({ "rules": [{ "from": [{ "source": { "trustDomains": row["values"] } }] }] }),
        ),
        ("wildcard_validation", "values", |row| {
            let when = json!({ "key": "source.trustDomain", "values": row["values"] });
            json!({ "rules": [{ "when": [when] }] })
        }),
        (
            "parse_jwks_uri",
            "uri",
            |row| json!({ "jwtRules": [{ "issuer": "i", "jwksUri": row["uri"] }] }),
        ),
    ];
    for (table, culprit, spec) in tables {
        for row in read_json(ISTIO)[table].as_array().expect("a table") {
            let kind = match table {
                "parse_jwks_uri" => "RequestAuthentication",
                _ => "AuthorizationPolicy",
            };
            let content = resource(kind, "r", &Value::Null, &spec(row));
            let lines = mistakes(&file, &content);
            let values = [&row[culprit], &row["key"], &row["values"]];
            let values: Vec<&Value> = values
                .into_iter()
                .flat_map(|value| {
                    value
                        .as_array()
                        .map_or(vec![value], |list| list.iter().collect())
                })
                .collect();
            // What is pointed at is one of the values, as it is written.
            let is_one = |line: &str| values.iter().any(|value| line.contains(&value.to_string()));
            let is_right = lines.iter().all(|(line, _)| is_one(line));
            let id = format!("{table}: {row}");
            tally.check(
                &id,
                (row["error"] == true, true),
                (!lines.is_empty(), is_right),
            );
        }
    }
    tally.finish("check, Istio's rules");
}

/// What `portcullis check FILE.yaml` prints in the folder of the samples is in `FILE.txt`.
#[test]
fn what_people_see() {
    for (name, expected) in [
        ("advice", 0),
        ("elsewhere", 0),
        ("envoy", 1),
        ("match", 0),
        ("required", 0),
        ("resources", 1),
    ] {
        let folder = project("tests/cli/check");
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["check", &format!("{name}.yaml")])
            .current_dir(&folder)
            .output()
            .expect("the command line runs");
        let seen = String::from_utf8(output.stdout).expect("UTF-8");
        let known = fs::read_to_string(folder.join(format!("{name}.txt"))).expect("what is seen");
        assert_eq!(seen, known, "{name}");
        assert_eq!(output.status.code(), Some(expected), "{name}");
    }
}

#[test]
fn what_is_here_is_right() {
    let envoy = project("envoy");
    let (printed, status) = portcullis(&["check", envoy.to_str().expect("UTF-8")]);
    assert_eq!(status, 0, "{printed}");
    assert!(printed.contains(" files: no mistakes"), "{printed}");
    let mut blocks = 0;
    for page in [
        "README.md",
        "docs/configuration.md",
        "docs/operations.md",
        "docs/semantics.md",
    ] {
        let page = fs::read_to_string(project(page)).expect("a page");
        for block in page.split("\n```").skip(1).step_by(2) {
            let (language, content) = block.split_once('\n').unwrap_or_default();
            if matches!(language, "json" | "yaml") && content.contains("jwtRules") {
                let file = folder("pages").join(format!("block.{language}"));
                assert_eq!(mistakes(&file, content), [], "{content}");
                blocks += 1;
            }
        }
    }
    assert!(blocks > 2, "{blocks} configurations in the pages");
}

#[test]
fn what_holds_a_configuration() {
    let file = folder("holders").join("holder.yaml");
    let wrong = "{ jwtRules: [{ issuer: a, timeout: 0s }] }";
    const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
    for (content, expected) in [
        (format!("apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nspec:\n  pluginConfig: {wrong}"), 4),
        (format!("apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyExtensionPolicy\nspec:\n  wasm:\n  - name: other\n    config: {{ a: b }}\n  - name: ours\n    config: {wrong}"), 8),
        (format!("kind: Service\napiVersion: v1\n---\n{wrong}"), 4),
        ("apiVersion: v1\nkind: List\nitems:\n- apiVersion: security.istio.io/v1\n  kind: AuthorizationPolicy\n  spec: { action: DENY }".to_owned(), 6),
        // Where it isn't known of which workload it is, nothing is out of place.
        ("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { namespace: foo }\nspec: { selector: { matchLabels: { a: b } } }".to_owned(), 0),
        ("node: { metadata: { NAMESPACE: foo } }\nstatic_resources:\n  x:\n    '@type': type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm\n    config: { configuration: { '@type': type.googleapis.com/google.protobuf.Struct, value: { resources: [{ apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: { namespace: foo } }] } } }".to_owned(), 0),
        ("configuration: there.yaml\ntests:\n- { name: x, expect: maybe }".to_owned(), 3),
        (format!("tests: [{{ name: x, expect: deny }}]\nconfiguration: {wrong}"), 2),
        ("tests: [{ name: x, expect: deny }]\nconfiguration: { jwtRules: [{ issuer: a }] }".to_owned(), 0),
        (format!("static_resources:\n  x:\n    '@type': {WASM}\n    config:\n      configuration: {{ jwtRules: [{{ issuer: a }}] }}"), 5),
        (format!("static_resources:\n  x:\n    '@type': {WASM}\n    config:\n      name: portcullis\n      configuration:\n        '@type': type.googleapis.com/google.protobuf.StringValue\n        value: 'jwtRules: []'"), 8),
        ("a: b\n c: d\n".to_owned(), 2),
        ("jwtRules: []\njwtRules: []\n".to_owned(), 2),
    ] {
        fs::write(&file, &content).expect("a file");
        let (found, status) = found(&file);
        let lines: Vec<i64> = found
            .iter()
            .filter(|one| one["severity"] == "mistake")
            .filter_map(|one| one["line"].as_i64())
            .collect();
        let expected: Vec<i64> = Some(expected).filter(|line| *line > 0).into_iter().collect();
        assert_eq!(lines, expected, "{content}");
        assert_eq!(status, i32::from(!expected.is_empty()), "{content}");
    }
}

#[test]
fn json_is_as_strict_as_in_the_plugin() {
    let folder = folder("strict");
    for (name, content, expected) in [
        (
            "a.json",
            "{\"jwtRules\": [],\n \"jwtRules\": []}",
            Some("not JSON: duplicate member"),
        ),
        (
            "b.json",
            "{\"jwtRules\": [],}",
            Some("not JSON: a comma with nothing behind it"),
        ),
        ("c.json", "{\n\t\"jwtRules\": []\n}", None),
        (
            "d.json",
            "{\"jwtRules\": [], \"tokens\": \"\\ud83d\\ude00\"}",
            Some("unknown demand"),
        ),
        ("e.yaml", "{\"jwtRules\": [],}", None),
        ("f.json", "", Some("not JSON: there is nothing in it")),
    ] {
        let found = mistakes(&folder.join(name), content);
        let says = |start: &str| found.iter().any(|(_, message)| message.starts_with(start));
        assert_eq!(expected.is_none(), found.is_empty(), "{content}: {found:?}");
        assert!(expected.is_none_or(says), "{content}: {found:?}");
    }
}

/// The same findings, in the forms that machines read.
#[test]
fn what_machines_see() {
    let folder = folder("a folder, with: signs%");
    let file = folder.join("resources.yaml");
    fs::copy(project("tests/cli/check/resources.yaml"), &file).expect("a copy");
    let path = file.to_str().expect("UTF-8");
    let (found, _) = found(&file);
    assert_eq!(found.len(), 6);

    let (sarif, status) = sarif(path);
    assert_eq!(status, 1);
    let results = sarif["runs"][0]["results"].as_array().expect("results");
    let (github, _) = portcullis(&["check", "--format", "github", path]);
    assert_eq!(results.len(), found.len());
    assert_eq!(github.lines().count(), found.len());
    for ((finding, result), line) in found.iter().zip(results).zip(github.lines()) {
        let region = &result["locations"][0]["physicalLocation"]["region"];
        assert_eq!(finding["line"], region["startLine"]);
        assert_eq!(finding["column"], region["startColumn"]);
        let is_mistake = finding["severity"] == "mistake";
        assert_eq!(result["level"], if is_mistake { "error" } else { "note" });
        let command = if is_mistake { "::error " } else { "::notice " };
        assert!(line.starts_with(command), "{line}");
        assert!(
            line.contains("a folder%2C with%3A signs%25/resources.yaml,line="),
            "{line}"
        );
    }
}

/// What is said in SARIF, which is held against OASIS's own schema: the crate serde-sarif 0.8.0 has it as
/// `src/schema.json`, and OASIS leaves it to all who implement it (oasis-tcs/sarif-spec, issue 583).
fn sarif(path: &str) -> (Value, i32) {
    let mut schema = read_json("tests/cli/check/sarif-schema-2.1.0.json");
    // What it says of a language, which we don't write, has a `]` too many to be a regular expression.
    for place in ["run", "toolComponent"] {
        schema["definitions"][place]["properties"]["language"] = true.into();
    }
    let validator = jsonschema::options().should_validate_formats(true);
    let validator = validator.build(&schema).expect("a schema");
    let (printed, status) = portcullis(&["check", "--format", "sarif", path]);
    let sarif: Value = serde_json::from_str(&printed).expect("JSON");
    validator
        .validate(&sarif)
        .unwrap_or_else(|error| panic!("{error}: {sarif:#}"));
    (sarif, status)
}

#[test]
fn sarif_of_what_is_right_and_of_advice() {
    for (file, is_right) in [
        ("envoy/ext-authz.yaml", true),
        ("tests/cli/check/advice.yaml", false),
    ] {
        let (said, status) = sarif(project(file).to_str().expect("UTF-8"));
        let results = said["runs"][0]["results"].as_array().expect("results");
        assert_eq!((results.is_empty(), status), (is_right, 0), "{said:#}");
    }
}

#[test]
fn what_can_not_be_checked() {
    let folder = folder("nothing");
    fs::write(folder.join("a.yaml"), "apiVersion: v1\nkind: Service\n").expect("a file");
    let path = |name: &str| folder.join(name).to_str().expect("UTF-8").to_owned();
    for name in ["a.yaml", "b.yaml", ""] {
        assert_eq!(
            portcullis(&["check", &path(name)]),
            (String::new(), 2),
            "{name}"
        );
    }
}
