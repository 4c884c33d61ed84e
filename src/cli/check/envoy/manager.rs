//! The connection manager that the plugin is in: order, time-outs, paths, routes.

use super::super::advice::field;
use super::around::{Around, Filter, Manager, below, is_true, text};
use super::facts::Facts;
use super::seen::Seen;
use crate::cli::codes::Code;
use crate::cli::source::Node;

/// What stands on the wrong side of the plugin.
pub(super) fn order(manager: &Manager<'_>, plugin: usize, seen: &mut Seen) {
    let named = |filter: &Filter<'_>| field(filter.node, "name").cloned();
    for (index, filter) in manager.filters.iter().enumerate() {
        let at = named(filter).unwrap_or_else(|| filter.node.clone());
        if index < plugin && filter.is("router") {
            seen.at(
                Code::BehindRouter,
                &at,
                "the router stands ahead of the plugin, so no request comes to the plugin",
                "put the plugin ahead of the router, which is the last filter",
            );
        }
        if index > plugin && filter.is("cors") {
            seen.at(
                Code::CorsBehind,
                &at,
                "the CORS filter stands behind the plugin: a refusal has no CORS headers, so that a browser shows \
                 its page neither status nor body, and preflights need a policy that lets them pass",
                "put `envoy.filters.http.cors` ahead of the plugin",
            );
        }
    }
}

/// What ends a request that waits when a plugin traps.
pub(super) fn time_outs(manager: &Manager<'_>, facts: &Facts, seen: &mut Seen) {
    let is_set = |name: &&str| {
        let seconds = text(manager.node, name).and_then(|text| text.strip_suffix('s'));
        seconds.is_some_and(|seconds| seconds.parse::<f64>().is_ok_and(|seconds| seconds > 0.0))
    };
    let names = [
        ("requestTimeout", "`request_timeout: 15s`"),
        ("streamIdleTimeout", "`stream_idle_timeout: 60s`"),
    ];
    let missing = names.iter().filter(|(name, _)| !is_set(name));
    let missing: Vec<&str> = missing.map(|(_, example)| *example).collect();
    if !missing.is_empty() && facts.waits() {
        seen.at(
            Code::NoTimeouts,
            manager.named(),
            "a request that waits for keys or a service when the plugin traps gets no answer: nothing ends it soon",
            format!("write {}, or as your upstream needs it", missing.join(" and ")),
        );
    }
}

/// Whether others read the path as policies do.
pub(super) fn paths(manager: &Manager<'_>, facts: &Facts, seen: &mut Seen) {
    if facts.uses_paths && !is_true(manager.node, "normalizePath") {
        seen.at(
            Code::NoNormalization,
            manager.named(),
            "policies compare paths, and Envoy passes them on as they come: routes and the upstream may take \
             `/./admin` for another path than the policy did",
            "write `normalize_path: true`, and `merge_slashes: true` and \
             `path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT` if your upstream does the like",
        );
    }
}

/// Routes on which the plugin is left out.
pub(super) fn routes<'n>(
    around: &Around<'n>,
    manager: &Manager<'n>,
    filter: &Filter<'n>,
    seen: &mut Seen,
) {
    let Some(routes) = around.routes(manager) else {
        return;
    };
    let mut disabled: Vec<&Node> = Vec::new();
    below(routes, &mut |node| {
        let own = field(node, "typedPerFilterConfig").and_then(|own| own.get(filter.name));
        if let Some(own) = own.filter(|own| is_true(own, "disabled")) {
            disabled.extend(field(own, "disabled"));
        }
    });
    for at in disabled {
        seen.at(
            Code::DisabledByRoute,
            at,
            "the plugin is left out here: no policy and no token is looked at, and a client's own copy of a header \
             that a rule writes reaches the upstream",
            "let a policy allow the path, and remove this; or take such headers out with \
             `request_headers_to_remove`, and `--allow disabled-by-route`",
        );
    }
}
