//! `check`: what is wrong with configurations, before a proxy refuses them.

mod advice;
pub(super) mod subject;

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use clap::Args;
use serde_json::Value;

use self::advice::Advice;
use self::subject::{Kind, Subject};
use super::configuration::elsewhere;
use super::finding::{Finding, Format, Severity, print};
use super::source::{Source, Unreadable};
use super::test::Suite;
use super::{Failure, Status};
use crate::config::reader::{Input, Mistake, Mistakes, Read, Report};
use crate::istio::Resource;
use crate::policy::Policy;

/// What stands for mistakes where a code is needed.
const MISTAKE: &str = "mistake";

/// Find what is wrong with configurations and Istio resources.
///
/// Takes a plugin configuration (JSON or YAML), Istio resources, a WasmPlugin, an
/// EnvoyExtensionPolicy, an Envoy configuration with the plugin in it, or policy tests, and shows
/// every mistake where it stands. Advice is about what the plugin takes, and what may hurt later. Exit status: 0
/// if there is no mistake, 1 if there is one, 2 if something can't be read.
#[derive(Args, Debug)]
pub(super) struct Check {
    /// Files and folders; `-` is standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// How to print what is found.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Check {
    pub(super) fn run(&self) -> Result<Status, Failure> {
        let mut checked = Checked::default();
        for path in &self.files {
            if path.is_dir() {
                for file in files_in(path).map_err(Failure::of(path.display()))? {
                    checked.file(&file, false)?;
                }
            } else if checked.file(path, true)? == 0 {
                return Err(Failure(format!(
                    "{}: there is nothing of Portcullis or Istio's security in it",
                    path.display()
                )));
            }
        }
        if checked.files == 0 {
            return Err(Failure(
                "no .json, .yaml or .yml there has anything of Portcullis or Istio's security in it"
                    .to_owned(),
            ));
        }
        let files = checked.files;
        let findings = checked.findings();
        anstream::print!("{}", print(&findings, files, self.format));
        let is_mistake = |finding: &Finding| finding.severity == Severity::Mistake;
        Ok(match findings.iter().any(is_mistake) {
            true => Status::Wrong,
            false => Status::Right,
        })
    }
}

/// YAML and JSON in a folder and those below it, by name.
pub(super) fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()?;
    entries.sort();
    let mut files = Vec::new();
    for entry in entries {
        let extension = entry.extension().and_then(|extension| extension.to_str());
        if entry.is_dir() {
            // What lies there in a Helm chart is text until it is rendered.
            let is_unrendered = entry.ends_with("templates") && folder.join("Chart.yaml").exists();
            if !is_unrendered {
                files.extend(files_in(&entry)?);
            }
        } else if matches!(extension, Some("json" | "yaml" | "yml")) {
            files.push(entry);
        }
    }
    Ok(files)
}

/// What has been looked at.
#[derive(Default)]
struct Checked {
    files: usize,
    findings: Vec<Finding>,
    /// Resources that stand alone are advised upon together, whatever files they are in.
    resources: Advice,
}

impl Checked {
    /// Looks at a file, and tells how much there was in it to look at.
    fn file(&mut self, path: &Path, is_named: bool) -> Result<usize, Failure> {
        let source = Rc::new(Source::read(path)?);
        let subjects = match source.documents() {
            Ok(documents) => subject::find(&documents, &source, is_named),
            Err(unreadable) => vec![Err(unreadable)],
        };
        self.files += usize::from(!subjects.is_empty());
        let count = subjects.len();
        for subject in subjects {
            match subject {
                Ok(subject) => self.subject(&source, &subject),
                Err(Unreadable { span, message }) => {
                    self.found(&source, Severity::Mistake, MISTAKE, span, message, None);
                }
            }
        }
        Ok(count)
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
            Kind::Resource => {
                self.read::<Resource>(source, subject, &value);
                self.resources.resource(source, &subject.node);
            }
            Kind::Suite => self.read::<Suite>(source, subject, &value),
        }
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
        let (severity, code) = match are_warnings {
            true => (Severity::Advice, "warning"),
            false => (Severity::Mistake, MISTAKE),
        };
        for Mistake {
            place,
            is_name,
            message,
        } in found
        {
            let near = subject.node.spoken_of(place, message);
            let place = near.as_ref().filter(|_| !is_name).unwrap_or(place);
            let span = subject.node.pointed(place, *is_name, &source.text);
            let help = is_name.then(|| alike(place, message)).flatten();
            self.found(source, severity, code, span, message.clone(), help);
        }
    }

    fn found(
        &mut self,
        source: &Rc<Source>,
        severity: Severity,
        code: &'static str,
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
    fn findings(self) -> Vec<Finding> {
        let mut findings = self.findings;
        findings.extend(self.resources.finish());
        let mut sources: Vec<*const Source> = Vec::new();
        for finding in &findings {
            let source = Rc::as_ptr(&finding.source);
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        let order = |finding: &Finding| {
            let source = Rc::as_ptr(&finding.source);
            let file = sources.iter().position(|known| *known == source);
            (file, finding.span.start, finding.severity)
        };
        findings.sort_by_key(order);
        findings.dedup_by(|one, other| order(one) == order(other) && one.message == other.message);
        findings
    }
}

/// The name among those that a message offers that is most like the one that was written.
fn alike(place: &crate::config::place::Place, message: &str) -> Option<String> {
    let written = place.to_string();
    let written = written.rsplit(['.', ']']).next()?;
    let offered = message.split('`').skip(1).step_by(2);
    let likeness = |name: &str| strsim::damerau_levenshtein(written, name);
    let nearest = offered.min_by_key(|name| likeness(name))?;
    let is_near = likeness(nearest) * 3 <= written.len().max(3);
    is_near.then(|| format!("there is `{nearest}`"))
}
