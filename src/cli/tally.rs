//! What a command read, and what it passed over: nothing is left out in silence.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde_json::{Value, json};

use super::check::subject::{Kind, Subject};
use super::shown;
use crate::plural::counted;

/// Of a longer one the start says enough.
const LONGEST_KIND: usize = 60;
/// As many files and kinds are named; more are counted.
const MOST_NAMED: usize = 12;

/// How much of what was read.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) files: usize,
    /// Documents that were looked at.
    ours: usize,
    configurations: usize,
    policies: usize,
    token_rules: usize,
    peers: usize,
    tests: usize,
    /// Documents of kinds that decide nothing, by kind.
    others: BTreeMap<String, usize>,
    /// Documents that decide about requests and aren't read, by kind.
    not_read: BTreeMap<String, usize>,
    /// Files that are no documents, and say nothing of ours.
    no_documents: Vec<String>,
    /// Files without tests, where those are looked for.
    no_tests: Vec<String>,
    /// Helm charts, which are text until they are rendered.
    charts: Vec<String>,
}

impl Tally {
    pub(super) fn subject(&mut self, subject: &Subject) {
        let node = &subject.node;
        match &subject.kind {
            Kind::Configuration(_) => self.configuration(&node.value()),
            Kind::NotRead(kind) => *self.not_read.entry(kind.clone()).or_default() += 1,
            Kind::Resource => self.resource(&node.value()),
            Kind::Suite => {
                self.ours += 1;
                self.tests += node.get("tests").map_or(0, |tests| tests.items().len());
            }
        }
    }

    pub(super) fn configuration(&mut self, configuration: &Value) {
        let list = |name: &str| configuration.get(name).and_then(Value::as_array);
        self.ours += 1;
        self.configurations += 1;
        self.token_rules += list("jwtRules").map_or(0, Vec::len);
        self.policies += list("authorizationPolicies").map_or(0, Vec::len);
        for resource in list("resources").into_iter().flatten() {
            self.resource(resource);
        }
    }

    fn resource(&mut self, resource: &Value) {
        let rules = || {
            let spec = resource.get("spec")?;
            let rules = spec.get("jwtRules").or(spec.get("jwt_rules"))?;
            rules.as_array().map(Vec::len)
        };
        self.ours += 1;
        match resource.get("kind").and_then(Value::as_str) {
            Some("RequestAuthentication") => self.token_rules += rules().unwrap_or_default(),
            Some("PeerAuthentication") => self.peers += 1,
            _ => self.policies += 1,
        }
    }

    /// Adds what another one counts.
    pub(super) fn add(&mut self, other: Self) {
        self.files += other.files;
        self.ours += other.ours;
        self.configurations += other.configurations;
        self.policies += other.policies;
        self.token_rules += other.token_rules;
        self.peers += other.peers;
        self.tests += other.tests;
        for (own, others) in [
            (&mut self.others, other.others),
            (&mut self.not_read, other.not_read),
        ] {
            for (kind, count) in others {
                *own.entry(kind).or_default() += count;
            }
        }
        self.no_documents.extend(other.no_documents);
        self.no_tests.extend(other.no_tests);
        self.charts.extend(other.charts);
    }

    pub(super) fn other(&mut self, kind: &str) {
        let kind = kind.chars().take(LONGEST_KIND).collect();
        *self.others.entry(kind).or_default() += 1;
    }

    pub(super) fn not_read(&mut self, kind: &str) {
        let kind = kind.chars().take(LONGEST_KIND).collect();
        *self.not_read.entry(kind).or_default() += 1;
    }

    pub(super) fn no_document(&mut self, file: &Path) {
        self.no_documents.push(shown::path(file));
    }

    pub(super) fn no_tests(&mut self, file: &Path) {
        self.no_tests.push(shown::path(file));
    }

    pub(super) fn chart(&mut self, folder: &Path) {
        self.charts.push(shown::path(folder));
    }

    /// Whether there was anything to decide by.
    pub(super) fn has_ours(&self) -> bool {
        self.ours > 0
    }

    /// The same for programs.
    pub(super) fn json(&self) -> Value {
        json!({
            "files": self.files,
            "configurations": self.configurations,
            "policies": self.policies,
            "tokenRules": self.token_rules,
            "peerAuthentications": self.peers,
            "tests": self.tests,
            "notRead": self.not_read,
            "otherKinds": self.others,
            "noDocuments": self.no_documents,
            "charts": self.charts,
        })
    }

    /// What was passed over, each thing in a part of a sentence.
    pub(super) fn passed_over(&self) -> Vec<String> {
        let kinds = |counts: &BTreeMap<String, usize>, one: &str, more: &str| {
            let count = counts.values().sum();
            let kinds = counts.iter();
            let kinds = kinds.map(|(kind, count)| format!("{} {count}", shown::line(kind)));
            (count, counted(count, one, more), kinds.collect())
        };
        let files = |names: &Vec<String>, one: &str, more: &str| {
            let count = names.len();
            (count, counted(count, one, more), names.clone())
        };
        let parts: [(usize, String, Vec<String>); 5] = [
            kinds(
                &self.not_read,
                "document that decides about requests, which Portcullis doesn't read",
                "documents that decide about requests, which Portcullis doesn't read",
            ),
            kinds(
                &self.others,
                "document of another kind",
                "documents of other kinds",
            ),
            files(
                &self.no_documents,
                "file that is neither YAML nor JSON",
                "files that are neither YAML nor JSON",
            ),
            files(&self.no_tests, "file without tests", "files without tests"),
            files(
                &self.charts,
                "Helm chart that isn't rendered",
                "Helm charts that aren't rendered",
            ),
        ];
        let parts = parts.into_iter().filter(|(count, ..)| *count > 0);
        let parts = parts.map(|(_, count, names)| format!("{count} ({})", named(&names)));
        parts.collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let read = [
            (self.configurations, "configuration", "configurations"),
            (self.policies, "policy", "policies"),
            (self.token_rules, "token rule", "token rules"),
            (self.peers, "PeerAuthentication", "PeerAuthentications"),
            (self.tests, "test", "tests"),
        ];
        let read = read.into_iter().filter(|(count, ..)| *count > 0);
        let read: Vec<String> = read
            .map(|(count, one, more)| counted(count, one, more))
            .collect();
        let read = match read.is_empty() {
            true => "nothing to decide by".to_owned(),
            false => read.join(", "),
        };
        write!(
            formatter,
            "{}: {read}",
            counted(self.files, "file", "files")
        )?;
        let parts = self.passed_over().into_iter();
        parts
            .into_iter()
            .try_for_each(|part| write!(formatter, "; {part}"))
    }
}

/// The first of some names, and how many more there are.
fn named(names: &[String]) -> String {
    let (named, rest) = names.split_at(names.len().min(MOST_NAMED));
    match rest.len() {
        0 => named.join(", "),
        rest => format!("{} and {rest} more", named.join(", ")),
    }
}
