//! `schema`: what it describes is what the plugin takes, and it is checked in.

use std::fs;

use jsonschema::Validator;
use portcullis::{Node, Policy};
use serde_json::{Value, json};

use crate::portcullis as run;
use crate::support::case::text;
use crate::support::tally::Tally;
use crate::support::{project, read_json};

const ISTIO: &str = "../shared/cases/istio.json";
const ISTIO_POLICIES: usize = 60;

fn validator() -> Validator {
    jsonschema::validator_for(&portcullis::schema()).expect("a schema")
}

/// `portcullis schema > docs/configuration.schema.json` brings it up to date.
#[test]
fn the_one_that_is_checked_in() {
    let (printed, status) = run(&["schema"]);
    assert_eq!(status, 0);
    let written = fs::read_to_string(project("docs/configuration.schema.json"));
    assert!(written.expect("a schema") == printed, "it is out of date");
}

/// `portcullis schema --format markdown > docs/reference.md` brings it up to date.
#[test]
fn the_reference_that_is_checked_in() {
    let (printed, status) = run(&["schema", "--format", "markdown"]);
    assert_eq!(status, 0);
    let written = fs::read_to_string(project("docs/reference.md"));
    assert!(written.expect("a page") == printed, "it is out of date");
}

/// Every field of every object with its meaning, and each link leads to one heading.
#[test]
fn the_reference_is_whole() {
    let page = fs::read_to_string(project("docs/reference.md")).expect("a page");
    let headings: Vec<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|heading| {
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || *c == ' ');
            kept.collect::<String>().to_lowercase().replace(' ', "-")
        })
        .collect();
    let links: Vec<&str> = page
        .split("](#")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .collect();
    assert!(links.len() > 50, "{} links", links.len());
    for link in links {
        let own = headings.iter().filter(|heading| *heading == link);
        assert_eq!(own.count(), 1, "{link}");
    }
    let schema = portcullis::schema();
    let definitions = schema["$defs"].as_object().expect("definitions");
    let fields = definitions.values().flat_map(|definition| {
        let fields = definition["properties"].as_object().expect("fields");
        fields.keys().filter(|name| !name.contains('_'))
    });
    for name in fields {
        assert!(page.contains(&format!("\n| `{name}` | ")), "{name}");
    }
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let meaning = row.split(" | ").nth(2).unwrap_or_default();
        assert!(!meaning.trim().is_empty(), "{row}");
    }
}

/// What the plugin takes, the schema takes.
fn takes(validator: &Validator, tally: &mut Tally, id: &str, configuration: &Value) {
    let error = validator.iter_errors(configuration).next();
    let error = error.map(|error| format!("{error} at {}", error.instance_path()));
    let is_wrong = || Policy::load(configuration.to_string().as_bytes(), &Node::default()).is_err();
    if error.is_some() && is_wrong() {
        tally.leave_out("wrong");
    } else {
        tally.check(id, None, error);
    }
}

#[test]
fn takes_what_is_right() {
    let mut tally = Tally::default();
    let validator = validator();
    let mut takes =
        |id: &str, configuration: &Value| takes(&validator, &mut tally, id, configuration);
    for file in files("tests/cases", "json") {
        let cases = read_json(&file);
        for (name, configuration) in cases["configs"].as_object().into_iter().flatten() {
            takes(name, configuration);
        }
    }
    let mut shown = 0;
    for file in files("envoy", "yaml") {
        let text = fs::read_to_string(&file).expect("a file");
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
        for configuration in documents.iter().flat_map(configurations) {
            takes(&file, configuration);
            shown += 1;
        }
    }
    assert!(shown > 4, "{shown} configurations in envoy/");
    if !project(ISTIO).exists() {
        tally.missing(ISTIO_POLICIES);
        return tally.finish("schema, configurations");
    }
    let known = [
        "AuthorizationPolicy",
        "MeshPolicy",
        "PeerAuthentication",
        "Policy",
        "RequestAuthentication",
    ];
    let istio = read_json(ISTIO);
    let policies = istio["policies"].as_object().expect("policies");
    assert_eq!(policies.len(), ISTIO_POLICIES);
    for (name, policy) in policies {
        let documents = policy["docs"].as_array().expect("documents").iter();
        let documents = documents.filter(|document| known.contains(&text(&document["kind"])));
        let resources: Vec<&Value> = documents.collect();
        takes(name, &json!({ "resources": resources }));
    }
    tally.finish("schema, configurations");
}

/// The files of a folder with this extension.
pub fn files(folder: &str, extension: &str) -> Vec<String> {
    let entries = fs::read_dir(project(folder)).expect("a folder");
    let paths = entries.map(|entry| entry.expect("a file").path());
    let wanted = paths.filter(|path| path.extension().is_some_and(|own| own == extension));
    wanted
        .map(|path| path.to_str().expect("UTF-8").to_owned())
        .collect()
}

/// The plugin configurations in a document: every `Struct`, and a WasmPlugin's.
pub fn configurations(document: &Value) -> Vec<&Value> {
    let plugin = &document["spec"]["pluginConfig"];
    if plugin.is_object() {
        return vec![plugin];
    }
    let is_struct = document["@type"] == "type.googleapis.com/google.protobuf.Struct";
    match document {
        Value::Object(members) if is_struct => members.get("value").into_iter().collect(),
        Value::Object(members) => members.values().flat_map(configurations).collect(),
        Value::Array(items) => items.iter().flat_map(configurations).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn finds_unknown_fields_and_wrong_types() {
    let validator = validator();
    let policy = |spec: Value| {
        json!({ "resources": [{
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "spec": spec,
        }] })
    };
    let paths = |name: &str, paths: Value| {
        let mut operation = json!({});
        operation[name] = paths;
        policy(json!({ "rules": [{ "to": [{ "operation": operation }] }] }))
    };
    for (configuration, is_right) in [
        (json!({}), false),
        (json!({ "jwtRules": [] }), true),
        (json!({ "jwtRules": [], "colour": 1 }), false),
        (json!({ "jwtRules": {} }), false),
        (
            json!({ "jwtRules": [{ "issuer": "a", "clockSkew": "5s" }] }),
            true,
        ),
        (
            json!({ "jwtRules": [{ "issuer": "a", "clockSkew": 5 }] }),
            false,
        ),
        (
            json!({ "jwtRules": [{ "issuer": "a", "from_params": [] }] }),
            false,
        ),
        (
            json!({ "jwtRules": [{ "fromHeaders": [{ "prefix": "a" }] }] }),
            false,
        ),
        (json!({ "jwtRules": [], "tokens": "some" }), false),
        (
            json!({ "jwtRules": [], "tokenCache": { "maxEntries": 0 } }),
            true,
        ),
        (
            json!({ "jwtRules": [], "tokenCache": { "maxEntries": "0" } }),
            false,
        ),
        (paths("notPaths", json!(["/a"])), true),
        (paths("not_paths", json!(["/a"])), true),
        (paths("notPath", json!(["/a"])), false),
        (paths("paths", json!("/a")), false),
        (
            policy(json!({ "selector": { "matchLabels": { "a": "b" } } })),
            true,
        ),
        (policy(json!({ "selector": { "labels": {} } })), false),
        (policy(json!({ "targetRef": { "kind": "Gateway" } })), false),
    ] {
        assert_eq!(
            validator.is_valid(&configuration),
            is_right,
            "{configuration}"
        );
    }
}
