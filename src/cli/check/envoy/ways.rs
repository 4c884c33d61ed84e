//! Ways around the plugin: what leads to the same cluster without it.

use std::collections::BTreeSet;

use super::super::advice::{field, list};
use super::around::{Around, Manager, below, configuration, text};
use super::seen::Seen;
use crate::cli::codes::Code;
use crate::cli::source::{Node, Source};

pub(super) fn check<'n>(around: &Around<'n>, source: &Source, seen: &mut Seen) {
    let guards = |manager: &Manager<'n>| {
        let mut plugins = manager
            .filters
            .iter()
            .filter_map(|filter| around.plugin(filter));
        plugins.any(|typed| configuration(typed, source).is_some())
    };
    let of_manager = |manager: &Manager<'n>| {
        let routes = around.routes(manager);
        routes.map(clusters).unwrap_or_default()
    };
    let managers = around
        .listeners
        .iter()
        .flat_map(|listener| listener.managers());
    let guarded: BTreeSet<&str> = managers
        .filter(|manager| guards(manager))
        .flat_map(of_manager)
        .collect();
    for listener in &around.listeners {
        let mut open = BTreeSet::new();
        for chain in &listener.chains {
            let managers = chain.managers.iter().filter(|manager| !guards(manager));
            open.extend(managers.flat_map(of_manager));
            // A TCP proxy.
            open.extend(chain.others.iter().flat_map(|filter| clusters(filter)));
        }
        let around: Vec<String> = open
            .intersection(&guarded)
            .map(|name| format!("`{name}`"))
            .collect();
        if !around.is_empty() {
            let name = text(listener.node, "name").unwrap_or_default();
            seen.at(
                Code::UnguardedListener,
                listener.named(),
                format!(
                    "the listener `{name}` leads to {} without the plugin, which guards the same elsewhere",
                    around.join(", ")
                ),
                "put the plugin into each of its filter chains, or see to it that only those reach it who may",
            );
        }
    }
}

/// The clusters that routes, or a TCP proxy, lead to.
fn clusters(node: &Node) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    below(node, &mut |node| {
        found.extend(text(node, "cluster"));
        let weighted = field(node, "weightedClusters");
        let weighted = weighted.map(|weighted| list(weighted, "clusters"));
        let weighted = weighted.unwrap_or_default().iter();
        found.extend(weighted.filter_map(|cluster| text(cluster, "name")));
    });
    found
}
