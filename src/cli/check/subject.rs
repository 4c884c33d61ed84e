//! What of a file the plugin reads.

use std::collections::BTreeMap;

use crate::cli::document::{
    self, Carrier, Lookalike, Sort, WASM, flattened, is_configuration, is_mentioned,
};
use crate::cli::source::{Node, Source, Unreadable};
use crate::cli::tally::Tally;
use crate::config::place::Place;
use crate::policy;

/// The type of a configuration that is JSON in a string.
const STRING: &str = "type.googleapis.com/google.protobuf.StringValue";
/// The type of one that is written out.
const STRUCT: &str = "type.googleapis.com/google.protobuf.Struct";

/// Something to check.
pub(in crate::cli) struct Subject {
    pub(in crate::cli) node: Node,
    pub(in crate::cli) kind: Kind,
}

/// What it is.
pub(in crate::cli) enum Kind {
    /// A plugin configuration, where Envoy's node metadata say this.
    Configuration(policy::Node),
    /// What decides about requests and isn't read, by its kind.
    NotRead(String),
    /// An Istio resource that stands alone.
    Resource,
    /// Policy tests.
    Suite,
}

/// What there is in a file, and what is wrong with it.
pub(in crate::cli) struct Found<'s> {
    source: &'s Source,
    pub(in crate::cli) subjects: Vec<Subject>,
    /// The documents that hand a configuration over, with all that they say around it.
    pub(in crate::cli) carriers: Vec<(Node, Carrier)>,
    pub(in crate::cli) wrong: Vec<Unreadable>,
}

/// What is to check in these documents, or why it can't be read. The only document of a file that was asked for by its
/// name is plain: a plugin configuration, if it is nothing else.
pub(in crate::cli) fn find<'s>(
    documents: Vec<Node>,
    source: &'s Source,
    is_plain: bool,
    tally: &mut Tally,
) -> Found<'s> {
    let mut found = Found {
        source,
        subjects: Vec::new(),
        carriers: Vec::new(),
        wrong: Vec::new(),
    };
    let documents = documents
        .into_iter()
        .flat_map(|document| flattened(document, source));
    for document in documents {
        found.document(document, is_plain, tally);
    }
    for subject in &found.subjects {
        tally.subject(subject);
    }
    found
}

