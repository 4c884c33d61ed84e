//! What the plugin takes, and what may still not be what somebody meant.

mod name;
mod pattern;
mod policy;
mod presence;
mod principal;
mod rule;
mod scope;
mod shadow;
mod spelling;
mod twin;

use std::ops::Range;
use std::rc::Rc;

use self::policy::Policy;
use self::twin::Named;
use crate::cli::codes::Code;
use crate::cli::finding::{Finding, Severity};
use crate::cli::source::{Node, Source};
use crate::config::place::Place;
use crate::istio::{Resource, named};
use crate::path::Normalization;

/// Rules and policies that count together, and what was found of them so far.
#[derive(Debug, Default)]
pub(super) struct Advice {
    findings: Vec<Finding>,
    /// Whether there are no others than those that were seen.
    is_whole: bool,
    /// Whether hosts are compared without their ports.
    ignores_host_port: bool,
    /// Whether paths are compared without their case.
    ignores_path_case: bool,
    normalization: Normalization,
    /// Whether paths with `//` are refused.
    refuses_ambiguous: bool,
    /// The issuers of the JWT rules; `None` where any will do.
    issuers: Vec<Option<String>>,
    /// The `match` of each; `None` of one for every request.
    scopes: Vec<Option<Vec<Node>>>,
    /// Whether one of them requires its token.
    requires: bool,
    /// What is said of RequestAuthentications by name.
    amendments: Vec<Node>,
    /// Those that the JWT rules name.
    audiences: Vec<String>,
    /// Whether a rule names none.
    takes_any_audience: bool,
    first_rule: Option<(Rc<Source>, Range<usize>)>,
    policies: Vec<Policy>,
    resources: Vec<Named>,
    /// Whether an older policy is among them, which takes tokens, too.
    is_older: bool,
}

/// A field by its name in camelCase, also as Istio takes it in snake_case.
pub(super) fn field<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    let snake = || {
        let letters = name
            .chars()
            .map(|letter| match letter.is_ascii_uppercase() {
                true => format!("_{}", letter.to_ascii_lowercase()),
                false => letter.to_string(),
            });
        letters.collect::<String>()
    };
    node.get(name).or_else(|| node.get(&snake()))
}

fn is_true(node: &Node, name: &str) -> bool {
    field(node, name).is_some_and(|value| value.value() == serde_json::Value::Bool(true))
}

/// The items of a list.
pub(super) fn list<'n>(node: &'n Node, name: &str) -> &'n [Node] {
    field(node, name).map(Node::items).unwrap_or_default()
}

/// Whether an entry of `requestAuthentications` is about this rule of a resource, as far as that is sure: a namespace
/// that isn't written is that of the workload, which isn't known here.
fn is_about(amendment: &Node, resource: &Node, rule: &Node) -> bool {
    let same = |one: Option<&Node>, other: Option<&Node>| {
        one.and_then(Node::text) == other.and_then(Node::text)
    };
    let is_same = |name| same(amendment.get(name), resource.dig(&["metadata", name]));
    let issuer = amendment.get("issuer");
    is_same("name")
        && is_same("namespace")
        && (issuer.is_none() || same(issuer, field(rule, "issuer")))
}

impl Advice {
    /// A plugin configuration, which says all that counts.
    /// Resources that are elsewhere leave the others alone.
    pub(super) fn configuration(
        &mut self,
        source: &Rc<Source>,
        node: &Node,
        elsewhere: &[Resource],
    ) {
        self.is_whole = true;
        self.ignores_host_port = is_true(node, "ignoreHostPort");
        self.ignores_path_case = is_true(node, "ignorePathCase");
        self.normalization = match field(node, "pathNormalization").and_then(Node::text) {
            Some("NONE") => Normalization::None,
            Some("MERGE_SLASHES") => Normalization::MergeSlashes,
            Some("DECODE_AND_MERGE_SLASHES") => Normalization::DecodeAndMergeSlashes,
            _ => Normalization::Base,
        };
        self.amendments = list(node, "requestAuthentications").to_vec();
        self.refuses_ambiguous =
            field(node, "ambiguousPaths").and_then(Node::text) == Some("reject");
        // Both are in the order in which they are written.
        let mut others = elsewhere.iter().map(|other| &other.place).peekable();
        for (index, resource) in list(node, "resources").iter().enumerate() {
            let place = Place::default().member("resources").item(index);
            if others.next_if(|other| **other == place).is_none() {
                self.resource(source, resource);
            }
        }
        if let (Some(first), Some(names)) = (elsewhere.first(), named(elsewhere)) {
            let place = first.place.clone().member("metadata").member("name");
            let span = node.pointed(&place, false, &source.text);
            let text = format!(
                "these are for other workloads, and have no effect here: {names}; compare their namespace and selector \
                 with `workload` here, or with those of the WasmPlugin"
            );
            self.found(source, Code::Elsewhere, span, text);
        }
        let rules = list(node, "jwtRules");
        for rule in rules {
            self.rule(source, rule, rule.get("match"));
        }
        self.required(source, rules);
        for policy in list(node, "authorizationPolicies") {
            self.policy(Policy::short(source, policy));
        }
    }

