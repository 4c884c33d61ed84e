//! Where the proxy is, as far as resources that stand alone tell: as `import` takes it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Configuration;
use crate::cli::Failure;

/// The namespace whose resources apply everywhere.
const ROOT: &str = "istio-system";

impl Configuration {
    /// Says of resources that stand alone where the proxy is, unless somebody said it, and tells what was taken.
    ///
    /// # Errors
    ///
    /// What can't be told, since the resources are for several proxies.
    pub(in crate::cli) fn guess(&mut self) -> Result<Option<String>, Failure> {
        if !self.is_bare {
            return Ok(None);
        }
        let resources = self.document.get("resources").and_then(Value::as_array);
        let resources: Vec<Value> = resources.cloned().unwrap_or_default();
        let mut guessed = Vec::new();
        if self.node.namespace.is_none()
            && let Some(namespace) = namespace(&resources)?
        {
            guessed.push(format!("in the namespace `{namespace}`"));
            self.node.namespace = Some(namespace);
        }
        if self.node.labels.is_none() {
            let labels = labels(&resources, self.node.namespace.as_deref())?;
            if !labels.is_empty() {
                let labels = labels.iter().map(|(name, value)| format!("{name}={value}"));
                let labels: Vec<String> = labels.collect();
                guessed.push(format!("with the labels {}", labels.join(",")));
            }
            self.node.labels = Some(labels);
        }
        let gateways = referred(&resources, &["Gateway"]);
        let services = referred(&resources, &["Service", "ServiceEntry"]);
        let classes = referred(&resources, &["GatewayClass"]);
        let mut workload = Map::new();
        for (field, what, names) in [
            ("gateway", "the Gateway", gateways),
            ("serviceName", "the service", services),
            ("gatewayClass", "the GatewayClass", classes),
        ] {
            let names: Vec<String> = names.into_iter().collect();
            match names.as_slice() {
                [] => {}
                [name] => {
                    guessed.push(format!("of {what} `{name}`"));
                    workload.insert(field.to_owned(), name.as_str().into());
                }
                several => {
                    return Err(Failure(format!(
                        "the resources refer to {what}s {}: leave out those that aren't the proxy's, or make \
                         a configuration with `portcullis import`",
                        several.join(", ")
                    )));
                }
            }
        }
        if let Some(document) = self
            .document
            .as_object_mut()
            .filter(|_| !workload.is_empty())
        {
            document.insert("workload".to_owned(), workload.into());
        }
        Ok((!guessed.is_empty()).then(|| {
            format!(
                "the proxy is taken to be {}: say otherwise with --namespace and --labels",
                guessed.join(" ")
            )
        }))
    }
}

/// The one namespace that all resources are of, but for those that apply everywhere.
fn namespace(resources: &[Value]) -> Result<Option<String>, Failure> {
    let all = resources.iter();
    let all: BTreeSet<&str> = all.filter_map(of_namespace).collect();
    let own: Vec<&str> = all.iter().copied().filter(|name| *name != ROOT).collect();
    match own.as_slice() {
        // As kubectl takes a resource that names none.
        [] => Ok(Some(all.first().map_or("default", |&name| name).to_owned())),
        [one] => Ok(Some((*one).to_owned())),
        several => Err(Failure(format!(
            "there are resources of the namespaces {}: say with --namespace in which one the proxy is",
            several.join(", ")
        ))),
    }
}

/// All labels that some resource of the namespace, or of the one for all, selects.
fn labels(resources: &[Value], ours: Option<&str>) -> Result<BTreeMap<String, String>, Failure> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    let here = resources.iter().filter(|resource| {
        of_namespace(resource).is_none_or(|own| own == ROOT || Some(own) == ours)
    });
    for selector in here.filter_map(|resource| resource.pointer("/spec/selector")) {
        let labels = selector.get("matchLabels").or(selector.get("match_labels"));
        for (name, value) in labels.and_then(Value::as_object).into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            let before = all.insert(name.clone(), value.to_owned());
            if let Some(before) = before.filter(|before| before != value) {
                return Err(Failure(format!(
                    "some resources are for {name}={before}, others for {name}={value}: say with --labels \
                     what labels the proxy has"
                )));
            }
        }
    }
    Ok(all)
}

/// The names of what resources refer to.
fn referred(resources: &[Value], kinds: &[&str]) -> BTreeSet<String> {
    let specs = resources.iter().filter_map(|resource| resource.get("spec"));
    let targets = specs.flat_map(|spec| {
        let several = ["targetRefs", "target_refs"].iter();
        let several = several
            .filter_map(|name| spec.get(name)?.as_array())
            .flatten();
        let one = ["targetRef", "target_ref"].iter();
        several.chain(one.filter_map(|name| spec.get(name)))
    });
    let named = targets.filter(|target| {
        let kind = target.get("kind").and_then(Value::as_str);
        kind.is_some_and(|kind| kinds.contains(&kind))
    });
    named
        .filter_map(|target| Some(target.get("name")?.as_str()?.to_owned()))
        .collect()
}

fn of_namespace(resource: &Value) -> Option<&str> {
    let namespace = resource.pointer("/metadata/namespace")?.as_str()?;
    (!namespace.is_empty()).then_some(namespace)
}
