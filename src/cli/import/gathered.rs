//! What of a dump is about tokens and policies, and where each thing is written.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::rc::Rc;

use serde_json::{Map, Value};

use super::Notes;
use super::mesh::Mesh;
use crate::cli::Failure;
use crate::cli::check::subject::{self, Kind, Subject};
use crate::cli::document::{flattened, is_mentioned, without_resources};
use crate::cli::files::{Content, Files};
use crate::cli::source::{Node, Source, Unreadable};
use crate::cli::tally::Tally;
use crate::policy;

/// The annotation that makes a policy only tell what it would do.
const DRY_RUN: &str = "istio.io/dry-run";

/// Where something is written.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) source: Rc<Source>,
    pub(super) node: Node,
}

/// All that was read.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Without what Kubernetes adds to them.
    pub(super) resources: Vec<Value>,
    /// Of each resource.
    pub(super) origins: Vec<Origin>,
    /// A configuration of the plugin, without its resources.
    pub(super) base: Option<Origin>,
    pub(super) mesh: Mesh,
    /// Hosts that have a ServiceEntry.
    pub(super) entries: BTreeSet<String>,
    /// Hosts that have a DestinationRule.
    pub(super) rules: BTreeSet<String>,
    /// What was meant to be ours and isn't.
    pub(super) wrong: Vec<Failure>,
    pub(super) tally: Tally,
    configurations: Vec<(Origin, policy::Node)>,
    /// Resources that were read, since a dump may have them twice.
    seen: HashSet<String>,
}

impl Gathered {
    /// Reads files as `check` does.
    ///
    /// # Errors
    ///
    /// What can't be read, and that there is nothing to import.
    pub(super) fn read(paths: &[PathBuf], notes: &mut Notes) -> Result<Self, Failure> {
        let mut gathered = Self::default();
        let files = Files::of(paths);
        let mut failures = files.failures;
        for chart in &files.charts {
            gathered.tally.chart(chart);
        }
        for file in &files.files {
            match file.read(is_mentioned) {
                Content::Documents(source, documents) => {
                    gathered.tally.files += 1;
                    let source = Rc::new(source);
                    if let Err(unreadable) =
                        gathered.documents(documents, &source, file.is_asked_for, notes)
                    {
                        failures.push(source.failure(&unreadable));
                    }
                }
                Content::Wrong(source, unreadable) => failures.push(source.failure(&unreadable)),
                Content::Others => gathered.tally.no_document(&file.path),
                Content::Missing(failure) => failures.push(failure),
            }
        }
        // What is made without what couldn't be read would decide otherwise.
        if let Some(failure) = Failure::all(failures) {
            return Err(failure);
        }
        gathered.settled(notes)
    }

    fn documents(
        &mut self,
        documents: Vec<Node>,
        source: &Rc<Source>,
        is_asked_for: bool,
        notes: &mut Notes,
    ) -> Result<(), Unreadable> {
        let is_plain = is_asked_for && documents.len() == 1;
        let mut ours = Vec::new();
        for document in documents {
            for document in flattened(document, source) {
                if !self.of_istio(&document, source, notes)? {
                    ours.push(document);
                }
            }
        }
        let found = subject::find(ours, source, is_plain, &mut self.tally);
        for Unreadable { span, message } in found.wrong {
            let message = format!("mistake: {message}");
            self.wrong
                .push(source.failure(&Unreadable { span, message }));
        }
        for Subject { node, kind } in found.subjects {
            match kind {
                Kind::Configuration(metadata) => {
                    let source = Rc::clone(source);
                    self.configurations
                        .push((Origin { source, node }, metadata));
                }
                Kind::NotRead(kind) => notes.document(source, &node, &kind, help(&kind)),
                Kind::Resource => self.resource(source, node),
                Kind::Suite => {}
            }
        }
        Ok(())
    }

    /// Takes what `check` has no use for out of a document. Whether there is nothing else in it.
    fn of_istio(
        &mut self,
        document: &Node,
        source: &Rc<Source>,
        notes: &mut Notes,
    ) -> Result<bool, Unreadable> {
        let text = |name: &str| document.get(name).and_then(Node::text).unwrap_or_default();
        let kind = text("kind");
        let group = text("apiVersion").split('/').next().unwrap_or_default();
        match (group, kind) {
            ("rbac.istio.io", _) => {
                let help = "Istio has not read this kind since 1.6; write an AuthorizationPolicy";
                notes.document(source, document, kind, help);
                self.tally.not_read(kind);
                return Ok(true);
            }
            ("networking.istio.io", "EnvoyFilter")
            | ("gateway.envoyproxy.io", "EnvoyPatchPolicy")
                if !adds_clusters_only(document) =>
            {
                let help = "it changes Envoy itself; look whether it decides about requests";
                notes.document(source, document, kind, help);
                self.tally.not_read(kind);
                return Ok(true);
            }
            ("networking.istio.io", "ServiceEntry") => {
                let hosts = document.dig(&["spec", "hosts"]).map(Node::items);
                let hosts = hosts.into_iter().flatten().filter_map(Node::text);
                self.entries.extend(hosts.map(str::to_owned));
            }
            ("networking.istio.io", "DestinationRule") => {
                let host = document.dig(&["spec", "host"]).and_then(Node::text);
                self.rules.extend(host.map(str::to_owned));
            }
            _ if Mesh::is_in(document) => self.mesh.read(document, source, notes)?,
            _ => {}
        }
        Ok(false)
    }

    fn resource(&mut self, source: &Rc<Source>, node: Node) {
        let resource = cleaned(&node.value());
        if self.seen.insert(resource.to_string()) {
            self.resources.push(resource);
            let source = Rc::clone(source);
            self.origins.push(Origin { source, node });
        }
    }

