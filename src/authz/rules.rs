//! The policies of one action, compiled: which rules may match is looked up, and a condition that
//! several rules share is decided once a request.

use std::cell::{Cell, RefCell};
use std::fmt;

use rustc_hash::FxHashMap;

use super::index::Index;
use super::{Condition, Policy, Rule, Subject};
use crate::explain::{RuleTrace, Stage, Tried};
use crate::sorted;

/// What a condition that can't be decided counts for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unknown {
    /// In policies that let requests in.
    Fails,
    /// In policies that keep them out.
    Matches,
}

/// The policies of one action.
#[derive(Debug)]
pub(crate) struct RuleSet {
    policies: Vec<String>,
    rules: Vec<Compiled>,
    conditions: Vec<Interned>,
    /// How many conditions are shared.
    shared: usize,
    index: Index,
    unknown: Unknown,
}

/// A rule whose conditions are numbers in the set's table.
#[derive(Debug)]
struct Compiled {
    policy: usize,
    /// Its place in the policy.
    index: usize,
    from: Vec<Vec<usize>>,
    to: Vec<Vec<usize>>,
    when: Vec<usize>,
}

#[derive(Debug)]
struct Interned {
    condition: Condition,
    /// Where the answer is kept; `None` where only one rule asks.
    slot: Option<usize>,
}

/// A rule and its place, in Istio's form: `ns[foo]-policy[name]-rule[0]`. It is put together only
/// where it is told.
pub(crate) struct RuleName<'p> {
    /// The place of the policy among those of its action.
    pub(crate) place: usize,
    policy: &'p str,
    index: usize,
}

impl fmt::Display for RuleName<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-rule[{}]", self.policy, self.index)
    }
}

impl RuleSet {
    pub(crate) fn new(policies: Vec<Policy>, unknown: Unknown) -> Self {
        let mut table = Table::default();
        let mut set = Self {
            policies: Vec::with_capacity(policies.len()),
            rules: Vec::new(),
            conditions: Vec::new(),
            shared: 0,
            index: Index::default(),
            unknown,
        };
        for policy in policies {
            for (index, rule) in policy.rules.into_iter().enumerate() {
                set.index.add(set.rules.len(), &rule);
                set.rules
                    .push(table.compile(set.policies.len(), index, rule));
            }
            set.policies.push(policy.name);
        }
        (set.conditions, set.shared) = table.finish();
        set
    }

    /// The policies, in their order.
    pub(crate) fn policies(&self) -> &[String] {
        &self.policies
    }

    /// Whether there is no policy.
    pub(crate) fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// The first rule that matches, in the order of the policies.
    pub(crate) fn first_match(&self, subject: Subject<'_>) -> Option<RuleName<'_>> {
        if self.rules.is_empty() {
            return None;
        }
        let answers = Answers::new(self, subject, self.unknown);
        let candidates = self.index.candidates(subject.request);
        let rule = candidates
            .filter_map(|rule| self.rules.get(rule))
            .find(|rule| answers.matches(rule))?;
        self.name(rule)
    }

    /// The policies with a rule that matches, in their order. `None`: of one it can't be told.
    pub(crate) fn matching(&self, subject: Subject<'_>) -> Option<Vec<usize>> {
        let answers = Answers::new(self, subject, Unknown::Matches);
        let matching = self.all_matches(&answers);
        if !answers.met_unknown.get() {
            return Some(matching);
        }
        // What can't be told may not count.
        let answers = Answers::new(self, subject, Unknown::Fails);
        (self.all_matches(&answers) == matching).then_some(matching)
    }

    #[inline(never)]
    fn all_matches(&self, answers: &Answers<'_>) -> Vec<usize> {
        let candidates = self.index.candidates(answers.subject.request);
        let rules = candidates.filter_map(|rule| self.rules.get(rule));
        let matching = rules.filter(|rule| answers.matches(rule));
        matching.map(|rule| rule.policy).collect()
    }

    /// The policies without a rule that matches, with the conditions of their rules.
    pub(crate) fn others(&self, subject: Subject<'_>) -> Vec<(usize, Vec<Tried>)> {
        let answers = Answers::new(self, subject, self.unknown);
        let rules = self.rules.iter().filter(|rule| !answers.matches(rule));
        rules
            .map(|rule| (rule.policy, answers.tried(rule)))
            .collect()
    }

    /// The scopes that a rule asks for which doesn't match for their want alone.
    pub(crate) fn missing_scope(&self, subject: Subject<'_>) -> Option<String> {
        let answers = Answers::new(self, subject, self.unknown);
        let mut rules = self.rules.iter();
        rules.find_map(|rule| answers.missing_scope(rule))
    }

    /// What comes of every rule, found without the index.
    pub(crate) fn trace(&self, stage: Stage, subject: Subject<'_>) -> Vec<RuleTrace> {
        let answers = Answers::new(self, subject, self.unknown);
        let rules = self.rules.iter().filter_map(|rule| {
            let matched = answers.matches(rule);
            Some(RuleTrace {
                stage,
                rule: self.name(rule)?.to_string(),
                matched,
                conditions: answers.tried(rule),
            })
        });
        let has_rules = |policy| {
            self.rules
                .binary_search_by_key(&policy, |r| r.policy)
                .is_ok()
        };
        let policies = self.policies.iter().enumerate();
        let empty = policies.filter(|(policy, _)| !has_rules(*policy));
        let empty = empty.map(|(_, name)| RuleTrace {
            stage,
            rule: name.clone(),
            matched: false,
            conditions: Vec::new(),
        });
        rules.chain(empty).collect()
    }

    /// Every rule.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn names(&self) -> impl Iterator<Item = RuleName<'_>> {
        self.rules.iter().filter_map(|rule| self.name(rule))
    }

