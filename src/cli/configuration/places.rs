//! Where policies and their rules are written.

use std::collections::BTreeMap;

use crate::cli::source::{Node, Source};

/// `FILE:LINE` of each policy and of each rule, by the name that explanations have: `ns[foo]-policy[name]-rule[0]`.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Places {
    written: Vec<Written>,
    by_name: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
struct Written {
    /// That of the proxy where `None`.
    namespace: Option<String>,
    name: String,
    /// Of the policy.
    place: String,
    rules: Vec<String>,
}

impl Places {
    /// Notes the policies of a configuration.
    pub(super) fn configuration(&mut self, node: &Node, source: &Source) {
        let list = |names: [&str; 2]| names.iter().find_map(|name| node.get(name));
        let policies = list(["authorizationPolicies", "authorization_policies"]);
        let policies = policies.into_iter().flat_map(Node::items);
        for (index, policy) in policies.enumerate() {
            let name = policy.get("name").and_then(Node::text);
            let name = name.filter(|name| !name.is_empty());
            let name = name.map_or_else(|| index.to_string(), str::to_owned);
            self.policy(policy, policy.get("rules"), (None, name), source);
        }
        for resource in node.get("resources").into_iter().flat_map(Node::items) {
            self.resource(resource, source);
        }
    }

    /// Notes a resource, if it is a policy.
    pub(super) fn resource(&mut self, node: &Node, source: &Source) {
        let text = |name| node.dig(&["metadata", name]).and_then(Node::text);
        let namespace = text("namespace").filter(|namespace| !namespace.is_empty());
        let name = text("name").unwrap_or_default().to_owned();
        if node.get("kind").and_then(Node::text) == Some("AuthorizationPolicy") {
            let rules = node.dig(&["spec", "rules"]);
            self.policy(node, rules, (namespace.map(str::to_owned), name), source);
        }
    }

    fn policy(
        &mut self,
        node: &Node,
        rules: Option<&Node>,
        (namespace, name): (Option<String>, String),
        source: &Source,
    ) {
        let place = |node: &Node| {
            let (line, _) = source.position(node.span.start);
            format!("{}:{line}", source.name)
        };
        // What YAML couldn't place begins where everything does.
        if node.span == (0..0) {
            return;
        }
        let rules = rules.into_iter().flat_map(Node::items);
        self.written.push(Written {
            namespace,
            name,
            place: place(node),
            rules: rules.map(place).collect(),
        });
    }

    /// The same for a proxy in this namespace.
    pub(super) fn seen_from(mut self, ours: &str) -> Self {
        for written in &self.written {
            let namespace = written.namespace.as_deref().unwrap_or(ours);
            let policy = format!("ns[{namespace}]-policy[{}]", written.name);
            for (index, place) in written.rules.iter().enumerate() {
                let rule = self.by_name.entry(format!("{policy}-rule[{index}]"));
                rule.or_insert_with(|| place.clone());
            }
            let place = self.by_name.entry(policy);
            place.or_insert_with(|| written.place.clone());
        }
        self
    }

    /// Where a rule, or a policy without one, is written.
    pub(in crate::cli) fn of(&self, rule: &str) -> Option<&str> {
        self.by_name.get(rule).map(String::as_str)
    }
}
