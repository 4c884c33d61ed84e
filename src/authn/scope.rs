//! Rules that are for some requests only: `match`.

use std::rc::Rc;

use super::location::Locations;
use super::{Halt, Rule, Sought};
use crate::authz::{self, RuleSet, Subject, Unknown};
use crate::connection::Connection;
use crate::explain::Unasked;
use crate::outcome::Reason;
use crate::request::Request;

/// Which rules are for which requests, if some aren't for all.
#[derive(Debug)]
pub(super) struct Scopes {
    /// A policy for each rule, in their order.
    requests: RuleSet,
    /// For each rule, under which names it looks for tokens. Rules that look at the same places share this.
    sought: Vec<Rc<Sought>>,
}

/// The rules that are asked about a request.
#[derive(Debug)]
pub(super) enum Asked<'p> {
    All(&'p [Rule]),
    /// Those of these numbers.
    Some(&'p [Rule], Vec<usize>),
}

impl<'p> Asked<'p> {
    pub(super) fn rules(&self) -> impl Iterator<Item = &'p Rule> {
        let (all, (rules, some)): (&[Rule], (&[Rule], &[usize])) = match self {
            Self::All(rules) => (rules, Default::default()),
            Self::Some(rules, some) => (&[], (rules, some)),
        };
        all.iter()
            .chain(some.iter().filter_map(|number| rules.get(*number)))
    }
}

impl Scopes {
    /// `None`: every rule is for every request.
    pub(super) fn of(rules: &mut [Rule]) -> Option<Self> {
        if rules.iter().all(|rule| rule.scope.is_none()) {
            return None;
        }
        let everything = || authz::Rule {
            from: Vec::new(),
            to: Vec::new(),
            when: Vec::new(),
        };
        let policies = rules.iter_mut().map(|rule| authz::Policy {
            name: String::new(),
            rules: vec![rule.scope.take().unwrap_or_else(everything)],
        });
        let requests = RuleSet::new(policies.collect(), Unknown::Matches);
        let mut known: Vec<(&Rc<Locations>, Rc<Sought>)> = Vec::new();
        let sought = rules.iter().map(|rule| {
            let same =
                |(locations, _): &&(&Rc<Locations>, _)| Rc::ptr_eq(locations, &rule.locations);
            if let Some((_, sought)) = known.iter().find(same) {
                return Rc::clone(sought);
            }
            let sought = Rc::new(Sought::of([rule].into_iter()));
            known.push((&rule.locations, Rc::clone(&sought)));
            sought
        });
        Some(Self {
            sought: sought.collect(),
            requests,
        })
    }

    /// The rules that are for this request.
    ///
    /// # Errors
    ///
    /// It can't be told of each: whether tokens count then, neither.
    pub(super) fn asked<'p>(
        &self,
        rules: &'p [Rule],
        request: &Request,
        connection: &Connection<'_>,
    ) -> Result<Asked<'p>, Halt> {
        match self.requests.matching(subject(request, connection)) {
            Some(numbers) => Ok(Asked::Some(rules, numbers)),
            None => Err(Halt::Refused(match connection.destination_port() {
                Some(_) => Reason::RequestAmbiguous.into(),
                None => Reason::ProxyUnreadable.into(),
            })),
        }
    }

    /// Where the rules with these numbers look.
    pub(super) fn places<'p>(&'p self, asked: &Asked<'p>) -> Vec<(&'p Locations, &'p Sought)> {
        let Asked::Some(rules, numbers) = asked else {
            return Vec::new();
        };
        let numbers = numbers.iter();
        let place = |number: &usize| {
            let rule = rules.get(*number)?;
            Some((&*rule.locations, &**self.sought.get(*number)?))
        };
        numbers.filter_map(place).collect()
    }

    /// The rules that aren't for this request.
    pub(super) fn unasked(
        &self,
        rules: &[Rule],
        request: &Request,
        connection: &Connection<'_>,
    ) -> Vec<Unasked> {
        let others = self.requests.others(subject(request, connection));
        let others = others.into_iter().filter_map(|(number, mut conditions)| {
            for condition in &mut conditions {
                condition.place = condition.place.replacen("to", "match", 1);
            }
            Some(Unasked {
                issuer: rules.get(number)?.expected.issuer.clone(),
                conditions,
            })
        });
        others.collect()
    }
}

/// Whose request it is, isn't known yet.
fn subject<'a>(request: &'a Request, connection: &'a Connection<'a>) -> Subject<'a> {
    Subject {
        request,
        identity: None,
        connection,
    }
}
