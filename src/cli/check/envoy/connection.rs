//! Whose address Envoy takes for the client's.

use super::super::advice::{field, list};
use super::around::{Listener, Manager, is_true};
use super::facts::Facts;
use super::seen::Seen;
use crate::cli::codes::Code;
use crate::cli::document::mentions;
use crate::cli::source::Node;

/// The filter state in which a filter ahead tells the address of the TCP peer.
const DIRECT: &str = "portcullis.direct_remote_address";

pub(super) fn addresses(
    listener: &Listener<'_>,
    manager: &Manager<'_>,
    plugin: usize,
    facts: &Facts,
    seen: &mut Seen,
) {
    let node = manager.node;
    let is_edge = is_true(node, "useRemoteAddress");
    let is_detected = !list(node, "originalIpDetectionExtensions").is_empty();
    let hops = field(node, "xffNumTrustedHops").map(Node::value);
    let has_hops = hops.is_some_and(|hops| hops.as_u64() != Some(0));
    let listener_filters = list(listener.node, "listenerFilters").iter();
    let mut listener_filters = listener_filters.filter(|filter| mentions(filter, "proxy_protocol"));
    let is_proxied = listener_filters.next().is_some();
    let is_reported = !is_edge || is_detected || has_hops || is_proxied;
    let mut ahead = manager.filters.iter().take(plugin);
    if facts.uses_addresses && is_reported && !ahead.any(|filter| mentions(filter.node, DIRECT)) {
        seen.at(
            Code::NoDirectAddress,
            manager.named(),
            "policies have `ipBlocks` or `source.ip`, and the plugin can't tell the address of the TCP peer from one \
             that a header reports: ALLOW never matches by them, DENY always",
            format!(
                "put `set_filter_state` with `{DIRECT}` ahead of the plugin (docs/operations.md, \"Addresses and \
                 peers\")"
            ),
        );
    }
    if facts.uses_remote && !is_edge && !is_detected {
        seen.at(
            Code::TrustsForwardedFor,
            manager.named(),
            "policies have `remoteIpBlocks` or `remote.ip`, and Envoy believes a client's own `x-forwarded-for`",
            "write `use_remote_address: true`, and in `xff_num_trusted_hops` how many proxies stand before this one",
        );
    }
    if facts.uses_remote
        && let Some(skips) = field(node, "skipXffAppend").filter(|_| is_true(node, "skipXffAppend"))
    {
        seen.at(
            Code::SkipXffAppend,
            skips,
            "the upstream gets `x-forwarded-for` as the client wrote it, and may believe another address than the \
             policies did",
            "remove `skip_xff_append`",
        );
    }
}
