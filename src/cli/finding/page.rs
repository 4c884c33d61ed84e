//! The lines of the sources that are spoken of, without what nobody should see.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Finding;
use crate::cli::shown::{self, Secrets};
use crate::cli::source::Source;

/// Every source that something was found in.
pub(super) struct Pages<'f>(BTreeMap<*const Source, Page<'f>>);

/// A source.
pub(super) struct Page<'f> {
    pub(super) name: String,
    text: &'f str,
    /// Where each line starts.
    lines: Vec<usize>,
    /// The bytes that don't begin a character.
    inner: Vec<usize>,
    secrets: Secrets,
    /// The secrets themselves.
    words: Vec<&'f str>,
}

/// Where a finding is: from line and column to line and column, counted from 1, columns in characters.
pub(super) struct At {
    pub(super) start: (usize, usize),
    pub(super) end: (usize, usize),
}

impl<'f> Pages<'f> {
    pub(super) fn of(findings: &'f [Finding]) -> Self {
        let mut pages = BTreeMap::new();
        for finding in findings {
            pages
                .entry(&raw const *finding.source)
                .or_insert_with(|| Page::new(&finding.source));
        }
        Self(pages)
    }

    pub(super) fn page(&self, finding: &Finding) -> Option<&Page<'f>> {
        self.0.get(&(&raw const *finding.source))
    }
}

impl<'f> Page<'f> {
    fn new(source: &'f Source) -> Self {
        let text = source.text.as_str();
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        let bytes = text.bytes().enumerate();
        // In UTF-8 those begin with the bits 10.
        let inner = bytes.filter(|(_, byte)| byte & 0b1100_0000 == 0b1000_0000);
        let secrets = Secrets::of_source(text);
        Self {
            name: shown::line(&source.name),
            text,
            lines: std::iter::once(0).chain(starts).collect(),
            inner: inner.map(|(at, _)| at).collect(),
            words: secrets.words(text),
            secrets,
        }
    }

    pub(super) fn at(&self, span: &Range<usize>) -> At {
        At {
            start: self.position(span.start),
            end: self.position(span.end),
        }
    }

    fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = self.lines.get(line.wrapping_sub(1)).copied();
        let start = start.unwrap_or_default();
        let before = |at: usize| self.inner.partition_point(|inner| *inner < at);
        let inner = before(offset) - before(start);
        (line, offset - start - inner + 1)
    }

    /// The line on which something starts, as far as it is near, with secrets masked and what can't be seen
    /// replaced; and where on that the thing is.
    pub(super) fn line(&self, span: &Range<usize>, near: usize) -> (String, Range<usize>) {
        let (number, _) = self.position(span.start);
        let start = self.lines.get(number.wrapping_sub(1)).copied();
        let start = start.unwrap_or_default();
        let end = self
            .lines
            .get(number)
            .map_or(self.text.len(), |next| next - 1);
        let end = end.max(start);
        let span = span.start.min(end)..span.end.clamp(span.start.min(end), end);
        // A character takes four bytes at most.
        let window = span.start.saturating_sub(4 * near).max(start)..(span.end + 4 * near).min(end);
        let from = (window.start..).find(|at| self.text.is_char_boundary(*at));
        let to = (window.end..).find(|at| self.text.is_char_boundary(*at));
        let window = from.unwrap_or(start)..to.unwrap_or(end);
        let secrets: Vec<&Range<usize>> = self.secrets.within(&window).collect();
        let (mut line, mut first, mut last) = (String::new(), 0, 0);
        let text = self.text.get(window.clone()).unwrap_or_default();
        let text = text.trim_end_matches('\r');
        for (at, letter) in text.char_indices() {
            let at = window.start + at;
            if at == span.start {
                first = line.len();
            }
            if at == span.end {
                last = line.len();
            }
            let is_secret = secrets.iter().any(|secret| secret.contains(&at));
            line.push(match shown::is_hidden(letter) && letter != '\t' {
                true => char::REPLACEMENT_CHARACTER,
                false => shown::mask(letter, is_secret),
            });
        }
        let whole = window.start + text.len();
        if span.start >= whole {
            first = line.len();
        }
        if span.end >= whole {
            last = line.len();
        }
        (line, first..last.max(first))
    }

    /// What is said, in which no secret of the source is quoted.
    pub(super) fn said(&self, text: &str) -> String {
        shown::unsaid(&self.words, text)
    }
}
