//! To which workloads a resource applies, by its selector or its references.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

use crate::authz::TrustDomains;
use crate::config::legacy::PortSelector;
use crate::config::reader::{Input, Read, Topic, record};
use crate::config::schema::Schemas;
use crate::config::text::{Text, text};
use crate::config::{ServicePort, Workload};
use crate::policy::Node;

/// Labels of a Gateway's pods (Gateway API, GEP-1762).
const CLASS_LABEL: &str = "gateway.networking.k8s.io/gateway-class-name";
const GATEWAY_LABEL: &str = "gateway.networking.k8s.io/gateway-name";
/// The class of Istio's waypoints.
const WAYPOINT_CLASS: &str = "istio-waypoint";
/// Istio's CRDs take no more references.
const MAX_TARGETS: usize = 16;

const UNKNOWN_CLASS: &str = "it can't be told whether this resource applies: \
                             write `workload.gatewayClass` or `workload.labels`";
const UNKNOWN_GATEWAY: &str = "it can't be told whether this resource applies: \
                               write `workload.gateway` or `workload.labels`";
const UNKNOWN_LABELS: &str =
    "it can't be told whether the selector matches: write `workload.labels`";
const UNKNOWN_NAMESPACE: &str =
    "it can't be told whether this resource applies: write `workload.namespace`";
const UNKNOWN_SERVICE: &str =
    "it can't be told whether this resource applies: write `workload.serviceName`";

/// What a resource says of the workloads to which it applies.
#[derive(Debug)]
pub(super) struct Attachment {
    selector: Option<BTreeMap<String, String>>,
    /// Where there are any, they decide.
    targets: Vec<Target>,
}

/// What a resource refers to, by name.
#[derive(Debug)]
enum Target {
    Gateway(String),
    GatewayClass(String),
    /// Or a ServiceEntry.
    Service(String),
}

impl Attachment {
    /// Reads what is said of it in `spec`, beside the rules.
    pub(super) fn read(input: &Input<'_>) -> Option<Self> {
        let object = input.object()?;
        let selector = object.field::<Option<Selector>>("selector");
        let target = object.field::<Option<Target>>("target_ref");
        let targets = object.field::<Vec<Target>>("target_refs");
        let (selector, target, mut targets) = (selector?, target?, targets?);
        let written = [selector.is_some(), target.is_some(), !targets.is_empty()];
        if written.iter().filter(|written| **written).count() > 1 {
            input.mistake("write only one of `selector`, `targetRef` and `targetRefs`");
        }
        if targets.len() > MAX_TARGETS {
            input.mistake(format!(
                "`targetRefs` must not have more than {MAX_TARGETS} entries"
            ));
        }
        targets.extend(target);
        Some(Self {
            selector: selector.map(|selector| selector.match_labels),
            targets,
        })
    }
}

record! {
    /// Istio's `WorkloadSelector`.
    pub(crate) struct Selector {
        /// Labels that a workload must have.
        match_labels: BTreeMap<String, String>,
    }
    check check_selector;
}

fn check_selector(selector: &Selector, input: &Input<'_>) {
    if selector.match_labels.is_empty() {
        input.warn(
            Topic::EmptySelector,
            "a selector without labels selects every workload",
        );
    }
    for (name, value) in &selector.match_labels {
        if name.is_empty() {
            input.mistake("a label without a name can't be matched: remove it");
        }
        if name.contains('*') || value.contains('*') {
            input.mistake(format!(
                "`{name}: {value}`: labels are compared as they are, without wildcards"
            ));
        }
    }
}

record! {
    /// Istio's `PolicyTargetReference`.
    pub(crate) struct TargetRef {
        /// The API group: `gateway.networking.k8s.io` of a Gateway and a GatewayClass, none or
        /// `core` of a Service, `networking.istio.io` of a ServiceEntry.
        group: Option<String>,
        /// `Gateway`, `GatewayClass` (from the root namespace), or for a waypoint `Service` or
        /// `ServiceEntry`.
        kind: String,
        /// Its name.
        name: Text,
        /// Must not be set: only things of the same namespace can be meant.
        namespace: Option<String>,
    }
    check check_target;
}

