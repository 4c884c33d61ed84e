//! The one function that decides.

use crate::authn::Halt;
use crate::authz::Subject;
use crate::connection::{Connection, Host};
use crate::jwks::{KeySetId, KeyStore};
use crate::outcome::{Outcome, Refusal};
use crate::policy::Policy;
use crate::request::Request;

/// What is known besides the request.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The key sets that were fetched.
    pub keys: &'a KeyStore,
    /// Those for which this request has waited already. It doesn't wait for them twice.
    pub waited: &'a [KeySetId],
    /// Who knows the rest of the request.
    pub host: &'a dyn Host,
    /// Seconds since the Unix epoch.
    pub now: u64,
}

/// Decides what becomes of a request.
///
/// The same arguments give the same answer: to go on after [`Outcome::Await`], evaluate again.
#[must_use]
pub fn evaluate(policy: &Policy, known: Known<'_>, request: &Request) -> Outcome {
    let told = &policy.filter_state;
    let authenticated = match policy.authentication.authenticate(request, known) {
        Ok(authenticated) => authenticated,
        Err(Halt::Await(key_sets)) => return Outcome::Await(key_sets),
        Err(Halt::Refused(reason)) => {
            let refusal = Refusal::from(reason);
            let state = told.refused(&refusal, None);
            return Outcome::Refuse(refusal, state);
        }
    };
    // Policies see what the upstream will see: written headers instead of the client's copies, and
    // no token that is taken out.
    let changes = policy.authentication.changes(request, &authenticated);
    let changed = request.changed(&changes);
    let identity = authenticated.identity.as_ref();
    let subject = Subject {
        request: &changed,
        identity,
        connection: &Connection::new(known.host),
    };
    match policy.authorization.authorize(subject) {
        Ok(rule) => Outcome::Forward(changes, told.forwarded(rule.as_ref(), identity)),
        Err(refusal) => {
            let state = told.refused(&refusal, identity);
            Outcome::Refuse(refusal, state)
        }
    }
}
