//! What is found in files, and the forms in which it is told.

use std::fmt::Write as _;
use std::ops::Range;
use std::rc::Rc;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use clap::ValueEnum;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::source::Source;

/// What is percent-encoded where a path becomes a URI (RFC 3986 section 3.3).
const NOT_IN_PATHS: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'/')
    .remove(b'_')
    .remove(b'~');

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum Format {
    /// With the lines that are meant, for a terminal.
    #[default]
    Human,
    /// A list of objects.
    Json,
    /// SARIF 2.1.0, which code scanning services and editors read.
    Sarif,
    /// Workflow commands, which GitHub shows beside the lines of a pull request.
    Github,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Severity {
    /// The plugin refuses it.
    Mistake,
    /// The plugin takes it, and does what it says.
    Advice,
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Self::Mistake => "mistake",
            Self::Advice => "advice",
        }
    }
}

/// One thing that was found, and where.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    /// What kind of thing, in a word or some that stay the same.
    pub(super) code: &'static str,
    pub(super) source: Rc<Source>,
    /// In bytes of the source.
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Finding {
    fn path(&self) -> &str {
        &self.source.name
    }

    fn positions(&self) -> ((usize, usize), (usize, usize)) {
        let position = |offset| self.source.position(offset);
        (position(self.span.start), position(self.span.end))
    }

    /// What is wrong, and what helps, in one text.
    fn whole_message(&self) -> String {
        match &self.help {
            Some(help) => format!("{}; {help}", self.message),
            None => self.message.clone(),
        }
    }

    fn human(&self, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Mistake => Level::ERROR.with_name("mistake"),
            Severity::Advice => Level::WARNING.with_name("advice"),
        };
        let title = level.primary_title(&self.message);
        let title = match self.severity {
            Severity::Mistake => title,
            Severity::Advice => title.id(self.code),
        };
        let snippet = Snippet::source(&self.source.text)
            .path(self.path())
            .annotation(AnnotationKind::Primary.span(self.span.clone()));
        let group = title.element(snippet);
        let help = self.help.iter().map(|help| Level::HELP.message(help));
        renderer.render(&[group.elements(help)])
    }

    fn json(&self) -> Value {
        let ((line, column), (end_line, end_column)) = self.positions();
        json!({
            "severity": self.severity.name(),
            "code": self.code,
            "file": self.path(),
            "line": line,
            "column": column,
            "endLine": end_line,
            "endColumn": end_column,
            "message": self.message,
            "help": self.help,
        })
    }

    fn sarif(&self) -> Value {
        let ((line, column), (end_line, end_column)) = self.positions();
        let level = match self.severity {
            Severity::Mistake => "error",
            Severity::Advice => "note",
        };
        let uri = utf8_percent_encode(self.path(), NOT_IN_PATHS).to_string();
        json!({
            "ruleId": self.code,
            "level": level,
            "message": { "text": self.whole_message() },
            "locations": [{ "physicalLocation": {
                "artifactLocation": { "uri": uri },
                "region": {
                    "startLine": line, "startColumn": column,
                    "endLine": end_line, "endColumn": end_column,
                },
            } }],
        })
    }

    /// A workflow command; what would end one of its parts is percent-encoded.
    fn github(&self) -> String {
        let ((line, column), (end_line, end_column)) = self.positions();
        let command = match self.severity {
            Severity::Mistake => "error",
            Severity::Advice => "notice",
        };
        let text = |text: &str| text.replace('%', "%25").replace('\n', "%0A");
        let property = |value| text(value).replace(':', "%3A").replace(',', "%2C");
        format!(
            "::{command} file={},line={line},endLine={end_line},col={column},endColumn={end_column},\
             title={}::{}",
            property(self.path()),
            property(self.code),
            text(&self.whole_message()),
        )
    }
}

/// What is printed of all that was found in so many files.
pub(super) fn print(findings: &[Finding], files: usize, format: Format) -> String {
    match format {
        Format::Human => human(findings, files),
        Format::Json => {
            let findings: Vec<Value> = findings.iter().map(Finding::json).collect();
            format!("{:#}\n", Value::Array(findings))
        }
        Format::Sarif => format!("{:#}\n", sarif(findings)),
        Format::Github => findings.iter().fold(String::new(), |mut text, finding| {
            let _ = writeln!(text, "{}", finding.github());
            text
        }),
    }
}

fn human(findings: &[Finding], files: usize) -> String {
    let renderer = Renderer::styled();
    let mut text = String::new();
    for finding in findings {
        let _ = writeln!(text, "{}\n", finding.human(&renderer));
    }
    let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
    let counted = |count: usize, none: &str, one: &str, more: &str| match count {
        0 => format!("no {none}"),
        1 => format!("1 {one}"),
        count => format!("{count} {more}"),
    };
    let mistakes = counted(count(Severity::Mistake), "mistakes", "mistake", "mistakes");
    let advice = counted(
        count(Severity::Advice),
        "advice",
        "piece of advice",
        "pieces of advice",
    );
    let files = counted(files, "files", "file", "files");
    let _ = writeln!(text, "{files}: {mistakes}, {advice}");
    text
}

/// SARIF 2.1.0 (OASIS), with what its readers ask for.
fn sarif(findings: &[Finding]) -> Value {
    let mut codes: Vec<&str> = findings.iter().map(|finding| finding.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let rules: Vec<Value> = codes.iter().map(|code| json!({ "id": code })).collect();
    let results: Vec<Value> = findings.iter().map(Finding::sarif).collect();
    json!({
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
            "results": results,
        }],
    })
}
