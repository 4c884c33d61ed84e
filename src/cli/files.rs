//! The files that arguments name, and those in folders.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Failure;
use super::shown;
use super::source::{Node, Source, Unread, Unreadable};

/// A file to be read.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) path: PathBuf,
    /// Whether somebody asked for it by its name, not for the folder that it is in.
    pub(super) is_asked_for: bool,
}

/// What is in a file.
pub(super) enum Content {
    Documents(Source, Vec<Node>),
    /// What may be ours, and can't be read.
    Wrong(Source, Unreadable),
    /// Nothing that anybody asked for or that may be ours.
    Others,
    /// The file can't be had.
    Missing(Failure),
}

impl Named {
    /// Reads the file. One that is in a folder and isn't YAML or JSON is somebody else's, unless its text may be ours.
    pub(super) fn read(&self, may_be_ours: fn(&str) -> bool) -> Content {
        let (source, documents) = match Source::open(&self.path) {
            Err(Unread::Missing(failure)) => return Content::Missing(failure),
            Err(Unread::Garbled(source, unreadable)) => (source, Err(unreadable)),
            Ok(source) => {
                let documents = source.documents();
                (source, documents)
            }
        };
        match documents {
            Ok(documents) => Content::Documents(source, documents),
            Err(_) if !self.is_asked_for && !may_be_ours(&source.text) => Content::Others,
            Err(unreadable) => Content::Wrong(source, unreadable),
        }
    }
}

/// What is to be read.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) files: Vec<Named>,
    /// Folders of Helm charts with what is text until it is rendered.
    pub(super) charts: Vec<PathBuf>,
    /// What can't be looked at.
    pub(super) failures: Vec<Failure>,
    /// Files and folders by where they really are: each is read once, and circles end.
    seen: BTreeSet<PathBuf>,
}

impl Files {
    /// Each file once, in the order of the arguments, and in folders by name.
    pub(super) fn of(arguments: &[PathBuf]) -> Self {
        let mut files = Self::default();
        for path in arguments {
            if path.is_dir() {
                files.folder(path);
            } else if path == Path::new("-") || files.is_new(path) {
                files.files.push(Named {
                    path: path.clone(),
                    is_asked_for: true,
                });
            }
        }
        files
    }

    fn is_new(&mut self, path: &Path) -> bool {
        // What can't be found is told by who reads it.
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        self.seen.insert(real)
    }

    fn folder(&mut self, folder: &Path) {
        if !self.is_new(folder) {
            return;
        }
        let entries: io::Result<Vec<PathBuf>> = fs::read_dir(folder)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
        let mut entries = match entries.map_err(Failure::of(shown::path(folder))) {
            Ok(entries) => entries,
            Err(failure) => return self.failures.push(failure),
        };
        entries.sort();
        for entry in entries {
            let name = entry.file_name().unwrap_or_default().to_string_lossy();
            let is_hidden = name.starts_with('.');
            let extension = entry.extension().and_then(|extension| extension.to_str());
            let extension = extension.map(str::to_ascii_lowercase);
            let is_ours = matches!(extension.as_deref(), Some("json" | "yaml" | "yml"));
            let kind = match fs::metadata(&entry) {
                Ok(kind) => kind,
                // A hidden link to nothing is how editors mark what they have open.
                Err(error) if is_ours && !is_hidden => {
                    self.failures.push(Failure::of(shown::path(&entry))(error));
                    continue;
                }
                Err(_) => continue,
            };
            if kind.is_dir() && (is_hidden || name == "node_modules") {
                // A mounted ConfigMap has its files in a hidden folder, and links to them beside it.
            } else if kind.is_dir() {
                let is_chart = name == "templates" && folder.join("Chart.yaml").exists();
                match is_chart {
                    true => self.charts.push(entry),
                    false => self.folder(&entry),
                }
            } else if is_ours && kind.is_file() && self.is_new(&entry) {
                self.files.push(Named {
                    path: entry,
                    is_asked_for: false,
                });
            }
        }
    }
}
