//! The tokens of a request, and what the rules made of them.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::{Told, tried};
use crate::cli::explain::tree::{Mark, Tree};
use crate::cli::shown::is_token;
pub(super) use crate::cli::token::decoded;
use crate::cli::token::remarks::remarks;
use crate::explain::{Attempt, Tried, Unasked, Verdict};
use crate::matcher::StringMatch;
use crate::outcome::Reason;

/// What is looked at in a token, in this order.
const STEPS: [&str; 7] = [
    "form",
    "issuer",
    "type",
    "times",
    "audience",
    "key",
    "signature",
];

/// The first of [`STEPS`] that takes keys.
const KEY: usize = 5;

/// What rules look at in a header, and in claims.
const HEADER: [&str; 7] = ["alg", "b64", "crit", "enc", "kid", "typ", "zip"];
const CLAIMS: [&str; 8] = ["aud", "azp", "exp", "iat", "iss", "nbf", "scope", "sub"];

/// The last second of the year 9999: later ones can't be written as RFC 3339 has them.
const LAST: u64 = 253_402_300_799;

impl Told<'_> {
    /// Each token once, with the rules that looked at it; the rules whose token is missing, and those that aren't
    /// for the request.
    pub(super) fn tokens(&self) -> Vec<Tree> {
        let explanation = &self.decision.explanation;
        let mut trees = self.found();
        trees.extend(explanation.missing.iter().map(|issuer| {
            let issuer = named(issuer.as_ref());
            let text = format!("rule for {issuer}: requires a token, and there is none");
            Tree::new(Mark::No, text, Vec::new())
        }));
        trees.extend(
            explanation
                .unasked
                .iter()
                .map(|Unasked { issuer, conditions }| {
                    let failed = conditions.iter().filter(|tried| !tried.holds);
                    let text = format!(
                        "rule for {}: isn't for this request",
                        named(issuer.as_ref())
                    );
                    Tree::new(Mark::None, text, failed.map(tried).collect())
                }),
        );
        trees
    }

    fn found(&self) -> Vec<Tree> {
        let attempts = &self.decision.explanation.attempts;
        let mut tokens: Vec<(&str, &[u8])> = Vec::new();
        for attempt in attempts {
            let token = (attempt.place.as_str(), attempt.token.as_slice());
            if !tokens.contains(&token) {
                tokens.push(token);
            }
        }
        if tokens.is_empty() {
            return vec![self.no_token()];
        }
        let trees = tokens.into_iter().map(|(place, token)| {
            let of_it = attempts.iter();
            let of_it = of_it.filter(|one| (one.place.as_str(), &*one.token) == (place, token));
            let verdicts: Vec<&Attempt> = of_it.collect();
            if verdicts.iter().all(|one| one.verdict == Verdict::Ignored) {
                let below = verdicts.into_iter().map(verdict).collect();
                return Tree::new(Mark::None, format!("no JWT in {place}"), below);
            }
            let is_verified = verdicts.iter().any(|one| one.verdict == Verdict::Verified);
            let [header, claims] = decoded(token);
            let said = match (&claims, is_verified) {
                (None, _) => "claims that can't be read".to_owned(),
                (Some(_), true) => {
                    format!("claims {}", self.some(claims.as_ref(), &self.looked_at()))
                }
                (Some(_), false) => format!(
                    "claims, NOT VERIFIED: anybody may have written them {}",
                    self.some(claims.as_ref(), &self.looked_at())
                ),
            };
            let header_said = match &header {
                None => "header that can't be read".to_owned(),
                Some(_) => format!("header {}", self.some(header.as_ref(), &HEADER)),
            };
            let mut below = vec![Tree::leaf(header_said), Tree::leaf(said)];
            let remarks = remarks(token, header.as_ref(), claims.as_ref()).into_iter();
            below.extend(remarks.map(|remark| Tree::new(Mark::Open, remark, Vec::new())));
            below.extend(
                claims
                    .as_ref()
                    .and_then(|claims| self.life(claims))
                    .map(Tree::leaf),
            );
            let verdicts = verdicts.into_iter().map(verdict);
            below.extend(verdicts);
            Tree::new(Mark::None, format!("token in {place}"), below)
        });
        trees.collect()
    }

    /// Where tokens stand for which no rule looks, or not with what stands before them there.
    fn no_token(&self) -> Tree {
        let value = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let headers = self.request.headers();
        let near = headers.filter_map(|(name, text)| {
            let text = value(text);
            let token = text.split_whitespace().last().filter(|word| is_token(word))?;
            let before = text.strip_suffix(token).unwrap_or_default();
            let behind = match before.is_empty() {
                true => String::new(),
                false => format!(" behind `{before}`"),
            };
            let text = format!(
                "header {name} has a token{behind}, where no rule looks: `fromHeaders` says where one does, \
                 and its `prefix` what stands before the token, byte for byte"
            );
            Some(Tree::new(Mark::Open, text, Vec::new()))
        });
        let near = near.collect();
        Tree::new(Mark::None, "no token that a rule looks at", near)
    }

    /// The claims that rules and policies look at.
    fn looked_at(&self) -> Vec<&str> {
        let rules = self.decision.explanation.rules.iter();
        let conditions = rules.flat_map(|rule| &rule.conditions);
        let mentioned = conditions.filter_map(|tried| {
            let (_, name) = tried.condition.split_once('[')?;
            Some(name.split_once(']')?.0)
        });
        CLAIMS.into_iter().chain(mentioned).collect()
    }

    /// These members of an object, and how many others there are.
    fn some(&self, value: Option<&Value>, names: &[&str]) -> String {
        let Some(Value::Object(members)) = value.filter(|_| !self.shows.all_claims) else {
            return value.map(Value::to_string).unwrap_or_default();
        };
        let (some, others): (Map<_, _>, Map<_, _>) = members
            .clone()
            .into_iter()
            .partition(|(name, _)| names.contains(&name.as_str()));
        match others.len() {
            0 => Value::Object(some).to_string(),
            left => format!(
                "{} and {left} more: `explain --claims` shows them",
                Value::Object(some)
            ),
        }
    }

    /// What to write in place of a pattern that names the token's principal, and isn't cut as it is.
    pub(super) fn slash(&self, tried: &Tried) -> Option<String> {
        let is_principal = ["requestPrincipals", "request.auth.principal"];
        let seen = tried.seen.as_deref().filter(|_| {
            !tried.holds && !tried.unknown && is_principal.contains(&tried.condition.as_str())
        })?;
        let attempts = self.decision.explanation.attempts.iter();
        let verified = attempts.filter(|one| one.verdict == Verdict::Verified);
        let mut claims = verified.filter_map(|one| decoded(&one.token)[1].clone());
        let (issuer, subject) = claims.find_map(|claims| {
            let text = |name| Some(claims.get(name)?.as_str()?.to_owned());
            let (issuer, subject) = (text("iss")?, text("sub")?);
            (format!("{issuer}/{subject}") == seen).then_some((issuer, subject))
        })?;
        let meant = tried.wanted.iter().find(|pattern| {
            subject.contains('/') && StringMatch::text(pattern).matches(seen.as_bytes())
        })?;
        let own = meant
            .strip_prefix(&format!("{issuer}/"))
            .unwrap_or(&subject);
        Some(format!(
            "the last `/` of a pattern cuts issuer from subject, so it can't name a subject with `/` in it: \
             write `requestPrincipals: [\"{issuer}/*\"]`, and under `when` \
             `{{ key: \"request.auth.claims[sub]\", values: [\"{own}\"] }}`"
        ))
    }

    /// How long a token lives still.
    pub(super) fn life(&self, claims: &Value) -> Option<String> {
        let time = |name| seconds(claims.get(name)?);
        let at = |time: u64| {
            let time = UNIX_EPOCH + Duration::from_secs(Some(time).filter(|at| *at <= LAST)?);
            Some(humantime::format_rfc3339_seconds(time).to_string())
        };
        let between = |one: u64, other: u64| {
            humantime::format_duration(Duration::from_secs(one.abs_diff(other))).to_string()
        };
        if let Some(start) = time("nbf").filter(|start| *start > self.now) {
            return Some(format!(
                "begins in {}, at {}",
                between(start, self.now),
                at(start)?
            ));
        }
        let end = match claims.get("exp") {
            None => return Some("never ends: there is no exp".to_owned()),
            Some(end) => seconds(end)?,
        };
        let between = between(end, self.now);
        Some(match end >= self.now {
            true => format!("ends in {between}, at {}", at(end)?),
            false => format!("ended {between} ago, at {}", at(end)?),
        })
    }
}

