//! JWT rules that require their token in a way that no request can meet.

use std::rc::Rc;

use super::{Advice, field, is_true, list};
use crate::cli::codes::Code;
use crate::cli::source::{Node, Source};

impl Advice {
    /// Looks at rules that are asked together.
    pub(super) fn required(&mut self, source: &Rc<Source>, rules: &[Node]) {
        for (place, rule) in rules.iter().enumerate() {
            let others = rules.iter().enumerate();
            let mut others = others.filter(|(other, _)| *other != place);
            if let Some((_, other)) = others.find(|(at, other)| takes(other, *at, rule, place))
                && let Some(presence) = field(rule, "presence")
            {
                let issuer = issuer(other);
                let text = format!(
                    "no request passes: the rule for {issuer} looks for its tokens where this one does, and a \
                     token is only one issuer's; give each a header of its own in `fromHeaders`, or write \
                     `requestPrincipals` in a policy in place of `REQUIRED`"
                );
                self.found(source, Code::NeverPasses, presence.span.clone(), text);
            }
        }
    }
}

/// Whether another rule refuses the token that a rule requires, or takes it away.
fn takes(other: &Node, other_at: usize, rule: &Node, at: usize) -> bool {
    let everywhere = |node: &Node| node.get("match").is_none();
    let is_before = (issuer(other), other_at) < (issuer(rule), at);
    let forwards = |node| field(node, "forwardOriginalToken").map(Node::value) == Some(true.into());
    is_required(rule)
        && everywhere(rule)
        && everywhere(other)
        && issuer(rule) != issuer(other)
        && places(rule) == places(other)
        && (is_before || is_required(other) || forwards(rule))
}

fn is_required(rule: &Node) -> bool {
    field(rule, "presence").and_then(Node::text) == Some("REQUIRED") && !is_true(rule, "reportOnly")
}

/// As rules are sorted.
fn issuer(rule: &Node) -> &str {
    field(rule, "issuer")
        .and_then(Node::text)
        .unwrap_or_default()
}

/// Where a rule looks, as it is written.
fn places(rule: &Node) -> Vec<String> {
    let fields = ["fromHeaders", "fromParams", "fromCookies"];
    let written = fields.iter().flat_map(|name| {
        let items = list(rule, name).iter();
        items.map(move |item| format!("{name} {}", item.value()))
    });
    let mut places: Vec<String> = written.collect();
    places.sort();
    places
}
