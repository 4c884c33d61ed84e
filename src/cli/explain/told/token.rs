//! The tokens of a request, and what the rules made of them.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::{Told, tried};
use crate::cli::explain::tree::{Mark, Tree};
use crate::explain::{Attempt, Unasked, Verdict};
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
            return vec![Tree::leaf("no token that a rule looks at")];
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
            let said = match is_verified {
                true => "claims",
                false => "claims, NOT VERIFIED: anybody may have written them",
            };
            let mut below = vec![
                Tree::leaf(format!("header {}", shown(header.as_ref()))),
                Tree::leaf(format!("{said} {}", shown(claims.as_ref()))),
            ];
            below.extend(
                claims
                    .as_ref()
                    .and_then(|claims| self.life(claims))
                    .map(Tree::leaf),
            );
            below.extend(verdicts.into_iter().map(verdict));
            Tree::new(Mark::None, format!("token in {place}"), below)
        });
        trees.collect()
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
    let (mark, at, why) = match attempt.verdict {
        Verdict::Ignored => {
            let text = format!("{name}: leaves it as it is, since it can't be a JWT");
            return Tree::leaf(text);
        }
        Verdict::Verified => (Mark::Yes, STEPS.len(), String::new()),
        Verdict::Awaits => (Mark::Open, 5, "its keys aren't known".to_owned()),
        Verdict::Refused(reason) => {
            let wants = match reason {
                Reason::AudienceNotAllowed => {
                    format!("; it wants {}", attempt.audiences.join(" or "))
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
    if let Some((wrong, unseen)) = rest.split_first() {
        below.push(Tree::new(mark, format!("{wrong}: {why}"), Vec::new()));
        if !unseen.is_empty() {
            below.push(Tree::leaf(format!("not looked at: {}", unseen.join(", "))));
        }
    }
    Tree::new(mark, name, below)
}

fn named(issuer: Option<&String>) -> &str {
    issuer.map_or("any issuer", String::as_str)
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

/// Header and claims of a token, as far as they can be read; nothing is said of whether they are true.
pub(super) fn decoded(token: &[u8]) -> [Option<Value>; 2] {
    let mut parts = token.split(|byte| *byte == b'.');
    [parts.next(), parts.next()].map(|part| {
        let bytes = URL_SAFE_NO_PAD.decode(part?).ok()?;
        serde_json::from_slice(&bytes).ok()
    })
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "that can't be read".to_owned(), Value::to_string)
}
