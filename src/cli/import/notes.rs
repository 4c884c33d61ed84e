//! What can't come along, or should be known, each thing once.

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use crate::cli::shown;
use crate::cli::source::{Node, Source};

/// As many documents of a kind are named; more are counted.
const MOST_NAMED: usize = 10;

#[derive(Debug, Default)]
pub(super) struct Notes {
    lines: Vec<String>,
    said: HashSet<String>,
    /// Documents that decide and are left out, by kind and what to do about them: how many, and the first of them.
    documents: BTreeMap<(String, &'static str), (usize, Vec<String>)>,
    /// Whether something is left out that decides about requests.
    is_partial: bool,
}

impl Notes {
    pub(super) fn say(&mut self, line: impl Into<String>) {
        let line = line.into();
        if self.said.insert(line.clone()) {
            self.lines.push(line);
        }
    }

    /// Something that decides is left out.
    pub(super) fn left_out(&mut self, line: impl Into<String>) {
        self.is_partial = true;
        self.say(line);
    }

    /// The same of a document or a part of one.
    pub(super) fn document(
        &mut self,
        source: &Rc<Source>,
        node: &Node,
        kind: &str,
        help: &'static str,
    ) {
        self.is_partial = true;
        let (count, first) = self.documents.entry((kind.to_owned(), help)).or_default();
        *count += 1;
        if first.len() < MOST_NAMED {
            let (line, _) = source.position(node.span.start);
            let place = format!("{}:{line}", source.name);
            first.push(match name(node) {
                Some(name) => format!("{kind} {name} ({place})"),
                None => format!("{kind} ({place})"),
            });
        }
    }

    pub(super) fn is_partial(&self) -> bool {
        self.is_partial
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        let documents = self.documents.iter().map(|((_, help), (count, first))| {
            let rest = match count - first.len() {
                0 => String::new(),
                rest => format!(" and {rest} more"),
            };
            let first: Vec<String> = first.iter().map(|name| shown::line(name)).collect();
            format!("left out: {}{rest}: {help}", first.join(", "))
        });
        documents.chain(self.lines.iter().cloned())
    }
}

/// Namespace and name.
fn name(node: &Node) -> Option<String> {
    let text = |name| node.dig(&["metadata", name]).and_then(Node::text);
    let name = text("name")?;
    Some(match text("namespace") {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    })
}
