//! Rules that only report (`reportOnly`): their bad tokens are as if they hadn't been there.

use smallvec::SmallVec;

use super::presented::{Miss, Presented};
use super::removal::Removal;
use super::sighting::Place;
use super::{Halt, Rule};
use crate::evaluate::Known;
use crate::outcome::{DryRun, Fault, Reason};
use crate::sorted;

/// What a rule makes of a token.
struct Opinion<'p> {
    place: Place,
    rule: &'p Rule,
    told: Result<(), Miss>,
}

/// What comes of the tokens; if they refuse the request, what comes of those that are left without the ones that only
/// rules that report refuse, and what these would have done.
pub(super) fn judged<'p, 's, T>(
    presented: &mut SmallVec<[Presented<'p, 's>; 1]>,
    removal: &mut Removal<'_>,
    known: Known<'_>,
    judge: impl Fn(&[Presented<'p, 's>]) -> Result<T, Halt>,
) -> Result<(T, Option<DryRun>), Halt> {
    match judge(presented) {
        Err(halt @ Halt::Refused(_)) => {
            let would = excuse(presented, removal, known).ok_or(halt)?;
            Ok((judge(presented)?, Some(would)))
        }
        judged => Ok((judged?, None)),
    }
}

/// Takes out the tokens for which only rules that report would refuse the request, and tells of the first;
/// `None` where there is none.
fn excuse<'p, 's>(
    presented: &mut SmallVec<[Presented<'p, 's>; 1]>,
    removal: &mut Removal<'_>,
    known: Known<'_>,
) -> Option<DryRun> {
    if !presented.iter().any(|one| one.rule.reports_only) {
        return None;
    }
    let mut opinions = Vec::new();
    for one in presented.iter() {
        let rule = one.rule;
        let told = one.told(known);
        opinions.extend(told.map(|(place, told)| Opinion { place, rule, told }));
    }
    sorted::by(&mut opinions, |one, other| one.place.cmp(&other.place));
    let mut would = None;
    let mut excused = Vec::new();
    for here in opinions.chunk_by(|one, other| one.place == other.place) {
        if let Some(dry_run) = excused_by(here) {
            excused.extend(here.first().map(|opinion| opinion.place));
            would.get_or_insert(dry_run);
        }
    }
    excused.iter().for_each(|place| removal.add(*place));
    presented.retain(|one| one.is_left_without(&excused));
    would
}

/// What a rule that reports has against the token that all of these are about, if no other rule has anything
/// but that the token is another issuer's. Then a rule that reports must say that it is its own, unless none but
/// such rules look here.
fn excused_by(opinions: &[Opinion<'_>]) -> Option<DryRun> {
    let mut is_others = false;
    let mut own: Option<(&Rule, Reason)> = None;
    for Opinion { rule, told, .. } in opinions {
        let Err(Miss::Refused(reason)) = told else {
            return None;
        };
        match rule.reports_only {
            _ if reason.fault() != Fault::Token => return None,
            true => {
                // What is known of a token counts before whose it isn't.
                let is_more = own.is_none_or(|(_, own)| own == Reason::IssuerUnknown);
                if is_more {
                    own = Some((rule, *reason));
                }
            }
            false if *reason == Reason::IssuerUnknown => is_others = true,
            false => return None,
        }
    }
    let (rule, reason) = own.filter(|(_, own)| !is_others || *own != Reason::IssuerUnknown)?;
    Some(DryRun::Token {
        issuer: rule.expected.issuer.clone(),
        reason,
    })
}
