//! AuthorizationPolicies of one action as one `rbac` filter.

use serde_json::{Map, Value, json};

use super::super::case::{members, text};
use super::{both, list, matchers, negative};

/// How one value is matched.
type Matcher<'a> = Box<dyn Fn(&str) -> Value + 'a>;

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

/// A policy, and what its place says.
pub struct Policy<'a> {
    namespace: String,
    name: &'a str,
    pub spec: &'a Value,
    /// The names of the mesh's trust domain.
    domains: &'a [String],
    pub ignores_path_case: bool,
}

/// Policies in dry run are shadows, which decide nothing.
pub fn filter(action: &str, policies: &[&Policy<'_>]) -> Result<Value, String> {
    let action = if action == "AUDIT" { "LOG" } else { action };
    let mut rbac = json!({ "@type": RBAC });
    for (field, dry_run) in [("rules", false), ("shadow_rules", true)] {
        let policies = policies
            .iter()
            .filter(|policy| policy.is_dry_run() == dry_run);
        let policies: Vec<_> = policies.copied().collect();
        if !policies.is_empty() {
            rbac[field] = json!({ "action": action, "policies": rules(&policies)? });
        }
    }
    Ok(json!({ "name": "envoy.filters.http.rbac", "typed_config": rbac }))
}

pub const RBAC: &str = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC";

/// The rules of policies, by their names.
pub fn rules(policies: &[&Policy<'_>]) -> Result<Map<String, Value>, String> {
    let mut rbac_policies = Map::new();
    for policy in policies {
        let id = format!("ns[{}]-policy[{}]", policy.namespace, policy.name);
        let mut rules = list(&policy.spec["rules"]).enumerate().peekable();
        if rules.peek().is_none() {
            let never = |words: &Words| json!([{ words.not: { "any": true } }]);
            let never =
                json!({ "permissions": never(&PERMISSION), "principals": never(&PRINCIPAL) });
            rbac_policies.insert(id.clone(), never);
        }
        for (index, rule) in rules {
            rbac_policies.insert(format!("{id}-rule[{index}]"), policy.rule(rule)?);
        }
    }
    Ok(rbac_policies)
}

impl<'a> Policy<'a> {
    pub fn new(
        namespace: &str,
        metadata: &'a Value,
        spec: &'a Value,
        domains: &'a [String],
    ) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: metadata["name"].as_str().unwrap_or_default(),
            spec,
            domains,
            ignores_path_case: false,
        }
    }

    pub fn action(&self) -> &str {
        self.spec.get("action").map_or("ALLOW", text)
    }

    fn is_dry_run(&self) -> bool {
        self.spec["dryRun"] == true
    }

    fn rule(&self, rule: &Value) -> Result<Value, String> {
        members(rule, "rule", &["from", "to", "when"]);
        let (mut of_request, mut of_source) = (Vec::new(), Vec::new());
        for when in list(&rule["when"]) {
            if when.get("key").is_none() {
                return Err("what Istio can't ask for".to_owned());
            }
            match permission(when) {
                Some(permission) => of_request.extend(permission),
                None => of_source.extend(self.condition(when)?),
            }
        }
        let with = |words: &Words, entries: Vec<Value>, conditions: &[Value]| -> Vec<Value> {
            let entries = or_any(words, entries).into_iter();
            let with = |entry| words.all([&[entry], conditions].concat());
            entries.map(with).collect()
        };
        let operations = list(&rule["to"]).map(|to| operation(to, self.ignores_path_case));
        let operations = operations.collect::<Result<_, _>>()?;
        let sources = list(&rule["from"])
            .map(|from| self.source(from))
            .collect::<Result<_, _>>()?;
        Ok(json!({
            "permissions": with(&PERMISSION, operations, &of_request),
            "principals": with(&PRINCIPAL, sources, &of_source),
        }))
    }

    fn source(&self, from: &Value) -> Result<Value, String> {
        let source = &from["source"];
        let fields = [
            ("ipBlocks", "source.ip"),
            ("namespaces", "source.namespace"),
            ("principals", "source.principal"),
            ("remoteIpBlocks", "remote.ip"),
            ("requestPrincipals", "request.auth.principal"),
            ("serviceAccounts", "source.serviceAccount"),
            ("trustDomains", "source.trustDomain"),
        ];
        let known = fields
            .iter()
            .flat_map(|(field, _)| [(*field).to_owned(), negative(field)]);
        only(source, &known.collect::<Vec<_>>())?;
        let conditions = fields.iter().map(|(field, key)| {
            let matcher = self.matcher(key).ok_or_else(|| format!("no {key}"))?;
            Ok(PRINCIPAL.field(&both(source, field), matcher))
        });
        let conditions = conditions.collect::<Result<Vec<_>, String>>()?;
        Ok(PRINCIPAL.all(conditions.concat()))
    }

    /// How one value of an attribute of the source is matched.
    fn matcher(&self, key: &str) -> Option<Matcher<'_>> {
        let authenticated = |name: Value| json!({ "authenticated": { "principal_name": name } });
        Some(match key {
            "remote.ip" => Box::new(|value| json!({ "remote_ip": matchers::block(value) })),
            "request.auth.principal" => Box::new(principal),
            "source.ip" => Box::new(|value| json!({ "direct_remote_ip": matchers::block(value) })),
            "source.namespace" => Box::new(move |value| authenticated(matchers::namespace(value))),
            "source.principal" => Box::new(move |value| {
                let names = matchers::aliases(value, self.domains);
                let names = names.iter().map(|name| authenticated(matchers::peer(name)));
                PRINCIPAL.one_of(names.collect())
            }),
            "source.serviceAccount" => Box::new(move |value| {
                authenticated(matchers::service_account(value, &self.namespace))
            }),
            "source.trustDomain" => {
                Box::new(move |value| authenticated(matchers::trust_domain(value)))
            }
            _ => return None,
        })
    }

    fn condition(&self, when: &Value) -> Result<Vec<Value>, String> {
        if when.get("key").is_none() {
            return Err("native filters have no conditions without a key".to_owned());
        }
        let values = both(when, "values");
        let key = text(&when["key"]);
        if let Some(matcher) = self.matcher(key) {
            return Ok(PRINCIPAL.field(&values, matcher));
        }
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
            "request.auth.audiences" => Ok(claim(vec!["aud".to_owned()])),
            "request.auth.presenter" => Ok(claim(vec!["azp".to_owned()])),
            "request.auth.claims" => matchers::claim_path(brackets)
                .map(claim)
                .ok_or(key.to_owned()),
            "request.headers" => {
                let name = brackets.trim_start_matches('[').trim_end_matches(']');
                if let Some(separator) = when["separator"].as_str() {
                    return Ok(PRINCIPAL.field(
                        &values,
                        |value| json!({ "header": matchers::header_item(name, separator, value) }),
                    ));
                }
                Ok(PRINCIPAL.field(
                    &values,
                    |value| json!({ "header": matchers::header(name, value) }),
                ))
            }
            other => Err(format!("no {other}")),
        }
    }
}

