//! `check`: what is wrong with configurations, before a proxy refuses them.

mod advice;
mod envoy;
mod mistake;
pub(super) mod subject;

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::Value;

use self::advice::Advice;
use self::envoy::Kubernetes;
pub(super) use self::mistake::told as mistake_at;
use self::subject::{Kind, Subject};
use super::codes::Code;
use super::configuration::elsewhere;
use super::document::{Carrier, flattened, is_mentioned};
use super::files::{Content, Files, Named};
use super::finding::{Finding, Format, Severity, print};
use super::progress::Progress;
use super::source::{Node, Source, Unreadable, not_filled_in};
use super::tally::Tally;
use super::test::Suite;
use super::{Failure, Status, shown};
use crate::config::reader::{Input, Mistake, Mistakes, Read, Report};
use crate::istio::Resource;
use crate::policy::Policy;

/// What stands for all codes.
const ALL: &str = "all";

/// Find what is wrong with configurations and Istio resources.
///
/// Takes a plugin configuration (JSON or YAML), Istio resources, a WasmPlugin, an EnvoyExtensionPolicy, an Envoy
/// configuration with the plugin in it, a ConfigMap with any of these, or policy tests, and shows every mistake
/// where it stands. Advice is about what the plugin takes, and what may hurt later, also in what is around the plugin in
/// Envoy. At the end it tells what it read, and what it didn't. For example: portcullis check policies --deny plain-http
///
/// Exit status: 0 if there is no mistake, 1 if there is one, or advice that is denied, 2 if something can't be read.
#[derive(Args, Debug)]
pub(super) struct Check {
    /// Files and folders; `-` is standard input.
    #[arg(required_unless_present = "explain")]
    files: Vec<PathBuf>,
    /// How to print what is found.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Leave out advice of this code; docs/advice.md has them all.
    #[arg(long, value_name = "CODE", value_parser = advice_codes(&[]), hide_possible_values = true)]
    allow: Vec<String>,
    /// Let advice of this code, or `all`, count as a mistake for the exit status.
    #[arg(long, value_name = "CODE", value_parser = advice_codes(&[ALL]), hide_possible_values = true)]
    deny: Vec<String>,
    /// Tell what a code means, and how to mend what it is about.
    #[arg(long, value_name = "CODE", value_enum, hide_possible_values = true)]
    explain: Option<Code>,
}

