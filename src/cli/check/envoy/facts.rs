//! What a configuration of the plugin asks of what is around it.

use std::collections::BTreeSet;
use std::rc::Rc;

use serde_json::Value;

use super::around::{below, configuration};
use crate::cli::conditions::{ADDRESSES, PATHS, PEERS, REMOTE, mentions};
use crate::cli::configuration::elsewhere_indices;
use crate::cli::source::{Node, Source};
use crate::connection::Validation;
use crate::jwks::Origin;
use crate::path::Normalization;
use crate::policy::{self, Policy};

/// What is asked at a cluster.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) cluster: String,
    /// For people: `the key set of https://...`.
    pub(super) what: String,
    /// As it is written.
    pub(super) written: String,
    pub(super) host: String,
    /// Whether a key set is fetched there.
    pub(super) is_key_set: bool,
    /// Whether its address says `https`.
    pub(super) is_https: bool,
}

#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The configuration itself.
    pub(super) node: Option<Node>,
    /// Conditions on the TCP peer's address.
    pub(super) uses_addresses: bool,
    /// Conditions on the address that Envoy takes for the client's.
    pub(super) uses_remote: bool,
    /// Conditions on who the peer is, or policies that ask for mutual TLS.
    pub(super) uses_peers: bool,
    /// Conditions on paths, as they are normalized.
    pub(super) uses_paths: bool,
    /// Whether certificates that nobody validated are reckoned with.
    pub(super) takes_untrusted: bool,
    /// Whether it says how workers share keys.
    pub(super) says_sharing: bool,
    pub(super) asked: Vec<Asked>,
}

impl Facts {
    /// Those of what a Wasm filter says, if it is ours.
    pub(super) fn of(plugin: &Node, metadata: &policy::Node, source: &Rc<Source>) -> Option<Self> {
        let node = configuration(plugin, source)?;
        // What is wrong with it is told as such.
        Some(node.map_or_else(|_| Self::default(), |node| Self::read(node, metadata)))
    }

    /// Those of a configuration.
    pub(super) fn read(node: Node, metadata: &policy::Node) -> Self {
        let value = node.value();
        let Ok(policy) = Policy::read(&value, metadata) else {
            return Self {
                node: Some(node),
                ..Self::default()
            };
        };
        let rules = rules(&value, metadata);
        let is_older = |resource: &&Value| {
            let text = |name: &str| resource.get(name).and_then(Value::as_str);
            matches!(text("kind"), Some("MeshPolicy" | "Policy"))
        };
        let mut older = rules.iter().filter(is_older);
        let uses = |conditions: &[&str]| rules.iter().any(|rules| mentions(rules, conditions));
        Self {
            uses_addresses: uses(&ADDRESSES),
            uses_remote: uses(&REMOTE),
            uses_peers: uses(&PEERS)
                || policy.mutual_tls.required_by().is_some()
                || older.any(|policy| mentions(policy, &["mtls"])),
            uses_paths: uses(&PATHS) && policy.paths.normalization != Normalization::None,
            takes_untrusted: matches!(policy.validation, Validation::Unknown),
            says_sharing: policy.shares_keys().is_some(),
            asked: asked(&policy, &value),
            node: Some(node),
        }
    }

    /// Whether a request may have to wait for an answer.
    pub(super) fn waits(&self) -> bool {
        !self.asked.is_empty()
    }

    pub(super) fn fetches_keys(&self) -> bool {
        self.asked.iter().any(|asked| asked.is_key_set)
    }

    /// Where something stands in the configuration.
    pub(super) fn spoken(&self, word: &str) -> Option<&Node> {
        let mut found = None;
        below(self.node.as_ref()?, &mut |node| {
            if found.is_none() && node.text() == Some(word) {
                found = Some(node);
            }
        });
        found
    }
}

/// What is asked, each cluster and address once.
fn asked(policy: &Policy, written: &Value) -> Vec<Asked> {
    let mut asked = Vec::new();
    for source in policy.key_sets() {
        let fetch = source.first();
        let issuer = match &source.origin {
            Origin::Discovered { issuer, .. } => Some(issuer.clone()),
            Origin::At(_) => None,
        };
        asked.push(Asked {
            cluster: fetch.cluster().to_owned(),
            what: format!("the key set of `{}`", fetch.uri()),
            written: issuer.unwrap_or_else(|| fetch.uri()),
            host: source.origin.uri().host().to_owned(),
            is_key_set: true,
            is_https: fetch.scheme() == "https",
        });
    }
    let providers = written.get("extensionProviders");
    let providers = providers.and_then(Value::as_array).into_iter().flatten();
    let names: BTreeSet<&str> = policy.checks.iter().map(|(name, _)| name).collect();
    let clusters = policy.checks.services().map(|service| service.cluster());
    for (name, cluster) in names.into_iter().zip(clusters) {
        let mut providers = providers.clone();
        let own = providers.find(|own| own.get("name").and_then(Value::as_str) == Some(name));
        let host = own.and_then(|own| own.pointer("/envoyExtAuthzHttp/service")?.as_str());
        asked.push(Asked {
            cluster: cluster.to_owned(),
            what: format!("the service `{name}`"),
            written: name.to_owned(),
            host: host.unwrap_or_default().to_owned(),
            is_key_set: false,
            is_https: false,
        });
    }
    asked
}

/// The rules and policies that apply, in either form.
fn rules(written: &Value, metadata: &policy::Node) -> Vec<Value> {
    let list = |name: &str| {
        let list = written.get(name).and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    let elsewhere = elsewhere_indices(written, metadata);
    let resources = list("resources").into_iter().enumerate();
    let resources = resources.filter(|(index, _)| !elsewhere.contains(index));
    let resources = resources.map(|(_, resource)| resource);
    let short = list("authorizationPolicies").into_iter();
    resources.chain(short).chain(list("jwtRules")).collect()
}
