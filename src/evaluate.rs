//! The one function that decides.

use crate::authn::Authenticated;
use crate::jwks::KeyStore;
use crate::outcome::{Outcome, Refusal};
use crate::policy::Policy;
use crate::request::Request;

/// Decides what becomes of a request, at `now` in seconds since the Unix epoch.
///
/// The same arguments give the same answer: to go on after [`Outcome::Await`], evaluate again.
#[must_use]
pub fn evaluate(policy: &Policy, keys: &KeyStore, request: &Request, now: u64) -> Outcome {
    let identity = match policy.authentication.authenticate(request, keys, now) {
        Authenticated::Await(key_sets) => return Outcome::Await(key_sets),
        Authenticated::Known(identity) => Some(identity),
        Authenticated::Refused(reason) => return Outcome::Refuse(Refusal::from(reason)),
        Authenticated::Unknown => None,
    };
    // Policies see what the upstream will see: written headers instead of the client's copies, and
    // no token that is taken out.
    let changes = policy.authentication.changes(request, identity.as_ref());
    let changed = request.changed(&changes);
    match policy.authorization.authorize(&changed, identity.as_ref()) {
        Ok(()) => Outcome::Forward(changes),
        Err(refusal) => Outcome::Refuse(refusal),
    }
}
