//! How Istio writes a value of a rule as Envoy's matcher.

use serde_json::{Value, json};

/// `*` is any text but none, `x*` a prefix, `*x` a suffix.
pub fn string(value: &str) -> Value {
    match pattern(value) {
        Pattern::Any => any(),
        Pattern::Prefix(prefix) => json!({ "prefix": prefix }),
        Pattern::Suffix(suffix) => json!({ "suffix": suffix }),
        Pattern::Exact(exact) => json!({ "exact": exact }),
    }
}

/// As [`string`], but that `*` is satisfied by an empty header, too.
pub fn header(name: &str, value: &str) -> Value {
    match pattern(value) {
        Pattern::Any => json!({ "name": name, "present_match": true }),
        _ => json!({ "name": name, "string_match": string(value) }),
    }
}

/// As [`header`], of the authority, in any case.
pub fn host(value: &str) -> Value {
    let mut matcher = header(":authority", value);
    if let Some(string) = matcher.get_mut("string_match") {
        string["ignore_case"] = true.into();
    }
    matcher
}

/// A claim that is one of the strings, or a list that has one.
pub fn claim(path: &[String], values: &[String]) -> Value {
    let strings: Vec<Value> = values
        .iter()
        .map(|value| json!({ "string_match": string(value) }))
        .collect();
    let value = match strings.as_slice() {
        [only] => only.clone(),
        several => json!({ "or_match": { "value_matchers": several } }),
    };
    let in_list = json!({ "list_match": { "one_of": value } });
    metadata(
        path,
        &json!({ "or_match": { "value_matchers": [in_list, value] } }),
    )
}

/// The issuer and the subject that a request principal asks for.
pub fn principal(value: &str) -> [Value; 2] {
    let exact = |text: &str| json!({ "exact": text });
    let (issuer, subject) = match (value, value.rsplit_once('/')) {
        ("*", _) => (any(), any()),
        (_, Some((issuer, subject))) if value.starts_with('*') => {
            let issuer = match &issuer[1..] {
                "" => any(),
                suffix => json!({ "suffix": suffix }),
            };
            (issuer, exact(subject))
        }
        (_, None) if value.starts_with('*') => (any(), json!({ "suffix": value[1..] })),
        (_, Some((issuer, "*"))) => (exact(issuer), any()),
        (_, Some((issuer, subject))) if value.ends_with('*') => (
            exact(issuer),
            json!({ "prefix": subject.trim_end_matches('*') }),
        ),
        (_, None) if value.ends_with('*') => {
            (json!({ "prefix": value.trim_end_matches('*') }), any())
        }
        (_, Some((issuer, subject))) => (exact(issuer), exact(subject)),
        (_, None) => (exact(value), exact("")),
    };
    [("iss", issuer), ("sub", subject)]
        .map(|(name, string)| metadata(&[name.to_owned()], &json!({ "string_match": string })))
}

/// `[a][b]` is a claim in a claim; what can't be read so is one name, brackets and all.
pub fn claim_path(brackets: &str) -> Option<Vec<String>> {
    let inner = brackets.strip_prefix('[')?.strip_suffix(']')?;
    let parts: Vec<_> = inner.split("][").map(str::to_owned).collect();
    if parts.iter().any(|part| part.contains(['[', ']'])) {
        return Some(vec![inner.to_owned()]);
    }
    Some(parts)
}

enum Pattern<'a> {
    Any,
    Exact(&'a str),
    Prefix(&'a str),
    Suffix(&'a str),
}

fn pattern(value: &str) -> Pattern<'_> {
    if value == "*" {
        Pattern::Any
    } else if let Some(suffix) = value.strip_prefix('*') {
        Pattern::Suffix(suffix)
    } else if let Some(prefix) = value.strip_suffix('*') {
        Pattern::Prefix(prefix)
    } else {
        Pattern::Exact(value)
    }
}

fn any() -> Value {
    json!({ "safe_regex": { "regex": ".+" } })
}

fn metadata(path: &[String], value: &Value) -> Value {
    let path = ["payload"]
        .into_iter()
        .chain(path.iter().map(String::as_str));
    json!({
        "filter": "envoy.filters.http.jwt_authn",
        "path": path.map(|key| json!({ "key": key })).collect::<Vec<_>>(),
        "value": value,
    })
}