/// A time, whole or not (RFC 7519 section 2, NumericDate).
fn seconds(time: &Value) -> Option<u64> {
    let whole = |time: f64| (0.0..1e18).contains(&time).then_some(time.floor() as u64);
    time.as_u64().or_else(|| whole(time.as_f64()?))
}

/// What a rule made of a token: what was right, what wasn't, and what wasn't looked at.
fn verdict(attempt: &Attempt) -> Tree {
    let issuer = named(attempt.issuer.as_ref());
    let name = match attempt.report_only {
        true => format!("rule for {issuer}, which only reports"),
        false => format!("rule for {issuer}"),
    };
    let mut sides = Vec::new();
    let (mark, at, why) = match attempt.verdict {
        Verdict::Ignored => {
            let text = format!("{name}: leaves it as it is, since it can't be a JWT");
            return Tree::leaf(text);
        }
        Verdict::Verified => (Mark::Yes, STEPS.len(), String::new()),
        Verdict::Awaits => (Mark::Open, KEY, "its keys aren't known".to_owned()),
        Verdict::Refused(reason) => {
            let [header, claims] = decoded(&attempt.token);
            let has = |object: &Option<Value>, name: &str| match object.as_ref()?.get(name)? {
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            };
            let or_none = |found: Option<String>| found.unwrap_or_else(|| "none".to_owned());
            let wants = match reason {
                Reason::AudienceNotAllowed => {
                    let own = or_none(has(&claims, "aud"));
                    let wanted = attempt.audiences.join(" or ");
                    format!("; the token has {own}, the rule wants {wanted}")
                }
                Reason::IssuerUnknown => {
                    let own = has(&claims, "iss");
                    let both = attempt.issuer.as_deref().zip(own.as_deref());
                    sides = both.map(near).unwrap_or_default();
                    match sides.is_empty() {
                        true => format!("; the token has {}", or_none(own)),
                        false => String::new(),
                    }
                }
                Reason::KeyNotFound => {
                    let own = [has(&header, "kid"), has(&header, "alg")].map(or_none);
                    let keys = attempt.key_ids.as_deref();
                    let keys = keys.map_or(String::new(), |ids| format!(", the set has {ids}"));
                    format!("; the token has kid {} and alg {}{keys}", own[0], own[1])
                }
                Reason::TypeNotAllowed => {
                    format!("; the token has {}", or_none(has(&header, "typ")))
                }
                Reason::Expired | Reason::NotYetValid => {
                    format!("; clocks may be {} s apart", attempt.clock_skew)
                }
                _ => String::new(),
            };
            let code = reason.code();
            (
                Mark::No,
                step(reason),
                format!("{} ({code}){wants}", reason.text()),
            )
        }
    };
    let (right, rest) = STEPS.split_at(at.min(STEPS.len()));
    let mut below = Vec::new();
    if !right.is_empty() {
        below.push(Tree::new(Mark::Yes, right.join(", "), Vec::new()));
    }
    if let Some((wrong, _)) = rest.split_first() {
        let sides = sides.into_iter().map(Tree::leaf).collect();
        below.push(Tree::new(mark, format!("{wrong}: {why}"), sides));
        below.extend(behind(attempt, at + 1));
    }
    Tree::new(mark, name, below)
}

