//! AuthorizationPolicies of one action as one `rbac` filter.

use serde_json::{Map, Value, json};

use super::super::case::{members, strings, text};
use super::{both, list, matchers};

/// What Envoy calls the parts of a permission, and those of a principal.
struct Words {
    and: &'static str,
    or: &'static str,
    items: &'static str,
    not: &'static str,
}

const PERMISSION: Words = Words {
    and: "and_rules",
    or: "or_rules",
    items: "rules",
    not: "not_rule",
};
const PRINCIPAL: Words = Words {
    and: "and_ids",
    or: "or_ids",
    items: "ids",
    not: "not_id",
};

pub fn filter(action: &str, policies: &[&(String, &Value)]) -> Result<Value, String> {
    let mut rbac_policies = Map::new();
    for (id, policy) in policies {
        let mut rules = list(&policy["rules"]).enumerate().peekable();
        if rules.peek().is_none() {
            let never = |words: &Words| json!([{ words.not: { "any": true } }]);
            let never =
                json!({ "permissions": never(&PERMISSION), "principals": never(&PRINCIPAL) });
            rbac_policies.insert(id.clone(), never);
        }
        for (index, rule) in rules {
            rbac_policies.insert(format!("{id}-rule[{index}]"), self::rule(rule)?);
        }
    }
    Ok(json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": { "action": action, "policies": rbac_policies },
        },
    }))
}

fn rule(rule: &Value) -> Result<Value, String> {
    members(rule, "rule", &["from", "to", "when"]);
    let conditions = list(&rule["when"])
        .map(condition)
        .collect::<Result<Vec<_>, _>>()?
        .concat();
    let permissions = or_any(
        &PERMISSION,
        list(&rule["to"]).map(operation).collect::<Result<_, _>>()?,
    );
    let sources = or_any(
        &PRINCIPAL,
        list(&rule["from"]).map(source).collect::<Result<_, _>>()?,
    );
    let principals: Vec<Value> = sources
        .into_iter()
        .map(|source| PRINCIPAL.all([vec![source], conditions.clone()].concat()))
        .collect();
    Ok(json!({ "permissions": permissions, "principals": principals }))
}

fn or_any(words: &Words, entries: Vec<Value>) -> Vec<Value> {
    if entries.is_empty() {
        vec![words.all(Vec::new())]
    } else {
        entries
    }
}

fn operation(to: &Value) -> Result<Value, String> {
    let operation = &to["operation"];
    let known = [
        "hosts",
        "notHosts",
        "methods",
        "notMethods",
        "paths",
        "notPaths",
    ];
    only(operation, &known)?;
    let (hosts, methods, paths) = (
        both(operation, "hosts"),
        both(operation, "methods"),
        both(operation, "paths"),
    );
    if paths
        .0
        .iter()
        .chain(&paths.1)
        .any(|path| path.contains('{'))
    {
        return Err("path templates".to_owned());
    }
    Ok(PERMISSION.all(
        [
            PERMISSION.field(&hosts, |host| json!({ "header": matchers::host(host) })),
            PERMISSION.field(
                &methods,
                |method| json!({ "header": matchers::header(":method", method) }),
            ),
            PERMISSION.field(
                &paths,
                |path| json!({ "url_path": { "path": matchers::string(path) } }),
            ),
        ]
        .concat(),
    ))
}

fn source(from: &Value) -> Result<Value, String> {
    let source = &from["source"];
    only(source, &["requestPrincipals", "notRequestPrincipals"])?;
    Ok(PRINCIPAL.all(PRINCIPAL.field(&both(source, "requestPrincipals"), principal)))
}

fn condition(when: &Value) -> Result<Vec<Value>, String> {
    let values = (strings(when.get("values")), strings(when.get("notValues")));
    let key = text(&when["key"]);
    let claim = |path: Vec<String>| {
        // All values in one matcher, as Istio has it.
        let of = |values: &[String]| json!({ "sourced_metadata": { "metadata_matcher": matchers::claim(&path, values) } });
        let mut all = Vec::new();
        if !values.0.is_empty() {
            all.push(of(&values.0));
        }
        if !values.1.is_empty() {
            all.push(json!({ PRINCIPAL.not: of(&values.1) }));
        }
        all
    };
    let (attribute, brackets) = key.split_at(key.find('[').unwrap_or(key.len()));
    match attribute {
        "request.auth.principal" => Ok(PRINCIPAL.field(&values, principal)),
        "request.auth.audiences" => Ok(claim(vec!["aud".to_owned()])),
        "request.auth.presenter" => Ok(claim(vec!["azp".to_owned()])),
        "request.auth.claims" => matchers::claim_path(brackets)
            .map(claim)
            .ok_or(key.to_owned()),
        "request.headers" => {
            let name = brackets.trim_start_matches('[').trim_end_matches(']');
            Ok(PRINCIPAL.field(
                &values,
                |value| json!({ "header": matchers::header(name, value) }),
            ))
        }
        other => Err(format!("no {other}")),
    }
}

fn principal(value: &str) -> Value {
    let both = matchers::principal(value)
        .map(|matcher| json!({ "sourced_metadata": { "metadata_matcher": matcher } }));
    PRINCIPAL.all(both.to_vec())
}

fn only(value: &Value, known: &[&str]) -> Result<(), String> {
    match value
        .as_object()
        .and_then(|map| map.keys().find(|name| !known.contains(&name.as_str())))
    {
        Some(name) => Err(format!("no {name}")),
        None => Ok(()),
    }
}

impl Words {
    fn all(&self, entries: Vec<Value>) -> Value {
        if entries.is_empty() {
            return json!({ "any": true });
        }
        json!({ self.and: { self.items: entries } })
    }

    fn one_of(&self, entries: Vec<Value>) -> Value {
        json!({ self.or: { self.items: entries } })
    }

    /// One of the values, and none of the other ones.
    fn field(
        &self,
        (values, not_values): &(Vec<String>, Vec<String>),
        matcher: impl Fn(&str) -> Value,
    ) -> Vec<Value> {
        let one_of = |values: &[String]| self.one_of(values.iter().map(|v| matcher(v)).collect());
        let mut all = Vec::new();
        if !values.is_empty() {
            all.push(one_of(values));
        }
        if !not_values.is_empty() {
            all.push(json!({ self.not: one_of(not_values) }));
        }
        all
    }
}
