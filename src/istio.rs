//! Istio resources as they stand in YAML, and which of them apply to this workload.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::config::authorization::{self, Action};
use crate::config::reader::{Dialect, Input, Mistake, Object, Read, record};
use crate::config::text::text;
use crate::config::{AuthorizationRules, JwtRule, Workload};
use crate::policy::Node;

const GATEWAY_NAME_LABEL: &str = "gateway.networking.k8s.io/gateway-name";

/// An Istio resource.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    /// Where it stands in the configuration.
    path: String,
    attachment: Attachment,
    pub(crate) kind: Kind,
}

impl fmt::Display for Resource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::AuthorizationPolicy { .. } => "AuthorizationPolicy",
            Kind::RequestAuthentication(_) => "RequestAuthentication",
        };
        let namespace = self.namespace.as_deref().unwrap_or_default();
        write!(formatter, "{kind} {namespace}/{}", self.name)
    }
}

/// What a resource says.
#[derive(Debug)]
pub(crate) enum Kind {
    AuthorizationPolicy {
        action: Action,
        rules: Vec<AuthorizationRules>,
    },
    RequestAuthentication(Vec<JwtRule>),
}

/// To which workloads of its namespace a resource applies.
#[derive(Debug, Default)]
struct Attachment {
    selector: Option<BTreeMap<String, String>>,
    /// Names of Gateways; where there are any, they decide.
    gateways: Vec<String>,
}

impl Read for Resource {
    fn read(input: &Input<'_>) -> Option<Self> {
        let object = input.object()?;
        object.deny_unknown(
            &["api_version", "kind", "metadata", "spec", "status"],
            &[],
            &[],
        );
        let api_version = object.field::<String>("api_version")?;
        let kind = object.field::<String>("kind")?;
        let metadata = object
            .field::<Option<Metadata>>("metadata")?
            .unwrap_or_default();
        let (attachment, kind) = match (api_version.as_str(), kind.as_str()) {
            ("security.istio.io/v1" | "security.istio.io/v1beta1", "RequestAuthentication") => {
                if metadata.has_dry_run {
                    input.mistake(
                        "istio.io/dry-run is not for a RequestAuthentication: remove the annotation",
                    );
                }
                let spec = spec::<RequestAuthentication>(&object, input)?;
                (
                    spec.attachment,
                    Kind::RequestAuthentication(spec.rules.jwt_rules),
                )
            }
            ("security.istio.io/v1" | "security.istio.io/v1beta1", "AuthorizationPolicy") => {
                if metadata.is_dry_run {
                    input.mistake("dry run is not supported by this version of Portcullis");
                }
                let spec = spec::<AuthorizationPolicy>(&object, input)?;
                let kind = Kind::AuthorizationPolicy {
                    action: spec.rules.action.unwrap_or_default(),
                    rules: spec.rules.rules,
                };
                (spec.attachment, kind)
            }
            _ => {
                input.mistake(format!(
                    "`{kind}` of `{api_version}` is not supported by this version of Portcullis: \
                     write a RequestAuthentication or AuthorizationPolicy of security.istio.io/v1, \
                     and leave other kinds out"
                ));
                return None;
            }
        };
        Some(Self {
            name: metadata.name.unwrap_or_default(),
            namespace: metadata.namespace,
            path: input.path(),
            attachment,
            kind,
        })
    }
}

/// `spec` of either kind: to whom it applies, and what it says.
struct Spec<T> {
    attachment: Attachment,
    rules: T,
}

impl<T: Read> Read for Spec<T> {
    fn read(input: &Input<'_>) -> Option<Self> {
        let attachment = Attachment::read(input);
        let rules = T::read(input);
        Some(Self {
            attachment: attachment?,
            rules: rules?,
        })
    }
}

/// Reads `spec`; a resource without one says what an empty one says.
fn spec<T: Read>(object: &Object<'_>, input: &Input<'_>) -> Option<Spec<T>> {
    match object.field_in("spec", Dialect::Istio)? {
        Some(spec) => Some(spec),
        None => Spec::read(&input.replaced(&Value::Object(Map::new()), Dialect::Istio)),
    }
}

record! {
    /// What a RequestAuthentication says.
    pub(crate) struct RequestAuthentication {
        /// The tokens that are taken.
        jwt_rules: Vec<JwtRule>,
    }
    unread {
        selector, target_ref, target_refs,
    }
}

record! {
    /// What an AuthorizationPolicy says.
    pub(crate) struct AuthorizationPolicy {
        /// `ALLOW` (default) or `DENY`.
        action: Option<Action>,
        /// A request matches the policy if it matches one of the rules.
        rules: Vec<AuthorizationRules>,
    }
    not_yet {
        provider,
    }
    unread {
        selector, target_ref, target_refs,
    }
    check check_policy;
}

fn check_policy(spec: &AuthorizationPolicy, input: &Input<'_>) {
    authorization::check_action(spec.action, &spec.rules, input);
}

