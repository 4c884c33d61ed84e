//! Findings for programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::page::{At, Pages};
use super::{Finding, Severity, more};
use crate::cli::codes::Code;
use crate::cli::shown;
use crate::cli::tally::Tally;

/// What is percent-encoded where a path becomes a URI (RFC 3986 section 3.3).
const NOT_IN_PATHS: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'/')
    .remove(b'_')
    .remove(b'~');

/// A finding, with what may be said of it.
struct Told<'f> {
    finding: &'f Finding,
    at: At,
    message: String,
    help: Option<String>,
}

impl<'f> Told<'f> {
    fn new(finding: &'f Finding, pages: &Pages<'_>) -> Option<Self> {
        let page = pages.page(finding)?;
        Some(Self {
            finding,
            at: page.at(&finding.span),
            message: page.said(&finding.message),
            help: finding.help.as_ref().map(|help| page.said(help)),
        })
    }

    fn path(&self) -> &'f str {
        &self.finding.source.name
    }

    /// What is wrong, and what helps, in one text.
    fn whole_message(&self) -> String {
        match &self.help {
            Some(help) => format!("{}; {help}", self.message),
            None => self.message.clone(),
        }
    }

    fn json(&self) -> Value {
        let At { start, end } = self.at;
        json!({
            "severity": self.finding.severity.name(),
            "code": self.finding.code.name(),
            "file": self.path(),
            "line": start.0,
            "column": start.1,
            "endLine": end.0,
            "endColumn": end.1,
            "message": self.message,
            "help": self.help,
        })
    }

    fn sarif(&self) -> Value {
        let At { start, end } = self.at;
        let level = match self.finding.severity {
            Severity::Mistake => "error",
            Severity::Advice => "note",
        };
        let uri = utf8_percent_encode(self.path(), NOT_IN_PATHS).to_string();
        json!({
            "ruleId": self.finding.code.name(),
            "level": level,
            "message": { "text": self.whole_message() },
            "locations": [{ "physicalLocation": {
                "artifactLocation": { "uri": uri },
                "region": {
                    "startLine": start.0, "startColumn": start.1,
                    "endLine": end.0, "endColumn": end.1,
                },
            } }],
        })
    }

    fn github(&self) -> String {
        let At { start, end } = self.at;
        format!(
            "::{} file={},line={},endLine={},col={},endColumn={},title={}::{}",
            command(self.finding.severity),
            property(self.path()),
            start.0,
            end.0,
            start.1,
            end.1,
            property(self.finding.code.name()),
            data(&self.whole_message()),
        )
    }
}

/// GitHub's word for it.
fn command(severity: Severity) -> &'static str {
    match severity {
        Severity::Mistake => "error",
        Severity::Advice => "notice",
    }
}

/// The message of a workflow command, as GitHub's toolkit writes one: what would end it is percent-encoded. Other
/// characters that a log shouldn't get are written out.
fn data(text: &str) -> String {
    let text = text.replace('%', "%25").replace('\r', "%0D");
    let lines: Vec<String> = text.split('\n').map(shown::printable).collect();
    lines.join("%0A")
}

/// The value of one of its properties.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

pub(super) fn github(
    findings: &[&Finding],
    left: &BTreeMap<(Severity, Code), usize>,
    pages: &Pages<'_>,
) -> String {
    let mut text = String::new();
    for told in findings
        .iter()
        .filter_map(|finding| Told::new(finding, pages))
    {
        let _ = writeln!(text, "{}", told.github());
    }
    for ((severity, code), count) in left {
        let (command, more) = (command(*severity), data(&more(*code, *count)));
        let _ = writeln!(text, "::{command} title={}::{more}", property(code.name()));
    }
    text
}

pub(super) fn json(findings: &[Finding], pages: &Pages<'_>) -> String {
    let told = findings
        .iter()
        .filter_map(|finding| Told::new(finding, pages));
    let findings: Value = told.map(|told| told.json()).collect();
    shown::json(&findings) + "\n"
}

/// SARIF 2.1.0 (OASIS), with what its readers ask for.
pub(super) fn sarif(findings: &[Finding], pages: &Pages<'_>, tally: &Tally) -> String {
    let codes: BTreeSet<Code> = findings.iter().map(|finding| finding.code).collect();
    let rules: Vec<Value> = codes.into_iter().map(rule).collect();
    let told = findings
        .iter()
        .filter_map(|finding| Told::new(finding, pages));
    let results: Vec<Value> = told.map(|told| told.sarif()).collect();
    let sarif = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "portcullis",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "properties": { "read": tally.json() },
            "results": results,
        }],
    });
    shown::json(&sarif) + "\n"
}

fn rule(code: Code) -> Value {
    json!({
        "id": code.name(),
        "help": { "text": code.explained(), "markdown": code.explained() },
        "helpUri": code.uri(),
    })
}
