//! The tokens that a request presents: which rule takes them, and which of them go on. Each one is
//! verified at most once by a rule.

use std::cell::OnceCell;

use smallvec::SmallVec;

use super::location::{self, Found, Locations};
use super::removal::Removal;
use super::sighting::{Field, Place, Sighting, Sought};
use super::{Halt, Rule};
use crate::config::text::steers_proxy;
use crate::evaluate::Known;
use crate::jwks::KeySetId;
use crate::jwt::{Token, Verified, Verifier};
use crate::outcome::Reason;
use crate::sorted;

/// How many tokens one rule looks at in a request; each costs a verification.
const MAX_TOKENS: usize = 8;

/// Why a token isn't verified.
#[derive(Clone, Copy, Debug)]
pub(super) enum Miss {
    Pending(KeySetId),
    Refused(Reason),
    /// None of the keys fits, but a fetch may bring one that does.
    Stale(KeySetId),
}

impl Miss {
    /// The key set that may change this.
    pub(super) fn awaited(&self) -> Option<KeySetId> {
        match self {
            Self::Pending(id) | Self::Stale(id) => Some(*id),
            Self::Refused(_) => None,
        }
    }

    fn reason(&self) -> Option<Reason> {
        match self {
            Self::Pending(_) | Self::Stale(_) => None,
            Self::Refused(reason) => Some(*reason),
        }
    }
}

