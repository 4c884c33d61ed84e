//! Trees of text.

use std::fmt;

use clap::builder::styling::{AnsiColor, Style};

use crate::cli::shown;

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

    fn write(&self, formatter: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        let (sign, style) = match self.mark {
            Mark::None => ("", Style::new()),
            Mark::No => ("✗ ", AnsiColor::Red.on_default()),
            Mark::Open => ("? ", AnsiColor::Yellow.on_default()),
            Mark::Yes => ("✓ ", AnsiColor::Green.on_default()),
        };
        writeln!(
            formatter,
            "{style}{sign}{}{style:#}",
            shown::line(&self.text)
        )?;
        for (index, tree) in self.below.iter().enumerate() {
            let is_last = index + 1 == self.below.len();
            let (branch, space) = if is_last {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            write!(formatter, "{indent}{branch}")?;
            tree.write(formatter, &format!("{indent}{space}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(formatter, "")
    }
}
