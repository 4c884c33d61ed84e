//! Which tokens `jwt_authn` requires, as Istio's control plane asks for them.

use serde_json::{Value, json};

use super::{list, strings};

/// Providers, by the rules that they stand for.
type Named<'a> = [(String, &'a Value)];

/// What is required of which requests. Of `jwt_authn`'s rules one counts, so there is one for each choice of those
/// that are for some requests only.
pub fn rules(named: &Named<'_>, ignores_path_case: bool) -> Result<Value, String> {
    let is_scoped = |one: &&(String, &Value)| one.1.get("match").is_some();
    let scoped: Vec<_> = named.iter().filter(is_scoped).collect();
    let matchers = scoped
        .iter()
        .map(|(_, rule)| matcher(&rule["match"], ignores_path_case));
    let matchers: Vec<Value> = matchers.collect::<Result<_, _>>()?;
    let choices = (0..1 << scoped.len()).map(|choice: usize| {
        let is_chosen = |at: usize| choice >> at & 1 == 1;
        let is_meant = |one: &&(String, &Value)| {
            let at = scoped.iter().position(|other| other.0 == one.0);
            at.is_none_or(is_chosen)
        };
        let headers = matchers.iter().enumerate().map(|(at, matcher)| {
            let mut matcher = matcher.clone();
            let inverted = matcher["invert_match"] == true;
            matcher["invert_match"] = (inverted == is_chosen(at)).into();
            matcher
        });
        let mut rule =
            json!({ "match": { "prefix": "/", "headers": headers.collect::<Vec<_>>() } });
        let meant: Vec<_> = named.iter().filter(is_meant).cloned().collect();
        if !meant.is_empty() {
            rule["requires"] = required(&meant);
        }
        rule
    });
    Ok(choices.collect())
}

/// One operation with one field, as a matcher of headers.
fn matcher(operations: &Value, ignores_path_case: bool) -> Result<Value, String> {
    let operation = match list(operations).collect::<Vec<_>>().as_slice() {
        [only] => only.as_object().ok_or("not an object")?,
        _ => return Err("native filters match one operation".to_owned()),
    };
    let (name, patterns) = match operation.iter().collect::<Vec<_>>().as_slice() {
        [(name, patterns)] => (name.as_str(), strings(Some(patterns))),
        _ => return Err("native filters match one field of an operation".to_owned()),
    };
    let (header, flags, rest) = match name {
        "paths" | "notPaths" if ignores_path_case => (":path", "(?i)", r"(?:[?#].*)?"),
        "paths" | "notPaths" => (":path", "", r"(?:[?#].*)?"),
        "hosts" | "notHosts" => (":authority", "(?i)", ""),
        "methods" | "notMethods" => (":method", "", ""),
        _ => return Err(format!("native filters match no {name}")),
    };
    if patterns.iter().any(|pattern| pattern.contains('{')) {
        return Err("native filters match no templates here".to_owned());
    }
    let one = |pattern: &String| match pattern.as_str() {
        "*" => ".+".to_owned(),
        text => text
            .split('*')
            .map(|text| text.replace('.', r"\."))
            .collect::<Vec<_>>()
            .join(if header == ":path" { "[^?#]*" } else { ".*" }),
    };
    let any = patterns.iter().map(one).collect::<Vec<_>>().join("|");
    Ok(json!({
        "name": header,
        "string_match": { "safe_regex": { "regex": format!("{flags}(?:{any}){rest}") } },
        "invert_match": name.starts_with("not"),
    }))
}

/// A good token of any of them or none at all; or, if one is required, each that is there
/// (istio/istio#60830).
fn required(named: &Named<'_>) -> Value {
    let provider = |(name, _): &(String, &Value)| json!({ "provider_name": name });
    let reports = |one: &(String, &Value)| one.1["reportOnly"] == true;
    let or_missing = |one: &(String, &Value)| {
        let or_else = match reports(one) {
            true => "allow_missing_or_failed",
            false => "allow_missing",
        };
        any(vec![provider(one), json!({ or_else: {} })])
    };
    let is_required = |one: &&(String, &Value)| one.1["presence"] == "REQUIRED" && !reports(one);
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