/// A rule and the tokens at its locations, of which there are some.
#[derive(Debug)]
pub(super) struct Presented<'p, 's> {
    pub(super) rule: &'p Rule,
    /// Each with what came of it.
    tokens: SmallVec<[(&'s Candidate, Outcome); 1]>,
}

type Outcome = OnceCell<Result<Verified, Miss>>;

/// A token and its place, whatever rule looks at it.
#[derive(Debug)]
struct Candidate {
    place: Place,
    token: Result<Token, Reason>,
}

/// The tokens of a request, each of them read once, however many rules look for it.
#[derive(Debug)]
pub(super) struct Search<'p> {
    found: SmallVec<[(&'p Locations, Candidates); 1]>,
}

type Candidates = SmallVec<[Candidate; 1]>;

impl<'p> Search<'p> {
    /// Looks where these rules look, whose names are sought. What an upstream may take for a token, because it
    /// has another spelling of such a name, is to be taken out.
    pub(super) fn new(
        removal: &mut Removal<'_>,
        verifier: &Verifier,
        sought: &Sought,
        rules: impl Iterator<Item = &'p Rule>,
    ) -> Self {
        let mut search = Self {
            found: SmallVec::new(),
        };
        let seen = sought.find(removal.request());
        if seen.is_empty() {
            return search;
        }
        for Rule { locations, .. } in rules {
            if search.at(locations).is_none() {
                let tokens = read(locations.find(&seen), verifier);
                search.found.push((locations, tokens));
            }
        }
        for seen in &seen {
            if !seen.is_named.get() && !is_needed(seen) {
                removal.add(seen.place);
            }
        }
        search
    }

    /// The same where not every rule is asked: each of these places is looked at with its own names.
    pub(super) fn among(
        removal: &mut Removal<'_>,
        verifier: &Verifier,
        places: Vec<(&'p Locations, &'p Sought)>,
    ) -> Self {
        let mut search = Self {
            found: SmallVec::new(),
        };
        let (mut named, mut others) = (Vec::new(), Vec::new());
        for (locations, sought) in places {
            if search.at(locations).is_some() {
                continue;
            }
            let seen = sought.find(removal.request());
            let tokens = read(locations.find(&seen), verifier);
            search.found.push((locations, tokens));
            for seen in &seen {
                match seen.is_named.get() {
                    true => named.push(seen.place),
                    false if is_needed(seen) => {}
                    false => others.push(seen.place),
                }
            }
        }
        sorted::by(&mut named, Ord::cmp);
        for place in others {
            if named.binary_search(&place).is_err() {
                removal.add(place);
            }
        }
        search
    }

    /// Where the tokens are.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        let tokens = self.found.iter().flat_map(|(_, tokens)| tokens);
        tokens.map(|token| token.place)
    }

    fn at(&self, locations: &Locations) -> Option<&[Candidate]> {
        let is_here = |known: &Locations| std::ptr::eq(known, locations) || known == locations;
        let here = self.found.iter().find(|(known, _)| is_here(known));
        here.map(|(_, tokens)| tokens.as_slice())
    }
}

/// Whether a request is framed or routed by this.
fn is_needed(seen: &Sighting<'_>) -> bool {
    seen.field == Field::Header && str::from_utf8(seen.name).is_ok_and(steers_proxy)
}

fn read(found: Found<'_>, verifier: &Verifier) -> Candidates {
    if found.is_empty() {
        return Candidates::new();
    }
    let are_too_many = found.len() > MAX_TOKENS;
    let read = |location::Token { text, place }| Candidate {
        place,
        token: match are_too_many {
            true => Err(Reason::TooManyTokens),
            false => verifier.read(&text),
        },
    };
    found.into_iter().map(read).collect()
}

impl<'p, 's> Presented<'p, 's> {
    pub(super) fn find(rule: &'p Rule, search: &'s Search<'_>) -> Option<Self> {
        let tokens = search.at(&rule.locations)?;
        (!tokens.is_empty()).then(|| Self {
            rule,
            tokens: tokens
                .iter()
                .map(|token| (token, OnceCell::new()))
                .collect(),
        })
    }

    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.tokens.iter().map(|(token, _)| token.place)
    }

    /// Whether any token is left without those at these places, which are sorted.
    pub(super) fn is_left_without(&mut self, places: &[Place]) -> bool {
        let is_gone = |token: &Candidate| places.binary_search(&token.place).is_ok();
        self.tokens.retain(|(token, _)| !is_gone(token));
        !self.tokens.is_empty()
    }

    pub(super) fn is_at(&self, place: Place) -> bool {
        self.places().any(|own| own == place)
    }

    /// Verifies every token. One that fails, fails the rule: the upstream might read that one.
    pub(super) fn verify(&self, known: Known<'_>) -> Result<(), Miss> {
        self.verify_but(&[], known)
    }

    /// Verifies every token that isn't at one of these places.
    pub(super) fn verify_but(&self, gone: &[Place], known: Known<'_>) -> Result<(), Miss> {
        let mut waits = Ok(());
        // Envoy looks at cookies first and at headers last; the order decides which error is told.
        let left = self
            .tokens
            .iter()
            .filter(|(token, _)| !gone.contains(&token.place));
        for token in left.rev() {
            match Self::verified(self.rule, token, known) {
                Err(miss @ Miss::Refused(_)) => return Err(*miss),
                Err(miss) => waits = Err(*miss),
                Ok(_) => {}
            }
        }
        waits
    }

    /// What the rule makes of each token, and where it stands.
    pub(super) fn told(&self, known: Known<'_>) -> impl Iterator<Item = (Place, Result<(), Miss>)> {
        self.tokens.iter().map(move |token| {
            let verified = Self::verified(self.rule, token, known);
            let told = verified.as_ref().map(|_| ()).map_err(|miss| *miss);
            (token.0.place, told)
        })
    }

    /// Verifies the tokens at this place.
    pub(super) fn verify_at(
        &self,
        place: Place,
        known: Known<'_>,
    ) -> impl Iterator<Item = Result<(), Miss>> {
        let here = self.tokens.iter();
        let here = here.filter(move |(token, _)| token.place == place);
        here.map(move |token| match Self::verified(self.rule, token, known) {
            Ok(_) => Ok(()),
            Err(miss) => Err(*miss),
        })
    }

    /// The same while it is looked at.
    pub(super) fn first(&self) -> Option<&Verified> {
        self.tokens.first()?.1.get()?.as_ref().ok()
    }

    /// The token at the first location of those at which any was verified.
    pub(super) fn into_first(self) -> Option<Verified> {
        let mut outcomes = self.tokens.into_iter().map(|(_, outcome)| outcome);
        outcomes.find_map(OnceCell::into_inner)?.ok()
    }

    fn verified<'o>(
        rule: &Rule,
        (candidate, outcome): &'o (&Candidate, Outcome),
        known: Known<'_>,
    ) -> &'o Result<Verified, Miss> {
        outcome.get_or_init(|| {
            let token = candidate.token.as_ref();
            rule.verify(token.map_err(|reason| Miss::Refused(*reason))?, known)
        })
    }
}

