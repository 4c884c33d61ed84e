//! Files, and the documents in them with the place of each value.

mod diagnosis;
mod node;
mod text;
mod within;
mod yaml;

use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use serde_json::Value;

pub(super) use self::diagnosis::not_filled_in;
pub(super) use self::node::{Content, Name, Node};
use self::within::Within;
use super::Failure;
use super::shown::{self, Secrets};
use crate::json;

/// Octets of a file, so that none takes all memory: some 100,000 policies.
const LARGEST: u64 = 64 << 20;

/// Text that was read from somewhere.
#[derive(Debug)]
pub(super) struct Source {
    /// How people call it: a path, or `<stdin>`.
    pub(super) name: String,
    pub(super) text: String,
}

/// What keeps a text from being a document: where, and why.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) span: Range<usize>,
    pub(super) message: String,
}

impl Unreadable {
    fn moved(self, to: &Within) -> Self {
        Self {
            span: to.moved(&self.span),
            ..self
        }
    }
}

/// Why there is no text.
pub(super) enum Unread {
    /// The file can't be had.
    Missing(Failure),
    /// It isn't text: what of it is, and what isn't.
    Garbled(Source, Unreadable),
}

impl Source {
    /// Reads a file that somebody names, or for `-` what is piped in.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        Self::open(path).map_err(|unread| match unread {
            Unread::Missing(failure) => failure,
            Unread::Garbled(source, unreadable) => source.failure(&unreadable),
        })
    }

    /// The same, with what can be read of a file that isn't text.
    pub(super) fn open(path: &Path) -> Result<Self, Unread> {
        if path == Path::new("-") {
            let bytes = bytes(io::stdin().lock());
            let bytes = bytes.map_err(Failure::of("standard input"));
            return Self::of("<stdin>".to_owned(), bytes.map_err(Unread::Missing)?);
        }
        let name = shown::path(path);
        let bytes = regular(path).and_then(bytes).map_err(Failure::of(&name));
        Self::of(path.display().to_string(), bytes.map_err(Unread::Missing)?)
    }

    fn of(name: String, bytes: Vec<u8>) -> Result<Self, Unread> {
        match text::decoded(bytes) {
            Ok(text) => Ok(Self { name, text }),
            Err((text, unreadable)) => Err(Unread::Garbled(Self { name, text }, unreadable)),
        }
    }

    /// The documents of the text: one of JSON, or any number of YAML. JSON is held to what the
    /// plugin takes, which is less than YAML does.
    pub(super) fn documents(&self) -> Result<Vec<Node>, Unreadable> {
        match self.is_json() {
            true => Ok(vec![from_json(&self.text)?]),
            false => yaml::documents(&self.text),
        }
    }

    fn is_json(&self) -> bool {
        match Path::new(&self.name).extension() {
            Some(extension) => extension == "json",
            // YAML takes names without quotes, which JSON doesn't. Neither has comments with slashes.
            None => {
                let rest = self.text.trim_start().strip_prefix('{');
                let rest = rest.map(str::trim_start);
                rest.is_some_and(|rest| {
                    ["\"", "}", "//", "/*"]
                        .iter()
                        .any(|start| rest.starts_with(start))
                })
            }
        }
    }

    /// Line and column, counted from 1, columns in characters.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = before.rsplit('\n').next().unwrap_or(before);
        (
            before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            line.chars().count() + 1,
        )
    }

    /// What is wrong with the whole of it, in which no secret of it is quoted.
    pub(super) fn wrong(&self, message: &str) -> Failure {
        let message = Secrets::of_source(&self.text).unsaid(&self.text, message);
        Failure(format!("{}: {message}", self.name))
    }

    /// What is wrong there, in a line.
    pub(super) fn failure(&self, unreadable: &Unreadable) -> Failure {
        let (line, column) = self.position(unreadable.span.start);
        let message = Secrets::of_source(&self.text).unsaid(&self.text, &unreadable.message);
        Failure(format!("{}:{line}:{column}: {message}", self.name))
    }
}

/// A file to be read. Pipes and devices are read where somebody put them in a file's place, as `<(command)` does.
fn regular(path: &Path) -> io::Result<File> {
    let kind = fs::metadata(path)?;
    let is_handed_over = ["/dev/fd/", "/dev/stdin", "/proc/self/fd/"]
        .iter()
        .any(|start| path.to_string_lossy().starts_with(start));
    if kind.is_dir() {
        return Err(io::Error::other("it is a folder"));
    }
    if !kind.is_file() && !is_handed_over {
        return Err(io::Error::other("it is a pipe or a device, not a file"));
    }
    File::open(path)
}

fn bytes(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(LARGEST + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > LARGEST {
        true => Err(io::Error::other(format!(
            "it is larger than {} MiB: split it",
            LARGEST >> 20
        ))),
        false => Ok(bytes),
    }
}

fn from_json(text: &str) -> Result<Node, Unreadable> {
    let value = json::parse(text.as_bytes()).map_err(|error| {
        // serde_json counts columns in bytes.
        let start = offset(text, error.line() as u64, 1);
        let at = (start + error.column().saturating_sub(1)).min(text.len());
        let at = (0..=at).rev().find(|at| text.is_char_boundary(*at));
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or(&message);
        diagnosis::of_json(text, at.unwrap_or_default(), message)
    })?;
    let located = yaml::documents(text).ok().and_then(|mut nodes| nodes.pop());
    // YAML takes all JSON but for tabs at the start of some lines.
    Ok(located.unwrap_or_else(|| unplaced(value)))
}

fn unplaced(value: Value) -> Node {
    let content = match value {
        Value::Array(items) => Content::List(items.into_iter().map(unplaced).collect()),
        Value::Object(members) => {
            let members = members.into_iter();
            let unplaced = |(text, value)| (Name { span: 0..0, text }, unplaced(value));
            Content::Object(members.map(unplaced).collect())
        }
        scalar => Content::Scalar(scalar),
    };
    Node {
        span: 0..0,
        content,
    }
}

/// The byte at a line and a column, in characters, both counted from 1.
fn offset(text: &str, line: u64, column: u64) -> usize {
    let before = |count: u64| usize::try_from(count.saturating_sub(1)).unwrap_or(usize::MAX);
    let mut lines = text.split_inclusive('\n');
    let start: usize = lines.by_ref().take(before(line)).map(str::len).sum();
    let characters = lines.next().unwrap_or_default().chars();
    start
        + characters
            .take(before(column))
            .map(char::len_utf8)
            .sum::<usize>()
}
