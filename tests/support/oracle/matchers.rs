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

/// The names of a certificate that a `principals` value asks for.
pub fn peer(value: &str) -> Value {
    match pattern(value) {
        Pattern::Any => any(),
        Pattern::Prefix(prefix) => json!({ "prefix": format!("spiffe://{prefix}") }),
        Pattern::Suffix(suffix) => regex(&format!("spiffe://.*{}", quoted(suffix))),
        Pattern::Exact(exact) => json!({ "exact": format!("spiffe://{exact}") }),
    }
}

/// Those in a namespace, in which every `*` is anything.
pub fn namespace(value: &str) -> Value {
    let value = quoted(value).replace(r"\*", ".*");
    regex(&format!(".*/ns/{value}/.*"))
}

/// Those of a service account; without a namespace, of the policy's own.
pub fn service_account(value: &str, namespace: &str) -> Value {
    let (namespace, name) = value.split_once('/').unwrap_or((namespace, value));
    let (namespace, name) = (quoted(namespace), quoted(name));
    regex(&format!("spiffe://.+/ns/{namespace}/(.+/|)sa/{name}(/.+)?"))
}

/// Those of a trust domain.
pub fn trust_domain(value: &str) -> Value {
    match pattern(value) {
        Pattern::Any => json!({ "prefix": "spiffe://" }),
        Pattern::Prefix(prefix) => regex(&format!("spiffe://{}[^/]*/.*", quoted(prefix))),
        Pattern::Suffix(suffix) => regex(&format!("spiffe://[^/]*{}/.*", quoted(suffix))),
        Pattern::Exact(exact) => json!({ "prefix": format!("spiffe://{exact}/") }),
    }
}

/// A principal under every name of its trust domain, where the mesh has several
/// (pilot/pkg/security/trustdomain).
pub fn aliases(principal: &str, domains: &[String]) -> Vec<String> {
    let own = vec![principal.to_owned()];
    let parts: Vec<_> = principal.split('/').collect();
    let [domain, _, _, _, _] = parts[..] else {
        return own;
    };
    let under = |name: &String| match domain.strip_prefix('*') {
        Some(end) if name.ends_with(end) => principal.to_owned(),
        _ => format!("{name}{}", &principal[domain.len()..]),
    };
    let is_ours = |name: &String| match pattern(domain) {
        Pattern::Any => true,
        Pattern::Prefix(prefix) => name.starts_with(prefix),
        Pattern::Suffix(suffix) => name.ends_with(suffix),
        Pattern::Exact(exact) => name == exact,
    };
    match domain == "cluster.local" || domains.iter().any(is_ours) {
        true => domains.iter().map(under).collect(),
        false => own,
    }
}

/// An address or a block of them.
pub fn block(value: &str) -> Value {
    let whole = if value.contains(':') { "128" } else { "32" };
    let (address, length) = value.split_once('/').unwrap_or((value, whole));
    let length: u32 = length.parse().expect("the length of a prefix");
    json!({ "address_prefix": address, "prefix_len": length })
}

/// A header with an item between separators and blanks, which Istio can't ask for.
pub fn header_item(name: &str, separator: &str, value: &str) -> Value {
    let separator = quoted(separator);
    let part = format!("[^{separator}]*");
    let item = match pattern(value) {
        // Not blanks alone.
        Pattern::Any => format!("{part}[^{separator}\\s]{part}"),
        Pattern::Prefix(prefix) => format!("{}{part}", quoted(prefix)),
        Pattern::Suffix(suffix) => format!("{part}{}", quoted(suffix)),
        Pattern::Exact(exact) => quoted(exact),
    };
    let whole = format!("(?s)(?:.*{separator})?\\s*{item}\\s*(?:{separator}.*)?");
    json!({ "name": name, "string_match": regex(&whole) })
}

/// A path, which may be a template.
pub fn path(value: &str, ignores_case: bool) -> Value {
    if !value.contains('{') {
        let mut path = string(value);
        // An expression for anything has no case.
        if ignores_case && path.get("safe_regex").is_none() {
            path["ignore_case"] = true.into();
        }
        return json!({ "url_path": { "path": path } });
    }
    let template = value.replace("{**}", "**").replace("{*}", "*");
    json!({ "uri_template": {
        "name": "uri-template",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig",
            "path_template": template,
        },
    } })
}

/// Another filter's metadata, `filter[key]`; a value in brackets means a list.
pub fn experimental(key: &str, value: &str) -> Value {
    let (filter, key) = key.trim_end_matches(']').split_once('[').expect("a key");
    let item = value.strip_prefix('[').and_then(|v| v.strip_suffix(']'));
    let matcher = match item {
        Some(item) => json!({ "list_match": { "one_of": { "string_match": string(item) } } }),
        None => json!({ "string_match": string(value) }),
    };
    json!({ "filter": filter, "path": [{ "key": key }], "value": matcher })
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
    regex(".+")
}

fn regex(regex: &str) -> Value {
    json!({ "safe_regex": { "regex": regex } })
}

fn quoted(text: &str) -> String {
    let special = |c: char| r"\.+*?()|[]{}^$".contains(c);
    let quoted = text
        .chars()
        .flat_map(|c| special(c).then_some('\\').into_iter().chain([c]));
    quoted.collect()
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
