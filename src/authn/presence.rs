//! Rules that require their token: `presence: REQUIRED`.

use super::presented::{Miss, Presented, none_awaited};
use super::removal::Removal;
use super::{Authenticated, Halt, Identity, Rule, Taken};
use crate::config::jwt_rule::Presence;
use crate::evaluate::Known;
use crate::outcome::{DryRun, Lack, Reason, Refusal};

/// Istio's requirement if one of the rules requires its token, `all{P1, any{P2, missing}..}` (istio/istio#60830):
/// all tokens that a rule finds verify by it, and those that are required are there. The first rule for which
/// that isn't so says why. As in Envoy, a rule that doesn't forward its token takes it away from the rules behind it.
pub(super) fn all_verify<'p>(
    rules: impl IntoIterator<Item = &'p Rule>,
    presented: &[Presented<'_, '_>],
    known: Known<'_>,
) -> Result<(), Halt> {
    let mut presented = presented.iter().peekable();
    let (mut awaited, mut gone) = (Vec::new(), Vec::new());
    for rule in rules {
        let own = presented.next_if(|presented| std::ptr::eq(presented.rule, rule));
        let is_left = |own: &&Presented<'_, '_>| own.places().any(|place| !gone.contains(&place));
        let Some(own) = own.filter(is_left) else {
            match rule.is_required() {
                true => return Err(Halt::Refused(missing())),
                false => continue,
            }
        };
        match own.verify_but(&gone, known) {
            Ok(()) => {}
            Err(Miss::Refused(reason)) => return Err(Halt::Refused(reason.into())),
            Err(miss) => awaited.extend(miss.awaited()),
        }
        if !rule.forward {
            gone.extend(own.places());
        }
    }
    none_awaited(awaited)
}

fn missing() -> Refusal {
    Refusal {
        lack: Lack::Token,
        ..Reason::Missing.into()
    }
}

/// What the first rule that only reports would have said of its token, which it requires and which isn't there.
pub(super) fn missing_reported<'p>(
    rules: impl IntoIterator<Item = &'p Rule>,
    presented: &[Presented<'_, '_>],
) -> Option<DryRun> {
    let is_there = |rule: &Rule| presented.iter().any(|one| std::ptr::eq(one.rule, rule));
    let mut rules = rules.into_iter();
    let rule = rules
        .find(|rule| rule.reports_only && rule.presence == Presence::Required && !is_there(rule))?;
    Some(DryRun::Token {
        issuer: rule.expected.issuer.clone(),
        reason: Reason::Missing,
    })
}

/// A request whose tokens all verify. Policies see the token of the last rule: in Envoy, each rule's payload takes
/// the place of the one before it in dynamic metadata.
pub(super) fn authenticated<'p, 's, 'r>(
    presented: impl IntoIterator<Item = Presented<'p, 's>>,
    mut removal: Removal<'r>,
    would: Option<DryRun>,
) -> Authenticated<'p, 'r> {
    let mut beside = Vec::new();
    for presented in presented {
        if !presented.rule.forward {
            presented.places().for_each(|place| removal.add(place));
        }
        beside.extend(Taken::of(presented));
    }
    Authenticated {
        identity: beside.pop().map(Identity::from),
        beside,
        removal,
        would,
    }
}