impl Found<'_> {
    /// Whether there is nothing of ours, right or wrong.
    pub(in crate::cli) fn is_empty(&self) -> bool {
        let is_ours = |subject: &Subject| !matches!(subject.kind, Kind::NotRead(_));
        self.wrong.is_empty() && !self.subjects.iter().any(is_ours)
    }

    fn count(&self) -> usize {
        self.subjects.len() + self.wrong.len()
    }

    fn push(&mut self, node: Node, kind: Kind) {
        self.subjects.push(Subject { node, kind });
    }

    fn document(&mut self, document: Node, is_plain: bool, tally: &mut Tally) {
        let before = self.count();
        match document::sort(&document, self.source) {
            Sort::Resource => self.push(document, Kind::Resource),
            Sort::Configuration => {
                self.push(document, Kind::Configuration(policy::Node::default()));
            }
            Sort::Suite => self.suite(document),
            Sort::Lookalike(Lookalike { span, message }) => {
                self.wrong.push(Unreadable { span, message });
            }
            Sort::NotRead(kind) => self.push(document, Kind::NotRead(kind)),
            Sort::Carrier(carrier) => {
                self.carried(&document, carrier);
                let carries = self.count() > before;
                let native = document::native(&document).filter(|_| carrier == Carrier::Envoy);
                if let Some((filter, name)) = native {
                    let kind = document.get("kind").and_then(Node::text);
                    let kind = Kind::NotRead(kind.unwrap_or(name).to_owned());
                    self.push(filter.clone(), kind);
                }
                if self.count() == before {
                    let is_foreign = carrier != Carrier::ConfigMap && carrier != Carrier::Envoy;
                    self.unknown(document, is_foreign, tally);
                } else if carries {
                    self.carriers.push((document, carrier));
                }
            }
            Sort::Other => {
                let is_of_kubernetes = document.get("apiVersion").is_some();
                if is_plain && !is_of_kubernetes {
                    filters(&document, &metadata(&document), self);
                    match self.count() == before {
                        true => self.push(document, Kind::Configuration(policy::Node::default())),
                        false => self.carriers.push((document, Carrier::Envoy)),
                    }
                } else {
                    self.unknown(document, false, tally);
                }
            }
        }
    }

    /// A document in which there is nothing where it would be looked for.
    fn unknown(&mut self, document: Node, is_foreign: bool, tally: &mut Tally) {
        let before = self.count();
        self.below(&document, &metadata(&document));
        let kind = document.get("kind").and_then(Node::text);
        let name = kind.unwrap_or(match document::is_of_envoy(&document) {
            true => "Envoy configuration",
            false => "without `kind`",
        });
        if self.count() == before {
            match is_foreign {
                true => {
                    let kind = Kind::NotRead(name.to_owned());
                    self.push(document, kind);
                }
                false => tally.other(name),
            }
        } else if let Some(right) = document::meant_carrier(kind.unwrap_or_default()) {
            // What would hand it over isn't what it is taken for.
            let place = Place::default().member("kind");
            self.wrong.push(Unreadable {
                span: document.pointed(&place, false, &self.source.text),
                message: format!("nothing hands over the configuration in this: write {right}"),
            });
        }
    }

    /// Whatever of ours is in a document that we don't know.
    fn below(&mut self, node: &Node, metadata: &policy::Node) {
        let before = self.count();
        filters(node, metadata, self);
        if self.count() > before {
            return;
        }
        let members = node.members().iter().map(|(_, member)| member);
        for below in node.items().iter().chain(members) {
            match document::sort(below, self.source) {
                // Where the proxy is isn't known of it, so its resources are as if they stood alone.
                Sort::Configuration if document::has_lists(below) => {
                    let (configuration, resources) = document::without_resources(below);
                    if document::has_lists(&configuration) {
                        self.push(configuration, Kind::Configuration(metadata.clone()));
                    }
                    for resource in resources {
                        self.document(resource, false, &mut Tally::default());
                    }
                }
                Sort::Resource | Sort::Lookalike(_) if below.get("spec").is_some() => {
                    self.document(below.clone(), false, &mut Tally::default());
                }
                _ => self.below(below, metadata),
            }
        }
    }

    /// Policy tests, and the configuration that is written in them.
    fn suite(&mut self, document: Node) {
        let metadata = policy::Node {
            namespace: document
                .get("namespace")
                .and_then(Node::text)
                .map(str::to_owned),
            labels: document.get("labels").map(strings),
            trust_domain: None,
        };
        let within = document.get("configuration").cloned();
        self.push(document, Kind::Suite);
        if let Some(within) = within.filter(|within| !within.members().is_empty()) {
            self.push(within, Kind::Configuration(metadata));
        }
    }

    fn carried(&mut self, document: &Node, carrier: Carrier) {
        match carrier {
            Carrier::WasmPlugin => wasm_plugin(document, self),
            Carrier::ExtensionPolicy => {
                let entries = document.dig(&["spec", "wasm"]).into_iter();
                for entry in entries.flat_map(Node::items) {
                    let nobody = policy::Node::default();
                    embedded(entry, entry.get("config"), &nobody, self);
                }
            }
            Carrier::ConfigMap => {
                let data = ["data", "stringData"].into_iter();
                let data = data.filter_map(|name| document.get(name));
                for (name, text) in data.flat_map(Node::members) {
                    self.text(&name.text, text);
                }
            }
            Carrier::Envoy => filters(document, &metadata(document), self),
        }
    }

    /// The documents in a text of a ConfigMap.
    fn text(&mut self, name: &str, node: &Node) {
        let is_named = [".json", ".yaml", ".yml"]
            .iter()
            .any(|end| name.ends_with(end));
        let is_ours = node.text().is_some_and(is_mentioned);
        if !is_named && !is_ours {
            return;
        }
        match node.yaml(&self.source.text) {
            Ok(documents) => {
                // What else is in there is the ConfigMap's own.
                let mut of_others = Tally::default();
                let source = self.source;
                for document in documents {
                    for document in flattened(document, source) {
                        if !document.members().is_empty() {
                            self.document(document, false, &mut of_others);
                        }
                    }
                }
            }
            Err(unreadable) if is_named && is_ours => self.wrong.push(unreadable),
            Err(_) => {}
        }
    }
}

/// Istio hands `pluginConfig` over, in proxies of this namespace whose labels are at least these.
fn wasm_plugin(document: &Node, found: &mut Found<'_>) {
    let written = document.dig(&["spec", "pluginConfig"]);
    embedded(document, written, &selected(document), found);
}

