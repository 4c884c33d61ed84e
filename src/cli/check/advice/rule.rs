//! Rules that say something else than it looks like.

use super::policy::Policy;
use super::{Advice, list};
use crate::cli::codes::Code;
use crate::cli::source::Node;
use crate::config::place::Place;

/// Words in paths that are often for everybody.
const FOR_EVERYBODY: [&str; 34] = [
    ".well-known",
    "actuator",
    "alive",
    "assets",
    "auth",
    "callback",
    "css",
    "docs",
    "favicon.ico",
    "health",
    "healthy",
    "healthz",
    "images",
    "img",
    "js",
    "live",
    "liveness",
    "livez",
    "login",
    "logout",
    "metrics",
    "oauth2",
    "ping",
    "prometheus",
    "public",
    "readiness",
    "ready",
    "readyz",
    "robots.txt",
    "signup",
    "static",
    "stats",
    "status",
    "swagger-ui",
];

/// Whether a path is likely for everybody.
pub(super) fn is_public(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let mut words = path.split(['/', '*']);
    path == "/" || words.any(|word| FOR_EVERYBODY.contains(&word))
}

/// The only thing that a rule says.
fn only(rule: &Node) -> Option<&str> {
    match rule.members() {
        [(name, _)] => Some(&name.text),
        _ => None,
    }
}

/// Whether a rule is likely meant for everybody: for health checks, logins, or a browser's preflights.
fn is_for_everybody(rule: &Node) -> bool {
    let mut operations = list(rule, "to").iter().filter_map(|to| to.get("operation"));
    operations.all(|operation| {
        let (paths, methods) = (list(operation, "paths"), list(operation, "methods"));
        let is_preflight = |method: &Node| method.text() == Some("OPTIONS");
        paths.iter().filter_map(Node::text).any(is_public)
            || !methods.is_empty() && methods.iter().all(is_preflight)
    })
}

impl Advice {
    pub(super) fn rules(&mut self, policy: &Policy) {
        match policy.action.as_str() {
            "ALLOW" => self.either(policy),
            "DENY" => self.denies_tokens(policy),
            _ => {}
        }
    }

    /// A `-` too many makes two rules of one, either of which is enough.
    fn either(&mut self, policy: &Policy) {
        let [first, second] = policy.rules.as_slice() else {
            return;
        };
        let (from, to, name) = match (only(first), only(second)) {
            (Some("from"), Some("to")) => (1, second, "to"),
            (Some("to"), Some("from")) => (2, first, "from"),
            _ => return,
        };
        if is_for_everybody(to) {
            return;
        }
        let span = second.pointed(&Place::default(), false, &policy.source.text);
        let text = format!(
            "either rule is enough: whoever is in `from` of rule {from} may do everything, and everybody may do \
             what rule {} says; write one rule, without the `-` before `{name}`, if both must hold",
            3 - from
        );
        self.found(&policy.source, Code::EitherRule, span, text);
    }

    /// Who wants to keep out requests without a token may write that those with one are denied.
    fn denies_tokens(&mut self, policy: &Policy) {
        let rules = policy.rules.iter();
        for rule in rules.filter(|rule| list(rule, "when").is_empty()) {
            let sources = list(rule, "from")
                .iter()
                .filter_map(|from| from.get("source"));
            for source in sources {
                let [(name, values)] = source.members() else {
                    continue;
                };
                let is_any = |value: &&Node| value.text() == Some("*");
                let any = values.items().iter().find(is_any);
                let is_principal = matches!(
                    name.text.as_str(),
                    "requestPrincipals" | "request_principals"
                );
                if let Some(any) = any.filter(|_| is_principal) {
                    let text =
                        "this denies requests with a token, and not those without one; write \
                                `notRequestPrincipals` to deny those without"
                            .to_owned();
                    let code = Code::DeniesTokens;
                    self.found(&policy.source, code, any.span.clone(), text);
                }
            }
        }
    }
}