/// A condition on what is asked for, and not on who asks.
fn permission(when: &Value) -> Option<Vec<Value>> {
    let key = text(&when["key"]);
    let matcher: &dyn Fn(&str) -> Value = match key {
        "connection.sni" => &|value| json!({ "requested_server_name": matchers::string(value) }),
        "destination.ip" => &|value| json!({ "destination_ip": matchers::block(value) }),
        "destination.port" => &port,
        _ => {
            let key = key.strip_prefix("experimental.")?;
            let matcher = |value: &str| json!({ "metadata": matchers::experimental(key, value) });
            return Some(PERMISSION.field(&both(when, "values"), matcher));
        }
    };
    Some(PERMISSION.field(&both(when, "values"), matcher))
}

fn port(value: &str) -> Value {
    json!({ "destination_port": value.parse::<u16>().expect("a port") })
}

fn or_any(words: &Words, entries: Vec<Value>) -> Vec<Value> {
    if entries.is_empty() {
        vec![words.all(Vec::new())]
    } else {
        entries
    }
}

fn operation(to: &Value, ignores_path_case: bool) -> Result<Value, String> {
    let operation = &to["operation"];
    let paths = both(operation, "paths");
    let mut all = paths.0.iter().chain(&paths.1);
    if ignores_path_case && all.any(|path| path.contains('{')) {
        return Err("native templates have a case".to_owned());
    }
    let fields = ["hosts", "methods", "paths", "ports"];
    let known = fields
        .iter()
        .flat_map(|field| [(*field).to_owned(), negative(field)]);
    only(operation, &known.collect::<Vec<_>>())?;
    let header = |header: Value| json!({ "header": header });
    let conditions = [
        PERMISSION.field(&both(operation, "hosts"), |host| {
            header(matchers::host(host))
        }),
        PERMISSION.field(&both(operation, "methods"), |method| {
            header(matchers::header(":method", method))
        }),
        PERMISSION.field(&paths, |path| matchers::path(path, ignores_path_case)),
        PERMISSION.field(&both(operation, "ports"), port),
    ];
    Ok(PERMISSION.all(conditions.concat()))
}

fn principal(value: &str) -> Value {
    let both = matchers::principal(value)
        .map(|matcher| json!({ "sourced_metadata": { "metadata_matcher": matcher } }));
    PRINCIPAL.all(both.to_vec())
}

fn only(value: &Value, known: &[String]) -> Result<(), String> {
    match value
        .as_object()
        .and_then(|map| map.keys().find(|name| !known.contains(name)))
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
