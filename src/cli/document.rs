//! What a document is. Every command asks this, and nothing else, so that none passes over what another one reads.

mod kinds;
mod lookalike;

use std::ops::Range;

use self::kinds::Kinds;
use super::source::{Content, Name, Node, Source};

pub(super) use self::kinds::WASM;

/// What a document is.
#[derive(Debug)]
pub(super) enum Sort {
    /// One of Istio's resources that the plugin reads.
    Resource,
    /// A configuration of the plugin, by itself.
    Configuration,
    /// Policy tests.
    Suite,
    /// Something that may hold a configuration or resources: what of ours is in it has to be looked for.
    Carrier(Carrier),
    /// What somebody who wrote this took for ours, and the plugin wouldn't: a mistake, wherever it stands.
    Lookalike(Lookalike),
    /// It decides about requests, and the plugin doesn't read it.
    NotRead(String),
    /// Of another kind, which decides nothing.
    Other,
}

/// What may hold something of ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Carrier {
    /// Istio's WasmPlugin, in `spec.pluginConfig`.
    WasmPlugin,
    /// Envoy Gateway's EnvoyExtensionPolicy, in each `config` of `spec.wasm`.
    ExtensionPolicy,
    /// Text under names, in which there are documents.
    ConfigMap,
    /// A configuration of Envoy, or a patch of one: filters, wherever they are.
    Envoy,
}

/// What is wrong with something that was meant to be ours.
#[derive(Debug)]
pub(super) struct Lookalike {
    /// In bytes of the source.
    pub(super) span: Range<usize>,
    pub(super) message: String,
}

/// Tells what a document is. Lists are several: see [`flattened`].
pub(super) fn sort(document: &Node, source: &Source) -> Sort {
    if is_suite(document) {
        return Sort::Suite;
    }
    if let Some(lookalike) = lookalike::find(document, source) {
        return Sort::Lookalike(lookalike);
    }
    let text = |name: &str| document.get(name).and_then(Node::text).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    let group = version.split_once('/').map_or("", |(group, _)| group);
    match (group, kind) {
        _ if Kinds::ours(version).contains(&kind) => Sort::Resource,
        ("extensions.istio.io", "WasmPlugin") => Sort::Carrier(Carrier::WasmPlugin),
        ("gateway.envoyproxy.io", "EnvoyExtensionPolicy") => {
            Sort::Carrier(Carrier::ExtensionPolicy)
        }
        ("gateway.envoyproxy.io", "EnvoyPatchPolicy") | ("networking.istio.io", "EnvoyFilter") => {
            Sort::Carrier(Carrier::Envoy)
        }
        ("", "ConfigMap" | "Secret") => Sort::Carrier(Carrier::ConfigMap),
        ("networking.istio.io", "VirtualService") if mentions(document, "@request.auth.claims") => {
            Sort::NotRead(kind.to_owned())
        }
        _ if kinds::decides(group, kind) => Sort::NotRead(kind.to_owned()),
        ("", "") if is_configuration(document) => Sort::Configuration,
        ("", "") if is_of_envoy(document) => Sort::Carrier(Carrier::Envoy),
        _ => Sort::Other,
    }
}

/// The documents of a list, and of the lists in it; of any other document itself. Items of a list of one kind are
/// of it, as Kubernetes writes such lists.
pub(super) fn flattened(document: Node, source: &Source) -> Vec<Node> {
    let mut flat = Vec::new();
    flatten(document, source, &mut flat);
    flat
}

fn flatten(document: Node, source: &Source, flat: &mut Vec<Node>) {
    let text = |name: &str| document.get(name).and_then(Node::text).unwrap_or_default();
    let (version, kind) = (text("apiVersion").to_owned(), text("kind").to_owned());
    let of_list = kind
        .len()
        .checked_sub("List".len())
        .and_then(|at| kind.split_at_checked(at))
        .filter(|(_, end)| end.eq_ignore_ascii_case("List"));
    let is_list = of_list.is_some() || kind.is_empty() && document.get("spec").is_none();
    let Node { span, content } = document;
    match content {
        Content::List(items) if items.iter().any(lookalike::names_a_kind) => {
            for item in items {
                flatten(item, source, flat);
            }
        }
        Content::Object(members) if is_list && members.iter().any(|(name, _)| is_items(name)) => {
            for (name, node) in members {
                if let (true, Content::List(items)) = (is_items(&name), node.content) {
                    for item in items {
                        let inherited = [("apiVersion", &*version)];
                        let kind = of_list.map_or("", |(kind, _)| kind);
                        let inherited = inherited.into_iter().chain([("kind", kind)]);
                        flatten(completed(item, inherited, kind, source), source, flat);
                    }
                }
            }
        }
        mut content => {
            without_copies(&mut content);
            flat.push(Node { span, content });
        }
    }
}

/// Takes out of what an Envoy tells of itself (`/config_dump`) what it tells twice, and what no longer serves.
fn without_copies(content: &mut Content) {
    let Content::Object(members) = content else {
        return;
    };
    let configs = members
        .iter_mut()
        .filter(|(name, _)| name.text == "configs");
    for (_, node) in configs {
        let Content::List(configs) = &mut node.content else {
            continue;
        };
        let is_listeners = |config: &Node| {
            let kind = config.get("@type").and_then(Node::text);
            kind.is_some_and(|kind| kind.ends_with(".ListenersConfigDump"))
        };
        let has_listeners = configs.iter().any(is_listeners);
        for config in configs {
            // All that Envoy is built with has its name in `extensions`, whether it serves or not.
            remove(config, &["draining_state", "error_state", "extensions"]);
            if has_listeners {
                // The bootstrap as it was read: what came of it stands in the other parts.
                remove(config, &["static_resources"]);
            }
        }
    }
}

