//! Where the lines of a string stand in the source that the string is in.

use std::ops::Range;

/// The lines of a string, with where each starts in the source: as a block scalar has them, each behind its
/// margin.
pub(super) struct Within {
    /// Where lines start in the string, and in the source, as far as they are found there.
    lines: Vec<(usize, Option<usize>)>,
    whole: Range<usize>,
}

impl Within {
    pub(super) fn new(text: &str, whole: &Range<usize>, source: &str) -> Self {
        let first = text.lines().next().unwrap_or_default();
        let within = source.get(whole.clone()).and_then(|own| own.find(first));
        let mut at = whole.start + within.unwrap_or_default();
        let mut rest = source
            .get(at..)
            .unwrap_or_default()
            .split_inclusive('\n')
            .map(|line| {
                let start = at;
                at += line.len();
                (start, line)
            });
        let mut start = 0;
        let lines = text.split_inclusive('\n').map(|line| {
            let here = start;
            start += line.len();
            let found = rest.next().filter(|_| within.is_some());
            let found = found
                .and_then(|(at, own)| Some(at + own.find(line.trim_end_matches(['\n', '\r']))?));
            (here, found)
        });
        Self {
            lines: lines.collect(),
            whole: whole.clone(),
        }
    }

    /// Where a part of the string stands. A string that is written in another way is taken as one.
    pub(super) fn moved(&self, part: &Range<usize>) -> Range<usize> {
        let index = self
            .lines
            .partition_point(|(start, _)| *start <= part.start);
        let line = index.checked_sub(1).and_then(|index| self.lines.get(index));
        match line {
            Some((start, Some(there))) => {
                let at = there + (part.start - start);
                at..at + part.len()
            }
            _ => self.whole.clone(),
        }
    }
}
