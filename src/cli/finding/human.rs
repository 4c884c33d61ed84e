//! Findings for people: what, where, the line, and what helps.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use annotate_snippets::renderer::DEFAULT_TERM_WIDTH;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use clap::builder::styling::{AnsiColor, Effects, Style};

use super::page::Pages;
use super::{Finding, Severity, more};
use crate::cli::codes::Code;
use crate::cli::shown;

/// What a line of source has before it, and a little beyond what is meant.
const AROUND: usize = 24;
/// Narrower than this nothing can be read.
const NARROWEST: usize = 40;
const PLACE: Style = AnsiColor::BrightBlue.on_default().effects(Effects::BOLD);

pub(super) fn all(
    findings: &[&Finding],
    left: &BTreeMap<(Severity, Code), usize>,
    pages: &Pages<'_>,
    end: &str,
) -> String {
    let width = width();
    let mut text = String::new();
    for finding in findings {
        if let Some(told) = told(finding, pages, width) {
            let _ = writeln!(text, "{told}\n");
        }
    }
    for ((_, code), count) in left {
        let _ = writeln!(text, "{}\n", wrapped(&more(*code, *count), width, 0));
    }
    text + &wrapped(end, width, 0) + "\n"
}

/// How many columns there are, where that is known.
fn width() -> Option<usize> {
    let (terminal_size::Width(width), _) = terminal_size::terminal_size_of(std::io::stdout())?;
    Some(usize::from(width).max(NARROWEST))
}

fn told(finding: &Finding, pages: &Pages<'_>, width: Option<usize>) -> Option<String> {
    let page = pages.page(finding)?;
    let ((number, column), room) = (
        page.at(&finding.span).start,
        width.unwrap_or(DEFAULT_TERM_WIDTH),
    );
    let margin = number.to_string().len();
    let level = match finding.severity {
        Severity::Mistake => Level::ERROR.with_name("mistake"),
        Severity::Advice => Level::WARNING.with_name("advice"),
    };
    let code = (finding.code != Code::Mistake).then(|| finding.code.name());
    // `advice[code]: ` and `   = help: `.
    let name = finding.severity.name().len() + code.map_or(0, |code| code.len() + 2) + 2;
    let message = wrapped(&page.said(&finding.message), width, name);
    let help = finding.help.as_ref();
    let help = help.map(|help| wrapped(&page.said(help), width, margin + 9));
    let (line, span) = page.line(&finding.span, room);
    let span = span.start..cut(&line, &span, room.saturating_sub(margin + AROUND));
    let title = level.primary_title(&message);
    let title = match code {
        Some(code) => title.id(code),
        None => title,
    };
    let snippet = Snippet::source(&line)
        .line_start(number)
        .annotation(AnnotationKind::Primary.span(span));
    let help = help.iter().map(|help| Level::HELP.message(help));
    let renderer = Renderer::styled().term_width(room).line_num(PLACE);
    let told = renderer.render(&[title.element(snippet).elements(help)]);
    // The library would count columns in what is shown of the line.
    let place = format!(
        "{:margin$}{PLACE}-->{PLACE:#} {}:{number}:{column}",
        "", page.name
    );
    let mut lines: Vec<&str> = told.lines().collect();
    lines.insert(message.lines().count().min(lines.len()), &place);
    Some(lines.join("\n"))
}

/// The end of a part of a line, or of as much of it as there is room for.
fn cut(line: &str, span: &std::ops::Range<usize>, room: usize) -> usize {
    let part = line.get(span.clone()).unwrap_or_default();
    let cut = part.char_indices().nth(room.max(1)).map(|(at, _)| at);
    span.start + cut.unwrap_or(part.len())
}

/// Text in lines that fit behind what stands before the first, broken between words where it can be.
fn wrapped(text: &str, width: Option<usize>, before: usize) -> String {
    let room = width.map_or(usize::MAX, |width| {
        width.saturating_sub(before).max(NARROWEST / 2)
    });
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let mut current = String::new();
        let mut count = 0;
        for word in shown::printable(line).split_inclusive(' ') {
            let length = word.trim_end().chars().count();
            if count > 0 && count + length > room {
                lines.push(std::mem::take(&mut current).trim_end().to_owned());
                count = 0;
            }
            current += word;
            count += word.chars().count();
        }
        lines.push(current);
    }
    lines.join("\n")
}
