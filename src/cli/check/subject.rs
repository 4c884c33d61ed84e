//! What of a file the plugin reads.

use std::collections::BTreeMap;
use std::iter;

use crate::cli::source::{Node, Source, Unreadable};
use crate::policy;

/// The type of Envoy's Wasm filter.
const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
/// The type of a configuration that is JSON in a string.
const STRING: &str = "type.googleapis.com/google.protobuf.StringValue";
/// The type of one that is written out.
const STRUCT: &str = "type.googleapis.com/google.protobuf.Struct";
/// Members by which resources of Kubernetes and configurations of Envoy are known.
const OF_OTHERS: [&str; 4] = [
    "apiVersion",
    "dynamic_resources",
    "static_resources",
    "version_info",
];

/// Something to check.
pub(in crate::cli) struct Subject {
    pub(in crate::cli) node: Node,
    pub(in crate::cli) kind: Kind,
}

/// What it is.
pub(in crate::cli) enum Kind {
    /// A plugin configuration, where Envoy's node metadata say this.
    Configuration(policy::Node),
    /// An Istio resource that stands alone.
    Resource,
    /// Policy tests.
    Suite,
}

type Found = Vec<Result<Subject, Unreadable>>;

/// What is to check in these documents, or why it can't be read. A file that was asked for by its
/// name is a plugin configuration where it is nothing else.
pub(in crate::cli) fn find(documents: &[Node], source: &Source, is_named: bool) -> Found {
    let mut found = Found::new();
    for document in documents {
        let before = found.len();
        match suite(document) {
            Some(suite) => found.extend(suite.map(Ok)),
            None => find_in(document, source, &mut found),
        }
        let is_of_others = |name: &&str| document.get(name).is_some();
        let is_plain = documents.len() == 1 && !OF_OTHERS.iter().any(is_of_others);
        if found.len() == before && (is_named && is_plain || is_configuration(document)) {
            let nobody = policy::Node::default();
            found.push(Ok(configuration(document.clone(), nobody)));
        }
    }
    found
}

fn configuration(node: Node, metadata: policy::Node) -> Subject {
    Subject {
        node,
        kind: Kind::Configuration(metadata),
    }
}

/// Policy tests, and the configuration that is written in them.
fn suite(document: &Node) -> Option<impl Iterator<Item = Subject>> {
    let within = document.get("configuration")?;
    document.get("tests")?;
    let tests = Subject {
        node: document.clone(),
        kind: Kind::Suite,
    };
    let metadata = policy::Node {
        namespace: document
            .get("namespace")
            .and_then(Node::text)
            .map(str::to_owned),
        labels: document.get("labels").map(strings),
        trust_domain: None,
    };
    let is_inline = !within.members().is_empty();
    let inline = is_inline.then(|| configuration(within.clone(), metadata));
    Some(iter::once(tests).chain(inline))
}

/// Whether an object says what only ours say.
fn is_configuration(node: &Node) -> bool {
    let resources = node.get("resources").into_iter().flat_map(Node::items);
    node.get("jwtRules").is_some()
        || node.get("authorizationPolicies").is_some()
        || resources
            .into_iter()
            .any(|item| item.get("apiVersion").is_some())
}

fn find_in(document: &Node, source: &Source, found: &mut Found) {
    let text = |name| document.get(name).and_then(Node::text).unwrap_or_default();
    let (group, kind) = (text("apiVersion").split('/').next(), text("kind"));
    match (group, kind) {
        (Some("security.istio.io" | "authentication.istio.io" | "rbac.istio.io"), _)
            if !kind.ends_with("List") =>
        {
            found.push(Ok(Subject {
                node: document.clone(),
                kind: Kind::Resource,
            }))
        }
        (Some("extensions.istio.io"), "WasmPlugin") => wasm_plugin(document, source, found),
        (Some("gateway.envoyproxy.io"), "EnvoyExtensionPolicy") => {
            let entries = document.dig(&["spec", "wasm"]).into_iter();
            for entry in entries.flat_map(Node::items) {
                embedded(
                    entry,
                    entry.get("config"),
                    source,
                    &policy::Node::default(),
                    found,
                );
            }
        }
        (_, kind) if kind.ends_with("List") => {
            for item in document.get("items").into_iter().flat_map(Node::items) {
                find_in(item, source, found);
            }
        }
        _ => filters(document, source, &metadata(document), found),
    }
}

/// Istio hands `pluginConfig` over, in proxies of this namespace whose labels are at least these.
fn wasm_plugin(document: &Node, source: &Source, found: &mut Found) {
    let labels = document.dig(&["spec", "selector", "matchLabels"]);
    let namespace = document.dig(&["metadata", "namespace"]);
    let metadata = policy::Node {
        namespace: Some(
            namespace
                .and_then(Node::text)
                .unwrap_or("default")
                .to_owned(),
        ),
        labels: Some(labels.map(strings).unwrap_or_default()),
        trust_domain: None,
    };
    let written = document.dig(&["spec", "pluginConfig"]);
    embedded(document, written, source, &metadata, found);
}

/// Every filter of ours below, whatever it is in.
fn filters(node: &Node, source: &Source, metadata: &policy::Node, found: &mut Found) {
    if node.get("@type").and_then(Node::text) == Some(WASM) {
        let plugin = node.get("config");
        let written = plugin.and_then(|plugin| plugin.get("configuration"));
        if let Some(bare) = written.filter(|written| is_configuration(written)) {
            found.push(Err(Unreadable {
                span: bare.span.clone(),
                message: format!(
                    "Envoy takes nothing without a type here: write `\"@type\": {STRUCT}`, and this as `value` \
                     beside it"
                ),
            }));
        }
        return embedded(node, written, source, metadata, found);
    }
    let members = node.members().iter().map(|(_, member)| member);
    for below in node.items().iter().chain(members) {
        filters(below, source, metadata, found);
    }
}

/// The configuration that is written in something, if that is ours by what it says or is called.
fn embedded(
    whole: &Node,
    written: Option<&Node>,
    source: &Source,
    metadata: &policy::Node,
    found: &mut Found,
) {
    let is_called_so = whole.value().to_string().contains("portcullis");
    let Some(written) = written else {
        if is_called_so {
            found.push(Err(Unreadable {
                span: whole.span.clone(),
                message: "there is no configuration for the plugin".to_owned(),
            }));
        }
        return;
    };
    let kind = written.get("@type").and_then(Node::text);
    let node = match (kind, written.get("value")) {
        (Some(STRING), Some(text)) => text.json(source.text.as_str()).map_err(|wrong| Unreadable {
            message: format!(
                "{}; YAML goes into a `google.protobuf.Struct`",
                wrong.message
            ),
            ..wrong
        }),
        (Some(_), Some(value)) => Ok(value.clone()),
        _ => Ok(written.clone()),
    };
    match node {
        Ok(node) if is_called_so || is_configuration(&node) => {
            found.push(Ok(configuration(node, metadata.clone())));
        }
        Err(unreadable) if is_called_so => found.push(Err(unreadable)),
        _ => {}
    }
}

/// What the bootstrap of an Envoy says of its node.
fn metadata(bootstrap: &Node) -> policy::Node {
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
