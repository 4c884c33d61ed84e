//! What was found around the plugin.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::cli::codes::Code;
use crate::cli::finding::{Finding, Severity};
use crate::cli::source::{Node, Source};
use crate::config::place::Place;

#[derive(Debug)]
pub(in crate::cli::check) struct Seen {
    source: Rc<Source>,
    pub(in crate::cli::check) findings: Vec<Finding>,
    /// Where addresses of key sets start that say `http`, and are asked over TLS.
    pub(in crate::cli::check) encrypted: BTreeSet<usize>,
}

impl Seen {
    pub(super) fn new(source: &Rc<Source>) -> Self {
        Self {
            source: Rc::clone(source),
            findings: Vec::new(),
            encrypted: BTreeSet::new(),
        }
    }

    /// Something at a value, and what helps.
    pub(super) fn at(
        &mut self,
        code: Code,
        node: &Node,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let span = node.pointed(&Place::default(), false, &self.source.text);
        self.findings.push(Finding {
            severity: match code.is_mistake() {
                true => Severity::Mistake,
                false => Severity::Advice,
            },
            code,
            source: Rc::clone(&self.source),
            span,
            message: message.into(),
            help: Some(help.into()),
        });
    }
}
