//! The one function that decides.

use crate::authn::Halt;
use crate::jwks::KeyStore;
use crate::outcome::{Outcome, Refusal};
use crate::policy::Policy;
use crate::request::Request;

/// Decides what becomes of a request, at `now` in seconds since the Unix epoch.
///
/// The same arguments give the same answer: to go on after [`Outcome::Await`], evaluate again.
#[must_use]
pub fn evaluate(policy: &Policy, keys: &KeyStore, request: &Request, now: u64) -> Outcome {
    let authenticated = match policy.authentication.authenticate(request, keys, now) {
        Ok(authenticated) => authenticated,
        Err(Halt::Await(key_sets)) => return Outcome::Await(key_sets),
        Err(Halt::Refused(reason)) => return Outcome::Refuse(Refusal::from(reason)),
    };
    // Policies see what the upstream will see: written headers instead of the client's copies, and
    // no token that is taken out.
    let changes = policy.authentication.changes(request, &authenticated);
    let changed = request.changed(&changes);
    let identity = authenticated.identity.as_ref();
    match policy.authorization.authorize(&changed, identity) {
        Ok(()) => Outcome::Forward(changes),
        Err(refusal) => Outcome::Refuse(refusal),
    }
}