fn check_target(target: &TargetRef, input: &Input<'_>) {
    if target.namespace.as_ref().is_some_and(|n| !n.is_empty()) {
        input.mistake("`namespace` must not be set: the reference is to the same namespace");
    }
}

impl Read for Target {
    fn read(input: &Input<'_>) -> Option<Self> {
        let target = TargetRef::read(input)?;
        let name = target.name.0;
        let group = target.group.as_deref().unwrap_or_default();
        match (group, target.kind.as_str()) {
            ("gateway.networking.k8s.io", "Gateway") => Some(Self::Gateway(name)),
            ("gateway.networking.k8s.io", "GatewayClass") => Some(Self::GatewayClass(name)),
            ("" | "core", "Service") | ("networking.istio.io", "ServiceEntry") => {
                Some(Self::Service(name))
            }
            (group, kind) => {
                input.mistake(format!(
                    "`{group}/{kind}` can't be referred to: write a Gateway or GatewayClass of \
                     gateway.networking.k8s.io, a Service of core, or a ServiceEntry of \
                     networking.istio.io"
                ));
                None
            }
        }
    }

    fn schema(schemas: &mut Schemas) -> Value {
        TargetRef::schema(schemas)
    }
}

/// The place that resources are matched with: the configuration, completed by the node's metadata.
#[derive(Debug)]
pub(crate) struct Here {
    pub(crate) namespace: Option<String>,
    root_namespace: String,
    labels: Option<BTreeMap<String, String>>,
    gateway: Option<String>,
    gateway_class: Option<String>,
    service_name: Option<String>,
    ports: Vec<ServicePort>,
    waypoint: bool,
    pub(crate) trust_domains: Rc<TrustDomains>,
}

impl Here {
    pub(crate) fn new(workload: Option<&Workload>, node: &Node) -> Self {
        let written = |field: fn(&Workload) -> &Option<Text>| text(field(workload?));
        let waypoint = workload.is_some_and(|workload| workload.waypoint);
        let labels = workload.and_then(|workload| workload.labels.clone());
        let labels = labels.or_else(|| node.labels.clone());
        let label = |name| labels.as_ref().and_then(|labels| labels.get(name).cloned());
        let gateway = written(|workload| &workload.gateway).or_else(|| label(GATEWAY_LABEL));
        let class = written(|workload| &workload.gateway_class).or_else(|| label(CLASS_LABEL));
        let own = written(|workload| &workload.trust_domain).or_else(|| node.trust_domain.clone());
        let own = [own.unwrap_or_else(|| "cluster.local".to_owned())];
        let aliases = workload
            .into_iter()
            .flat_map(|workload| &workload.trust_domain_aliases);
        let aliases = aliases.map(|alias| alias.0.clone());
        let class = class.or_else(|| waypoint.then(|| WAYPOINT_CLASS.to_owned()));
        Self {
            namespace: workload
                .and_then(|workload| text(&workload.namespace))
                .or_else(|| node.namespace.clone()),
            root_namespace: written(|workload| &workload.root_namespace)
                .unwrap_or_else(|| "istio-system".to_owned()),
            gateway,
            gateway_class: class,
            labels,
            service_name: written(|workload| &workload.service_name),
            ports: workload
                .map(|workload| workload.ports.clone())
                .unwrap_or_default(),
            waypoint,
            trust_domains: Rc::new(TrustDomains {
                names: own.into_iter().chain(aliases).collect(),
            }),
        }
    }

