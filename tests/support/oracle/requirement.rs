//! Which tokens `jwt_authn` requires, as Istio's control plane asks for them.

use serde_json::{Value, json};

/// Providers, by the rules that they stand for.
type Named<'a> = [(String, &'a Value)];

pub fn rules(named: &Named<'_>) -> Result<Value, String> {
    Ok(json!([{ "match": { "prefix": "/" }, "requires": required(named) }]))
}

/// A good token of any of them or none at all; or, if one is required, each that is there
/// (istio/istio#60830).
fn required(named: &Named<'_>) -> Value {
    let provider = |(name, _): &(String, &Value)| json!({ "provider_name": name });
    let or_missing =
        |one: &_| any(vec![provider(one), json!({ "allow_missing": {} })]);
    let is_required = |one: &&(String, &Value)| one.1["presence"] == "REQUIRED";
    if named.iter().any(|one| is_required(&one)) {
        let each = named.iter().map(|one| match is_required(&one) {
            true => provider(one),
            false => or_missing(one),
        });
        return all(each.collect());
    }
    if let [only] = named {
        return or_missing(only);
    }
    let mut several: Vec<Value> = named.iter().map(provider).collect();
    several.push(all(named.iter().map(or_missing).collect()));
    any(several)
}

fn any(requirements: Vec<Value>) -> Value {
    json!({ "requires_any": { "requirements": requirements } })
}

fn all(requirements: Vec<Value>) -> Value {
    match <[Value; 1]>::try_from(requirements) {
        Ok([only]) => only,
        Err(several) => json!({ "requires_all": { "requirements": several } }),
    }
}
