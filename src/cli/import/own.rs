//! Which resources are for the proxy, and what is said of the others.

use std::collections::BTreeSet;

use super::aim::{self, Aim};
use super::gathered::{Gathered, named};
use super::workload::Workload;
use super::{Import, Notes, Target, configuration};
use crate::cli::configuration::elsewhere_indices;
use crate::istio;

/// Leaves out what is for other proxies, and tells of it. What nobody excluded would be lost unawares.
pub(super) fn keep(
    import: &Import,
    gathered: &mut Gathered,
    workload: &Workload,
    notes: &mut Notes,
) {
    let made = configuration(gathered, workload, import.to);
    let (mut others, mut left) = (Vec::new(), BTreeSet::new());
    for index in elsewhere_indices(&made, &workload.node(import.to)) {
        let Some(resource) = gathered.resources.get(index) else {
            continue;
        };
        let aims = Aim::of(resource);
        let is_for_service = |aim: &Aim| matches!(aim, Aim::Service(_));
        // A WasmPlugin is for all proxies with some labels, and these may have more.
        let may_select = import.to == Target::Wasmplugin && !aims.iter().any(is_for_service);
        let namespace = aim::namespace(resource);
        let is_excluded = workload.excludes(resource);
        if may_select && (!is_excluded || namespace == workload.namespace()) {
            continue;
        }
        if is_excluded {
            others.push(named(resource));
        } else {
            let options = aims.iter().map(|aim| aim.options(namespace));
            notes.left_out(format!(
                "left out: {}: it isn't for the proxy that this is made for; for the one that it is for, say: {}",
                named(resource),
                options.collect::<Vec<_>>().join(", or ")
            ));
        }
        left.insert(index);
    }
    if let Some(others) = istio::named(&others) {
        notes.say(format!(
            "left out, as they are for other workloads: {others}"
        ));
    }
    gathered.retain(|index| !left.contains(&index));
}
