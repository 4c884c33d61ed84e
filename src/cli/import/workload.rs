//! Where the plugin will run, as far as the resources tell.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::aim::{self, Aim};
use super::gathered::Gathered;
use super::guess;
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
    pub(super) namespace: bool,
    pub(super) labels: bool,
    /// Which Gateway it serves, or which Service it stands before.
    pub(super) served: bool,
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
            && let Some(namespace) = guess::namespace(gathered, root(&whole), is_of_istio)?
        {
            guessed.push(format!("in the namespace `{namespace}`"));
            whole.insert("namespace".to_owned(), namespace.into());
        }
        let near = guess::near(gathered, &whole);
        if !import.label.is_empty() {
            let labels = import.label.iter().cloned();
            let labels = labels.map(|(name, value)| (name, value.into()));
            whole.insert("labels".to_owned(), labels.collect::<Map<_, _>>().into());
        } else if !said.labels && !gathered.resources.is_empty() {
            let labels = match is_of_istio {
                true => guess::common(&near),
                // Who names a Gateway or a Service has chosen among the resources.
                false if said.served => BTreeMap::new(),
                false => guess::selected(gathered, &near)?,
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
            && let Some(guess) = guess::service(&near, said, &mut before_service)
        {
            guessed.push(guess);
        }
        whole.extend(before_service.clone());
        beyond_node.extend(before_service);
        if let Some(gateway) = guess::gateway(import, gathered, &near, said)? {
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

pub(super) fn root(workload: &Map<String, Value>) -> &str {
    let written = workload.get("rootNamespace").and_then(Value::as_str);
    written.unwrap_or("istio-system")
}