    fn name(&self, rule: &Compiled) -> Option<RuleName<'_>> {
        Some(RuleName {
            place: rule.policy,
            policy: self.policies.get(rule.policy)?,
            index: rule.index,
        })
    }
}

/// What is decided about one request.
struct Answers<'a> {
    set: &'a RuleSet,
    subject: Subject<'a>,
    unknown: Unknown,
    /// Whether there was a condition that can't be decided.
    met_unknown: Cell<bool>,
    /// By slot: what was decided.
    kept: RefCell<Vec<Option<bool>>>,
}

impl<'a> Answers<'a> {
    fn new(set: &'a RuleSet, subject: Subject<'a>, unknown: Unknown) -> Self {
        Self {
            set,
            subject,
            unknown,
            met_unknown: Cell::new(false),
            kept: RefCell::default(),
        }
    }

    /// Every condition of a rule, and what came of it.
    fn tried(&self, rule: &Compiled) -> Vec<Tried> {
        let of = |place: &str, conditions: &[usize]| -> Vec<Tried> {
            let interned = conditions.iter().filter_map(|number| {
                let Interned { condition, .. } = self.set.conditions.get(*number)?;
                Some(Tried {
                    place: place.to_owned(),
                    condition: condition.to_string(),
                    wanted: condition.wanted(),
                    seen: condition.seen(self.subject),
                    holds: self.holds(*number),
                    unknown: condition.matches(self.subject).is_none(),
                })
            });
            interned.collect()
        };
        let one = |place: &str, alternatives: &[Vec<usize>]| -> Vec<Tried> {
            let alternatives = alternatives.iter().enumerate();
            alternatives
                .flat_map(|(index, conditions)| of(&format!("{place}[{index}]"), conditions))
                .collect()
        };
        let mut tried = one("from", &rule.from);
        tried.extend(one("to", &rule.to));
        tried.extend(of("when", &rule.when));
        tried
    }

    fn matches(&self, rule: &Compiled) -> bool {
        self.one(&rule.to) && self.one(&rule.from) && self.all(&rule.when)
    }

    fn all(&self, conditions: &[usize]) -> bool {
        conditions.iter().all(|condition| self.holds(*condition))
    }

    fn one(&self, alternatives: &[Vec<usize>]) -> bool {
        alternatives.is_empty() || alternatives.iter().any(|conditions| self.all(conditions))
    }

    /// What scopes would make of a rule that doesn't match one that does; `None` where they can't.
    fn missing_scope(&self, rule: &Compiled) -> Option<String> {
        if !(self.one(&rule.to) && self.one(&rule.from)) {
            return None;
        }
        let missed = rule
            .when
            .iter()
            .filter(|condition| !self.holds(**condition));
        let scopes: Option<Vec<Vec<&str>>> = missed
            .map(|condition| self.set.conditions.get(*condition)?.condition.scopes())
            .collect();
        Some(scopes?.concat().join(" "))
    }

    fn holds(&self, condition: usize) -> bool {
        let Some(interned) = self.set.conditions.get(condition) else {
            return false;
        };
        let Some(slot) = interned.slot else {
            return self.decide(&interned.condition);
        };
        let mut kept = self.kept.borrow_mut();
        if kept.is_empty() {
            kept.resize(self.set.shared, None);
        }
        let Some(answer) = kept.get_mut(slot) else {
            return false;
        };
        *answer.get_or_insert_with(|| self.decide(&interned.condition))
    }

    fn decide(&self, condition: &Condition) -> bool {
        condition.matches(self.subject).unwrap_or_else(|| {
            self.met_unknown.set(true);
            self.unknown == Unknown::Matches
        })
    }
}

/// Gives equal conditions the same number.
#[derive(Default)]
struct Table {
    numbers: FxHashMap<Condition, usize>,
    uses: Vec<usize>,
}

impl Table {
    fn compile(&mut self, policy: usize, index: usize, rule: Rule) -> Compiled {
        let mut all = |conditions: Vec<Condition>| -> Vec<usize> {
            conditions.into_iter().map(|c| self.number(c)).collect()
        };
        Compiled {
            policy,
            index,
            from: rule.from.into_iter().map(&mut all).collect(),
            to: rule.to.into_iter().map(&mut all).collect(),
            when: all(rule.when),
        }
    }

    fn number(&mut self, condition: Condition) -> usize {
        let number = *self.numbers.entry(condition).or_insert(self.uses.len());
        match self.uses.get_mut(number) {
            Some(uses) => *uses += 1,
            None => self.uses.push(1),
        }
        number
    }

    fn finish(self) -> (Vec<Interned>, usize) {
        let mut shared = 0;
        let slots: Vec<Option<usize>> = self
            .uses
            .iter()
            .map(|uses| {
                (*uses > 1).then(|| {
                    shared += 1;
                    shared - 1
                })
            })
            .collect();
        let mut conditions: Vec<(usize, Condition)> = self
            .numbers
            .into_iter()
            .map(|(condition, number)| (number, condition))
            .collect();
        sorted::by(&mut conditions, |(one, _), (other, _)| one.cmp(other));
        let interned = conditions.into_iter().zip(slots);
        let interned = interned.map(|((_, condition), slot)| Interned { condition, slot });
        (interned.collect(), shared)
    }
}
