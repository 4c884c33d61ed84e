//! What Istio's form of a RequestAuthentication can't say is said by its name.

use crate::config::place::Place;
use crate::config::reader::Mistake;
use crate::config::{Amendment, JwtRule};
use crate::istio::{Kind, Resource};

/// Writes into the rules what is said of them.
pub(super) fn amend(
    resources: &mut [Resource],
    amendments: Vec<Amendment>,
    ours: &str,
) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for (index, amendment) in amendments.into_iter().enumerate() {
        let place = Place::default().member("requestAuthentications");
        let place = place.item(index);
        if let Err((member, message)) = amend_one(resources, amendment, ours) {
            mistakes.push(Mistake::at(place.member(member), message));
        }
    }
    mistakes
}

fn amend_one(
    resources: &mut [Resource],
    amendment: Amendment,
    ours: &str,
) -> Result<(), (&'static str, String)> {
    let namespace = amendment.namespace.as_ref();
    let namespace = namespace.map_or(ours, |namespace| namespace.0.as_str());
    let name = amendment.name.0.as_str();
    let mut named = resources.iter_mut().filter_map(|resource| {
        let is_named =
            resource.name == name && resource.namespace.as_deref().unwrap_or(ours) == namespace;
        match &mut resource.kind {
            Kind::RequestAuthentication(rules) if is_named => Some(rules),
            _ => None,
        }
    });
    let Some(rules) = named.next() else {
        return Err((
            "name",
            format!("there is no RequestAuthentication `{namespace}/{name}` in `resources`"),
        ));
    };
    if named.next().is_some() {
        return Err((
            "name",
            format!("two RequestAuthentications in `resources` are `{namespace}/{name}`: keep one"),
        ));
    }
    let issuer = amendment.issuer.as_ref().map(|issuer| issuer.0.as_str());
    let is_meant = |rule: &&mut JwtRule| issuer.is_none() || rule.issuer() == issuer;
    let mut is_any_meant = false;
    for rule in rules.iter_mut().filter(is_meant) {
        is_any_meant = true;
        let Amendment {
            match_,
            non_jwt,
            report_only,
            ..
        } = &amendment;
        let twice = [
            ("match", rule.match_.is_some() && match_.is_some()),
            ("nonJwt", rule.non_jwt.is_some() && non_jwt.is_some()),
            (
                "reportOnly",
                rule.report_only.is_some() && report_only.is_some(),
            ),
        ];
        if let Some((member, _)) = twice.into_iter().find(|(_, is_twice)| *is_twice) {
            let message = "it is written for one of the rules already: write it once for each";
            return Err((member, message.to_owned()));
        }
        rule.match_ = rule.match_.take().or_else(|| match_.clone());
        rule.non_jwt = rule.non_jwt.or(*non_jwt);
        rule.report_only = rule.report_only.or(*report_only);
    }
    match (is_any_meant, issuer) {
        (true, _) => Ok(()),
        (false, Some(issuer)) => Err((
            "issuer",
            format!("`{namespace}/{name}` has no rule for the issuer `{issuer}`"),
        )),
        (false, None) => Err(("name", format!("`{namespace}/{name}` has no rule"))),
    }
}