/// Istio's requirement over all rules, `any{P1..Pn, all{any{P1, missing}..}}`, where there is some
/// token: the first rule whose tokens all verify wins; if there is none, the request is refused.
pub(super) fn winner(presented: &[Presented<'_, '_>], known: Known<'_>) -> Result<usize, Halt> {
    let mut pending = Vec::new();
    let mut stale = Vec::new();
    let mut refused = Vec::new();
    for (index, presented) in presented.iter().enumerate() {
        match presented.verify(known) {
            // Which rule wins must not depend on which key set comes first.
            Ok(()) if pending.is_empty() => return Ok(index),
            Ok(()) => break,
            Err(Miss::Pending(id)) => pending.push(id),
            Err(Miss::Stale(id)) => stale.push(id),
            Err(Miss::Refused(reason)) => refused.push(reason),
        }
    }
    // Keys that are there and don't fit are no reason to wait if another rule's do.
    let awaited = if pending.is_empty() { stale } else { pending };
    Err(match awaited.is_empty() {
        true => Halt::Refused(reported(&refused).into()),
        false => Halt::Await(awaited),
    })
}

/// Refuses a request that presents, besides those of the winner, a token which no rule verifies
/// that looks for one at its place.
pub(super) fn all_verify(
    winner: &Presented<'_, '_>,
    all: &[Presented<'_, '_>],
    known: Known<'_>,
) -> Result<(), Halt> {
    let mut awaited = Vec::new();
    let places = all.iter().flat_map(Presented::places);
    for place in places.filter(|place| !winner.is_at(*place)) {
        let tokens = all.iter().flat_map(|rule| rule.verify_at(place, known));
        // `None`: one of them verifies.
        let Some(misses) = tokens.map(Result::err).collect::<Option<Vec<Miss>>>() else {
            continue;
        };
        let before = awaited.len();
        awaited.extend(misses.iter().filter_map(Miss::awaited));
        if awaited.len() == before {
            let refused: Vec<Reason> = misses.iter().filter_map(Miss::reason).collect();
            return Err(Halt::Refused(reported(&refused).into()));
        }
    }
    none_awaited(awaited)
}

/// The places of those tokens which, besides those of the winner, may reach the upstream: of rules
/// that forward tokens and whose own all verify.
pub(super) fn kept(
    winner: &Presented<'_, '_>,
    others: &[Presented<'_, '_>],
    known: Known<'_>,
) -> Result<Vec<Place>, Halt> {
    // Nothing to ask where the winner decides about all of them.
    let is_asked = |other: &&Presented<'_, '_>| {
        other.rule.forward && !other.places().all(|place| winner.is_at(place))
    };
    verified(others.iter().filter(is_asked), known)
}

/// The places of the tokens of those rules whose own all verify.
pub(super) fn verified<'t, 'p: 't, 's: 't>(
    presented: impl Iterator<Item = &'t Presented<'p, 's>>,
    known: Known<'_>,
) -> Result<Vec<Place>, Halt> {
    let mut places = Vec::new();
    let mut awaited = Vec::new();
    for presented in presented {
        match presented.verify(known) {
            Ok(()) => places.extend(presented.places()),
            // What is forwarded must not depend on which key set comes first, either.
            Err(miss) => awaited.extend(miss.awaited()),
        }
    }
    none_awaited(awaited).map(|()| places)
}

pub(super) fn none_awaited(awaited: Vec<KeySetId>) -> Result<(), Halt> {
    match awaited.is_empty() {
        true => Ok(()),
        false => Err(Halt::Await(awaited)),
    }
}

/// Which of several reasons Envoy tells: that of the rule that failed first, if more is known of
/// its token than that its issuer is another's; else the last such reason.
fn reported(refused: &[Reason]) -> Reason {
    let known = |reason: &&Reason| **reason != Reason::IssuerUnknown;
    let first = refused.first().filter(known);
    let last = || refused.iter().rfind(known);
    *first.or_else(last).unwrap_or(&Reason::IssuerUnknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_that_envoy_tells() {
        use Reason::{Expired, IssuerUnknown, Malformed};
        for (refused, expected) in [
            (&[Expired][..], Expired),
            (&[IssuerUnknown], IssuerUnknown),
            (&[IssuerUnknown, IssuerUnknown], IssuerUnknown),
            (&[IssuerUnknown, Expired], Expired),
            (&[Expired, IssuerUnknown], Expired),
            (&[Expired, Malformed], Expired),
            (&[IssuerUnknown, Expired, Malformed], Malformed),
        ] {
            assert_eq!(reported(refused), expected, "{refused:?}");
        }
    }
}
