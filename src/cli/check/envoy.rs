//! What is around the plugin: settings of Envoy, Istio or Envoy Gateway without which it can't guard, or guards less than
//! its configuration says. Each is told only where the configuration depends on it.

mod around;
mod capabilities;
mod clusters;
mod connection;
mod facts;
mod kubernetes;
mod manager;
mod peers;
mod plugin;
mod seen;
mod ways;

use std::rc::Rc;

use self::around::{Around, Chain, Filter};
use self::facts::Facts;
pub(super) use self::kubernetes::{Kubernetes, extension_policy};
pub(super) use self::seen::Seen;
use super::subject::metadata;
use crate::cli::source::{Node, Source};

/// Looks at an Envoy configuration, whole or in part, or at what an Envoy tells of itself.
pub(super) fn look(document: &Node, source: &Rc<Source>) -> Seen {
    let around = Around::of(document);
    let metadata = metadata(document);
    let mut seen = Seen::new(source);
    let facts = |plugin: &Node| Facts::of(plugin, &metadata, source);
    for listener in &around.listeners {
        let mut guarded: Vec<(&Chain<'_>, Facts)> = Vec::new();
        for chain in &listener.chains {
            for manager in &chain.managers {
                for (index, filter) in manager.filters.iter().enumerate() {
                    let Some(typed) = around.plugin(filter) else {
                        continue;
                    };
                    let Some(facts) = facts(typed) else { continue };
                    let filter = &Filter { typed, ..*filter };
                    plugin(&around, filter, &facts, &mut seen);
                    manager::order(manager, index, &mut seen);
                    manager::time_outs(manager, &facts, &mut seen);
                    manager::paths(manager, &facts, &mut seen);
                    manager::routes(&around, manager, filter, &mut seen);
                    connection::addresses(listener, manager, index, &facts, &mut seen);
                    guarded.push((chain, facts));
                }
            }
        }
        peers::check(&around, listener, &guarded, &mut seen);
    }
    for filter in around.loose(source) {
        if let Some(facts) = facts(filter.typed) {
            plugin(&around, &filter, &facts, &mut seen);
        }
    }
    ways::check(&around, source, &mut seen);
    seen
}

/// What the filter says itself, and what its configuration asks.
fn plugin(around: &Around<'_>, filter: &Filter<'_>, facts: &Facts, seen: &mut Seen) {
    plugin::check(filter, facts, seen);
    clusters::check(around, facts, seen);
}
