//! Which rules that don't match come nearest to it.

use super::Told;
use crate::explain::{RuleTrace, Stage, Tried};

/// As many rules of a stage are shown that match, and as many that don't.
const SHOWN: usize = 3;

/// The conditions that keep a rule from matching: of `from` and `to` those of the alternative that has the fewest.
pub(super) fn missed(rule: &RuleTrace) -> Vec<&Tried> {
    let mut missed = Vec::new();
    for wanted in ["from", "to", "when"] {
        let conditions = || rule.conditions.iter();
        let places = conditions().map(|tried| tried.place.as_str());
        let mut places: Vec<&str> = places.filter(|place| part(place) == wanted).collect();
        places.dedup();
        let alternatives = places.into_iter().map(|place| {
            let there = conditions().filter(|tried| tried.place == place && !tried.holds);
            there.collect::<Vec<_>>()
        });
        let nearest = alternatives.min_by_key(Vec::len);
        missed.extend(nearest.into_iter().flatten());
    }
    missed
}

/// `from`, `to` or `when`.
pub(super) fn part(place: &str) -> &str {
    place.split('[').next().unwrap_or_default()
}

/// How far a rule is from matching: first whether it is for another operation, then by how many conditions.
fn distance(rule: &RuleTrace) -> (bool, usize) {
    let missed = missed(rule);
    let is_for_another = missed.iter().any(|tried| part(&tried.place) == "to");
    match rule.conditions.is_empty() {
        true => (true, usize::MAX),
        false => (is_for_another, missed.len()),
    }
}

impl Told<'_> {
    /// The rule of a stage that comes nearest, of those that have conditions and don't match.
    pub(super) fn nearest(&self, stage: Stage) -> Option<&RuleTrace> {
        let rules = self.decision.explanation.rules.iter();
        let rules = rules.filter(|rule| rule.stage == stage && !rule.matched);
        let rules = rules.filter(|rule| !rule.conditions.is_empty());
        rules.min_by_key(|rule| distance(rule))
    }

    /// The rules of a stage that are shown, in their order, and how many are not.
    pub(super) fn shown(&self, stage: Stage) -> (Vec<&RuleTrace>, usize) {
        let rules = self.decision.explanation.rules.iter();
        let rules: Vec<&RuleTrace> = rules.filter(|rule| rule.stage == stage).collect();
        if self.shows.all_rules {
            return (rules, 0);
        }
        let (matching, mut others): (Vec<_>, Vec<_>) =
            (0..).zip(&rules).partition(|(_, rule)| rule.matched);
        others.sort_by_key(|(_, rule)| distance(rule));
        let chosen = matching.iter().take(SHOWN).chain(others.iter().take(SHOWN));
        let mut chosen: Vec<(usize, &RuleTrace)> =
            chosen.map(|(index, rule)| (*index, **rule)).collect();
        chosen.sort_by_key(|(index, _)| *index);
        let left = rules.len() - chosen.len();
        (chosen.into_iter().map(|(_, rule)| rule).collect(), left)
    }
}
