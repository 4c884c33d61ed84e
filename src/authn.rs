//! Authentication: which token of a request is taken, by which rule, and what it writes.

mod location;
mod output;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use self::location::{Locations, Removal, Token as Found};
pub(crate) use self::output::Output;
use crate::config::text::text;
use crate::config::{Defaults, JwtRule};
use crate::jwks::{KeySet, KeySetId, KeyStore, Lookup};
use crate::jwt::{ClaimPath, Expected, Token, Verified};
use crate::outcome::{Change, Changes, Reason};
use crate::request::Request;

/// Envoy's clock tolerance in seconds, which Istio doesn't let anybody change.
const DEFAULT_CLOCK_SKEW: u64 = 60;

/// Claims that Istio always reads as lists separated by spaces.
const SPACE_DELIMITED: [&str; 2] = ["permission", "scope"];

/// How many tokens one rule looks at in a request; each costs a verification.
const MAX_TOKENS: usize = 8;

/// The rules of all RequestAuthentications that apply here.
#[derive(Debug, Default)]
pub(crate) struct Authentication {
    rules: Vec<Rule>,
    /// Every header that some rule writes. The client's copies never pass.
    written: BTreeSet<String>,
}

/// One compiled `JWTRule`.
#[derive(Debug)]
pub(crate) struct Rule {
    expected: Expected,
    keys: Keys,
    locations: Locations,
    outputs: Vec<Output>,
    forward: bool,
    space_delimited: Vec<String>,
}

/// Where the keys of a rule come from.
#[derive(Debug)]
pub(crate) enum Keys {
    Inline(KeySet),
    /// An issuer without `jwks` and `jwksUri`.
    Nowhere,
    Remote(KeySetId),
}

/// Who made the request, by a verified token.
#[derive(Debug)]
pub(crate) struct Identity<'p> {
    token: Verified,
    rule: &'p Rule,
}

/// The answer of [`Authentication::authenticate`].
#[derive(Debug)]
pub(crate) enum Authenticated<'p> {
    /// These key sets are needed to tell.
    Await(Vec<KeySetId>),
    Known(Identity<'p>),
    Refused(Reason),
    /// No token was presented, or the request is a CORS preflight, which carries none.
    Unknown,
}

/// Why a rule didn't take the request.
enum Miss {
    NoToken,
    Pending(KeySetId),
    Refused(Reason),
    /// None of the keys fits, but a fetch may bring one that does.
    Stale(KeySetId),
}

impl Rule {
    pub(crate) fn new(rule: JwtRule, keys: Keys, defaults: Option<&Defaults>) -> Self {
        let seconds = |duration: Option<Duration>| duration.map(|duration| duration.as_secs());
        let mut space_delimited: Vec<String> = SPACE_DELIMITED
            .iter()
            .map(|&name| name.to_owned())
            .collect();
        space_delimited.extend(
            rule.space_delimited_claims
                .iter()
                .map(|claim| claim.0.clone()),
        );
        Self {
            expected: Expected {
                issuer: rule.issuer().map(str::to_owned),
                audiences: rule.audiences.iter().map(|text| text.0.clone()).collect(),
                clock_skew: seconds(rule.clock_skew)
                    .or_else(|| seconds(defaults?.clock_skew))
                    .unwrap_or(DEFAULT_CLOCK_SKEW),
                require_expiration: rule
                    .require_expiration
                    .or_else(|| defaults?.require_expiration)
                    .unwrap_or_default(),
                max_lifetime: seconds(rule.max_token_lifetime)
                    .or_else(|| seconds(defaults?.max_token_lifetime)),
                media_type: text(&rule.required_type).or_else(|| text(&defaults?.required_type)),
            },
            keys,
            outputs: Output::of(&rule),
            forward: rule.forward_original_token,
            space_delimited,
            locations: Locations::new(rule.from_headers, rule.from_params, rule.from_cookies),
        }
    }

    /// Verifies every token at the rule's locations. One that fails, fails the rule: the upstream
    /// might read that one. The identity is that of the first location.
    fn apply<'p>(
        &'p self,
        request: &Request,
        keys: &KeyStore,
        now: u64,
    ) -> Result<Identity<'p>, Miss> {
        let tokens = self.locations.find(request);
        if tokens.len() > MAX_TOKENS {
            return Err(Miss::Refused(Reason::TooManyTokens));
        }
        let mut pending = None;
        let mut verified = None;
        // Envoy looks at cookies first and at headers last; the order decides which error is told.
        for found in tokens.iter().rev() {
            match self.verify(found, keys, now) {
                Ok(token) => verified = Some(token),
                Err(miss @ (Miss::Pending(_) | Miss::Stale(_))) => pending = Some(miss),
                Err(miss) => return Err(miss),
            }
        }
        match (pending, verified) {
            (Some(miss), _) => Err(miss),
            (None, Some(token)) => Ok(Identity { token, rule: self }),
            (None, None) => Err(Miss::NoToken),
        }
    }

    fn verify(&self, found: &Found<'_>, keys: &KeyStore, now: u64) -> Result<Verified, Miss> {
        let token = Token::parse(found.text()).map_err(Miss::Refused)?;
        token.validate(&self.expected, now).map_err(Miss::Refused)?;
        match &self.keys {
            Keys::Inline(keys) => token.verify(keys).map_err(Miss::Refused),
            Keys::Nowhere => Err(Miss::Refused(Reason::KeysUnavailable)),
            Keys::Remote(id) => match keys.get(*id, now) {
                Lookup::Pending => Err(Miss::Pending(*id)),
                Lookup::Ready(fetched) => token.verify(fetched).map_err(|reason| match reason {
                    // The issuer may have added a key since.
                    Reason::KeyNotFound if keys.may_bring_another(*id, now) => Miss::Stale(*id),
                    reason => Miss::Refused(reason),
                }),
                Lookup::Unavailable => Err(Miss::Refused(Reason::KeysUnavailable)),
            },
        }
    }
}