    /// The same once it is clear what is imported: resources, or else the one configuration that there is.
    fn settled(mut self, notes: &mut Notes) -> Result<Self, Failure> {
        let mut configurations = std::mem::take(&mut self.configurations);
        if !self.resources.is_empty() {
            for (Origin { source, node }, _) in &configurations {
                let help = "Istio's resources are imported, and it isn't: import it by itself";
                notes.document(source, node, "a configuration of the plugin", help);
            }
        } else if configurations.len() > 1 {
            let places = configurations.iter().map(|(Origin { source, node }, _)| {
                let (line, _) = source.position(node.span.start);
                format!("{}:{line}", source.name)
            });
            let places: Vec<String> = places.collect();
            return Err(Failure(format!(
                "there are several configurations of the plugin, and one can be imported: {}",
                places.join(", ")
            )));
        } else if let Some((origin, metadata)) = configurations.pop() {
            self.configuration(origin, metadata);
        } else if self.wrong.is_empty() {
            return Err(Failure(format!(
                "there is no RequestAuthentication, AuthorizationPolicy, PeerAuthentication, Policy or \
                 MeshPolicy in it, and no configuration of the plugin: {}",
                self.tally
            )));
        }
        Ok(self)
    }

    fn configuration(&mut self, Origin { source, node }: Origin, metadata: policy::Node) {
        let (rest, resources) = without_resources(&node);
        for resource in resources {
            self.resource(&source, resource);
        }
        if let Value::Object(fields) = rest.value() {
            self.mesh.fields.extend(fields);
        }
        let of_workload = &mut self.mesh.of_workload;
        if let Some(Value::Object(workload)) = self.mesh.fields.remove("workload") {
            of_workload.extend(workload);
        }
        let policy::Node {
            namespace,
            labels,
            trust_domain,
        } = metadata;
        let labels = labels.map(|labels| {
            let labels = labels.into_iter().map(|(name, value)| (name, value.into()));
            Value::Object(labels.collect())
        });
        for (name, value) in [
            ("namespace", namespace.map(Value::from)),
            ("labels", labels),
            ("trustDomain", trust_domain.map(Value::from)),
        ] {
            if let Some(value) = value {
                of_workload.entry(name).or_insert(value);
            }
        }
        let node = rest;
        self.base = Some(Origin { source, node });
    }

    /// The services that policies ask: those that a configuration has, or else those of the mesh that are asked.
    pub(super) fn providers(&self) -> Vec<Value> {
        match self.mesh.fields.get("extensionProviders") {
            Some(own) => own.as_array().cloned().unwrap_or_default(),
            None => self.mesh.asked(self.resources.iter()),
        }
    }

    /// What is wrong with the policy that Istio calls so.
    pub(super) fn mistake_in(&self, policy: &str, message: &str) -> Failure {
        let is_called_so = |resource: &Value| {
            let text = |path: &str| resource.pointer(path).and_then(Value::as_str);
            let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
            let name = name.unwrap_or_default();
            policy == format!("ns[{}]-policy[{name}]", namespace.unwrap_or_default())
                || policy == format!("mesh-policy[{name}]")
        };
        let mut known = self.resources.iter().zip(&self.origins);
        match known.find(|(resource, _)| is_called_so(resource)) {
            Some((resource, Origin { source, node })) => {
                let span = node.pointed(&Default::default(), false, &source.text);
                let message = format!("mistake: {}: {message}", named(resource));
                source.failure(&Unreadable { span, message })
            }
            None => Failure(format!("mistake: {policy}: {message}")),
        }
    }

    /// Leaves out what isn't for the proxy.
    pub(super) fn retain(&mut self, is_kept: impl Fn(usize) -> bool) {
        let mut index = 0..;
        self.resources.retain(|_| index.next().is_none_or(&is_kept));
        let mut index = 0..;
        self.origins.retain(|_| index.next().is_none_or(&is_kept));
    }
}

/// Whether a patch of Envoy is about clusters, which decide nothing.
fn adds_clusters_only(document: &Node) -> bool {
    let list = |name| document.dig(&["spec", name]).map(Node::items);
    let patches = list("configPatches").or(list("jsonPatches"));
    let patches = patches.unwrap_or_default();
    let is_cluster = |patch: &Node| {
        let text = |name: &str| patch.get(name).and_then(Node::text).unwrap_or_default();
        text("applyTo") == "CLUSTER" || text("type").ends_with(".Cluster")
    };
    !patches.is_empty() && patches.iter().all(is_cluster)
}

/// What to do about what decides and isn't read.
fn help(kind: &str) -> &'static str {
    match kind {
        "VirtualService" => {
            "routes on `@request.auth.claims` need `dynamicMetadata.header` and a filter behind the plugin \
             (docs/operations.md)"
        }
        "EnvoyExtensionPolicy" | "WasmPlugin" => "look whether it decides about requests",
        _ => {
            "it decides about requests, and doesn't come along: write what it asks for as a \
             RequestAuthentication and an AuthorizationPolicy"
        }
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

/// A resource as people write it. When it was created counts where several replace one another; what shouldn't be
/// there stays, for the plugin to refuse.
fn cleaned(document: &Value) -> Value {
    let mut cleaned = document.as_object().cloned().unwrap_or_default();
    cleaned.remove("status");
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
    // A `metadata` that is no object stays, too.
    if document.get("metadata").is_none_or(Value::is_object) {
        cleaned.remove("metadata");
        if !metadata.is_empty() {
            cleaned.insert("metadata".to_owned(), metadata.into());
        }
    }
    cleaned.into()
}
