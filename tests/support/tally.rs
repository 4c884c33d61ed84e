//! Counting what ran, what was left out and why, and what failed. The library's own tests count the
//! same way, so this file needs nothing but the standard library.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::Write as _;

/// Why cases are left out that a clone of the project alone does not have.
const NOT_HERE: &str = "not here";

/// The count of one collection.
#[derive(Debug, Default)]
pub struct Tally {
    ran: usize,
    left_out: BTreeMap<String, usize>,
    failures: Vec<String>,
}

impl Tally {
    /// Counts a case, and what it got otherwise than expected.
    pub fn ran(&mut self, id: &str, differences: Vec<String>) {
        self.ran += 1;
        if !differences.is_empty() {
            self.failures
                .push(format!("{id}: {}", differences.join("; ")));
        }
    }

    /// Counts a case with one answer.
    pub fn check<T: Debug + PartialEq>(&mut self, id: &str, expected: T, got: T) {
        let difference = (expected != got).then(|| format!("expected {expected:?}, got {got:?}"));
        self.ran(id, difference.into_iter().collect());
    }

    /// Counts a case that can't run.
    pub fn leave_out(&mut self, reason: &str) {
        *self.left_out.entry(reason.to_owned()).or_default() += 1;
    }

    /// Counts cases whose file is not there.
    pub fn missing(&mut self, count: usize) {
        if count > 0 {
            self.left_out.insert(NOT_HERE.to_owned(), count);
        }
    }

    /// Prints the count and every failing case; fails once.
    ///
    /// Not by the message of the panic: where a test runs as Wasm, that is lost.
    pub fn finish(self, what: &str) {
        let reasons: Vec<_> = self
            .left_out
            .iter()
            .map(|(reason, count)| format!("{reason}: {count}"))
            .collect();
        say(&format!(
            "{what}: {} cases, {} left out ({})",
            self.ran,
            self.left_out.values().sum::<usize>(),
            reasons.join(", ")
        ));
        for failure in &self.failures {
            say(&format!("  {failure}"));
        }
        let absent = self.left_out.contains_key(NOT_HERE);
        assert!(self.ran > 0 || absent, "no case ran");
        let failures = self.failures.len();
        assert_eq!(failures, 0, "{failures} of {} cases fail", self.ran);
    }
}

/// Says something even where the test passes: libtest captures only what the print macros write.
pub fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("stderr");
}
