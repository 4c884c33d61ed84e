//! Documents that were meant to be ours: a name that is nearly right would leave a policy out, in silence.

use strsim::damerau_levenshtein;

use super::kinds::{Kinds, decides};
use super::{Lookalike, Name, Node, Source};
use crate::config::place::Place;

/// Of names that differ by so many letters one may be meant as the other.
const NEAR: usize = 2;

/// A member that says what a document is: its value, and how its name is written.
struct Said<'n> {
    name: Option<&'n Name>,
    node: Option<&'n Node>,
    text: &'n str,
}

impl<'n> Said<'n> {
    fn new(document: &'n Node, name: &str) -> Self {
        let alike = |(own, _): &&(Name, Node)| own.text.eq_ignore_ascii_case(name);
        let other = document.members().iter().find(alike);
        let found = document.member(name);
        let found = found.or(other.map(|(name, node)| (name, node)));
        Self {
            name: found.map(|(name, _)| name),
            node: found.map(|(_, node)| node),
            text: found.and_then(|(_, node)| node.text()).unwrap_or_default(),
        }
    }

    fn is_written_as(&self, name: &str) -> bool {
        self.name.is_none_or(|own| own.text == name)
    }
}

/// What is wrong with a document that should be one of Istio's.
pub(super) fn find(document: &Node, source: &Source) -> Option<Lookalike> {
    let (version, kind) = (
        Said::new(document, "apiVersion"),
        Said::new(document, "kind"),
    );
    let group = version.text.split('/').next().unwrap_or_default();
    let meant = nearest(kind.text);
    let is_exact = meant == Some(kind.text);
    let of_group = Kinds::GROUPS.iter().find(|own| is_near(own, group));
    let is_ours = Kinds::ours(version.text).contains(&kind.text);
    let is_shaped = || says_what_ours_say(document);
    let is_meant = meant.is_some() || of_group.is_some() || !is_ours && is_shaped();
    let is_of_another = decides(group, kind.text);
    if !is_meant || is_of_another || is_another_list(document) {
        return None;
    }
    let at = |said: &Said<'_>| {
        let whole = || document.pointed(&Place::default(), false, &source.text);
        let value = said.node.filter(|node| node.text().is_some());
        let span = value.map(|node| node.span.clone());
        span.or(said.name.map(|name| name.span.clone()))
            .unwrap_or_else(whole)
    };
    for (said, name) in [(&version, "apiVersion"), (&kind, "kind")] {
        if let Some(own) = said.name.filter(|_| !said.is_written_as(name)) {
            return Some(Lookalike {
                span: own.span.clone(),
                message: format!("unknown field `{}`: write `{name}`", own.text),
            });
        }
    }
    if is_ours {
        return None;
    }
    let meant = meant.or_else(|| Some(kind.text).filter(|_| kind.text == "Policy"));
    let right = meant.map_or(Kinds::SECURITY, Kinds::version);
    let kinds = kinds_of(group);
    Some(if kind.text.is_empty() {
        Lookalike {
            span: at(&kind),
            message: format!("`kind` is missing: write {kinds}"),
        }
    } else if version.text.is_empty() {
        Lookalike {
            span: at(if version.name.is_some() {
                &version
            } else {
                &kind
            }),
            message: format!(
                "`apiVersion` is missing, so this is read as no {}: write `apiVersion: {right}`",
                meant.unwrap_or(kind.text)
            ),
        }
    } else if is_exact || kind.text == "Policy" || of_group.is_some_and(|own| *own != group) {
        Lookalike {
            span: at(&version),
            message: format!(
                "Portcullis reads no {} of `{}`: write `apiVersion: {right}`",
                kind.text, version.text
            ),
        }
    } else {
        let instead = meant.map_or(kinds, |meant| format!("`{meant}` of {right}"));
        Lookalike {
            span: at(&kind),
            message: format!(
                "Portcullis reads no `{}` of `{}`: write {instead}",
                kind.text, version.text
            ),
        }
    })
}

fn kinds_of(group: &str) -> String {
    let version = match is_near("authentication.istio.io", group) {
        true => Kinds::OLDER,
        false => Kinds::SECURITY,
    };
    let kinds: Vec<String> = Kinds::ours(version)
        .iter()
        .map(|kind| format!("`{kind}`"))
        .collect();
    format!("{} of {version}", kinds.join(" or "))
}

/// Whether names differ by a letter or two, or in case.
fn is_near(one: &str, other: &str) -> bool {
    let length = |text: &str| text.chars().count();
    length(one).abs_diff(length(other)) <= NEAR
        && damerau_levenshtein(&one.to_ascii_lowercase(), &other.to_ascii_lowercase()) <= NEAR
}

/// The kind of Istio's that may be meant: with a letter or two wrong, in other case, in the plural.
fn nearest(kind: &str) -> Option<&'static str> {
    Kinds::KINDS.into_iter().find(|own| is_meant(own, kind))
}

/// Whether a document says what only rules and policies of Istio's say, whatever it is called: in `spec`, or where a
/// kind is named beside it.
fn says_what_ours_say(document: &Node) -> bool {
    let bare = Some(document).filter(|document| names_a_kind(document));
    let mut parts = document.get("spec").into_iter().chain(bare);
    parts.any(|part| {
        let any = |name: &str, is_ours: fn(&Node) -> bool| {
            let mut items = part.get(name).into_iter().flat_map(Node::items);
            items.any(is_ours)
        };
        let has_mtls = part.dig(&["mtls", "mode"]).is_some();
        has_mtls
            || any("jwtRules", |rule| rule.get("issuer").is_some())
            || any("jwt_rules", |rule| rule.get("issuer").is_some())
            || any("origins", |origin| origin.get("jwt").is_some())
            || any("rules", |rule| {
                let parts = [("from", "source"), ("to", "operation"), ("when", "key")];
                parts.iter().any(|(outer, inner)| {
                    let mut entries = rule.get(outer).into_iter().flat_map(Node::items);
                    entries.any(|entry| entry.get(inner).is_some())
                })
            })
    })
}

/// Whether a kind is meant by another name, which may be a plural.
pub(super) fn is_meant(kind: &str, written: &str) -> bool {
    let singular = written.strip_suffix("ies").map(|stem| format!("{stem}y"));
    is_near(kind, singular.as_deref().unwrap_or(written))
}

/// Whether it is a list of things, which are looked at by themselves.
fn is_another_list(document: &Node) -> bool {
    document.get("items").is_some() && document.get("spec").is_none()
}

/// Whether it says of what kind it is, in any spelling.
pub(super) fn names_a_kind(document: &Node) -> bool {
    let names = ["apiVersion", "kind"];
    names
        .iter()
        .any(|name| Said::new(document, name).name.is_some())
}

/// Whether an object without `kind` has a list with nearly a name of the plugin's configuration.
pub(super) fn is_near_configuration(node: &Node) -> bool {
    let is_alone = node.get("apiVersion").is_none() && node.get("kind").is_none();
    let is_near = |(name, value): &(Name, Node)| {
        let name = name.text.replace('_', "").to_ascii_lowercase();
        let is_near = |own: &str| damerau_levenshtein(own, &name) < NEAR;
        !value.items().is_empty()
            && ["jwtrules", "authorizationpolicies"]
                .into_iter()
                .any(is_near)
    };
    is_alone && node.members().iter().any(is_near)
}
