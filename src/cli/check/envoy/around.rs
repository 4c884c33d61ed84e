//! The parts of an Envoy configuration that matter to a filter: listeners, connection managers, filters, routes,
//! clusters. Envoy takes names in camelCase, too.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::advice::{field, list};
use super::super::subject::{handed_over, wasm};
use crate::cli::source::{Node, Source, Unreadable};

/// The whole.
#[derive(Debug, Default)]
pub(super) struct Around<'n> {
    pub(super) listeners: Vec<Listener<'n>>,
    pub(super) clusters: BTreeMap<&'n str, &'n Node>,
    /// Whether there are no other clusters than those.
    pub(super) has_all_clusters: bool,
    pub(super) secrets: BTreeMap<&'n str, &'n Node>,
    routes: BTreeMap<&'n str, &'n Node>,
    /// Filters that listeners name, and that stand elsewhere (ECDS).
    extensions: BTreeMap<&'n str, &'n Node>,
    /// Wasm filters that are in no listener: the document is a part of a configuration.
    loose: Vec<&'n Node>,
}

#[derive(Debug)]
pub(super) struct Listener<'n> {
    pub(super) node: &'n Node,
    pub(super) chains: Vec<Chain<'n>>,
}

#[derive(Debug)]
pub(super) struct Chain<'n> {
    pub(super) node: &'n Node,
    pub(super) managers: Vec<Manager<'n>>,
    /// The `typed_config` of other filters of the connection.
    pub(super) others: Vec<&'n Node>,
}

/// An HTTP connection manager.
#[derive(Debug)]
pub(super) struct Manager<'n> {
    pub(super) node: &'n Node,
    pub(super) filters: Vec<Filter<'n>>,
}

/// An HTTP filter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filter<'n> {
    pub(super) node: &'n Node,
    pub(super) name: &'n str,
    pub(super) typed: &'n Node,
}

/// A text under a name.
pub(super) fn text<'n>(node: &'n Node, name: &str) -> Option<&'n str> {
    field(node, name).and_then(Node::text)
}

pub(super) fn is_true(node: &Node, name: &str) -> bool {
    field(node, name).is_some_and(|value| value.value() == Value::Bool(true))
}

/// The value behind several names.
pub(super) fn dig<'n>(node: &'n Node, names: &[&str]) -> Option<&'n Node> {
    names.iter().try_fold(node, |node, name| field(node, name))
}

/// Everything below, itself included.
pub(super) fn below<'n>(node: &'n Node, visit: &mut impl FnMut(&'n Node)) {
    visit(node);
    let members = node.members().iter().map(|(_, member)| member);
    for part in node.items().iter().chain(members) {
        below(part, visit);
    }
}

/// The first part of a type below: `UpstreamTlsContext`.
pub(super) fn of_type<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    let mut found = None;
    below(node, &mut |node| {
        let kind = node.get("@type").and_then(Node::text);
        let is_one = kind.is_some_and(|kind| kind.rsplit('.').next() == Some(name));
        if is_one && found.is_none() {
            found = Some(node);
        }
    });
    found
}

impl<'n> Around<'n> {
    pub(super) fn of(document: &'n Node) -> Self {
        let mut around = Self::default();
        let told = document.get("configs").map(Node::items).unwrap_or_default();
        let has_clusters = |config: &Node| {
            let names = ["staticClusters", "dynamicActiveClusters"];
            names.iter().any(|name| field(config, name).is_some())
        };
        let is_told = told.iter().any(has_clusters);
        let is_static = field(document, "staticResources").is_some()
            && dig(document, &["dynamicResources", "cdsConfig"]).is_none();
        around.has_all_clusters = is_told || is_static;
        around.walk("", document);
        around
    }

