//! A decision outside of a proxy: what a proxy would fetch or ask comes from whoever asks.

use serde_json::json;

use super::Failure;
use super::request::Written;
use crate::check::{CheckAnswer, CheckReply, Checked};
use crate::evaluate::Known;
use crate::explain::{Explanation, Verdict, explain};
use crate::jwks::{Answer, Fetch, FetchError, Fetched, KeySetId, KeyStore, Origin};
use crate::jwt::Verifier;
use crate::outcome::Outcome;
use crate::policy::Policy;
use crate::request::Request;

/// A key set of a policy.
pub(super) struct Wanted<'a> {
    pub(super) id: KeySetId,
    /// The first issuer that it is for, or where it is.
    pub(super) issuer: &'a str,
    pub(super) fetch: Fetch,
    /// Whether these are the issuer's metadata, which tell where the keys are.
    pub(super) is_metadata: bool,
}

/// Who answers what a proxy would fetch or ask.
pub(super) trait Outside {
    /// A key set; `None` where nobody can tell.
    fn keys(&self, wanted: &Wanted<'_>) -> Option<Result<Vec<u8>, FetchError>>;

    /// Whether a service lets a request pass; `None` where nobody can tell.
    fn check(&self, service: &str) -> Option<bool>;
}

/// A decision, and what led to it.
pub(super) struct Decision {
    pub(super) explanation: Explanation,
    /// Of the fetching of keys.
    pub(super) notes: Vec<String>,
}

/// Decides; the outcome is still [`Outcome::Await`] or [`Outcome::Ask`] where nobody could tell.
pub(super) fn decide(
    policy: &Policy,
    request: &Request,
    host: &Written,
    now: u64,
    outside: &impl Outside,
) -> Result<Decision, Failure> {
    let mut keys = KeyStore::new(policy, 0);
    // Signatures are verified in here, whoever does it in the proxy.
    let verifier = Verifier::default();
    let (mut waited, mut checked, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let known = Known {
            keys: &keys,
            waited: &waited,
            checked: &checked,
            verifier: &verifier,
            host,
            now: &now,
        };
        let explanation = explain(policy, known, request);
        let is_answered = match &explanation.outcome {
            Outcome::Ask(check) => match outside.check(&check.provider) {
                Some(passes) => {
                    checked.push(Checked {
                        id: check.id,
                        reply: CheckReply::Answer(CheckAnswer {
                            status: if passes { 200 } else { 403 },
                            headers: Vec::new(),
                            body: Some(Vec::new()),
                        }),
                    });
                    true
                }
                None => false,
            },
            Outcome::Await(ids) => {
                let mut all = true;
                for id in ids {
                    waited.push(*id);
                    all &= fetch(&mut keys, *id, policy, now, outside, &mut notes);
                }
                all
            }
            Outcome::Forward(..) | Outcome::Refuse(..) => false,
        };
        if is_answered {
            continue;
        }
        // What stands behind a refusal is explained with the keys, too.
        let further: Vec<KeySetId> = wanted_further(policy, &explanation)
            .filter(|id| !waited.contains(id))
            .collect();
        for id in &further {
            waited.push(*id);
            fetch(&mut keys, *id, policy, now, outside, &mut notes);
        }
        if further.is_empty() {
            return Ok(Decision { explanation, notes });
        }
    }
}

/// The key sets with which it could be told what else is wrong with refused tokens.
fn wanted_further(policy: &Policy, explanation: &Explanation) -> impl Iterator<Item = KeySetId> {
    let attempts = explanation.attempts.iter();
    let mut awaiting = attempts.filter(|one| one.rest.last() == Some(&Verdict::Awaits));
    let issuers: Vec<Option<&str>> = awaiting.by_ref().map(|one| one.issuer.as_deref()).collect();
    let sets = policy.authentication.key_sets();
    let sets = sets.filter(move |(issuer, _)| issuers.contains(issuer));
    sets.map(|(_, id)| id).collect::<Vec<_>>().into_iter()
}

/// Gets a key set, and tells whether anybody could.
fn fetch(
    keys: &mut KeyStore,
    id: KeySetId,
    policy: &Policy,
    now: u64,
    outside: &impl Outside,
    notes: &mut Vec<String>,
) -> bool {
    let issuer = policy.names.issuer(id);
    let source = policy.key_set(id).map(|source| &source.origin);
    let mut is_metadata = matches!(source, Some(Origin::Discovered { .. }));
    let mut next = keys.start(id, true, now);
    while let Some(fetch) = next {
        let wanted = Wanted {
            id,
            issuer,
            fetch,
            is_metadata,
        };
        let Some(answer) = outside.keys(&wanted) else {
            return false;
        };
        is_metadata = false;
        let body = answer.as_deref().unwrap_or_default();
        let answer = answer.as_ref().map_err(FetchError::clone);
        let answer = answer.map(|_| Answer {
            body,
            ..Answer::default()
        });
        next = match keys.finish(id, answer, now) {
            Ok(Fetched::Next(fetch)) => Some(fetch),
            Ok(Fetched::Keys { warnings, .. }) => {
                let left_out = |warning: &String| format!("keys of {issuer}: {warning}");
                notes.extend(warnings.iter().map(left_out));
                None
            }
            Ok(Fetched::Late | Fetched::Withdrawn) => None,
            Err(error) => {
                notes.push(format!("no keys of {issuer}: {error}"));
                None
            }
        };
    }
    true
}

/// An issuer's metadata that say that its keys are where the metadata are.
pub(super) fn metadata(wanted: &Wanted<'_>) -> Vec<u8> {
    let metadata = json!({ "issuer": wanted.issuer, "jwks_uri": wanted.fetch.uri() });
    metadata.to_string().into_bytes()
}
