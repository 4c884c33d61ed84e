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

/// Nothing in it is a RequestAuthentication or an AuthorizationPolicy.
fn task(tally: &mut Tally) {
    let page = read(TASK);
    let blocks = page.split("<<EOF").skip(1);
    let blocks = blocks.map(|rest| rest.split_once('\n').expect("a command").1);
    for block in blocks.map(|rest| rest.split("\nEOF").next().unwrap_or(rest)) {
        for document in documents(block) {
            tally.leave_out(text(&document["kind"]));
        }
    }
}

fn documents(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("{error}:\n{yaml}"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(project(path)).expect("a page")
}
