//! Trees of text.

use std::fmt;

use clap::builder::styling::{AnsiColor, Style};

use crate::cli::shown;

/// Narrower than this nothing can be read.
const NARROWEST: usize = 40;

/// How a thing came out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::cli) enum Mark {
    /// Nothing is said of that.
    None,
    No,
    Open,
    Yes,
}

/// A line, and what belongs to it.
#[derive(Debug)]
pub(in crate::cli) struct Tree {
    mark: Mark,
    text: String,
    below: Vec<Tree>,
}

impl Tree {
    pub(in crate::cli) fn new(mark: Mark, text: impl Into<String>, below: Vec<Self>) -> Self {
        Self {
            mark,
            text: text.into(),
            below,
        }
    }

    pub(in crate::cli) fn leaf(text: impl Into<String>) -> Self {
        Self::new(Mark::None, text, Vec::new())
    }

    /// The tree as wide as the terminal is, if there is one.
    pub(in crate::cli) fn for_terminal(&self) -> String {
        match terminal_size::terminal_size_of(std::io::stdout()) {
            Some((terminal_size::Width(width), _)) => {
                format!("{self:0$}", usize::from(width).max(NARROWEST))
            }
            None => self.to_string(),
        }
    }

    /// The text in lines for a terminal of this width, broken at blanks and behind commas.
    fn wrapped(&self, room: usize) -> Vec<String> {
        let text = shown::line(&self.text);
        let (mut lines, mut line, mut length) = (Vec::new(), String::new(), 0);
        for piece in text.split_inclusive([' ', ',']) {
            let size = piece.chars().count();
            if length > 0 && length + piece.trim_end().chars().count() > room {
                lines.push(std::mem::take(&mut line).trim_end().to_owned());
                length = 0;
            }
            line.push_str(piece);
            length += size;
        }
        lines.push(line);
        lines
    }

    fn write(&self, formatter: &mut fmt::Formatter<'_>, indent: &str, width: usize) -> fmt::Result {
        let (sign, style) = match self.mark {
            Mark::None => ("", Style::new()),
            Mark::No => ("✗ ", AnsiColor::Red.on_default()),
            Mark::Open => ("? ", AnsiColor::Yellow.on_default()),
            Mark::Yes => ("✓ ", AnsiColor::Green.on_default()),
        };
        // What continues a line stands under its text, beside the branch to what is below.
        let hanging = if self.below.is_empty() { "  " } else { "│ " };
        let before = indent.chars().count() + hanging.chars().count();
        for (index, line) in self
            .wrapped(width.saturating_sub(before))
            .iter()
            .enumerate()
        {
            match index {
                0 => writeln!(formatter, "{style}{sign}{line}{style:#}")?,
                _ => writeln!(formatter, "{indent}{hanging}{style}{line}{style:#}")?,
            }
        }
        for (index, tree) in self.below.iter().enumerate() {
            let is_last = index + 1 == self.below.len();
            let (branch, space) = if is_last {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            write!(formatter, "{indent}{branch}")?;
            tree.write(formatter, &format!("{indent}{space}"), width)?;
        }
        Ok(())
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As `check` does: what isn't for a terminal isn't broken into lines.
        self.write(formatter, "", formatter.width().unwrap_or(usize::MAX))
    }
}
