//! What follows from the resources of the proxy that they are for, where nobody says.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::aim::{self, Aim, commands};
use super::gathered::Gathered;
use super::workload::{Said, root};
use super::{Import, Target};
use crate::cli::Failure;

/// What can't be told, and what to say instead.
fn ambiguous(what: &str, gathered: &Gathered) -> Failure {
    let commands = commands(gathered, root(&gathered.mesh.of_workload));
    Failure(format!("{what}. Choose one:\n{commands}"))
}

/// The resources that may be for a proxy of this namespace.
pub(super) fn near<'g>(gathered: &'g Gathered, whole: &Map<String, Value>) -> Vec<&'g Value> {
    let own = whole.get("namespace").and_then(Value::as_str);
    let is_near = |resource: &&Value| match (aim::namespace(resource), own) {
        (Some(namespace), Some(own)) => namespace == own || namespace == root(whole),
        _ => true,
    };
    gathered.resources.iter().filter(is_near).collect()
}

/// The namespace that all resources are of, but for those that apply everywhere.
pub(super) fn namespace(
    gathered: &Gathered,
    root: &str,
    may_be_any: bool,
) -> Result<Option<String>, Failure> {
    let all = gathered.resources.iter().filter_map(aim::namespace);
    let all: BTreeSet<&str> = all.collect();
    let own: Vec<&str> = all.iter().copied().filter(|name| *name != root).collect();
    match own.as_slice() {
        [] => Ok(all.first().map(|&name| name.to_owned())),
        [one] if !may_be_any || all.len() == 1 => Ok(Some((*one).to_owned())),
        _ if may_be_any => Ok(Some(root.to_owned())),
        several => {
            let what = format!(
                "there are resources of {} namespaces: say with --namespace in which one the proxy is",
                several.len()
            );
            Err(ambiguous(&what, gathered))
        }
    }
}

/// The labels that every resource selects.
pub(super) fn common(resources: &[&Value]) -> BTreeMap<String, String> {
    let selectors: Vec<_> = resources
        .iter()
        .map(|resource| resource.pointer("/spec/selector"))
        .map(|selector| selector.map(aim::match_labels).unwrap_or_default())
        .collect();
    match selectors.split_first() {
        Some((first, rest)) if rest.iter().all(|selector| selector == first) => first.clone(),
        _ => BTreeMap::new(),
    }
}

/// All labels that some resource selects.
pub(super) fn selected(
    gathered: &Gathered,
    resources: &[&Value],
) -> Result<BTreeMap<String, String>, Failure> {
    let selectors = resources
        .iter()
        .filter_map(|resource| resource.pointer("/spec/selector"));
    let mut all = BTreeMap::new();
    for (name, value) in selectors.flat_map(aim::match_labels) {
        match all.insert(name.clone(), value.clone()) {
            Some(before) if before != value => {
                let what = format!(
                    "some resources are for {name}={before}, others for {name}={value}: say with --label \
                     what labels the proxy has"
                );
                return Err(ambiguous(&what, gathered));
            }
            _ => {}
        }
    }
    Ok(all)
}

/// What the resources say of a Service or a class of Gateways, if they all speak of one. Older policies speak of the
/// workload's own Service.
pub(super) fn service(
    resources: &[&Value],
    said: Said,
    workload: &mut Map<String, Value>,
) -> Option<String> {
    let aims: BTreeSet<Aim> = resources
        .iter()
        .flat_map(|resource| Aim::of(resource))
        .collect();
    let targets: Vec<&Aim> = aims
        .iter()
        .filter(|aim| matches!(aim, Aim::Target(_)))
        .collect();
    let all: Vec<&Aim> = aims.iter().collect();
    let mut set = |name: &str, value: Value| workload.insert(name.to_owned(), value);
    match (all.as_slice(), targets.as_slice()) {
        ([Aim::Service(name)], _) if !said.labels => {
            set("waypoint", true.into());
            set("serviceName", name.as_str().into());
            Some(format!("the waypoint before `{name}`"))
        }
        ([Aim::Class(name)], _) if !said.labels => {
            set("gatewayClass", name.as_str().into());
            Some(format!("of a Gateway of the class `{name}`"))
        }
        (_, [Aim::Target(name)]) => {
            set("serviceName", name.as_str().into());
            Some(format!("behind the Service `{name}`"))
        }
        _ => None,
    }
}

/// The Gateway that the proxy serves.
pub(super) fn gateway(
    import: &Import,
    gathered: &Gathered,
    near: &[&Value],
    said: Said,
) -> Result<Option<String>, Failure> {
    if import.gateway.is_some() || said.served || said.labels {
        return Ok(import.gateway.clone());
    }
    let is_of_istio = import.to == Target::Wasmplugin;
    let aims = near.iter().map(|resource| Aim::of(resource));
    let aims: Vec<Aim> = aims.flatten().collect();
    let refers = |aim: &Aim| !matches!(aim, Aim::All | Aim::Labels(_));
    // A WasmPlugin for a Gateway would leave out the proxies that other resources are for.
    if is_of_istio && !aims.iter().all(refers) {
        return Ok(None);
    }
    let gateways: BTreeSet<&String> = aims
        .iter()
        .filter_map(|aim| match aim {
            Aim::Gateway(name) => Some(name),
            _ => None,
        })
        .collect();
    match gateways.len() {
        0 | 1 => Ok(gateways.into_iter().next().cloned()),
        _ if is_of_istio => Ok(None),
        several => {
            let what = format!(
                "the resources refer to {several} Gateways: say with --gateway which one the proxy serves"
            );
            Err(ambiguous(&what, gathered))
        }
    }
}