/// Removes members of these names, not far below.
fn remove(node: &mut Node, names: &[&str]) {
    match &mut node.content {
        Content::Object(members) => {
            let is_active = members.iter().any(|(name, _)| name.text == "active_state");
            members.retain(|(name, _)| {
                let is_replaced = is_active && name.text == "warming_state";
                !is_replaced && !names.contains(&name.text.as_str())
            });
            let parts = ["bootstrap", "dynamic_clusters", "dynamic_listeners", "node"];
            for (name, below) in members {
                if parts.contains(&name.text.as_str()) {
                    remove(below, names);
                }
            }
        }
        Content::List(items) => items.iter_mut().for_each(|item| remove(item, names)),
        Content::Scalar(_) => {}
    }
}

fn is_items(name: &Name) -> bool {
    name.text.eq_ignore_ascii_case("items")
}

/// An item with what its list says of it, where it doesn't itself.
fn completed<'m>(
    mut item: Node,
    members: impl Iterator<Item = (&'m str, &'m str)>,
    kind: &str,
    source: &Source,
) -> Node {
    if kind.is_empty() {
        return item;
    }
    let span = item.pointed(&Default::default(), false, &source.text);
    if let Content::Object(own) = &mut item.content {
        for (name, value) in members {
            let is_said = own
                .iter()
                .any(|(own, _)| own.text.eq_ignore_ascii_case(name));
            if !is_said && !value.is_empty() {
                let name = Name {
                    span: span.clone(),
                    text: name.to_owned(),
                };
                let content = Content::Scalar(value.into());
                let span = span.clone();
                own.push((name, Node { span, content }));
            }
        }
    }
    item
}

/// Whether text that can't be read may be ours, or of those whose kinds we read.
pub(super) fn is_mentioned(text: &str) -> bool {
    kinds::WORDS.iter().any(|word| text.contains(word))
}

/// Tests name a configuration.
pub(super) fn is_suite(document: &Node) -> bool {
    document.get("configuration").is_some() && document.get("tests").is_some()
}

/// Whether an object says what only a configuration of the plugin says.
pub(super) fn is_configuration(node: &Node) -> bool {
    let resources = node.get("resources").into_iter().flat_map(Node::items);
    lookalike::is_near_configuration(node)
        || node.get("jwtRules").is_some()
        || node.get("authorizationPolicies").is_some()
        || resources
            .into_iter()
            .any(|item| item.get("apiVersion").is_some())
}

/// Whether what a configuration of the plugin says is in lists, unlike in a schema of such things.
pub(super) fn has_lists(node: &Node) -> bool {
    let names = ["authorizationPolicies", "jwtRules", "resources"];
    let lists = names.iter().filter_map(|name| node.get(name));
    lists.into_iter().any(|list| !list.items().is_empty())
}

/// A configuration without its resources, and these.
pub(super) fn without_resources(node: &Node) -> (Node, Vec<Node>) {
    let (mut rest, mut resources) = (node.clone(), Vec::new());
    if let Content::Object(members) = &mut rest.content {
        members.retain(|(name, value)| {
            let is_other = name.text != "resources";
            if !is_other {
                resources.extend(value.items().iter().cloned());
            }
            is_other
        });
    }
    (rest, resources)
}

/// What was probably meant, where a kind has nearly the name of one that hands a configuration over.
pub(super) fn meant_carrier(kind: &str) -> Option<&'static str> {
    [
        ("WasmPlugin", "it in `spec.pluginConfig` of a WasmPlugin of extensions.istio.io/v1alpha1"),
        (
            "EnvoyExtensionPolicy",
            "it in a `config` of `spec.wasm` of an EnvoyExtensionPolicy of gateway.envoyproxy.io/v1alpha1",
        ),
    ]
    .into_iter()
    .find_map(|(name, right)| lookalike::is_meant(name, kind).then_some(right))
}

/// Whether an object is a configuration of Envoy, whole or as it tells it.
pub(super) fn is_of_envoy(node: &Node) -> bool {
    const MEMBERS: [&str; 6] = [
        "configs",
        "dynamic_resources",
        "http_filters",
        "listeners",
        "static_resources",
        "version_info",
    ];
    MEMBERS.iter().any(|name| node.get(name).is_some())
}

/// The first of Envoy's own filters below that decides about requests, and how it is called.
pub(super) fn native(node: &Node) -> Option<(&Node, &'static str)> {
    let called = ["name", "@type"].into_iter().find_map(|name| {
        let text = node.get(name).and_then(Node::text)?;
        let is_one = |filter: &&&str| text.contains(**filter);
        kinds::NATIVE.iter().find(is_one).copied()
    });
    let members = node.members().iter().map(|(_, member)| member);
    let mut below = node.items().iter().chain(members);
    match called {
        Some(name) => Some((node, name)),
        None => below.find_map(native),
    }
}

/// Whether a word stands anywhere in a document.
pub(super) fn mentions(node: &Node, word: &str) -> bool {
    match &node.content {
        Content::Scalar(_) => node.text().is_some_and(|text| text.contains(word)),
        Content::List(items) => items.iter().any(|item| mentions(item, word)),
        Content::Object(members) => members
            .iter()
            .any(|(name, node)| name.text.contains(word) || mentions(node, word)),
    }
}
