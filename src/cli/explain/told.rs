//! A decision as a tree, and as JSON.

mod headline;
mod json;
mod nearest;
mod token;

use self::nearest::part;
use super::tree::{Mark, Tree};
use crate::cli::configuration::Places;
use crate::cli::decision::Decision;
use crate::explain::{RuleTrace, Stage, Tried};
use crate::outcome::{Change, Outcome, Reason, Told as ToldOf};
use crate::policy::Policy;
use crate::reply::{Reply, reply};
use crate::request::Request;

/// What there is to tell.
pub(in crate::cli) struct Told<'a> {
    pub(in crate::cli) policy: &'a Policy,
    pub(in crate::cli) request: &'a Request,
    pub(in crate::cli) decision: &'a Decision,
    pub(in crate::cli) now: u64,
    /// The resources that had no say, being for other workloads.
    pub(in crate::cli) elsewhere: Option<String>,
    /// Where the proxy is taken to be, of which nobody said it.
    pub(in crate::cli) guessed: Option<String>,
    /// Where policies are written.
    pub(in crate::cli) places: Places,
    pub(in crate::cli) shows: Shows,
}

/// What is shown of what there is much of.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::cli) struct Shows {
    pub(in crate::cli) all_rules: bool,
    pub(in crate::cli) all_claims: bool,
}

impl Told<'_> {
    pub(in crate::cli) fn tree(&self) -> Tree {
        let explanation = &self.decision.explanation;
        let mut below = vec![self.sent()];
        below.extend(self.guessed.iter().map(Tree::leaf));
        below.extend(self.tokens());
        for stage in [
            Stage::Custom,
            Stage::Audit,
            Stage::DryRunDeny,
            Stage::DryRunAllow,
            Stage::Deny,
            Stage::Allow,
        ] {
            let (rules, left) = self.shown(stage);
            let mut rules: Vec<Tree> = rules.into_iter().map(|rule| self.rule(rule)).collect();
            if left > 0 {
                rules.push(Tree::leaf(format!(
                    "{left} more: `explain --all` shows them"
                )));
            }
            if !rules.is_empty() {
                below.push(Tree::new(Mark::None, self.title(stage), rules));
            }
        }
        let elsewhere = self.elsewhere.iter();
        below.extend(elsewhere.map(|names| Tree::leaf(format!("for other workloads: {names}"))));
        let notes = self.decision.notes.iter().cloned();
        below.extend(
            notes
                .chain(self.notes())
                .map(|note| Tree::new(Mark::Open, note, vec![])),
        );
        match &explanation.outcome {
            Outcome::Forward(changes, _) => {
                let changes: Vec<Tree> = changes.iter().map(change).map(Tree::leaf).collect();
                below.push(match changes.is_empty() {
                    true => Tree::leaf("goes on unchanged"),
                    false => Tree::new(Mark::None, "goes on, changed", changes),
                });
                Tree::new(Mark::Yes, self.headline(), below)
            }
            Outcome::Refuse(refusal, _) => {
                let reply = reply(refusal, Some(self.policy), self.request);
                below.push(answer(&reply));
                Tree::new(Mark::No, self.headline(), below)
            }
            Outcome::Ask(_) | Outcome::Await(_) => Tree::new(Mark::Open, self.headline(), below),
        }
    }

    fn told(&self) -> Option<&ToldOf> {
        match &self.decision.explanation.outcome {
            Outcome::Forward(_, told) | Outcome::Refuse(_, told) => Some(told),
            Outcome::Ask(_) | Outcome::Await(_) => None,
        }
    }

    fn notes(&self) -> impl Iterator<Item = String> {
        let notes = self.told().into_iter().flat_map(|told| &told.notes);
        notes.map(ToString::to_string)
    }

    fn sent(&self) -> Tree {
        let part = |name| readable(self.request.value(name).unwrap_or_default());
        let (method, scheme) = (part(":method"), part(":scheme"));
        Tree::leaf(format!(
            "{method} {scheme}://{}{}",
            part(":authority"),
            readable(self.request.path().unwrap_or_default())
        ))
    }

    fn title(&self, stage: Stage) -> &'static str {
        let refused = |refused: &[Reason]| {
            matches!(&self.decision.explanation.outcome, Outcome::Refuse(refusal, _)
                if refused.contains(&refusal.reason))
        };
        match stage {
            Stage::Custom => "CUSTOM: whether another service is asked",
            Stage::Audit => "AUDIT: what is told in the log",
            Stage::DryRunDeny => "DENY in dry run",
            Stage::DryRunAllow => "ALLOW in dry run",
            Stage::Deny => "DENY: the first that matches refuses",
            Stage::Allow if refused(&[Reason::PolicyDenied]) => {
                "ALLOW: not asked, because the request is denied"
            }
            Stage::Allow => "ALLOW: one has to match",
        }
    }

    /// A rule with the conditions that made it match, or kept it from that.
    fn rule(&self, rule: &RuleTrace) -> Tree {
        let (mark, text) = match (rule.matched, rule.conditions.is_empty()) {
            (true, _) => (Mark::Yes, "matches"),
            (false, false) => (Mark::None, "doesn't match"),
            (false, true) => (Mark::None, "has no rule, and never matches"),
        };
        let place = self.places.of(&rule.rule);
        let place = place.map_or(String::new(), |place| format!(" ({place})"));
        let below = decided(rule).map(|one| match self.slash(one) {
            Some(help) => Tree::new(Mark::No, self.said(one), vec![Tree::leaf(help)]),
            None => tried(one),
        });
        Tree::new(
            mark,
            format!("{}{place}: {text}", rule.rule),
            below.collect(),
        )
    }

    /// A condition, and why the request doesn't meet it.
    fn said(&self, tried: &Tried) -> String {
        match self.slash(tried) {
            Some(_) => format!(
                "{} {}: {} is cut at its last `/`, and is another issuer and subject so",
                tried.place,
                tried.condition,
                tried.wanted.join(", ")
            ),
            None => condition(tried),
        }
    }
}