fn named(issuer: Option<&String>) -> &str {
    issuer.map_or("any issuer", String::as_str)
}

/// What comes behind the first fault of a token, from this step on, as if that were mended.
fn behind(attempt: &Attempt, mut from: usize) -> Vec<Tree> {
    let steps = |from: usize, to: usize| STEPS.get(from..to).unwrap_or_default().join(", ");
    let mut below = Vec::new();
    // Of another issuer's token nobody asks what else is wrong.
    let is_others = attempt.verdict == Verdict::Refused(Reason::IssuerUnknown)
        && attempt.rest.last() != Some(&Verdict::Verified);
    let rest = attempt.rest.iter().filter(|_| !is_others);
    for verdict in rest {
        let (to, wrong) = match verdict {
            Verdict::Verified => (STEPS.len(), None),
            Verdict::Refused(reason) => (step(*reason), Some(*reason)),
            _ => (KEY, None),
        };
        let right = steps(from, to);
        if !right.is_empty() {
            let text = match verdict {
                Verdict::Verified => format!("else it would be good: {right}"),
                _ => right,
            };
            below.push(Tree::new(Mark::Yes, text, Vec::new()));
        }
        if let Some(reason) = wrong {
            let text = format!(
                "{}, too: {} ({})",
                steps(to, to + 1),
                reason.text(),
                reason.code()
            );
            below.push(Tree::new(Mark::No, text, Vec::new()));
        }
        from = from.max(to + usize::from(wrong.is_some()));
    }
    let unseen = steps(from, STEPS.len());
    if !unseen.is_empty() {
        below.push(Tree::leaf(format!("not looked at: {unseen}")));
    }
    below
}

/// Two issuers that nearly are the same, one below the other.
fn near((wanted, own): (&str, &str)) -> Vec<String> {
    let without_slash = |text: &str| text.trim_end_matches('/').to_owned();
    let without_scheme = |text: &str| {
        let (_, rest) = text.split_once("://").unwrap_or(("", text));
        without_slash(rest)
    };
    let differ = if without_slash(wanted) == without_slash(own) {
        "a slash at the end"
    } else if wanted.eq_ignore_ascii_case(own) {
        "capital and small letters"
    } else if without_scheme(wanted) == without_scheme(own) {
        "what stands before the host"
    } else {
        return Vec::new();
    };
    vec![
        format!("the token has  {own}"),
        format!("the rule wants {wanted}"),
        format!("they differ in {differ}: write `issuer` as the token has it"),
    ]
}

/// Which of [`STEPS`] a reason is about.
fn step(reason: Reason) -> usize {
    match reason {
        Reason::IssuerUnknown => 1,
        Reason::TypeNotAllowed => 2,
        Reason::Expired
        | Reason::ExpirationMissing
        | Reason::LifetimeTooLong
        | Reason::NotYetValid => 3,
        Reason::AudienceNotAllowed => 4,
        Reason::KeyNotFound | Reason::KeysUnavailable => 5,
        Reason::SignatureInvalid => 6,
        _ => 0,
    }
}
