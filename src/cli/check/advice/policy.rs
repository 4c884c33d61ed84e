//! A policy as it is written, and which others it leaves nothing to decide.

use std::ops::Range;
use std::rc::Rc;

use serde_json::Value;

use super::{field, list};
use crate::cli::source::{Node, Source};
use crate::config::place::Place;

/// As Go's `strconv.ParseBool`, by which Istio reads the annotation; anything else is a mistake.
fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

/// An AuthorizationPolicy, in either form.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) source: Rc<Source>,
    /// What to point at.
    pub(super) span: Range<usize>,
    pub(super) name: String,
    /// `ALLOW`, `DENY`, `AUDIT` or `CUSTOM`.
    pub(super) action: String,
    pub(super) rules: Vec<Node>,
    pub(super) namespace: Option<String>,
    /// Whatever says to which workloads of the namespace it applies.
    pub(super) reach: Vec<Value>,
    pub(super) is_dry_run: bool,
}

impl Policy {
    pub(super) fn short(source: &Rc<Source>, node: &Node) -> Self {
        let is_dry_run = node.get("dryRun").map(Node::value) == Some(Value::Bool(true));
        Self {
            is_dry_run,
            ..Self::new(source, node, node.get("name"), node)
        }
    }

    pub(super) fn resource(source: &Rc<Source>, node: &Node) -> Self {
        let spec = node.get("spec").unwrap_or(node);
        let dry_run = node.dig(&["metadata", "annotations", "istio.io/dry-run"]);
        let namespace = node.dig(&["metadata", "namespace"]).and_then(Node::text);
        let reach = ["selector", "targetRef", "targetRefs"];
        let reach = reach.iter().filter_map(|name| field(spec, name));
        Self {
            namespace: namespace.map(str::to_owned),
            reach: reach.map(Node::value).collect(),
            is_dry_run: dry_run.and_then(Node::text).is_some_and(is_true),
            ..Self::new(source, node, node.dig(&["metadata", "name"]), spec)
        }
    }

    fn new(source: &Rc<Source>, node: &Node, name: Option<&Node>, spec: &Node) -> Self {
        let whole = node.pointed(&Place::default(), false, &source.text);
        let text = name
            .and_then(Node::text)
            .unwrap_or("a policy without a name");
        let action = field(spec, "action").and_then(Node::text);
        Self {
            source: Rc::clone(source),
            span: name.map_or(whole, |name| name.span.clone()),
            name: text.to_owned(),
            action: action.unwrap_or("ALLOW").to_owned(),
            rules: list(spec, "rules").to_vec(),
            namespace: None,
            reach: Vec::new(),
            is_dry_run: false,
        }
    }

    pub(super) fn allows(&self) -> bool {
        self.action == "ALLOW" && !self.is_dry_run && !self.rules.is_empty()
    }

    /// Whether a rule looks at who sent the request.
    pub(super) fn asks_for_identity(&self) -> bool {
        let of_source = |name: &str| {
            let name = name.to_ascii_lowercase();
            ["principals", "namespaces", "accounts", "domains"]
                .iter()
                .any(|end| name.ends_with(end))
        };
        self.rules.iter().any(|rule| {
            let mut sources = list(rule, "from")
                .iter()
                .filter_map(|from| from.get("source"));
            let mut conditions = list(rule, "when").iter();
            sources.any(|source| {
                source
                    .members()
                    .iter()
                    .any(|(name, _)| of_source(&name.text))
            }) || conditions.any(|when| {
                let key = when.get("key").and_then(Node::text).unwrap_or_default();
                let is_of_source = key.starts_with("source.") && key != "source.ip";
                is_of_source
                    || key.starts_with("request.auth.")
                    || when.get("claim").is_some()
                    || when.get("scopes").is_some()
            })
        })
    }

    /// Whether a rule matches every request.
    pub(super) fn takes_all(&self) -> bool {
        let is_empty = |rule: &Node| rule.value().as_object().is_some_and(|rule| rule.is_empty());
        self.rules.iter().any(is_empty)
    }
}
