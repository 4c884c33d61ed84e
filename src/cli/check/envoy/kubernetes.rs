//! What is around the plugin in Kubernetes: a WasmPlugin with what leads to its key sets, or an EnvoyExtensionPolicy.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;

use super::super::advice::field;
use super::super::subject::{handed_over, selected};
use super::around::{dig, is_true, text};
use super::facts::Facts;
use super::plugin::FAIL_OPEN;
use super::seen::Seen;
use crate::cli::codes::Code;
use crate::cli::finding::Finding;
use crate::cli::source::{Node, Source};

/// What all files together say.
#[derive(Debug, Default)]
pub(in crate::cli::check) struct Kubernetes {
    /// Hosts that have a ServiceEntry.
    entries: BTreeSet<String>,
    /// Hosts that have a DestinationRule.
    rules: BTreeSet<String>,
    /// Namespaces and names of WasmPlugins.
    plugins: BTreeSet<(String, String)>,
    wanted: Vec<Wanted>,
}

/// A key set outside of the cluster that a WasmPlugin fetches.
#[derive(Debug)]
struct Wanted {
    source: Rc<Source>,
    at: Node,
    host: String,
    is_https: bool,
}

impl Kubernetes {
    /// Takes what leads to other hosts out of a document.
    pub(in crate::cli::check) fn gather(&mut self, document: &Node) {
        let text = |name: &str| document.get(name).and_then(Node::text).unwrap_or_default();
        let kind = text("kind");
        if !text("apiVersion").starts_with("networking.istio.io/") {
            return;
        }
        let owned = |node: &Node| node.text().map(str::to_owned);
        let hosts = document.dig(&["spec", "hosts"]).map(Node::items);
        let host = document.dig(&["spec", "host"]);
        match kind {
            "ServiceEntry" => {
                let hosts = hosts.unwrap_or_default().iter();
                self.entries.extend(hosts.filter_map(owned));
            }
            "DestinationRule" => self.rules.extend(host.and_then(owned)),
            _ => {}
        }
    }

    /// What a WasmPlugin with our configuration says.
    pub(in crate::cli::check) fn plugin(
        &mut self,
        document: &Node,
        source: &Rc<Source>,
    ) -> Vec<Finding> {
        let mut seen = Seen::new(source);
        let spec = document.get("spec").unwrap_or(document);
        let named = document.dig(&["metadata", "name"]);
        let at = named.unwrap_or(document);
        let metadata = selected(document);
        let namespace = metadata.namespace.clone().unwrap_or_default();
        let name = named.and_then(Node::text).unwrap_or_default().to_owned();
        if !self.plugins.insert((namespace.clone(), name.clone())) {
            seen.at(
                Code::SameName,
                at,
                format!("there is another WasmPlugin `{name}` in the namespace `{namespace}`: Kubernetes keeps only one"),
                "give each a name of its own, or leave one out",
            );
        }
        let strategy = field(spec, "failStrategy");
        match strategy.and_then(Node::text) {
            Some("FAIL_OPEN") => seen.at(
                Code::FailOpen,
                strategy.unwrap_or(at),
                format!("{FAIL_OPEN}, also while it can't be had"),
                "write `failStrategy: FAIL_RELOAD`",
            ),
            Some("FAIL_RELOAD") => {}
            _ => seen.at(
                Code::NoReload,
                strategy.unwrap_or(at),
                "if the plugin ever traps, a worker answers every request with 503 until the proxy restarts",
                "write `failStrategy: FAIL_RELOAD`, where Istio's API has it",
            ),
        }
        if !matches!(text(spec, "phase"), Some("AUTHN" | "AUTHZ")) {
            seen.at(
                Code::NoPhase,
                field(spec, "phase").unwrap_or(at),
                "the plugin comes last, behind Istio's own authentication and authorization and all that follows",
                "write `phase: AUTHN`",
            );
        }
        let written = field(spec, "pluginConfig");
        if let Some(Ok(node)) = handed_over(document, written, source) {
            self.want(&Facts::read(node, &metadata), source);
        }
        seen.findings
    }

    fn want(&mut self, facts: &Facts, source: &Rc<Source>) {
        for asked in facts.asked.iter().filter(|asked| asked.is_key_set) {
            // A cluster that has another name is somebody's own.
            let is_of_istio = asked.cluster.starts_with("outbound|");
            let host = asked.host.as_str();
            let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
            let is_of_cluster = !host.contains('.') || format!("{host}.").contains(".svc.");
            let at = facts.spoken(&asked.written).or(facts.node.as_ref());
            if let (true, false, false, Some(at)) = (is_of_istio, is_address, is_of_cluster, at) {
                self.wanted.push(Wanted {
                    source: Rc::clone(source),
                    at: at.clone(),
                    host: asked.host.clone(),
                    is_https: asked.is_https,
                });
            }
        }
    }

    /// What is missing in all files.
    pub(in crate::cli::check) fn finish(self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for wanted in &self.wanted {
            let Wanted {
                source,
                at,
                host,
                is_https,
            } = wanted;
            let mut seen = Seen::new(source);
            if !names(&self.entries, host) {
                seen.at(
                    Code::NoServiceEntry,
                    at,
                    format!("no ServiceEntry among the files has `{host}`: Istio's proxies know only hosts that one names"),
                    "add one (docs/operations.md, \"Where keys come from\"), or check it together with this file",
                );
            }
            if *is_https && !names(&self.rules, host) {
                seen.at(
                    Code::NoDestinationRule,
                    at,
                    format!("no DestinationRule among the files has `{host}`: without one, the proxy speaks plain text to it"),
                    "add one with `tls: {mode: SIMPLE}` (docs/operations.md, \"Where keys come from\"), or check it \
                     together with this file",
                );
            }
            findings.extend(seen.findings);
        }
        findings
    }
}

/// Whether hosts, with or without a star, name one.
fn names(hosts: &BTreeSet<String>, host: &str) -> bool {
    hosts.iter().any(|own| match own.strip_prefix('*') {
        Some(end) => host.ends_with(end),
        None => own.eq_ignore_ascii_case(host),
    })
}

/// What an EnvoyExtensionPolicy says of our plugin.
pub(in crate::cli::check) fn extension_policy(document: &Node, source: &Rc<Source>) -> Seen {
    let mut seen = Seen::new(source);
    let plugins = dig(document, &["spec", "wasm"]).map(Node::items);
    for plugin in plugins.unwrap_or_default() {
        let is_ours = handed_over(plugin, field(plugin, "config"), source).is_some();
        if let Some(open) =
            field(plugin, "failOpen").filter(|_| is_ours && is_true(plugin, "failOpen"))
        {
            seen.at(Code::FailOpen, open, FAIL_OPEN, "write `failOpen: false`");
        }
    }
    seen
}
