//! A decision as JSON.

use serde_json::{Value, json};

use super::token::decoded;
use super::{Told, change, readable};
use crate::cli::shown;
use crate::explain::{Attempt, RuleTrace, Stage, Tried, Unasked, Verdict};
use crate::outcome::{Change, Outcome, Reason};
use crate::reply::reply;

impl Told<'_> {
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
            "missing": explanation.missing,
            "unasked": explanation.unasked.iter().map(unasked_json).collect::<Vec<_>>(),
            "rules": rules.collect::<Vec<_>>(),
            "elsewhere": self.elsewhere,
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
                    "changes": changes.iter().map(told_change).collect::<Vec<_>>(),
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

    fn attempt_json(&self, attempt: &Attempt) -> Value {
        let [header, claims] = decoded(&attempt.token);
        let (verdict, reason) = match attempt.verdict {
            Verdict::Verified => ("verified", None),
            Verdict::Refused(reason) => ("refused", Some(reason)),
            Verdict::Awaits => ("undecided", None),
            Verdict::Ignored => ("ignored", None),
        };
        json!({
            "issuer": attempt.issuer,
            "audiences": attempt.audiences,
            "clockSkew": attempt.clock_skew,
            "reportOnly": attempt.report_only,
            "place": attempt.place,
            "verdict": verdict,
            "reason": reason.map(Reason::code),
            "life": claims.as_ref().and_then(|claims| self.life(claims)),
            "header": header,
            "claims": claims,
        })
    }
}

fn unasked_json(unasked: &Unasked) -> Value {
    json!({
        "issuer": unasked.issuer,
        "conditions": unasked.conditions.iter().map(tried_json).collect::<Vec<_>>(),
    })
}

fn rule_json(rule: &RuleTrace) -> Value {
    json!({
        "stage": stage_name(rule.stage),
        "rule": rule.rule,
        "matched": rule.matched,
        "conditions": rule.conditions.iter().map(tried_json).collect::<Vec<_>>(),
    })
}

fn tried_json(tried: &Tried) -> Value {
    json!({
        "place": tried.place,
        "condition": tried.condition,
        "wanted": tried.wanted,
        "seen": tried.seen.as_deref().map(shown::masked),
        "holds": tried.holds,
        "unknown": tried.unknown,
    })
}

fn told_change(told: &Change) -> String {
    shown::masked(&change(told)).into_owned()
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

fn lines<'h>(headers: impl Iterator<Item = (&'h str, &'h [u8])>) -> Vec<Value> {
    headers
        .map(|(name, value)| json!([name, readable(value)]))
        .collect()
}