impl Read for Attachment {
    fn read(input: &Input<'_>) -> Option<Self> {
        let object = input.object()?;
        let selector = object.field::<Option<Selector>>("selector");
        let target_ref = object.field::<Option<TargetRef>>("target_ref");
        let target_refs = object.field::<Vec<TargetRef>>("target_refs");
        let targets: Vec<TargetRef> = target_ref?.into_iter().chain(target_refs?).collect();
        let selector = selector?.map(|selector| selector.match_labels);
        if selector.is_some() && !targets.is_empty() {
            input.mistake("write only one of `selector` and `targetRefs`");
        }
        Some(Self {
            selector,
            gateways: targets.into_iter().map(|target| target.name).collect(),
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
        /// The API group.
        group: Option<String>,
        /// The kind.
        kind: String,
        /// The name.
        name: String,
        /// Must not be set: only things of the same namespace can be meant.
        namespace: Option<String>,
    }
    check check_target;
}

fn check_target(target: &TargetRef, input: &Input<'_>) {
    let group = target.group.as_deref().unwrap_or_default();
    match (group, target.kind.as_str()) {
        ("gateway.networking.k8s.io", "Gateway") => {}
        ("gateway.networking.k8s.io", "GatewayClass")
        | ("" | "core", "Service")
        | ("networking.istio.io", "ServiceEntry") => input.mistake(format!(
            "a reference to a {} is not supported by this version of Portcullis",
            target.kind
        )),
        (group, kind) => input.mistake(format!(
            "`{group}/{kind}` can't be referred to: \
             write a Gateway of gateway.networking.k8s.io"
        )),
    }
    if target.name.is_empty() {
        input.mistake("`name` must not be empty");
    }
    if target.namespace.as_ref().is_some_and(|n| !n.is_empty()) {
        input.mistake("`namespace` must not be set: the reference is to the same namespace");
    }
}

/// `metadata`, of which Kubernetes has many members that mean nothing here.
#[derive(Debug, Default)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    has_dry_run: bool,
    is_dry_run: bool,
}

impl Read for Metadata {
    fn read(input: &Input<'_>) -> Option<Self> {
        let object = input.object()?;
        let name = object.field("name");
        let namespace = object.field::<Option<String>>("namespace");
        let annotations = input.value().get("annotations");
        let dry_run = annotations.and_then(|annotations| annotations.get("istio.io/dry-run"));
        Some(Self {
            name: name?,
            namespace: namespace?.filter(|namespace| !namespace.is_empty()),
            has_dry_run: dry_run.is_some(),
            is_dry_run: dry_run.is_some_and(|value| value != "false"),
        })
    }
}

/// The place that resources are matched with: the configuration, completed by the node's metadata.
#[derive(Debug)]
pub(crate) struct Here {
    pub(crate) namespace: Option<String>,
    root_namespace: String,
    labels: Option<BTreeMap<String, String>>,
    /// `Some(None)`: we know that we serve no Gateway.
    gateway: Option<Option<String>>,
    waypoint: bool,
}

impl Here {
    pub(crate) fn new(workload: Option<&Workload>, node: &Node) -> Self {
        let namespace = workload.and_then(|workload| text(&workload.namespace));
        let labels = workload.and_then(|workload| workload.labels.clone());
        let labels = labels.or_else(|| node.labels.clone());
        let gateway = match workload.and_then(|workload| text(&workload.gateway)) {
            Some(gateway) => Some(Some(gateway)),
            None => labels
                .as_ref()
                .map(|labels| labels.get(GATEWAY_NAME_LABEL).cloned()),
        };
        Self {
            namespace: namespace.or_else(|| node.namespace.clone()),
            root_namespace: workload
                .and_then(|workload| text(&workload.root_namespace))
                .unwrap_or_else(|| "istio-system".to_owned()),
            labels,
            gateway,
            waypoint: workload.is_some_and(|workload| workload.waypoint),
        }
    }
}

impl Resource {
    /// The mistake of a resource of which [`Self::applies`] can't tell.
    pub(crate) fn misplaced(&self, message: &str) -> Mistake {
        Mistake {
            path: self.path.clone(),
            message: message.to_owned(),
        }
    }

    /// Whether the resource applies here.
    ///
    /// # Errors
    ///
    /// What has to be known of the workload to tell. To leave the resource out could open what it
    /// closes, so this is a mistake in the configuration.
    pub(crate) fn applies(&self, here: &Here) -> Result<bool, &'static str> {
        let in_root = self.namespace.as_ref() == Some(&here.root_namespace);
        let for_gateways = !self.attachment.gateways.is_empty();
        let same_namespace = match (&self.namespace, &here.namespace) {
            (None, _) => true,
            (Some(own), Some(ours)) => own == ours,
            (Some(_), None) if in_root && !for_gateways => false,
            (Some(_), None) => {
                return Err("it can't be told whether this resource applies: \
                            write `workload.namespace`");
            }
        };
        // A reference is to a Gateway of the same namespace, even from the root namespace.
        if !same_namespace && (!in_root || for_gateways) {
            return Ok(false);
        }
        if for_gateways {
            let Some(gateway) = &here.gateway else {
                return Err("it can't be told whether this resource applies: \
                            write `workload.gateway` or `workload.labels`");
            };
            let named = |ours| self.attachment.gateways.contains(ours);
            return Ok(gateway.as_ref().is_some_and(named));
        }
        // Istio's waypoints take only what refers to them.
        if here.waypoint {
            return Ok(false);
        }
        match &self.attachment.selector {
            Some(wanted) if !wanted.is_empty() => {
                let Some(labels) = &here.labels else {
                    return Err("it can't be told whether the selector matches: \
                                write `workload.labels`");
                };
                Ok(wanted
                    .iter()
                    .all(|(name, value)| labels.get(name) == Some(value)))
            }
            _ => Ok(true),
        }
    }
}