    /// The name or class of our Gateway, where it is known whether there is one: who has labels,
    /// and none of a Gateway, serves none.
    fn of_gateway<'h>(
        &self,
        name: &'h Option<String>,
        unknown: &'static str,
    ) -> Result<Option<&'h String>, &'static str> {
        let serves_none = self.gateway.is_none() && self.labels.is_some();
        match name {
            None if !serves_none => Err(unknown),
            name => Ok(name.as_ref()),
        }
    }

    /// Whether a resource of this namespace is in ours, in which it is if it doesn't say.
    pub(super) fn is_in(&self, namespace: Option<&str>) -> Result<bool, &'static str> {
        match (namespace, &self.namespace) {
            (None, _) => Ok(true),
            (Some(own), Some(ours)) => Ok(own == ours),
            (Some(_), None) => Err(UNKNOWN_NAMESPACE),
        }
    }

    /// Whether a service of this namespace and name is ours.
    pub(super) fn serves(&self, namespace: Option<&str>, name: &str) -> Result<bool, &'static str> {
        Ok(self.is_in(namespace)? && self.service_name.as_deref().ok_or(UNKNOWN_SERVICE)? == name)
    }

    /// The port on which requests for this one of our service arrive here.
    pub(super) fn target_port(&self, selector: &PortSelector) -> Option<u16> {
        let is_meant = |port: &&ServicePort| match selector {
            PortSelector::Name(name) => port.name.as_ref().is_some_and(|own| own.0 == *name),
            PortSelector::Number(number) => port.number.0 == *number,
        };
        let port = self.ports.iter().find(is_meant)?;
        Some(port.target_port.unwrap_or(port.number).0)
    }

    /// Whether a resource of this namespace is in the one whose resources apply everywhere.
    pub(super) fn is_root(&self, namespace: Option<&str>) -> Result<bool, &'static str> {
        let namespace = namespace.or(self.namespace.as_deref());
        namespace
            .map(|own| own == self.root_namespace)
            .ok_or(UNKNOWN_NAMESPACE)
    }
}

impl Attachment {
    /// Whether it is for some workloads of its namespace.
    pub(super) fn selects_some(&self) -> bool {
        self.selector
            .as_ref()
            .is_some_and(|labels| !labels.is_empty())
    }

    /// Whether a resource of this namespace applies here (Istio's `ShouldAttachPolicy`), or what
    /// has to be known to tell.
    pub(super) fn reaches(
        &self,
        namespace: Option<&str>,
        here: &Here,
    ) -> Result<bool, &'static str> {
        if self.targets.is_empty() {
            return self.selects(namespace, here);
        }
        let mut unknown = None;
        for target in &self.targets {
            match target.is(namespace, here) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(message) => unknown = unknown.or(Some(message)),
            }
        }
        unknown.map_or(Ok(false), Err)
    }

    fn selects(&self, namespace: Option<&str>, here: &Here) -> Result<bool, &'static str> {
        // Istio's waypoints take only what refers to them.
        if here.waypoint {
            return Ok(false);
        }
        let is_ours = namespace == Some(here.root_namespace.as_str()) || here.is_in(namespace)?;
        match &self.selector {
            Some(wanted) if is_ours && !wanted.is_empty() => {
                let labels = here.labels.as_ref().ok_or(UNKNOWN_LABELS)?;
                Ok(wanted
                    .iter()
                    .all(|(name, value)| labels.get(name) == Some(value)))
            }
            _ => Ok(is_ours),
        }
    }
}

impl Target {
    /// A Gateway, Service or ServiceEntry is in the namespace of the resource, even if that is the
    /// root namespace; only a resource of the root namespace can be for a class of Gateways, and
    /// only waypoints stand in front of services.
    fn is(&self, namespace: Option<&str>, here: &Here) -> Result<bool, &'static str> {
        match self {
            Self::Gateway(name) => Ok(here.is_in(namespace)?
                && here.of_gateway(&here.gateway, UNKNOWN_GATEWAY)? == Some(name)),
            Self::GatewayClass(name) => Ok(here.is_root(namespace)?
                && here.of_gateway(&here.gateway_class, UNKNOWN_CLASS)? == Some(name)),
            Self::Service(name) => Ok(here.waypoint
                && here.is_in(namespace)?
                && here.service_name.as_ref().ok_or(UNKNOWN_SERVICE)? == name),
        }
    }
}