/// What Envoy's node metadata say in the proxies that a WasmPlugin is for.
pub(super) fn selected(document: &Node) -> policy::Node {
    let labels = document.dig(&["spec", "selector", "matchLabels"]);
    let namespace = document.dig(&["metadata", "namespace"]);
    policy::Node {
        namespace: Some(
            namespace
                .and_then(Node::text)
                .unwrap_or("default")
                .to_owned(),
        ),
        labels: Some(labels.map(strings).unwrap_or_default()),
        trust_domain: None,
    }
}

/// Every filter of ours below, whatever it is in.
fn filters(node: &Node, metadata: &policy::Node, found: &mut Found<'_>) {
    if let Some(node) = wasm(node) {
        let plugin = node.get("config");
        let written = plugin.and_then(|plugin| plugin.get("configuration"));
        if let Some(bare) = written.filter(|written| is_configuration(written)) {
            found.wrong.push(Unreadable {
                span: bare.span.clone(),
                message: format!(
                    "Envoy takes nothing without a type here: write `\"@type\": {STRUCT}`, and this as `value` \
                     beside it"
                ),
            });
        }
        return embedded(node, written, metadata, found);
    }
    let members = node.members().iter().map(|(_, member)| member);
    for below in node.items().iter().chain(members) {
        filters(below, metadata, found);
    }
}

/// What is said of a Wasm filter, if a node does.
pub(super) fn wasm(node: &Node) -> Option<&Node> {
    let text = |name: &str| node.get(name).and_then(Node::text);
    // Istio's EnvoyFilters have it as a TypedStruct.
    let typed = node.get("value").filter(|_| text("type_url") == Some(WASM));
    typed.or(Some(node).filter(|_| text("@type") == Some(WASM)))
}

/// The configuration that is written in something, if that is ours by what it says or is called.
fn embedded(whole: &Node, written: Option<&Node>, metadata: &policy::Node, found: &mut Found<'_>) {
    match handed_over(whole, written, found.source) {
        Some(Ok(node)) => found.push(node, Kind::Configuration(metadata.clone())),
        Some(Err(unreadable)) => found.wrong.push(unreadable),
        None => {}
    }
}

/// The same, or what is wrong with it.
pub(super) fn handed_over(
    whole: &Node,
    written: Option<&Node>,
    source: &Source,
) -> Option<Result<Node, Unreadable>> {
    let is_called_so = document::mentions(whole, "portcullis");
    let Some(written) = written else {
        return is_called_so.then(|| {
            Err(Unreadable {
                span: whole.span.clone(),
                message: "there is no configuration for the plugin".to_owned(),
            })
        });
    };
    let kind = written.get("@type").and_then(Node::text);
    let text = written
        .get("value")
        .and_then(Node::text)
        .unwrap_or_default();
    let node = match (kind, written.get("value")) {
        (Some(STRING), Some(text)) => text.json(&source.text).map_err(|wrong| Unreadable {
            message: format!(
                "{}; YAML goes into a `google.protobuf.Struct`",
                wrong.message
            ),
            ..wrong
        }),
        (Some(_), Some(value)) => Ok(value.clone()),
        _ => Ok(written.clone()),
    };
    let is_ours = match &node {
        Ok(node) => is_called_so || is_configuration(node),
        Err(_) => is_called_so || is_mentioned(text),
    };
    is_ours.then_some(node)
}

/// What the bootstrap of an Envoy says of its node, also in what an Envoy tells of itself.
pub(super) fn metadata(document: &Node) -> policy::Node {
    let told = document.get("configs").into_iter().flat_map(Node::items);
    let told = told.filter_map(|config| config.get("bootstrap")).next();
    let bootstrap = told.unwrap_or(document);
    let member = |name| bootstrap.dig(&["node", "metadata", name]);
    let text = |name| member(name)?.text().map(str::to_owned);
    policy::Node {
        namespace: text("NAMESPACE"),
        trust_domain: text("TRUST_DOMAIN"),
        labels: member("LABELS").map(strings),
    }
}

fn strings(object: &Node) -> BTreeMap<String, String> {
    let members = object.members().iter();
    members
        .filter_map(|(name, value)| Some((name.text.clone(), value.text()?.to_owned())))
        .collect()
}
