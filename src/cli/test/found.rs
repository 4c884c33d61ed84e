//! Files of tests, and the configurations that they name.

use std::path::Path;

use super::suite::{Configured, Suite};
use crate::cli::check::mistake_at;
use crate::cli::configuration::{Configuration, Workload};
use crate::cli::document::is_suite;
use crate::cli::files::{Content, Files};
use crate::cli::source::{Node, Source, Unreadable};
use crate::cli::tally::Tally;
use crate::cli::{Failure, shown};
use crate::config::reader::{Input, Mistakes, Read as _, Report};

/// A file of tests.
pub(super) struct Tests<'f> {
    pub(super) path: &'f Path,
    source: Source,
    document: Node,
}

/// The tests in files, and in those of folders that have some.
pub(super) fn suites<'f>(files: &'f Files, tally: &mut Tally) -> (Vec<Tests<'f>>, Vec<Failure>) {
    let (mut suites, mut failures) = (Vec::new(), Vec::new());
    let says_tests = |text: &str| text.contains("configuration") && text.contains("tests");
    for file in &files.files {
        match file.read(says_tests) {
            Content::Documents(_, documents)
                if !file.is_asked_for && !documents.iter().any(is_suite) =>
            {
                tally.no_tests(&file.path);
            }
            Content::Documents(source, mut documents) if documents.len() == 1 => {
                suites.push(Tests {
                    path: &file.path,
                    source,
                    document: documents.swap_remove(0),
                });
            }
            Content::Documents(source, documents) => failures.push(Failure(format!(
                "{}: tests are one document with `configuration` and `tests`, and this has {}: name the \
                 policies in `configuration`",
                source.name,
                documents.len()
            ))),
            Content::Wrong(source, unreadable) => failures.push(source.failure(&unreadable)),
            Content::Others => tally.no_document(&file.path),
            Content::Missing(failure) => failures.push(failure),
        }
    }
    (suites, failures)
}

impl Tests<'_> {
    pub(super) fn read(&self) -> Result<Suite, Failure> {
        let (value, report) = (self.document.value(), Report::default());
        let suite = Suite::read(&Input::root(&value, &report));
        let told = |Mistakes(mistakes)| {
            let mistakes = mistakes.iter().map(|mistake| {
                let (span, message, help) = mistake_at(mistake, &self.document, &self.source.text);
                let message = match help {
                    Some(help) => format!("{message}; {help}"),
                    None => message,
                };
                self.source.failure(&Unreadable { span, message })
            });
            Failure::all(mistakes.collect()).unwrap_or_else(|| Failure(String::new()))
        };
        Ok(report.into_result(suite).map_err(told)?.0)
    }

    /// The configuration, which somebody else than who runs this may have named.
    pub(super) fn configuration(
        &self,
        suite: &Suite,
        workload: &Workload,
        tally: &mut Tally,
    ) -> Result<Configuration, Failure> {
        let file = match &suite.configuration {
            Configured::File(file) => file,
            Configured::Inline(document) => {
                tally.files += 1;
                tally.configuration(document);
                return Ok(Configuration::inline(document.clone()).of(workload));
            }
        };
        let folder = self.path.parent().filter(|folder| *folder != Path::new(""));
        let path = folder.unwrap_or(Path::new(".")).join(file);
        let kind = std::fs::metadata(&path);
        if kind.is_ok_and(|kind| !kind.is_file() && !kind.is_dir()) {
            let name = shown::path(&path);
            return Err(Failure(format!(
                "{name}: it is a pipe or a device, not a file"
            )));
        }
        Configuration::read(&[path], workload, tally)
    }
}
