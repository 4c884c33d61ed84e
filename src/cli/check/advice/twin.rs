//! Resources whose names are those of others, or nearly.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::rc::Rc;

use serde_json::Value;

use super::Advice;
use super::spelling::are_near;
use crate::cli::codes::Code;
use crate::cli::source::{Node, Source};
use crate::config::place::Place;

/// A resource, and by what others may know it.
#[derive(Debug)]
pub(super) struct Named {
    source: Rc<Source>,
    /// What to point at.
    span: Range<usize>,
    kind: String,
    name: Option<String>,
    namespace: Option<Text>,
    /// The names of its labels, and their values.
    labels: Vec<(String, Text)>,
    spec: Value,
}

/// A text, and where it is.
#[derive(Debug)]
struct Text {
    span: Range<usize>,
    text: String,
}

impl Text {
    fn new(node: &Node) -> Option<Self> {
        Some(Self {
            span: node.span.clone(),
            text: node.text()?.to_owned(),
        })
    }
}

/// The file in which a resource is, where its namespace isn't written: others may be meant for another namespace.
type Home<'r> = (Option<&'r str>, Option<*const Source>);

impl Named {
    pub(super) fn new(source: &Rc<Source>, node: &Node) -> Self {
        let name = node.dig(&["metadata", "name"]);
        let whole = || node.pointed(&Place::default(), false, &source.text);
        let labels = ["matchLabels", "match_labels"]
            .iter()
            .find_map(|name| node.dig(&["spec", "selector", name]));
        let labels = labels.map(Node::members).unwrap_or_default().iter();
        let labels =
            labels.filter_map(|(name, value)| Some((name.text.clone(), Text::new(value)?)));
        let text = |node: &Node| node.text().map(str::to_owned);
        Self {
            source: Rc::clone(source),
            span: name.map_or_else(whole, |name| name.span.clone()),
            kind: node.get("kind").and_then(text).unwrap_or_default(),
            name: name.and_then(text),
            namespace: node.dig(&["metadata", "namespace"]).and_then(Text::new),
            labels: labels.collect(),
            spec: node.get("spec").map(Node::value).unwrap_or_default(),
        }
    }

    fn home(&self) -> Home<'_> {
        match &self.namespace {
            Some(namespace) => (Some(&namespace.text), None),
            None => (None, Some(Rc::as_ptr(&self.source))),
        }
    }
}

/// A text that one resource has, where several have one that is nearly the same: that.
fn nearest<'t>(text: &str, counts: &BTreeMap<&'t str, usize>) -> Option<&'t str> {
    counts.get(text).filter(|count| **count == 1)?;
    let mut others = counts.iter().filter(|(_, count)| **count > 1);
    let (near, _) = others.find(|(other, _)| are_near(text, other))?;
    Some(near)
}

fn counted<'t>(texts: impl Iterator<Item = &'t str>) -> BTreeMap<&'t str, usize> {
    let mut counts = BTreeMap::new();
    for text in texts {
        *counts.entry(text).or_default() += 1;
    }
    counts
}

impl Advice {
    pub(super) fn twins(&mut self) {
        let resources = std::mem::take(&mut self.resources);
        self.same_names(&resources);
        self.misspelt(&resources);
    }

    /// Resources that Kubernetes takes for one. Files often hold those of several clusters, so of pairs in
    /// two files one is enough to say it.
    fn same_names(&mut self, resources: &[Named]) {
        let mut firsts: HashMap<(&str, &str, Home<'_>), &Named> = HashMap::new();
        let (mut within, mut across) = (Vec::new(), Vec::new());
        for resource in resources {
            let Some(name) = &resource.name else { continue };
            let key = (resource.kind.as_str(), name.as_str(), resource.home());
            let first = *firsts.entry(key).or_insert(resource);
            if first.spec != resource.spec {
                match Rc::ptr_eq(&first.source, &resource.source) {
                    true => within.push(resource),
                    false => across.push((first, resource)),
                }
            }
        }
        for resource in within {
            let text = format!(
                "this file has another {} of this name, and Kubernetes holds only one of them; give one another name",
                resource.kind
            );
            let span = resource.span.clone();
            self.found(&resource.source, Code::SameName, span, text);
        }
        let more = match across.len().saturating_sub(1) {
            0 => String::new(),
            1 => " (and so it is of another resource)".to_owned(),
            more => format!(" (and so it is of {more} more resources)"),
        };
        if let Some((first, resource)) = across.first() {
            let (line, _) = first.source.position(first.span.start);
            let text = format!(
                "{}:{line} has another {} of this name, and Kubernetes holds only one of them{more}; give one \
                 another name, or check what is for another cluster by itself",
                first.source.name, resource.kind
            );
            let span = resource.span.clone();
            self.found(&resource.source, Code::SameName, span, text);
        }
    }

    /// Namespaces and labels that one resource alone has.
    fn misspelt(&mut self, resources: &[Named]) {
        let namespaces = resources.iter().filter_map(|one| one.namespace.as_ref());
        let namespaces = counted(namespaces.map(|namespace| namespace.text.as_str()));
        let mut labels: HashMap<(Home<'_>, &str), Vec<&str>> = HashMap::new();
        for resource in resources {
            for (name, value) in &resource.labels {
                let values = labels.entry((resource.home(), name)).or_default();
                values.push(&value.text);
            }
        }
        let labels: HashMap<_, _> = labels
            .into_iter()
            .map(|(key, values)| (key, counted(values.into_iter())))
            .collect();
        for resource in resources {
            if let Some(own) = &resource.namespace
                && let Some(near) = nearest(&own.text, &namespaces)
            {
                let text = format!("no other resource is in this namespace; do you mean `{near}`?");
                let span = own.span.clone();
                self.found(&resource.source, Code::Misspelt, span, text);
            }
            for (name, own) in &resource.labels {
                let counts = labels.get(&(resource.home(), name.as_str()));
                if let Some(near) = counts.and_then(|counts| nearest(&own.text, counts)) {
                    let text = format!(
                        "no other resource selects `{name}: {}`; do you mean `{near}`?",
                        own.text
                    );
                    let span = own.span.clone();
                    self.found(&resource.source, Code::Misspelt, span, text);
                }
            }
        }
    }
}
