//! Where the plugin will run, as far as the resources tell.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::aim::{self, Aim, commands};
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
    pub(super) said: Said,
}

/// What somebody said of the proxy, so that it isn't guessed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    namespace: bool,
    labels: bool,
    /// Which Gateway it serves, or which Service it stands before.
    served: bool,
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
        let mut beyond_node = gathered.mesh.of_workload.clone();
        beyond_node.extend(written(import)?);
        let has = |name: &str| beyond_node.contains_key(name);
        let served = ["gateway", "gatewayClass", "serviceName", "waypoint"];
        let said = Said {
            namespace: import.namespace.is_some() || has("namespace"),
            labels: !import.label.is_empty() || has("labels"),
            served: import.gateway.is_some() || served.into_iter().any(has),
        };
        let mut whole = beyond_node.clone();
        let is_of_istio = import.to == Target::Wasmplugin;
        let mut guessed = Vec::new();
        if let Some(namespace) = &import.namespace {
            whole.insert("namespace".to_owned(), namespace.as_str().into());
        } else if !said.namespace
            && let Some(namespace) = namespace(gathered, root(&whole), is_of_istio)?
        {
            guessed.push(format!("in the namespace `{namespace}`"));
            whole.insert("namespace".to_owned(), namespace.into());
        }
        let near = near(gathered, &whole);
        if !import.label.is_empty() {
            let labels = import.label.iter().cloned();
            let labels = labels.map(|(name, value)| (name, value.into()));
            whole.insert("labels".to_owned(), labels.collect::<Map<_, _>>().into());
        } else if !said.labels && !gathered.resources.is_empty() {
            let labels = match is_of_istio {
                true => common(&near),
                // Who names a Gateway or a Service has chosen among the resources.
                false if said.served => BTreeMap::new(),
                false => selected(gathered, &near)?,
            };
            let shown = labels.iter().map(|(name, value)| format!("{name}={value}"));
            if !labels.is_empty() {
                let shown: Vec<String> = shown.collect();
                guessed.push(format!("with the labels {}", shown.join(", ")));
            }
            let labels = labels.into_iter().map(|(name, value)| (name, value.into()));
            whole.insert("labels".to_owned(), labels.collect::<Map<_, _>>().into());
        }
        let mut before_service = Map::new();
        if !said.served
            && let Some(guess) = service(&near, said, &mut before_service)
        {
            guessed.push(guess);
        }
        whole.extend(before_service.clone());
        beyond_node.extend(before_service);
        if let Some(gateway) = gateway(import, gathered, &near, said)? {
            whole
                .entry("gateway")
                .or_insert_with(|| gateway.as_str().into());
        }
        if !guessed.is_empty() && !is_of_istio {
            notes.say(format!(
                "the proxy is taken to be {}: say otherwise with --namespace, --label and --workload",
                guessed.join(" ")
            ));
        }
        Ok(Self {
            whole,
            beyond_node,
            said,
        })
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.whole.get(name).and_then(Value::as_str)
    }

    pub(super) fn namespace(&self) -> Option<&str> {
        self.text("namespace")
    }

    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        let labels = self.whole.get("labels").and_then(Value::as_object);
        let labels = labels.into_iter().flatten();
        labels
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect()
    }

    pub(super) fn gateway(&self) -> Option<&str> {
        self.text("gateway")
    }

    /// The Service that a waypoint stands before.
    pub(super) fn behind_waypoint(&self) -> Option<&str> {
        let is_waypoint = self.whole.get("waypoint") == Some(&Value::Bool(true));
        self.text("serviceName").filter(|_| is_waypoint)
    }

    /// Whether what somebody said is why a resource isn't for this proxy. Else it would be lost unawares.
    pub(super) fn excludes(&self, resource: &Value) -> bool {
        let namespace = aim::namespace(resource);
        if namespace.is_some_and(|namespace| namespace != root(&self.whole))
            && namespace != self.namespace()
        {
            return self.said.namespace;
        }
        Aim::of(resource).iter().all(|aim| match aim {
            Aim::All | Aim::Target(_) => self.said.served,
            Aim::Class(_) | Aim::Gateway(_) | Aim::Labels(_) | Aim::Service(_) => {
                self.said.labels || self.said.served
            }
        })
    }
}

fn written(import: &Import) -> Result<Map<String, Value>, Failure> {
    let Some(written) = &import.workload else {
        return Ok(Map::new());
    };
    let written = json::parse(written.as_bytes());
    match written.map_err(|error| Failure(format!("--workload: not JSON: {error}")))? {
        Value::Object(written) => Ok(written),
        _ => Err(Failure("--workload: not an object".to_owned())),
    }
}

fn root(workload: &Map<String, Value>) -> &str {
    let written = workload.get("rootNamespace").and_then(Value::as_str);
    written.unwrap_or("istio-system")
}

/// What can't be told, and what to say instead.
fn ambiguous(what: &str, gathered: &Gathered) -> Failure {
    let commands = commands(gathered, root(&gathered.mesh.of_workload));
    Failure(format!("{what}. Choose one:\n{commands}"))
}

/// The resources that may be for a proxy of this namespace.
fn near<'g>(gathered: &'g Gathered, whole: &Map<String, Value>) -> Vec<&'g Value> {
    let own = whole.get("namespace").and_then(Value::as_str);
    let is_near = |resource: &&Value| match (aim::namespace(resource), own) {
        (Some(namespace), Some(own)) => namespace == own || namespace == root(whole),
        _ => true,
    };
    gathered.resources.iter().filter(is_near).collect()
}

/// The namespace that all resources are of, but for those that apply everywhere.
fn namespace(gathered: &Gathered, root: &str, may_be_any: bool) -> Result<Option<String>, Failure> {
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
fn common(resources: &[&Value]) -> BTreeMap<String, String> {
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
fn selected(
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
fn service(resources: &[&Value], said: Said, workload: &mut Map<String, Value>) -> Option<String> {
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
fn gateway(
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
