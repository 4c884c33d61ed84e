//! The one function that decides.

use std::fmt;

use crate::authn::Halt;
use crate::authz::{PolicySet, Subject};
use crate::check::{Checked, Held};
use crate::config::Preflights;
use crate::connection::{Connection, Host, Untold};
use crate::explain::{Stage, Unseen, Witness};
use crate::jwks::{KeySetId, KeyStore};
use crate::jwt::Verifier;
use crate::outcome::{DryRun, Note, Outcome, Refusal, Told};
use crate::policy::Policy;
use crate::request::Request;

/// What is known besides the request.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The key sets that were fetched.
    pub keys: &'a KeyStore,
    /// Those for which this request has waited already. It doesn't wait for them twice.
    pub waited: &'a [KeySetId],
    /// What came of the checks that were asked for.
    pub checked: &'a [Checked],
    /// Who verifies tokens, or has already.
    pub verifier: &'a Verifier,
    /// Who knows the rest of the request.
    pub host: &'a dyn Host,
    /// What time it is. Nothing asks where no token is presented.
    pub now: &'a dyn Clock,
}

/// Tells the time, always the same.
pub trait Clock: fmt::Debug {
    /// Seconds since the Unix epoch.
    ///
    /// # Errors
    ///
    /// The host doesn't tell.
    fn now(&self) -> Result<u64, Untold>;
}

impl Clock for u64 {
    fn now(&self) -> Result<u64, Untold> {
        Ok(*self)
    }
}

/// Decides what becomes of a request.
///
/// The same arguments give the same answer: to go on after [`Outcome::Await`] or
/// [`Outcome::Ask`], evaluate again.
#[must_use]
pub fn evaluate(policy: &Policy, known: Known<'_>, request: &Request) -> Outcome {
    decide(policy, known, request, &mut Unseen)
}

/// The same before a witness, who doesn't change anything.
pub(crate) fn decide(
    policy: &Policy,
    known: Known<'_>,
    request: &Request,
    witness: &mut impl Witness,
) -> Outcome {
    let told = &policy.filter_state;
    let connection = Connection::new(known.host, policy.validation);
    if let Err(refusal) = policy.mutual_tls.admit(&connection) {
        let state = told.refused(&refusal, None, None);
        return Outcome::Refuse(refusal, Told::of(state));
    }
    // Whatever looks at the path sees the one that goes on.
    let normalised = match policy.paths.changes(request) {
        Ok(changes) => changes,
        Err(reason) => {
            let refusal = Refusal::from(reason);
            let state = told.refused(&refusal, None, None);
            return Outcome::Refuse(refusal, Told::of(state));
        }
    };
    let request = &*request.changed(&normalised);
    // A preflight says nothing of whose it is, so only a policy that lets everybody in would let it pass.
    let unasked = (policy.preflights == Preflights::Allow && request.is_cors_preflight())
        .then(|| PolicySet::new(Vec::new(), Vec::new()));
    let written = policy.authentication.written();
    let passed = match unasked {
        None => policy
            .checks
            .pass(request, &connection, known, written, witness),
        Some(_) => Ok(policy.checks.skip(request)),
    };
    let passed = match passed {
        Ok(passed) => passed,
        Err(Held::Ask(check)) => return Outcome::Ask(check),
        Err(Held::Refused(refusal)) => {
            let state = told.refused(&refusal, None, None);
            return Outcome::Refuse(refusal, Told::of(state));
        }
    };
    let mut notes = passed.notes;
    let checked = request.changed(&passed.changes);
    witness.looks_at(&policy.authentication, &checked, &connection, known);
    let authenticated = match policy
        .authentication
        .authenticate(&checked, &connection, known)
    {
        Ok(authenticated) => authenticated,
        Err(Halt::Await(key_sets)) => return Outcome::Await(key_sets),
        Err(Halt::Refused(refusal)) => {
            let state = told.refused(&refusal, None, None);
            let told = Told {
                notes,
                ..Told::of(state)
            };
            return Outcome::Refuse(refusal, told);
        }
    };
    notes.extend(authenticated.would.clone().map(Note::DryRun));
    // Policies see what the upstream will see: written headers instead of the client's copies, and
    // no token that is taken out.
    let own = policy.authentication.changes(&checked, &authenticated);
    let changed = checked.changed(&own);
    let identity = authenticated.identity.as_ref();
    let subject = Subject {
        request: &changed,
        identity,
        connection: &connection,
    };
    let audit = &policy.audit;
    let dry_run = unasked.as_ref().unwrap_or(&policy.dry_run);
    let authorization = unasked.as_ref().unwrap_or(&policy.authorization);
    witness.sees(Stage::Audit, audit, subject);
    let audited = audit.first_match(subject);
    notes.extend(audited.map(|rule| Note::Audit(rule.to_string())));
    witness.sees(Stage::DryRunDeny, &dry_run.deny, subject);
    witness.sees(Stage::DryRunAllow, &dry_run.allow, subject);
    let would = (!dry_run.is_empty()).then(|| DryRun::from(dry_run.authorize(subject)));
    notes.extend(would.clone().map(Note::DryRun));
    // A request that is refused for its token comes to no policy.
    let would = authenticated.would.as_ref().or(would.as_ref());
    witness.sees(Stage::Deny, &authorization.deny, subject);
    witness.sees(Stage::Allow, &authorization.allow, subject);
    match authorization.authorize(subject) {
        Ok(rule) => {
            let state = told.forwarded(rule.as_ref(), identity, would);
            let changes = normalised.then(passed.changes).then(own);
            let told = Told {
                state,
                notes,
                allowed_by: rule.map(|rule| rule.place),
            };
            Outcome::Forward(changes, told)
        }
        Err(mut refusal) => {
            refusal.lack = policy.lack(subject, refusal.reason);
            let state = told.refused(&refusal, identity, would);
            let told = Told {
                notes,
                ..Told::of(state)
            };
            Outcome::Refuse(refusal, told)
        }
    }
}
