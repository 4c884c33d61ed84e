//! What each rule makes of each token: for explanations.

use super::location::Token;
use super::presented::{Miss, Presented, Search};
use super::removal::Removal;
use super::sighting::Place;
use super::{Authentication, Keys, Rule};
use crate::connection::Connection;
use crate::evaluate::Known;
use crate::explain::{Attempt, Unasked, Verdict};
use crate::jwks::{KeySet, Lookup};
use crate::jwt;
use crate::outcome::Reason;
use crate::request::Request;

impl Authentication {
    /// Every rule that is asked about this request, with each token where it looks.
    pub(crate) fn attempts(
        &self,
        request: &Request,
        connection: &Connection<'_>,
        known: Known<'_>,
    ) -> Vec<Attempt> {
        let (sought, rules): (_, Vec<&Rule>) = match self.legacy.of(connection) {
            // A CORS preflight carries no token.
            Ok(None) if request.is_cors_preflight() => (&self.sought, Vec::new()),
            Ok(None) => match self.asked(request, connection) {
                Ok(asked) => (&self.sought, asked.rules().collect()),
                Err(_) => (&self.sought, Vec::new()),
            },
            Ok(Some(policy)) => (&policy.sought, policy.rules(request).collect()),
            Err(_) => (&self.sought, Vec::new()),
        };
        let seen = sought.find(request);
        let (mut removal, all) = (Removal::new(request), rules.iter().copied());
        let search = Search::new(&mut removal, known.verifier, sought, all);
        let attempts = rules.into_iter().flat_map(|rule| {
            let presented = Presented::find(rule, &search);
            let found = rule.locations.find(&seen).into_iter();
            let told = presented.iter().flat_map(|presented| presented.told(known));
            let verdicts = told.map(|(_, told)| Verdict::from(told));
            let ignored = rule.locations.ignored(&seen).into_iter();
            let ignored = ignored.map(|token| (token, Verdict::Ignored));
            let attempts = found.zip(verdicts).chain(ignored);
            let attempts: Vec<Attempt> = attempts
                .map(|(token, verdict)| {
                    let mut attempt = rule.attempt(token, verdict, request);
                    rule.look_further(&mut attempt, known);
                    attempt
                })
                .collect();
            attempts
        });
        attempts.collect()
    }

    /// The issuers of the rules that require a token of which there is none.
    pub(crate) fn missing(
        &self,
        request: &Request,
        connection: &Connection<'_>,
        known: Known<'_>,
    ) -> Vec<Option<String>> {
        let Ok(asked) = self.asked(request, connection) else {
            return Vec::new();
        };
        if request.is_cors_preflight() {
            return Vec::new();
        }
        let search = self.search(&asked, &mut Removal::new(request), known.verifier);
        let missing = asked.rules().filter(|rule| rule.is_required());
        let missing = missing.filter(|rule| Presented::find(rule, &search).is_none());
        missing.map(|rule| rule.expected.issuer.clone()).collect()
    }

    /// The rules that aren't for this request.
    pub(crate) fn unasked(&self, request: &Request, connection: &Connection<'_>) -> Vec<Unasked> {
        let scopes = self.scopes.iter();
        let unasked = scopes.flat_map(|scopes| scopes.unasked(&self.rules, request, connection));
        unasked.collect()
    }
}

impl Rule {
    fn attempt(&self, token: Token<'_>, verdict: Verdict, request: &Request) -> Attempt {
        Attempt {
            issuer: self.expected.issuer.clone(),
            audiences: self.expected.audiences.clone(),
            clock_skew: self.expected.clock_skew,
            report_only: self.reports_only,
            place: token.place.told(request),
            token: token.text.into_owned(),
            verdict,
            rest: Vec::new(),
            key_ids: None,
        }
    }

    /// Looks at what stands behind the reason for which a token was refused. It decides nothing.
    fn look_further(&self, attempt: &mut Attempt, known: Known<'_>) {
        let Verdict::Refused(mut reason) = attempt.verdict else {
            return;
        };
        let (Ok(token), Ok(now)) = (jwt::Token::parse(&attempt.token), known.now.now()) else {
            return;
        };
        let mut expected = self.expected.clone();
        while expected.accept(reason) {
            if let Err(next) = token.validate(&expected, now) {
                // What isn't accepted in spite of this ends it: a type that no rule takes without asking for it.
                if next == reason {
                    break;
                }
                attempt.rest.push(Verdict::Refused(next));
                reason = next;
                continue;
            }
            let verdict = match self.verify_signature(&token, known) {
                Ok(_) => Verdict::Verified,
                Err(Miss::Refused(next)) => {
                    reason = next;
                    Verdict::Refused(next)
                }
                Err(Miss::Pending(_) | Miss::Stale(_)) => Verdict::Awaits,
            };
            attempt.rest.push(verdict);
            break;
        }
        if reason == Reason::KeyNotFound {
            attempt.key_ids = self.keys_at_hand(known).map(KeySet::ids);
        }
    }

    fn keys_at_hand<'k>(&'k self, known: Known<'k>) -> Option<&'k KeySet> {
        match &self.keys {
            Keys::Inline(keys) => Some(keys),
            Keys::Nowhere => None,
            Keys::Remote(id) => match known.keys.get(*id, known.now.now().ok()?) {
                Lookup::Ready(keys) => Some(keys),
                Lookup::Pending | Lookup::Unavailable => None,
            },
        }
    }
}

impl From<Result<(), Miss>> for Verdict {
    fn from(told: Result<(), Miss>) -> Self {
        match told {
            Ok(()) => Self::Verified,
            Err(Miss::Refused(reason)) => Self::Refused(reason),
            Err(Miss::Pending(_) | Miss::Stale(_)) => Self::Awaits,
        }
    }
}

impl Place {
    /// Where this is, in words.
    fn told(self, request: &Request) -> String {
        let name = request
            .headers()
            .nth(self.line)
            .map_or("", |(name, _)| name);
        match (self.piece, name) {
            (None, name) => format!("header {name}"),
            (Some(_), ":path") => "a query parameter".to_owned(),
            (Some(_), _) => "a cookie".to_owned(),
        }
    }
}
