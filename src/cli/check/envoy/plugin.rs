//! What the plugin's filter says of itself.

use super::super::advice::field;
use super::around::{Filter, dig, is_true, text};
use super::capabilities::{ASKED, NEEDED};
use super::facts::Facts;
use super::seen::Seen;
use crate::cli::codes::Code;
use crate::cli::source::Node;

pub(super) const FAIL_OPEN: &str = "if the plugin fails, every request passes unchecked";

pub(super) fn check(filter: &Filter<'_>, facts: &Facts, seen: &mut Seen) {
    let plugin = field(filter.typed, "config").unwrap_or(filter.typed);
    let named = field(filter.node, "name").unwrap_or(filter.node);
    if is_true(filter.node, "disabled") {
        let at = field(filter.node, "disabled").unwrap_or(named);
        seen.at(
            Code::Disabled,
            at,
            "the filter is disabled: no request is looked at, but on routes that enable it",
            "remove `disabled`",
        );
    }
    failure(plugin, named, seen);
    let vm_id = dig(plugin, &["vmConfig", "vmId"]).and_then(Node::text);
    if vm_id.is_none_or(str::is_empty) && facts.fetches_keys() && !facts.says_sharing {
        seen.at(
            Code::NoVmId,
            named,
            "the plugin has no `vm_id` of its own, so each worker fetches key sets for itself",
            "write `vm_id: portcullis` in `vm_config`; where that can't be set, `jwks: {shared: true}` in the \
             plugin's configuration, if every Wasm plugin of this Envoy is one that you trust",
        );
    }
    let allowed = dig(
        plugin,
        &["capabilityRestrictionConfig", "allowedCapabilities"],
    );
    let names = allowed.map(Node::members).unwrap_or_default();
    let is_missing = |name: &&str| names.iter().all(|(own, _)| own.text != **name);
    let missing: Vec<&str> = NEEDED.into_iter().filter(|name| is_missing(name)).collect();
    if let (Some(allowed), Some(first)) = (allowed, missing.first())
        && !names.is_empty()
    {
        let rest = match missing.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        let message = match *first {
            ASKED => format!(
                "the plugin may not do `{first}`{rest}: Envoy asks it about no request, and every request passes \
                 unchecked"
            ),
            first => format!("the plugin may not do `{first}`{rest}, which it needs"),
        };
        let help =
            "allow all that docs/operations.md lists, or leave `capability_restriction_config` out";
        seen.at(Code::MissingCapability, allowed, message, help);
    }
}

fn failure(plugin: &Node, named: &Node, seen: &mut Seen) {
    let policy = field(plugin, "failurePolicy");
    let (open, policy_text) = (field(plugin, "failOpen"), text(plugin, "failurePolicy"));
    if policy_text == Some("FAIL_OPEN") {
        let help = "write `failure_policy: FAIL_RELOAD`";
        seen.at(Code::FailOpen, policy.unwrap_or(named), FAIL_OPEN, help);
    } else if is_true(plugin, "failOpen") {
        let help = "write `failure_policy: FAIL_RELOAD` in place of `fail_open`";
        seen.at(Code::FailOpen, open.unwrap_or(named), FAIL_OPEN, help);
    } else if policy_text != Some("FAIL_RELOAD") {
        seen.at(
            Code::NoReload,
            policy.unwrap_or(named),
            "if the plugin ever traps, this worker answers every request with 503 until Envoy restarts",
            "write `failure_policy: FAIL_RELOAD`",
        );
    }
}