    fn walk(&mut self, name: &str, node: &'n Node) {
        let called = text(node, "name");
        if field(node, "filterChains").is_some() || field(node, "defaultFilterChain").is_some() {
            let chains = list(node, "filterChains").iter();
            let chains = chains.chain(field(node, "defaultFilterChain"));
            let chains = chains.map(Chain::of).collect();
            return self.listeners.push(Listener { node, chains });
        }
        if wasm(node).is_some() {
            return self.loose.push(node);
        }
        let kind = node.get("@type").and_then(Node::text).unwrap_or_default();
        let is_cluster = matches!(name, "cluster" | "clusters") && field(node, "weight").is_none()
            || kind.ends_with(".Cluster");
        match called {
            Some(called) if is_cluster => drop(self.clusters.insert(called, node)),
            Some(called) if name == "secrets" || kind.ends_with(".Secret") => {
                self.secrets.insert(called, node);
            }
            Some(called) if field(node, "virtualHosts").is_some() => {
                self.routes.insert(called, node);
            }
            Some(called) if kind.ends_with(".TypedExtensionConfig") => {
                if let Some(typed) = field(node, "typedConfig") {
                    self.extensions.insert(called, typed);
                }
            }
            Some(_) if wasm_in(node).is_some() => self.loose.push(node),
            _ => {
                for (name, member) in node.members() {
                    self.walk(&name.text, member);
                }
                for item in node.items() {
                    self.walk(name, item);
                }
            }
        }
    }

    /// What a filter says of a Wasm plugin, wherever it stands.
    pub(super) fn plugin(&self, filter: &Filter<'n>) -> Option<&'n Node> {
        let elsewhere = field(filter.node, "configDiscovery").is_some();
        let elsewhere = elsewhere.then(|| self.extensions.get(filter.name).copied());
        elsewhere.flatten().or(Some(filter.typed)).and_then(wasm)
    }

    /// The plugin's filters that stand in no listener.
    pub(super) fn loose(&self, source: &Source) -> Vec<Filter<'n>> {
        let loose = self.loose.iter().copied();
        let filters = loose.filter_map(|node| {
            let typed = wasm(node).or_else(|| wasm_in(node))?;
            Some(Filter {
                node,
                name: text(node, "name").unwrap_or_default(),
                typed,
            })
        });
        let is_ours = |filter: &Filter<'n>| configuration(filter.typed, source).is_some();
        filters.filter(is_ours).collect()
    }

    /// The routes of a connection manager, if they are known.
    pub(super) fn routes(&self, manager: &Manager<'n>) -> Option<&'n Node> {
        let named = dig(manager.node, &["rds", "routeConfigName"]).and_then(Node::text);
        let named = named.and_then(|name| self.routes.get(name).copied());
        field(manager.node, "routeConfig").or(named)
    }
}

/// The configuration of our plugin in what is said of a Wasm filter, or what is wrong with it.
pub(super) fn configuration(typed: &Node, source: &Source) -> Option<Result<Node, Unreadable>> {
    handed_over(typed, dig(typed, &["config", "configuration"]), source)
}

fn wasm_in(node: &Node) -> Option<&Node> {
    field(node, "typedConfig").and_then(wasm)
}

impl<'n> Listener<'n> {
    pub(super) fn managers(&self) -> impl Iterator<Item = &Manager<'n>> {
        self.chains.iter().flat_map(|chain| &chain.managers)
    }

    /// What to point at.
    pub(super) fn named(&self) -> &'n Node {
        field(self.node, "name").unwrap_or(self.node)
    }
}

impl<'n> Manager<'n> {
    /// What to point at.
    pub(super) fn named(&self) -> &'n Node {
        field(self.node, "statPrefix").unwrap_or(self.node)
    }
}

impl<'n> Chain<'n> {
    fn of(node: &'n Node) -> Self {
        let mut chain = Self {
            node,
            managers: Vec::new(),
            others: Vec::new(),
        };
        for filter in list(node, "filters") {
            let typed = field(filter, "typedConfig").unwrap_or(filter);
            match field(typed, "httpFilters") {
                Some(filters) => chain.managers.push(Manager {
                    node: typed,
                    filters: filters.items().iter().map(Filter::of).collect(),
                }),
                None => chain.others.push(typed),
            }
        }
        chain
    }

    /// How it speaks TLS, if it does.
    pub(super) fn tls(&self) -> Option<&'n Node> {
        of_type(field(self.node, "transportSocket")?, "DownstreamTlsContext")
    }
}

impl<'n> Filter<'n> {
    fn of(node: &'n Node) -> Self {
        Self {
            node,
            name: text(node, "name").unwrap_or_default(),
            typed: field(node, "typedConfig").unwrap_or(node),
        }
    }

    /// Whether it is of this type, or named so.
    pub(super) fn is(&self, kind: &str) -> bool {
        let own = self.typed.get("@type").and_then(Node::text);
        own.is_some_and(|own| own.contains(&format!("filters.http.{kind}.v3.")))
            || self.name == format!("envoy.filters.http.{kind}")
    }
}