    /// A resource, which others that weren't seen may stand beside.
    pub(super) fn resource(&mut self, source: &Rc<Source>, node: &Node) {
        self.resources.push(Named::new(source, node));
        match node.get("kind").and_then(Node::text) {
            Some("AuthorizationPolicy") => self.policy(Policy::resource(source, node)),
            Some("RequestAuthentication") => {
                let rules = node.get("spec").map(|spec| list(spec, "jwtRules"));
                let rules = rules.unwrap_or_default();
                let amendments = std::mem::take(&mut self.amendments);
                for rule in rules {
                    let scope = amendments.iter().find(|one| is_about(one, node, rule));
                    self.rule(source, rule, scope.and_then(|one| one.get("match")));
                }
                self.amendments = amendments;
                self.required(source, rules);
            }
            Some("MeshPolicy" | "Policy") => self.is_older = true,
            _ => {}
        }
    }

    /// What decides about requests in a way that isn't read here.
    pub(super) fn not_read(&mut self, source: &Rc<Source>, node: &Node, kind: &str) {
        let place = Place::default().member("kind");
        let span = node.pointed(&place, false, &source.text);
        let text = format!(
            "this {kind} decides about requests, too, and Portcullis doesn't read it; make sure that the two don't \
             contradict each other, or write it as an AuthorizationPolicy"
        );
        self.found(source, Code::NotRead, span, text);
    }

    fn found(&mut self, source: &Rc<Source>, code: Code, span: Range<usize>, text: String) {
        let (message, help) = match text.split_once("; ") {
            Some((message, help)) => (message.to_owned(), Some(help.to_owned())),
            None => (text, None),
        };
        self.findings.push(Finding {
            severity: Severity::Advice,
            code,
            source: Rc::clone(source),
            span,
            message,
            help,
        });
    }

    fn rule(&mut self, source: &Rc<Source>, rule: &Node, scope: Option<&Node>) {
        self.scopes.push(scope.map(|scope| scope.items().to_vec()));
        self.requires |= field(rule, "presence").and_then(Node::text) == Some("REQUIRED");
        let place = Default::default();
        let whole = rule.pointed(&place, false, &source.text);
        let issuer = field(rule, "issuer");
        let name = issuer.and_then(Node::text).unwrap_or_default();
        let span = issuer.map_or(whole, |issuer| issuer.span.clone());
        let audiences = list(rule, "audiences");
        let named = audiences.iter().filter_map(Node::text).map(str::to_owned);
        self.audiences.extend(named);
        self.takes_any_audience |= audiences.is_empty();
        for output in list(rule, "outputClaimToHeaders") {
            if let Some(claim) = output.get("claim") {
                self.claim(source, claim);
            }
        }
        if audiences.is_empty() {
            self.found(
                source,
                Code::AnyAudience,
                span.clone(),
                "every token of this issuer is accepted, even one that was made for another service; write `audiences`: \
                 the names that the issuer has for this service"
                    .to_owned(),
            );
        }
        let uri = field(rule, "jwksUri");
        let address = match (uri, field(rule, "jwks")) {
            (Some(_), _) => uri,
            (None, None) => issuer,
            (None, Some(_)) => None,
        };
        if let Some(address) = address
            && address
                .text()
                .is_some_and(|text| text.starts_with("http://"))
        {
            self.found(
                source,
                Code::PlainHttp,
                address.span.clone(),
                "the key set is fetched without TLS: an attacker in the network can replace it, and then sign tokens that \
                 are accepted; write an https:// address, unless the network is protected by other means"
                    .to_owned(),
            );
        }
        self.issuers
            .push((!name.is_empty()).then(|| name.to_owned()));
        self.first_rule
            .get_or_insert_with(|| (Rc::clone(source), span));
    }

    /// All that was found, what only shows in the whole included.
    pub(super) fn finish(mut self) -> Vec<Finding> {
        let policies = std::mem::take(&mut self.policies);
        self.unasked(&policies);
        self.shadowed(&policies);
        for policy in &policies {
            self.patterns(policy);
            self.without_token(policy);
            self.rules(policy);
        }
        self.twins();
        self.findings
    }

    /// Whether tokens are verified of which nothing depends.
    fn unasked(&mut self, policies: &[Policy]) {
        let asks = self.requires || policies.iter().any(|policy| policy.asks_for_identity());
        let Some((source, span)) = self.first_rule.clone().filter(|_| !asks) else {
            return;
        };
        let allowing: Vec<&Policy> = policies.iter().filter(|policy| policy.allows()).collect();
        for policy in &allowing {
            self.found(
                &policy.source,
                Code::NoPrincipal,
                policy.span.clone(),
                "tokens are verified, but no policy requires one: what this policy allows is allowed without a token, \
                 too; write `from: [{source: {requestPrincipals: [\"*\"]}}]` in its rules to require one"
                    .to_owned(),
            );
        }
        if allowing.is_empty() && self.is_whole && !self.is_older {
            self.found(
                &source,
                Code::NoPrincipal,
                span,
                "tokens are verified, but no policy requires one: requests without a token pass; write an ALLOW policy \
                 with `requestPrincipals: [\"*\"]` to require one"
                    .to_owned(),
            );
        }
    }

    /// Policies of which nothing depends, because others decide in any case.
    fn shadowed(&mut self, policies: &[Policy]) {
        for (policy, above, why) in shadow::find(policies) {
            let text = format!("this policy changes nothing: `{}` {why}", above.name);
            self.found(&policy.source, Code::Shadowed, policy.span.clone(), text);
        }
    }
}