/// The conditions of a rule that made it match, or kept it from that.
fn decided(rule: &RuleTrace) -> impl Iterator<Item = &Tried> {
    let all_hold = move |place: &str| {
        let mut there = rule.conditions.iter().filter(|one| one.place == place);
        there.all(|one| one.holds)
    };
    let is_met = move |wanted: &str| {
        let mut there = rule
            .conditions
            .iter()
            .filter(|one| part(&one.place) == wanted);
        there.any(|one| all_hold(&one.place))
    };
    rule.conditions
        .iter()
        .filter(move |one| match rule.matched {
            true => all_hold(&one.place),
            false => !one.holds && !is_met(part(&one.place)),
        })
}

fn tried(tried: &Tried) -> Tree {
    let mark = match (tried.unknown, tried.holds) {
        (true, _) => Mark::Open,
        (false, true) => Mark::Yes,
        (false, false) => Mark::No,
    };
    Tree::new(mark, condition(tried), Vec::new())
}

/// A condition, and what the request has there.
fn condition(tried: &Tried) -> String {
    let seen = match (&tried.seen, tried.unknown) {
        (_, true) => "can't be told".to_owned(),
        (Some(seen), false) => format!("the request has {seen}"),
        (None, false) => "the request has none".to_owned(),
    };
    let Tried {
        place, condition, ..
    } = tried;
    let wanted = tried.wanted.join(", ");
    format!("{place} {condition}: {wanted}; {seen}")
}

fn change(change: &Change) -> String {
    match change {
        Change::Append(name, value) => format!("{name}: {} (one more line)", readable(value)),
        Change::Remove(name) => format!("{name} removed"),
        Change::Respond(name, value) => {
            format!("the answer gets {name}: {}", readable(value))
        }
        Change::Set(name, value) => format!("{name}: {}", readable(value)),
        Change::Withhold(name) => format!("{name} isn't written: those behind us couldn't read it"),
    }
}

fn answer(reply: &Reply) -> Tree {
    let mut below: Vec<Tree> = Vec::new();
    let headers = reply.headers.iter();
    below.extend(headers.map(|(name, value)| Tree::leaf(format!("{name}: {}", readable(value)))));
    if !reply.body.is_empty() {
        below.push(Tree::leaf(readable(&reply.body)));
    }
    Tree::new(Mark::None, format!("answered with {}", reply.status), below)
}

fn readable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
