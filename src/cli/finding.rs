//! What is found in files, and the forms in which it is told.

mod human;
mod machine;
mod page;

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use clap::ValueEnum;

use self::page::Pages;
use super::codes::Code;
use super::source::Source;
use super::tally::Tally;
use crate::plural::counted;

/// As many findings of a code are shown to people. Who repeats a mistake repeats how it is mended.
const MOST_OF_A_CODE: usize = 50;

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
    pub(super) code: Code,
    pub(super) source: Rc<Source>,
    /// In bytes of the source.
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// What is printed of all that was found.
pub(super) fn print(findings: &[Finding], tally: &Tally, format: Format) -> String {
    let pages = Pages::of(findings);
    match format {
        Format::Human => {
            let (shown, left) = most(findings);
            let files = counted(tally.files, "file", "files");
            let end = format!("{files}: {}\n{tally}", verdict(findings));
            human::all(&shown, &left, &pages, &end)
        }
        Format::Json => machine::json(findings, &pages),
        Format::Sarif => machine::sarif(findings, &pages, tally),
        Format::Github => {
            let (shown, left) = most(findings);
            machine::github(&shown, &left, &pages)
        }
    }
}

/// How many of each there are.
fn verdict(findings: &[Finding]) -> String {
    let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
    let or_none = |count: usize, none: &str, one: &str, more: &str| match count {
        0 => format!("no {none}"),
        count => counted(count, one, more),
    };
    format!(
        "{}, {}",
        or_none(count(Severity::Mistake), "mistakes", "mistake", "mistakes"),
        or_none(
            count(Severity::Advice),
            "advice",
            "piece of advice",
            "pieces of advice"
        )
    )
}

/// The first of each code, and how many more there are.
fn most(findings: &[Finding]) -> (Vec<&Finding>, BTreeMap<(Severity, Code), usize>) {
    let (mut counts, mut left) = (BTreeMap::new(), BTreeMap::new());
    let shown = findings.iter().filter(|finding| {
        let code = (finding.severity, finding.code);
        let count: &mut usize = counts.entry(code).or_default();
        *count += 1;
        let is_shown = *count <= MOST_OF_A_CODE;
        if !is_shown {
            *left.entry(code).or_default() += 1;
        }
        is_shown
    });
    (shown.collect(), left)
}

/// What stands for those that aren't shown.
fn more(code: Code, count: usize) -> String {
    let code = code.name();
    format!("and {count} more of `{code}`; --format json has all")
}