impl Authentication {
    /// Rules are tried in the order of their issuers, as Istio sorts them.
    pub(crate) fn new(mut rules: Vec<Rule>) -> Self {
        rules.sort_by(|a, b| a.expected.issuer.cmp(&b.expected.issuer));
        let written = rules.iter().flat_map(|rule| &rule.outputs);
        Self {
            written: written.map(|output| output.header().to_owned()).collect(),
            rules,
        }
    }

    /// Istio's requirement over all rules, `any{P1..Pn, all{any{P1, missing}..}}`: the first rule
    /// that takes the request wins; if none does, a token at the locations of any rule refuses it.
    pub(crate) fn authenticate(
        &self,
        request: &Request,
        keys: &KeyStore,
        now: u64,
    ) -> Authenticated<'_> {
        if request.is_cors_preflight() {
            return Authenticated::Unknown;
        }
        let mut pending = Vec::new();
        let mut stale = Vec::new();
        let mut refused = Vec::new();
        for rule in &self.rules {
            match rule.apply(request, keys, now) {
                // Which rule wins must not depend on which key set comes first.
                Ok(identity) if pending.is_empty() => return Authenticated::Known(identity),
                Ok(_) => break,
                Err(Miss::NoToken) => {}
                Err(Miss::Pending(id)) => pending.push(id),
                Err(Miss::Stale(id)) => stale.push(id),
                Err(Miss::Refused(reason)) => refused.push(reason),
            }
        }
        // Keys that are there and don't fit are no reason to wait if another rule's do.
        let awaited = if pending.is_empty() { stale } else { pending };
        if !awaited.is_empty() {
            return Authenticated::Await(awaited);
        }
        reported(&refused).map_or(Authenticated::Unknown, Authenticated::Refused)
    }

    /// What a request that goes on looks like: the client's copies of written headers gone, tokens
    /// taken out where no rule forwards them, and the outputs of the rule that won written.
    ///
    /// Only tokens that were verified may reach the upstream, so those of rules that didn't win
    /// are taken out, too.
    pub(crate) fn changes(&self, request: &Request, identity: Option<&Identity<'_>>) -> Changes {
        let forwarded: Vec<Found<'_>> = match identity {
            Some(identity) if identity.rule.forward => identity.rule.locations.find(request),
            _ => Vec::new(),
        };
        let mut removal = Removal::new(request);
        for found in self
            .rules
            .iter()
            .flat_map(|rule| rule.locations.find(request))
        {
            if !forwarded.contains(&found) {
                removal.add(&found);
            }
        }
        let mut changes = removal.into_changes();
        let sent = |name: &String| request.values(name).next().is_some();
        let stripped = self.written.iter().filter(|name| sent(name));
        changes.extend(stripped.map(|name| Change::Remove(name.clone())));
        if let Some(identity) = identity {
            let outputs = identity.rule.outputs.iter();
            changes.extend(outputs.filter_map(|output| output.change(&identity.token)));
        }
        Changes(changes)
    }
}

/// Which of several reasons Envoy tells: that of the rule that failed first, if more is known of
/// its token than that its issuer is another's; else the last such reason.
fn reported(refused: &[Reason]) -> Option<Reason> {
    let known = |reason: &&Reason| **reason != Reason::IssuerUnknown;
    let first = refused.first()?;
    Some(
        *refused
            .iter()
            .rfind(known)
            .filter(|_| !known(&first))
            .unwrap_or(first),
    )
}

impl Identity<'_> {
    /// A claim at the top that is a string.
    pub(crate) fn text(&self, claim: &str) -> Option<&str> {
        self.token.text(claim)
    }

    /// Whether the claim is a string that passes, or a list with one. Nothing else ever does, as
    /// in Istio.
    pub(crate) fn any_text(&self, path: &ClaimPath, passes: impl Fn(&str) -> bool) -> bool {
        match self.token.claim(path) {
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).any(passes),
            Some(Value::String(text)) if path.is_one_of(&self.rule.space_delimited) => {
                text.split(' ').filter(|word| !word.is_empty()).any(passes)
            }
            Some(Value::String(text)) => passes(text),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_that_envoy_tells() {
        use Reason::{Expired, IssuerUnknown, Malformed};
        for (refused, expected) in [
            (&[][..], None),
            (&[Expired], Some(Expired)),
            (&[IssuerUnknown], Some(IssuerUnknown)),
            (&[IssuerUnknown, IssuerUnknown], Some(IssuerUnknown)),
            (&[IssuerUnknown, Expired], Some(Expired)),
            (&[Expired, IssuerUnknown], Some(Expired)),
            (&[Expired, Malformed], Some(Expired)),
            (&[IssuerUnknown, Expired, Malformed], Some(Malformed)),
        ] {
            assert_eq!(reported(refused), expected, "{refused:?}");
        }
    }
}
