//! Where the plugin will run, as far as the resources tell.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::gathered::Gathered;
use super::{Import, Notes, Target};
use crate::cli::Failure;
use crate::json;

/// The proxy.
#[derive(Debug)]
pub(super) struct Workload {
    /// The field `workload` of a configuration.
    pub(super) whole: Map<String, Value>,
    /// The same without what a proxy of Istio tells by itself.
    pub(super) beyond_node: Map<String, Value>,
}

impl Workload {
    /// What is said, and else what follows from the resources.
    ///
    /// # Errors
    ///
    /// What can't be told from the resources, since they are for several proxies.
    pub(super) fn of(
        import: &Import,
        gathered: &Gathered,
        notes: &mut Notes,
    ) -> Result<Self, Failure> {
        let mut beyond_node = gathered.of_workload.clone();
        if let Some(written) = &import.workload {
            let written = json::parse(written.as_bytes());
            let written =
                written.map_err(|error| Failure(format!("--workload: not JSON: {error}")))?;
            let Value::Object(written) = written else {
                return Err(Failure("--workload: not an object".to_owned()));
            };
            beyond_node.extend(written);
        }
        let mut whole = beyond_node.clone();
        let is_of_istio = import.to == Target::Wasmplugin;
        let mut guessed = Vec::new();
        if let Some(namespace) = &import.namespace {
            whole.insert("namespace".to_owned(), namespace.as_str().into());
        } else if !whole.contains_key("namespace")
            && let Some(namespace) = namespace(gathered, root(&whole), is_of_istio)?
        {
            guessed.push(format!("in the namespace `{namespace}`"));
            whole.insert("namespace".to_owned(), namespace.into());
        }
        if !import.label.is_empty() {
            whole.insert("labels".to_owned(), labels(&import.label)?.into());
        } else if !whole.contains_key("labels") {
            let labels = match is_of_istio {
                true => common(gathered),
                false => selected(gathered)?,
            };
            let shown = labels.iter().map(|(name, value)| format!("{name}={value}"));
            if !labels.is_empty() {
                let shown: Vec<String> = shown.collect();
                guessed.push(format!("with the labels {}", shown.join(", ")));
            }
            let labels = labels.into_iter().map(|(name, value)| (name, value.into()));
            whole.insert("labels".to_owned(), labels.collect::<Map<_, _>>().into());
        }
        let gateways = referred(gathered);
        // A WasmPlugin for a Gateway would leave out the proxies that other resources are for.
        let is_open = is_of_istio && !refer_only(gathered);
        let gateway = match (&import.gateway, gateways.len()) {
            (Some(gateway), _) => Some(gateway.clone()),
            (None, _) if is_open => None,
            (None, 0 | 1) => gateways.into_iter().next(),
            (None, _) if is_of_istio || whole.contains_key("gateway") => None,
            (None, _) => {
                let gateways: Vec<String> = gateways.into_iter().collect();
                return Err(Failure(format!(
                    "the resources refer to the Gateways {}: say with --gateway which one the proxy serves",
                    gateways.join(", ")
                )));
            }
        };
        if let Some(gateway) = gateway {
            whole
                .entry("gateway")
                .or_insert_with(|| gateway.as_str().into());
        }
        if !guessed.is_empty() && !is_of_istio {
            notes.say(format!(
                "the proxy is taken to be {}: say otherwise with --namespace and --label",
                guessed.join(" ")
            ));
        }
        Ok(Self { whole, beyond_node })
    }

    pub(super) fn namespace(&self) -> Option<&str> {
        self.whole.get("namespace").and_then(Value::as_str)
    }

    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        let labels = self.whole.get("labels").and_then(Value::as_object);
        let labels = labels.into_iter().flatten();
        labels
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect()
    }

    pub(super) fn gateway(&self) -> Option<&str> {
        self.whole.get("gateway").and_then(Value::as_str)
    }
}

fn root(workload: &Map<String, Value>) -> &str {
    let written = workload.get("rootNamespace").and_then(Value::as_str);
    written.unwrap_or("istio-system")
}

/// The namespace that all resources are of, but for those that apply everywhere.
fn namespace(gathered: &Gathered, root: &str, may_be_any: bool) -> Result<Option<String>, Failure> {
    let all = gathered.resources.iter();
    let all: BTreeSet<&str> = all
        .filter_map(|resource| resource.pointer("/metadata/namespace")?.as_str())
        .collect();
    let own: Vec<&str> = all.iter().copied().filter(|name| *name != root).collect();
    match own.as_slice() {
        [] => Ok(all.first().map(|&name| name.to_owned())),
        [one] if !may_be_any || all.len() == 1 => Ok(Some((*one).to_owned())),
        _ if may_be_any => Ok(Some(root.to_owned())),
        several => Err(Failure(format!(
            "there are resources of the namespaces {}: say with --namespace in which one the proxy is",
            several.join(", ")
        ))),
    }
}

fn labels(written: &[String]) -> Result<Map<String, Value>, Failure> {
    let labels = written.iter().map(|label| {
        let (name, value) = label
            .split_once('=')
            .ok_or_else(|| Failure(format!("`{label}`: write NAME=VALUE")))?;
        Ok((name.to_owned(), value.into()))
    });
    labels.collect()
}

fn match_labels(selector: &Value) -> BTreeMap<String, String> {
    let labels = selector.get("matchLabels").or(selector.get("match_labels"));
    let labels = labels.and_then(Value::as_object).into_iter().flatten();
    labels
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// The labels that every resource selects.
fn common(gathered: &Gathered) -> BTreeMap<String, String> {
    let selectors: Vec<_> = gathered
        .specs("selector")
        .map(|selector| selector.map(match_labels).unwrap_or_default())
        .collect();
    match selectors.split_first() {
        Some((first, rest)) if rest.iter().all(|selector| selector == first) => first.clone(),
        _ => BTreeMap::new(),
    }
}

/// All labels that some resource selects.
fn selected(gathered: &Gathered) -> Result<BTreeMap<String, String>, Failure> {
    let mut all = BTreeMap::new();
    for (name, value) in gathered.specs("selector").flatten().flat_map(match_labels) {
        match all.insert(name.clone(), value.clone()) {
            Some(before) if before != value => {
                return Err(Failure(format!(
                    "some resources are for {name}={before}, others for {name}={value}: say with --label \
                     what labels the proxy has"
                )));
            }
            _ => {}
        }
    }
    Ok(all)
}

/// Whether every resource refers to something.
fn refer_only(gathered: &Gathered) -> bool {
    let mut each = gathered
        .specs("targetRef")
        .zip(gathered.specs("targetRefs"));
    each.all(|(one, several)| one.or(several).is_some())
}

/// The Gateways that resources refer to.
fn referred(gathered: &Gathered) -> BTreeSet<String> {
    let several = gathered.specs("targetRefs").flatten();
    let several = several.filter_map(Value::as_array).flatten();
    let all = gathered.specs("targetRef").flatten().chain(several);
    all.filter(|target| target.get("kind").is_some_and(|kind| kind == "Gateway"))
        .filter_map(|target| Some(target.get("name")?.as_str()?.to_owned()))
        .collect()
}
