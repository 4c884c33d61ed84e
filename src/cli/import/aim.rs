//! For which workloads resources say that they are, and how to say which of them the proxy is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::gathered::Gathered;

/// More of them aren't listed.
const MOST_LISTED: usize = 30;

/// For what a resource is, within its namespace.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Aim {
    All,
    /// Gateways of this class.
    Class(String),
    Gateway(String),
    Labels(BTreeMap<String, String>),
    /// A Service or ServiceEntry behind a waypoint.
    Service(String),
    /// A Service, of an older policy.
    Target(String),
}

impl Aim {
    pub(super) fn of(resource: &Value) -> Vec<Self> {
        let spec = resource.get("spec");
        let field = |camel: &str, snake: &str| {
            let spec = spec?;
            let value = spec.get(camel).or_else(|| spec.get(snake))?;
            (!value.is_null()).then_some(value)
        };
        let name = |value: &Value| Some(value.get("name")?.as_str()?.to_owned());
        let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned();
        let targets = list(field("targets", "targets")).unwrap_or_default();
        let mut references = list(field("targetRefs", "target_refs")).unwrap_or_default();
        references.extend(field("targetRef", "target_ref").cloned());
        let references = references.iter().filter_map(|reference| {
            let name = name(reference)?;
            match reference.get("kind").and_then(Value::as_str)? {
                "Gateway" => Some(Self::Gateway(name)),
                "GatewayClass" => Some(Self::Class(name)),
                _ => Some(Self::Service(name)),
            }
        });
        let targets = targets
            .iter()
            .filter_map(|target| Some(Self::Target(name(target)?)));
        let mut aims: Vec<Self> = references.chain(targets).collect();
        if aims.is_empty() {
            let labels = field("selector", "selector").map(match_labels);
            aims.push(match labels.filter(|labels| !labels.is_empty()) {
                Some(labels) => Self::Labels(labels),
                None => Self::All,
            });
        }
        aims
    }

    /// What says that the proxy is one of those.
    pub(super) fn options(&self, namespace: Option<&str>) -> String {
        let namespace = namespace.map(|namespace| format!("--namespace {namespace}"));
        let workload = |members: Value| format!("--workload '{members}'");
        let own = match self {
            Self::All => None,
            Self::Class(name) => Some(workload(json!({ "gatewayClass": name }))),
            Self::Gateway(name) => Some(format!("--gateway {name}")),
            Self::Labels(labels) => {
                let labels = labels
                    .iter()
                    .map(|(name, value)| format!("--label {name}={value}"));
                Some(labels.collect::<Vec<_>>().join(" "))
            }
            Self::Service(name) => Some(workload(json!({ "waypoint": true, "serviceName": name }))),
            Self::Target(name) => Some(workload(json!({ "serviceName": name }))),
        };
        let options: Vec<String> = namespace.into_iter().chain(own).collect();
        options.join(" ")
    }
}

pub(super) fn match_labels(selector: &Value) -> BTreeMap<String, String> {
    let labels = selector.get("matchLabels").or(selector.get("match_labels"));
    let labels = labels.and_then(Value::as_object).into_iter().flatten();
    labels
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// The namespace that a resource says.
pub(super) fn namespace(resource: &Value) -> Option<&str> {
    resource.pointer("/metadata/namespace")?.as_str()
}

/// A command for each workload that resources name.
pub(super) fn commands(gathered: &Gathered, root: &str) -> String {
    let mut aims: BTreeMap<Option<&str>, BTreeSet<Aim>> = BTreeMap::new();
    for resource in &gathered.resources {
        let of_namespace = aims.entry(namespace(resource)).or_default();
        of_namespace.extend(Aim::of(resource));
    }
    for of_namespace in aims.values_mut().filter(|aims| aims.len() > 1) {
        of_namespace.remove(&Aim::All);
    }
    // What is for all workloads of the mesh names none of them.
    let is_for_all = |aims: &BTreeSet<Aim>| aims.iter().eq([&Aim::All]);
    if aims.len() > 1 {
        aims.retain(|namespace, aims| *namespace != Some(root) || !is_for_all(aims));
    }
    let arguments: Vec<String> = std::env::args().skip(1).map(quoted).collect();
    let arguments = arguments.join(" ");
    let all = aims.iter().flat_map(|(namespace, aims)| {
        aims.iter()
            .map(|aim| format!("  portcullis {arguments} {}", aim.options(*namespace)))
    });
    let all: Vec<String> = all.collect();
    let (listed, rest) = all.split_at(all.len().min(MOST_LISTED));
    let rest = match rest.len() {
        0 => String::new(),
        rest => format!("\n  and {rest} more"),
    };
    format!("{}{rest}", listed.join("\n"))
}

/// As a shell takes it.
fn quoted(argument: String) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    match !argument.is_empty() && argument.bytes().all(is_plain) {
        true => argument,
        false => format!("'{}'", argument.replace('\'', r"'\''")),
    }
}
