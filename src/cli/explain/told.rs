//! A decision as a tree, and as JSON.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::tree::{Mark, Tree};
use crate::cli::decision::Decision;
use crate::explain::{Attempt, RuleTrace, Stage, Tried, Verdict};
use crate::outcome::{Change, Outcome, Reason, Told as ToldOf};
use crate::policy::Policy;
use crate::reply::{Reply, reply};
use crate::request::Request;

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

/// What there is to tell.
pub(in crate::cli) struct Told<'a> {
    pub(in crate::cli) policy: &'a Policy,
    pub(in crate::cli) request: &'a Request,
    pub(in crate::cli) decision: &'a Decision,
    pub(in crate::cli) now: u64,
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

    pub(in crate::cli) fn json(&self) -> Value {
        let explanation = &self.decision.explanation;
        let attempts = explanation
            .attempts
            .iter()
            .map(|attempt| self.attempt_json(attempt));
        let rules = explanation.rules.iter().map(rule_json);
        let mut notes = self.decision.notes.clone();
        notes.extend(self.notes());
        let mut told = json!({
            "tokens": attempts.collect::<Vec<_>>(),
            "rules": rules.collect::<Vec<_>>(),
            "notes": notes,
            "filterState": self.told().map(|told| {
                let state = told.state.iter();
                let state = state.map(|property| (property.name.to_owned(), property.value.clone().into()));
                Value::Object(state.collect())
            }),
        });
        let (decision, more) = match &explanation.outcome {
            Outcome::Forward(changes, _) => {
                let changed = self.request.changed(changes);
                let told = json!({
                    "changes": changes.iter().map(change).collect::<Vec<_>>(),
                    "headers": lines(changed.headers()),
                });
                ("forward", told)
            }
            Outcome::Refuse(refusal, _) => {
                let reply = reply(refusal, Some(self.policy), self.request);
                let headers = reply.headers.iter();
                let headers = headers.map(|(name, value)| (name.as_str(), value.as_slice()));
                let told = json!({
                    "reason": refusal.reason.code(),
                    "policy": refusal.policy,
                    "reply": {
                        "status": reply.status,
                        "headers": lines(headers),
                        "body": readable(&reply.body),
                        "details": reply.details,
                    },
                });
                ("refuse", told)
            }
            Outcome::Ask(check) => ("undecided", json!({ "asks": check.provider })),
            Outcome::Await(ids) => {
                let issuers: Vec<&str> =
                    ids.iter().map(|id| self.policy.names.issuer(*id)).collect();
                ("undecided", json!({ "awaits": issuers }))
            }
        };
        if let (Some(told), Value::Object(more)) = (told.as_object_mut(), more) {
            told.insert("decision".to_owned(), decision.into());
            told.extend(more);
        }
        told
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

    /// Each token once, with the rules that looked at it.
    fn tokens(&self) -> Vec<Tree> {
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
    fn life(&self, claims: &Value) -> Option<String> {
        let time = |name| claims.get(name)?.as_u64();
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
        let Some(end) = time("exp") else {
            return Some("never ends: there is no exp".to_owned());
        };
        let between = between(end, self.now);
        Some(match end >= self.now {
            true => format!("ends in {between}, at {}", at(end)?),
            false => format!("ended {between} ago, at {}", at(end)?),
        })
    }

    fn attempt_json(&self, attempt: &Attempt) -> Value {
        let [header, claims] = decoded(&attempt.token);
        let (verdict, reason) = match attempt.verdict {
            Verdict::Verified => ("verified", None),
            Verdict::Refused(reason) => ("refused", Some(reason)),
            Verdict::Awaits => ("undecided", None),
        };
        json!({
            "issuer": attempt.issuer,
            "audiences": attempt.audiences,
            "clockSkew": attempt.clock_skew,
            "place": attempt.place,
            "verdict": verdict,
            "reason": reason.map(Reason::code),
            "life": claims.as_ref().and_then(|claims| self.life(claims)),
            "header": header,
            "claims": claims,
        })
    }
}

/// What a rule made of a token: what was right, what wasn't, and what wasn't looked at.
fn verdict(attempt: &Attempt) -> Tree {
    let issuer = attempt.issuer.as_deref().unwrap_or("any issuer");
    let (mark, at, why) = match attempt.verdict {
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
    Tree::new(mark, format!("rule for {issuer}"), below)
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
fn decoded(token: &[u8]) -> [Option<Value>; 2] {
    let mut parts = token.split(|byte| *byte == b'.');
    [parts.next(), parts.next()].map(|part| {
        let bytes = URL_SAFE_NO_PAD.decode(part?).ok()?;
        serde_json::from_slice(&bytes).ok()
    })
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "that can't be read".to_owned(), Value::to_string)
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

fn rule_json(rule: &RuleTrace) -> Value {
    let conditions = rule.conditions.iter().map(|tried| {
        json!({
            "place": tried.place,
            "condition": tried.condition,
            "wanted": tried.wanted,
            "seen": tried.seen,
            "holds": tried.holds,
            "unknown": tried.unknown,
        })
    });
    json!({
        "stage": stage_name(rule.stage),
        "rule": rule.rule,
        "matched": rule.matched,
        "conditions": conditions.collect::<Vec<_>>(),
    })
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Custom => "CUSTOM",
        Stage::Audit => "AUDIT",
        Stage::DryRunDeny => "DRY_RUN_DENY",
        Stage::DryRunAllow => "DRY_RUN_ALLOW",
        Stage::Deny => "DENY",
        Stage::Allow => "ALLOW",
    }
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

fn lines<'h>(headers: impl Iterator<Item = (&'h str, &'h [u8])>) -> Vec<Value> {
    headers
        .map(|(name, value)| json!([name, readable(value)]))
        .collect()
}

fn readable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
