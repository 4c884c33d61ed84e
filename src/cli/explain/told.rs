//! A decision as a tree, and as JSON.

mod json;
mod token;

use super::tree::{Mark, Tree};
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
}

impl Told<'_> {
    pub(in crate::cli) fn tree(&self) -> Tree {
        let explanation = &self.decision.explanation;
        let mut below = vec![self.sent()];
        below.extend(self.tokens());
        for stage in [
            Stage::Custom,
            Stage::Audit,
            Stage::DryRunDeny,
            Stage::DryRunAllow,
            Stage::Deny,
            Stage::Allow,
        ] {
            let rules = explanation.rules.iter().filter(|rule| rule.stage == stage);
            let rules: Vec<Tree> = rules.map(rule).collect();
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
                Tree::new(Mark::Yes, "forwarded", below)
            }
            Outcome::Refuse(refusal, _) => {
                let reply = reply(refusal, Some(self.policy), self.request);
                below.push(answer(&reply));
                let code = refusal.reason.code();
                let by = refusal.policy.as_ref();
                let by = by.map_or(String::new(), |policy| format!(" by {policy}"));
                Tree::new(Mark::No, format!("refused{by}: {code}"), below)
            }
            Outcome::Ask(check) => {
                let text = format!("undecided: `{}` would be asked", check.provider);
                Tree::new(Mark::Open, text, below)
            }
            Outcome::Await(_) => Tree::new(Mark::Open, "undecided: keys are needed", below),
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
}

/// A rule with the conditions that made it match, or kept it from that.
fn rule(rule: &RuleTrace) -> Tree {
    let (mark, text) = match rule.matched {
        true => (Mark::Yes, "matches"),
        false => (Mark::None, "doesn't match"),
    };
    let text = match rule.conditions.is_empty() && !rule.matched {
        true => format!("{}: has no rule, and never matches", rule.rule),
        false => format!("{}: {text}", rule.rule),
    };
    let all_hold = |place: &str| {
        let mut there = rule.conditions.iter().filter(|one| one.place == place);
        there.all(|one| one.holds)
    };
    let part = |place: &str| place.split('[').next().unwrap_or_default().to_owned();
    let is_met = |wanted: &str| {
        let mut there = rule
            .conditions
            .iter()
            .filter(|one| part(&one.place) == wanted);
        there.any(|one| all_hold(&one.place))
    };
    let decided = rule.conditions.iter().filter(|one| match rule.matched {
        true => all_hold(&one.place),
        false => !one.holds && !is_met(&part(&one.place)),
    });
    Tree::new(mark, text, decided.map(tried).collect())
}

fn tried(tried: &Tried) -> Tree {
    let seen = match (&tried.seen, tried.unknown) {
        (_, true) => "can't be told".to_owned(),
        (Some(seen), false) => format!("the request has {seen}"),
        (None, false) => "the request has none".to_owned(),
    };
    let mark = match (tried.unknown, tried.holds) {
        (true, _) => Mark::Open,
        (false, true) => Mark::Yes,
        (false, false) => Mark::No,
    };
    let Tried {
        place, condition, ..
    } = tried;
    let wanted = tried.wanted.join(", ");
    Tree::new(
        mark,
        format!("{place} {condition}: {wanted}; {seen}"),
        Vec::new(),
    )
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
