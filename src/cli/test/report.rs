//! What came of tests, in each format.

use std::fmt::Write as _;

use clap::builder::styling::{AnsiColor, Style};

use super::{Outcomes, Ran};
use crate::cli::shown;
use crate::plural::counted;

/// A line a test, and what isn't as expected, with the reason.
pub(super) fn table(ran: &[Ran]) -> String {
    let mut table = String::new();
    let (good, bad) = (AnsiColor::Green.on_default(), AnsiColor::Red.on_default());
    let results = || ran.iter().flat_map(|ran| &ran.results);
    let width = results()
        .map(|result| shown::line(&result.name).chars().count())
        .max()
        .unwrap_or_default();
    let mut line = |style: Style, text: &str| {
        // Writing to a string doesn't fail.
        let _ = writeln!(table, "{style}{text}{style:#}");
    };
    for Ran {
        file,
        results,
        unreached,
    } in ran
    {
        line(Style::new(), &shown::line(file));
        for result in results {
            let (style, sign) = match result.differences.is_empty() {
                true => (good, "✓"),
                false => (bad, "✗"),
            };
            line(
                style,
                &format!(
                    "  {sign} {:<width$}  {}",
                    shown::line(&result.name),
                    result.got
                ),
            );
            for difference in &result.differences {
                line(bad, &format!("      {}", shown::line(difference)));
            }
            if !result.differences.is_empty() {
                for text in result.explanation.lines() {
                    line(Style::new(), &format!("      {text}"));
                }
            }
        }
        for rule in unreached {
            line(
                AnsiColor::Yellow.on_default(),
                &format!("  no test reaches {}", shown::line(rule)),
            );
        }
    }
    let wrong = results()
        .filter(|result| !result.differences.is_empty())
        .count();
    let style = if wrong == 0 { good } else { bad };
    line(
        style,
        &format!(
            "{}, {wrong} not as expected",
            counted(results().count(), "test", "tests")
        ),
    );
    table
}

/// A `testsuite` a file. The rules that no test reaches are properties of it.
pub(super) fn junit(ran: &[Ran]) -> String {
    let suites: String = ran.iter().map(suite).collect();
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n{suites}</testsuites>\n")
}

fn suite(ran: &Ran) -> String {
    let file = escaped(&ran.file);
    let wrong = ran
        .results
        .iter()
        .filter(|result| !result.differences.is_empty());
    let (count, wrong) = (ran.results.len(), wrong.count());
    let property = |rule: &String| {
        format!(
            "      <property name=\"unreached\" value=\"{}\"/>\n",
            escaped(rule)
        )
    };
    let properties: String = ran.unreached.iter().map(property).collect();
    let cases: String = ran
        .results
        .iter()
        .map(|result| case(&file, result))
        .collect();
    format!(
        "  <testsuite name=\"{file}\" tests=\"{count}\" failures=\"{wrong}\">\n    <properties>\n\
         {properties}    </properties>\n{cases}  </testsuite>\n"
    )
}

fn case(file: &str, result: &Outcomes) -> String {
    let start = format!(
        "    <testcase classname=\"{file}\" name=\"{}\"",
        escaped(&result.name)
    );
    if result.differences.is_empty() {
        return format!("{start}/>\n");
    }
    // Colours are for terminals.
    let explanation = anstream::adapter::strip_str(&result.explanation).to_string();
    format!(
        "{start}>\n      <failure message=\"{}\">{}</failure>\n    </testcase>\n",
        escaped(&result.differences.join("; ")),
        escaped(&explanation)
    )
}

/// What XML 1.0 can hold of a text, without secrets.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in shown::masked(text).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(character),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            hidden if shown::is_hidden(hidden) => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}