/// The codes of advice, and other words.
fn advice_codes(more: &[&'static str]) -> impl TypedValueParser<Value = String> {
    let codes = Code::ALL.iter().filter(|code| !code.is_mistake());
    let names = codes.map(|code| code.name()).chain(more.iter().copied());
    PossibleValuesParser::new(names.collect::<Vec<_>>())
}

impl Check {
    pub(super) fn run(&self) -> Result<Status, Failure> {
        if let Some(code) = self.explain {
            super::print(&format!("{}\n\n{}\n", code.name(), code.explained()))?;
            return Ok(Status::Right);
        }
        let progress = Progress::new();
        let mut checked = Checked::default();
        let files = Files::of(&self.files);
        files
            .charts
            .iter()
            .for_each(|chart| checked.tally.chart(chart));
        checked.failures.extend(files.failures);
        for (number, file) in (1..).zip(&files.files) {
            let count = files.files.len();
            progress.doing(|| format!("reading {number} of {count}: {}", file.path.display()));
            checked.file(file);
        }
        progress.doing(|| "comparing policies".to_owned());
        let (findings, tally, failures) = checked.finish();
        let is_allowed = |code: Code| self.allow.iter().any(|allowed| allowed == code.name());
        let is_mistake = |finding: &Finding| finding.severity == Severity::Mistake;
        let told = |finding: &Finding| is_mistake(finding) || !is_allowed(finding.code);
        let findings: Vec<Finding> = findings.into_iter().filter(told).collect();
        progress.doing(|| "printing what was found".to_owned());
        let has_ours = tally.has_ours() || findings.iter().any(is_mistake);
        let printed = has_ours.then(|| print(&findings, &tally, self.format));
        drop(progress);
        for Failure(failure) in &failures {
            super::tell(failure);
        }
        let Some(printed) = printed else {
            return match failures.is_empty() {
                true => Err(Failure(format!(
                    "there is nothing of Portcullis or Istio's security in it: {tally}"
                ))),
                false => Ok(Status::Unread),
            };
        };
        super::print(&printed)?;
        if self.format != Format::Human {
            super::tell(&tally.to_string());
        }
        let is_denied = |code: Code| {
            let mut denied = self.deny.iter();
            denied.any(|denied| denied == code.name() || denied == ALL)
        };
        let counts = |finding: &Finding| is_mistake(finding) || is_denied(finding.code);
        Ok(match findings.iter().any(counts) {
            true => Status::Wrong,
            false if failures.is_empty() => Status::Right,
            false => Status::Unread,
        })
    }
}

/// What has been looked at.
#[derive(Default)]
struct Checked {
    tally: Tally,
    findings: Vec<Finding>,
    /// Resources that stand alone are advised upon together, whatever files they are in.
    resources: Advice,
    /// So are WasmPlugins and what leads to their key sets.
    kubernetes: Kubernetes,
    /// What couldn't be looked at.
    failures: Vec<Failure>,
}

impl Checked {
    fn file(&mut self, file: &Named) {
        let (source, documents) = match file.read(is_mentioned) {
            Content::Documents(source, documents) => (Rc::new(source), documents),
            Content::Wrong(source, unreadable) => {
                self.tally.files += 1;
                return self.wrong(&Rc::new(source), unreadable);
            }
            Content::Others => return self.tally.no_document(&file.path),
            Content::Missing(failure) => return self.failures.push(failure),
        };
        let mut tally = Tally::default();
        tally.files = 1;
        let is_plain = file.is_asked_for && documents.len() == 1;
        let documents = documents.into_iter();
        let documents: Vec<Node> = documents
            .flat_map(|document| flattened(document, &source))
            .collect();
        for document in &documents {
            self.kubernetes.gather(document);
        }
        let found = subject::find(documents, &source, is_plain, &mut tally);
        if found.is_empty() && file.is_asked_for {
            let (name, others) = (shown::path(&file.path), tally.passed_over());
            let others: String = others.iter().map(|part| format!("; {part}")).collect();
            self.failures.push(Failure(format!(
                "{name}: there is nothing of Portcullis or Istio's security in it{others}"
            )));
        }
        self.tally.add(tally);
        let subject::Found {
            subjects,
            carriers,
            wrong,
            ..
        } = found;
        for subject in subjects {
            self.subject(&source, &subject);
        }
        for (document, carrier) in carriers {
            self.surroundings(&source, &document, carrier);
        }
        for unreadable in wrong {
            self.wrong(&source, unreadable);
        }
    }

    fn wrong(&mut self, source: &Rc<Source>, Unreadable { span, message }: Unreadable) {
        self.found(
            source,
            Severity::Mistake,
            Code::Mistake,
            span,
            message,
            None,
        );
    }

    fn subject(&mut self, source: &Rc<Source>, subject: &Subject) {
        let value = subject.node.value();
        match &subject.kind {
            Kind::Configuration(node) => {
                match Policy::read(&value, node) {
                    Ok(policy) => self.mistakes(source, subject, policy.warnings(), true),
                    Err(Mistakes(mistakes)) => self.mistakes(source, subject, &mistakes, false),
                }
                let mut advice = Advice::default();
                advice.configuration(source, &subject.node, &elsewhere(&value, node));
                self.findings.extend(advice.finish());
            }
            Kind::NotRead(kind) => self.resources.not_read(source, &subject.node, kind),
            Kind::Resource => {
                self.read::<Resource>(source, subject, &value);
                self.resources.resource(source, &subject.node);
            }
            Kind::Suite => self.read::<Suite>(source, subject, &value),
        }
    }

    /// What is around the plugin, as far as the document says.
    fn surroundings(&mut self, source: &Rc<Source>, document: &Node, carrier: Carrier) {
        let seen = match carrier {
            Carrier::WasmPlugin => {
                return self
                    .findings
                    .extend(self.kubernetes.plugin(document, source));
            }
            Carrier::ConfigMap => return,
            Carrier::ExtensionPolicy => envoy::extension_policy(document, source),
            Carrier::Envoy => envoy::look(document, source),
        };
        // A key set's address says `http`, and its cluster speaks TLS.
        self.findings.retain(|finding| {
            let is_here = Rc::ptr_eq(&finding.source, source);
            let is_encrypted = is_here && seen.encrypted.contains(&finding.span.start);
            finding.code != Code::PlainHttp || !is_encrypted
        });
        self.findings.extend(seen.findings);
    }

    fn read<T: Read>(&mut self, source: &Rc<Source>, subject: &Subject, value: &Value) {
        let report = Report::default();
        let read = T::read(&Input::root(value, &report));
        match report.into_result(read) {
            Ok((_, warnings)) => self.mistakes(source, subject, &warnings, true),
            Err(Mistakes(mistakes)) => self.mistakes(source, subject, &mistakes, false),
        }
    }

    fn mistakes(
        &mut self,
        source: &Rc<Source>,
        subject: &Subject,
        found: &[Mistake],
        are_warnings: bool,
    ) {
        for found in found {
            let (severity, code) = match are_warnings {
                true => (Severity::Advice, Code::of_warning(found.topic)),
                false => (Severity::Mistake, Code::Mistake),
            };
            let (span, message, help) = mistake_at(found, &subject.node, &source.text);
            self.found(source, severity, code, span, message, help);
        }
    }

    fn found(
        &mut self,
        source: &Rc<Source>,
        severity: Severity,
        code: Code,
        span: Range<usize>,
        message: String,
        help: Option<String>,
    ) {
        self.findings.push(Finding {
            severity,
            code,
            source: Rc::clone(source),
            span,
            message,
            help,
        });
    }

    /// All that was found, each thing once: YAML can stand for many places by its anchors.
    fn finish(self) -> (Vec<Finding>, Tally, Vec<Failure>) {
        let mut findings = self.findings;
        findings.extend(self.resources.finish());
        findings.extend(self.kubernetes.finish());
        findings.iter_mut().for_each(of_template);
        let mut files: HashMap<*const Source, usize> = HashMap::new();
        for finding in &findings {
            let next = files.len();
            files.entry(Rc::as_ptr(&finding.source)).or_insert(next);
        }
        let order = |finding: &Finding| {
            let file = files.get(&Rc::as_ptr(&finding.source));
            (file.copied(), finding.span.start, finding.severity)
        };
        findings.sort_by_key(order);
        let place = |finding: &Finding| (Rc::as_ptr(&finding.source), finding.span.start);
        findings.dedup_by(|one, other| place(one) == place(other) && one.message == other.message);
        (once_a_file(findings), self.tally, self.failures)
    }
}

/// Of a value that has to be filled in nothing else can be said.
fn of_template(finding: &mut Finding) {
    let value = finding.source.text.get(finding.span.clone());
    let is_scalar = |value: &&str| !value.starts_with('{') && !value.contains(": ");
    let template = value.filter(is_scalar).and_then(not_filled_in);
    if let Some((message, help)) = template.filter(|_| finding.severity == Severity::Advice) {
        finding.code = Code::NotFilledIn;
        finding.message = message.to_owned();
        finding.help = Some(help.to_owned());
    }
}

/// What is true of most rules or configurations of a file is said of the first.
fn once_a_file(findings: Vec<Finding>) -> Vec<Finding> {
    let of_file = |finding: &Finding| {
        let what = match finding.code {
            Code::AnyAudience => ("those of", "rule"),
            Code::Elsewhere => ("others in", "configuration"),
            _ => return None,
        };
        Some((what, (Rc::as_ptr(&finding.source), finding.code)))
    };
    let mut counts: HashMap<(*const Source, Code), usize> = HashMap::new();
    for (_, key) in findings.iter().filter_map(of_file) {
        *counts.entry(key).or_default() += 1;
    }
    let first = |mut finding: Finding| {
        if let Some(((which, what), key)) = of_file(&finding) {
            match counts.remove(&key)? {
                1 => {}
                2 => finding.message += &format!(" (and {which} another {what} of this file)"),
                count => {
                    finding.message +=
                        &format!(" (and {which} {} more {what}s of this file)", count - 1);
                }
            }
        }
        Some(finding)
    };
    findings.into_iter().filter_map(first).collect()
}
