//! What of a dump is about tokens and policies.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Notes;
use crate::cli::Failure;
use crate::cli::source::Source;

/// The annotation that makes a policy only tell what it would do.
const DRY_RUN: &str = "istio.io/dry-run";

/// All that was read.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Without what Kubernetes adds to them.
    pub(super) resources: Vec<Value>,
    /// Fields of the configuration that Istio has in its mesh configuration.
    pub(super) mesh: Map<String, Value>,
    /// Fields of `workload` that it has there.
    pub(super) of_workload: Map<String, Value>,
    /// Hosts that have a ServiceEntry.
    pub(super) entries: BTreeSet<String>,
    /// Hosts that have a DestinationRule.
    pub(super) rules: BTreeSet<String>,
    others: BTreeMap<String, usize>,
}

impl Gathered {
    pub(super) fn document(&mut self, document: &Value, notes: &mut Notes) -> Result<(), Failure> {
        if document.is_null() {
            return Ok(());
        }
        let text = |name: &str| {
            document
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let (version, kind) = (text("apiVersion"), text("kind"));
        if kind.is_empty() {
            return Err(Failure(
                "a document without `kind` is no resource of Kubernetes. A configuration of the plugin \
                 needs no import: it goes to the filter as it is"
                    .to_owned(),
            ));
        }
        let group = version.split_once('/').map_or("", |(group, _)| group);
        match (group, kind) {
            (_, kind) if kind.ends_with("List") => {
                let items = document.get("items").and_then(Value::as_array);
                for item in items.into_iter().flatten() {
                    // The items of a typed list needn't say what they are.
                    let mut item = item.clone();
                    if let Some(members) = item.as_object_mut().filter(|_| kind != "List") {
                        let kind = kind.trim_end_matches("List");
                        members.entry("kind").or_insert_with(|| kind.into());
                        members.entry("apiVersion").or_insert_with(|| version.into());
                    }
                    self.document(&item, notes)?;
                }
            }
            (
                "security.istio.io",
                "AuthorizationPolicy" | "PeerAuthentication" | "RequestAuthentication",
            )
            | ("authentication.istio.io", "MeshPolicy" | "Policy") => {
                let resource = cleaned(document);
                if !self.resources.contains(&resource) {
                    self.resources.push(resource);
                }
            }
            ("rbac.istio.io", _) => notes.left_out(format!(
                "left out: {}: Istio has not read this kind since 1.6; write an AuthorizationPolicy",
                named(document)
            )),
            ("networking.istio.io", "EnvoyFilter") => notes.left_out(format!(
                "left out: {}: it changes Envoy itself; look whether it decides about requests",
                named(document)
            )),
            ("extensions.istio.io", "WasmPlugin") => notes.left_out(format!(
                "left out: {}: look whether it decides about requests",
                named(document)
            )),
            ("networking.istio.io", "VirtualService")
                if document.to_string().contains("@request.auth.claims") =>
            {
                notes.left_out(format!(
                    "left out: {}: its routes on `@request.auth.claims` need `dynamicMetadata.header` and \
                     a filter behind the plugin (docs/operations.md)",
                    named(document)
                ));
            }
            ("networking.istio.io", "ServiceEntry") => {
                let hosts = document.pointer("/spec/hosts").and_then(Value::as_array);
                let hosts = hosts.into_iter().flatten().filter_map(Value::as_str);
                self.entries.extend(hosts.map(str::to_owned));
            }
            ("networking.istio.io", "DestinationRule") => {
                let host = document.pointer("/spec/host").and_then(Value::as_str);
                self.rules.extend(host.map(str::to_owned));
            }
            ("", "ConfigMap") if document.pointer("/data/mesh").is_some() => {
                self.mesh(document, notes)?;
            }
            _ => *self.others.entry(kind.to_owned()).or_default() += 1,
        }
        Ok(())
    }

    /// What Istio has in `MeshConfig` and the plugin in its configuration.
    fn mesh(&mut self, document: &Value, notes: &mut Notes) -> Result<(), Failure> {
        let source = Source {
            name: format!("`mesh` of {}", named(document)),
            text: document
                .pointer("/data/mesh")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
        };
        let documents = source.documents();
        let documents = documents
            .map_err(|unreadable| Failure(format!("{}: {}", source.name, unreadable.message)))?;
        let Some(mesh) = documents.first().map(|document| document.value()) else {
            return Ok(());
        };
        for name in ["rootNamespace", "trustDomain", "trustDomainAliases"] {
            if let Some(value) = mesh.get(name) {
                self.of_workload.insert(name.to_owned(), value.clone());
            }
        }
        let normalization = mesh.pointer("/pathNormalization/normalization");
        if let Some(normalization) = normalization.filter(|value| *value != "DEFAULT") {
            self.mesh
                .insert("pathNormalization".to_owned(), normalization.clone());
        }
        let providers = mesh.get("extensionProviders").and_then(Value::as_array);
        let (known, unknown): (Vec<&Value>, Vec<&Value>) = providers
            .into_iter()
            .flatten()
            .partition(|provider| provider.get("envoyExtAuthzHttp").is_some());
        if !known.is_empty() {
            let known = known.into_iter().cloned().collect();
            self.mesh
                .insert("extensionProviders".to_owned(), Value::Array(known));
        }
        for provider in unknown {
            if provider.get("envoyExtAuthzGrpc").is_some() {
                let name = provider.get("name").and_then(Value::as_str);
                notes.left_out(format!(
                    "left out: the extension provider `{}`: services are asked over HTTP, not gRPC",
                    name.unwrap_or_default()
                ));
            }
        }
        Ok(())
    }

    /// Tells of what isn't about tokens and policies.
    pub(super) fn tell(&self, notes: &mut Notes) {
        let others = self.others.iter();
        let others: Vec<String> = others
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        if !others.is_empty() {
            notes.say(format!(
                "left out, as nothing of it decides about requests: {}",
                others.join(", ")
            ));
        }
    }

    /// What every resource says under a name of its `spec`.
    pub(super) fn specs<'g>(&'g self, name: &'g str) -> impl Iterator<Item = Option<&'g Value>> {
        let specs = self.resources.iter().map(|resource| resource.get("spec"));
        specs.map(move |spec| spec?.get(name).filter(|value| !value.is_null()))
    }
}

/// Kind, namespace and name.
pub(super) fn named(document: &Value) -> String {
    let text = |path: &str| document.pointer(path).and_then(Value::as_str);
    let name = text("/metadata/name").unwrap_or_default();
    let kind = text("/kind").unwrap_or_default();
    match text("/metadata/namespace") {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// A resource as people write it. When it was created counts where several replace one another.
fn cleaned(document: &Value) -> Value {
    let mut cleaned = Map::new();
    for name in ["apiVersion", "kind", "spec"] {
        if let Some(value) = document.get(name) {
            cleaned.insert(name.to_owned(), value.clone());
        }
    }
    let is_replaced = matches!(
        document.get("kind").and_then(Value::as_str),
        Some("MeshPolicy" | "PeerAuthentication" | "Policy")
    );
    let mut metadata = Map::new();
    for name in ["creationTimestamp", "name", "namespace"] {
        let value = document.pointer(&format!("/metadata/{name}"));
        if let Some(value) = value.filter(|_| is_replaced || name != "creationTimestamp") {
            metadata.insert(name.to_owned(), value.clone());
        }
    }
    let annotations = document.pointer("/metadata/annotations");
    if let Some(dry_run) = annotations.and_then(|annotations| annotations.get(DRY_RUN)) {
        let annotation = Map::from_iter([(DRY_RUN.to_owned(), dry_run.clone())]);
        metadata.insert("annotations".to_owned(), annotation.into());
    }
    if !metadata.is_empty() {
        cleaned.insert("metadata".to_owned(), metadata.into());
    }
    cleaned.into()
}
