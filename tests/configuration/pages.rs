//! What the two pages show that the project started from, read where they lie, beside it.

use portcullis::{Node, Policy};
use serde_json::{Map, Value, json};

use crate::support::case::text;
use crate::support::project;
use crate::support::tally::Tally;

/// The page on RequestAuthentication, of which every line starts at its margin.
const REFERENCE: &str = "../shared/seeds/000_9f4f04aa213018cf.txt";
/// The task on authentication policies, which are applied in shell commands.
const TASK: &str = "../shared/seeds/002_675d44fdc3c29071.txt";

/// By how many spaces the lines of a block of the reference are moved in, a digit a line.
const MARGINS: [&str; 12] = [
    "00022024622400002202462248",
    "00022022400002202248",
    "00022024622200002202462248448248448",
    "0002202462248248",
    "000220246224000022024622480000202222224489448824488",
    "0002",
    "0000",
    "002",
    "002",
    "00",
    "00",
    "0020202",
];

#[test]
fn every_block_loads() {
    let mut tally = Tally::default();
    if project(REFERENCE).exists() {
        reference(&mut tally);
        task(&mut tally);
    } else {
        tally.missing(MARGINS.len());
    }
    tally.finish("both pages, blocks");
}

fn reference(tally: &mut Tally) {
    let page = read(REFERENCE);
    let blocks: Vec<&str> = page.split("```").skip(1).step_by(2).collect();
    assert_eq!(blocks.len(), MARGINS.len(), "blocks of the reference");
    for (index, (block, margins)) in blocks.iter().zip(MARGINS).enumerate() {
        let (mut rules, mut resources) = (Vec::new(), Vec::new());
        for document in documents(&indented(block, margins)) {
            match document["kind"].as_str() {
                None => rules.push(completed(document)),
                Some("RequestAuthentication" | "AuthorizationPolicy") => resources.push(document),
                Some(kind) => tally.leave_out(kind),
            }
        }
        if !rules.is_empty() {
            resources.push(json!({
                "apiVersion": "security.istio.io/v1",
                "kind": "RequestAuthentication",
                "metadata": { "name": "rule", "namespace": "foo" },
                "spec": { "jwtRules": rules },
            }));
        }
        let id = format!("block {index}");
        tally.check(&id, Ok((0, without_keys(&resources))), load(&resources));
    }
}

/// How many of the resources are for others than their own workload, and how many warnings there
/// are.
fn load(resources: &[Value]) -> Result<(usize, usize), String> {
    let configuration = json!({
        "resources": resources,
        "workload": {
            "namespace": resources[0]["metadata"]["namespace"],
            "labels": resources[0]["spec"]["selector"]["matchLabels"],
        },
    });
    let policy = Policy::load(configuration.to_string().as_bytes(), &Node::default());
    let policy = policy.map_err(|mistakes| mistakes.to_string())?;
    let others = policy.summary().split("for other workloads: ").nth(1);
    let others = others.map_or(0, |others| others.split(", ").count());
    Ok((others, policy.warnings().len()))
}

/// How many issuers don't tell where their keys are: `issuer-foo` is no address.
fn without_keys(resources: &[Value]) -> usize {
    let rules = resources
        .iter()
        .filter_map(|resource| resource["spec"]["jwtRules"].as_array())
        .flatten();
    rules
        .filter(|rule| rule.get("jwksUri").is_none() && !text(&rule["issuer"]).contains("://"))
        .count()
}

fn indented(block: &str, margins: &str) -> String {
    let lines: Vec<&str> = block.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), margins.len(), "lines of {block}");
    lines
        .iter()
        .zip(margins.bytes())
        .map(|(line, margin)| format!("{}{}\n", " ".repeat((margin - b'0').into()), line.trim()))
        .collect()
}

/// A part of a rule, with the issuer that it needs.
fn completed(mut rule: Value) -> Value {
    let members: &mut Map<_, _> = rule.as_object_mut().expect("a part of a rule");
    members.entry("issuer").or_insert("issuer-foo".into());
    rule
}

/// Which policies the task applies, and in which namespace: `-n` of its commands.
const POLICIES: [(&str, &str, &str); 7] = [
    ("MeshPolicy", "default", ""),
    ("Policy", "default", "foo"),
    ("Policy", "httpbin", "bar"),
    ("Policy", "httpbin", "bar"),
    ("Policy", "overwrite-example", "foo"),
    ("Policy", "jwt-example", "foo"),
    ("Policy", "jwt-example", "foo"),
];

/// What its page's `github_file` stands for.
const FILES: &str = "https://raw.githubusercontent.com/istio/istio/release-1.0";

fn task(tally: &mut Tally) {
    let page = read(TASK).replace("{{< github_file >}}", FILES);
    let mut policies = POLICIES.into_iter();
    for rest in page.split("<<EOF").skip(1) {
        let (command, rest) = rest.split_once('\n').expect("a command");
        for mut document in documents(rest.split("\nEOF").next().unwrap_or(rest)) {
            let kind = text(&document["kind"]).to_owned();
            if !["MeshPolicy", "Policy"].contains(&kind.as_str()) {
                tally.leave_out(&kind);
                continue;
            }
            let (expected, name, namespace) = policies.next().expect("a policy more");
            if let Some((_, rest)) = command.split_once("-n ") {
                document["metadata"]["namespace"] = rest.split(' ').next().into();
            }
            let metadata = &document["metadata"];
            assert_eq!((expected, name), (kind.as_str(), text(&metadata["name"])));
            assert_eq!(
                metadata["namespace"].as_str().unwrap_or_default(),
                namespace
            );
            tally.check(name, Ok(()), loads(&document));
        }
    }
    assert_eq!(policies.next(), None, "policies of the task");
}

/// Whether a policy is what applies to the service that it is about, on the port that it names.
fn loads(policy: &Value) -> Result<(), String> {
    let configuration = json!({
        "resources": [policy],
        "workload": {
            "namespace": policy["metadata"]["namespace"].as_str().unwrap_or("foo"),
            "serviceName": "httpbin",
            "ports": [{ "number": 8000 }, { "number": 1234 }],
        },
    });
    let loaded = Policy::load(configuration.to_string().as_bytes(), &Node::default());
    let loaded = loaded.map_err(|mistakes| mistakes.to_string())?;
    let name = format!("policy[{}]", text(&policy["metadata"]["name"]));
    match loaded.summary().ends_with(&name) && loaded.warnings().is_empty() {
        true => Ok(()),
        false => Err(format!("{} {:?}", loaded.summary(), loaded.warnings())),
    }
}

fn documents(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("{error}:\n{yaml}"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(project(path)).expect("a page")
}
