//! What became of a request, in a sentence.

use super::Told;
use super::nearest::missed;
use crate::explain::{RuleTrace, Stage};
use crate::outcome::{Outcome, Reason, Refusal};

impl Told<'_> {
    pub(super) fn headline(&self) -> String {
        match &self.decision.explanation.outcome {
            Outcome::Forward(..) => match self.deciding(Stage::Allow) {
                Some(rule) => format!("forwarded: {} matches", self.policy_of("ALLOW", &rule.rule)),
                None => "forwarded".to_owned(),
            },
            Outcome::Refuse(refusal, _) => {
                let code = refusal.reason.code();
                format!("refused ({code}): {}", self.why(refusal))
            }
            Outcome::Ask(check) => format!("undecided: `{}` would be asked", check.provider),
            Outcome::Await(_) => "undecided: keys are needed".to_owned(),
        }
    }

    fn why(&self, refusal: &Refusal) -> String {
        let by = refusal.policy.as_deref();
        let of = |action: &str| by.map_or(action.to_owned(), |rule| self.policy_of(action, rule));
        match refusal.reason {
            Reason::PolicyNoneAllows => {
                let nearest = self.nearest(Stage::Allow);
                let nearest = nearest.map(|rule| self.but_for(rule)).unwrap_or_default();
                format!("no ALLOW policy matches{nearest}")
            }
            Reason::PolicyDenied => format!("{} matches", of("DENY")),
            Reason::MtlsRequired => format!("{} asks for mutual TLS", of("the policy")),
            Reason::CheckDenied => format!("the service that {} asks says no", of("CUSTOM")),
            Reason::CheckFailed => {
                format!("the service that {} asks didn't answer well", of("CUSTOM"))
            }
            reason if reason.text().is_empty() => of("CUSTOM"),
            reason => reason.text().to_owned(),
        }
    }

    fn deciding(&self, stage: Stage) -> Option<&RuleTrace> {
        let mut rules = self.decision.explanation.rules.iter();
        rules.find(|rule| rule.stage == stage && rule.matched)
    }

    /// `the ALLOW policy staff (policies.yaml:12)`.
    fn policy_of(&self, action: &str, rule: &str) -> String {
        match self.places.of(rule) {
            Some(place) => format!("{action} policy {} ({place})", short(rule)),
            None => format!("{action} policy {rule}"),
        }
    }

    /// Which rule comes nearest, and what it misses.
    fn but_for(&self, rule: &RuleTrace) -> String {
        let name = match self.places.of(&rule.rule) {
            Some(place) => format!("{} ({place})", short(&rule.rule)),
            None => rule.rule.clone(),
        };
        let missed = missed(rule);
        let first = missed.first().map(|tried| self.said(tried));
        let first = first.unwrap_or_default();
        let (count, all) = (missed.len(), rule.conditions.len());
        match (count, all) {
            (1, 1) => format!(". Nearest: {name}, but for its condition: {first}"),
            (1, _) => format!(". Nearest: {name}, all but one condition: {first}"),
            _ => format!(". Nearest: {name}, but for {count} conditions, the first: {first}"),
        }
    }
}

/// The name of the policy in `ns[foo]-policy[name]-rule[0]`.
fn short(rule: &str) -> &str {
    let name = rule.split_once("-policy[").map_or(rule, |(_, name)| name);
    let policy = name.rsplit_once("]-rule[").map(|(policy, _)| policy);
    policy.unwrap_or_else(|| name.strip_suffix(']').unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_called_by_their_names() {
        for (rule, name) in [
            ("ns[foo]-policy[admins]-rule[0]", "admins"),
            ("ns[]-policy[a]", "a"),
            ("ns[foo]-policy[a-rule[1]]-rule[2]", "a-rule[1]"),
        ] {
            assert_eq!(short(rule), name);
        }
    }
}
