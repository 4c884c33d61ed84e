//! Random policies. Their values and those of the requests are of one small world, so that about half of all
//! conditions match.

use fastrand::Rng;
use serde_json::{Map, Value, json};

use crate::support::mint;

/// The key of every token.
pub const KEY: &str = "khs256";
pub const ISSUERS: [&str; 2] = ["https://one.test", "two"];

/// A field of a source or an operation, or the key of a condition, and values for it.
type Field = (&'static str, &'static [&'static str]);

const SOURCES: [Field; 7] = [
    ("principals", PRINCIPALS),
    ("requestPrincipals", REQUEST_PRINCIPALS),
    ("namespaces", NAMESPACES),
    ("serviceAccounts", ACCOUNTS),
    ("trustDomains", DOMAINS),
    ("ipBlocks", BLOCKS),
    ("remoteIpBlocks", BLOCKS),
];
const OPERATIONS: [Field; 4] = [
    (
        "hosts",
        &[
            "a.test",
            "A.test",
            "*.test",
            "b.*",
            "*",
            "a.test:8080",
            "x",
            "a.test.",
            "a.test:*",
            "*:8080",
            "[::1]",
            "[*",
            "**",
        ],
    ),
    ("methods", &["GET", "POST", "P*", "*T", "*", "get"]),
    ("paths", PATHS),
    ("ports", PORTS),
];
const CONDITIONS: [Field; 26] = [
    (LIST, ITEMS),
    ("request.headers[x-role]", TEXTS),
    ("request.headers[X-Two]", TEXTS),
    ("request.headers[:method]", &["GET", "P*"]),
    (
        "request.headers[:path]",
        &["/a", "/a*", "*?x=/b", "*/b", "*"],
    ),
    (
        "request.headers[:authority]",
        &["a.test", "A.TEST", "*.test", "*:8080"],
    ),
    ("request.headers[Host]", &["a.test", "a.*", "*"]),
    ("request.auth.principal", REQUEST_PRINCIPALS),
    ("request.auth.audiences", TEXTS),
    ("request.auth.presenter", TEXTS),
    ("request.auth.claims[groups]", TEXTS),
    ("request.auth.claims[scope]", TEXTS),
    ("request.auth.claims[iss]", &["two", "https://*", "*o"]),
    ("request.auth.claims[a][b]", TEXTS),
    ("request.auth.claims[a.b]", TEXTS),
    ("request.auth.claims[a]", TEXTS),
    ("source.ip", BLOCKS),
    ("remote.ip", BLOCKS),
    ("source.principal", PRINCIPALS),
    ("source.namespace", NAMESPACES),
    ("source.serviceAccount", ACCOUNTS),
    ("source.trustDomain", DOMAINS),
    ("destination.ip", BLOCKS),
    ("destination.port", PORTS),
    ("connection.sni", &["a.test", "*.test", "b.*", "*"]),
    (
        "experimental.envoy.filters.http.test[db]",
        &["orders", "ord*", "*ers", "*", "users", "[orders]"],
    ),
];

/// A header that is compared by the items of its lines.
const LIST: &str = "request.headers[x-list]";
const ITEMS: &[&str] = &[
    "admin", "root", "adm*", "*min", "*", "a b", "a*b", "**", "*a*", "x*",
];
const TEXTS: &[&str] = &[
    "admin",
    "root",
    "adm*",
    "*min",
    "*",
    "read",
    "write",
    "a*b",
    "",
    "admin,root",
    "7",
    "true",
    "**",
    "*a*",
    "x*",
];
const PRINCIPALS: &[&str] = &[
    "td.test/ns/foo/sa/web",
    "cluster.local/ns/foo/sa/web",
    "old.test/ns/bar/sa/job",
    "td.test/ns/foo/*",
    "*/sa/web",
    "*.test/ns/foo/sa/web",
    "*",
    "t*",
    "a.test",
    "**",
    "*foo*",
    "td.test",
    "TD.test/ns/foo/sa/web",
    "td*/ns/foo/sa/web",
    "old.test/ns/bar/*",
    "*ocal/ns/foo/sa/web/k/v",
    "x/ns/foo/sa/web",
];
const NAMESPACES: &[&str] = &[
    "foo",
    "bar",
    "f*",
    "*r",
    "*",
    "f*o",
    "own",
    "f.o",
    "**",
    "foo/sa",
    "[f]oo",
    "f+o",
    "foo/ns/bar",
];
const ACCOUNTS: &[&str] = &[
    "foo/web", "bar/job", "web", "own/web", "foo/w.b", "job", "foo/job", "bar/x", "f.o/w.b",
];
const DOMAINS: &[&str] = &[
    "td.test", "old.test", "*.test", "td.*", "*", "td", "TD.test", "*d.test", "t*",
];
/// None of IPv4 that is written as IPv6, which says more here.
const BLOCKS: &[&str] = &[
    "127.0.0.1",
    "127.9.0.0/30",
    "127.9.0.3",
    "192.0.2.0/24",
    "192.0.2.7",
    "2001:db8::/32",
    "0.0.0.0/0",
    "::/0",
    "127.9.0.7/31",
    "2001:db8::1",
    "10.0.0.0/8",
];
const REQUEST_PRINCIPALS: &[&str] = &[
    "*",
    "two/alice",
    "two/*",
    "https://one.test/alice",
    "https://one.test/al*",
    "https://one*",
    "*/alice",
    "*.test/bob",
    "*ice",
    "tw*",
    "two",
    "two/a/b",
    "*/ali*",
    "**",
    "*",
    "/",
    "/alice",
    "two/",
    "*/",
    "https://one.test/a/b",
    "*o/*",
    "two//alice",
];
const PATHS: &[&str] = &[
    "/a",
    "/a/b",
    "/a*",
    "/a/*",
    "*/b",
    "*",
    "/",
    "*a*",
    "/a/{*}",
    "/a/{**}",
    "/{*}/b",
    "/{**}/b",
    "/a/{*}/{**}",
    "/{*}/{*}",
    "/a/{**}/",
    "/A",
    "/a.b",
    "/x%20y",
    "**",
    "/a/{*}/b/{**}",
    "/{**}",
    "/{*}",
    "/a;x",
    "/*",
    "*",
    "//",
    "/a//b",
    "/a%2Fb",
    "/a%2fb",
    "*%2F*",
    "/a/{*}/b%2F",
    "/%/{*}",
    "/{*}/a;x",
    "/a?*",
    "*?",
    "/a%2Fb/{**}",
];
/// The second stands for the listener's own.
const PORTS: &[&str] = &["1", "own"];

/// Policies for one listener, which has this port.
pub fn draw(rng: &mut Rng, port: u16) -> Value {
    let policies: Vec<Value> = (0..rng.usize(1..4))
        .map(|number| policy(rng, number))
        .collect();
    let keys = mint::public_set(&json!([KEY]));
    // Native filters can't tell that a token is the other rule's: both report, or none.
    let report_only = rng.u8(..8) == 0;
    let rules = ISSUERS.map(|issuer| jwt_rule(rng, issuer, &keys, report_only));
    let mut config = json!({
        "jwtRules": rules,
        "authorizationPolicies": policies,
        "workload": workload(rng),
    });
    if rng.u8(..4) == 0 {
        ignore_path_case(&mut config);
    }
    let own = format!("\"{port}\"");
    let config = config.to_string().replace("\"own\"", &own);
    serde_json::from_str(&config).expect("the configuration again")
}

/// Native templates have a case.
fn ignore_path_case(config: &mut Value) {
    config["ignorePathCase"] = true.into();
    let policies = config["authorizationPolicies"].as_array_mut();
    let rules = policies
        .into_iter()
        .flatten()
        .filter_map(|policy| policy["rules"].as_array_mut());
    let operations = rules
        .flatten()
        .filter_map(|rule| rule.get_mut("to")?.as_array_mut())
        .flatten();
    for operation in operations {
        for name in ["paths", "notPaths"] {
            if let Some(Value::Array(paths)) = operation["operation"].get_mut(name) {
                paths.retain(|path| !path.to_string().contains('{'));
                if paths.is_empty() {
                    paths.push("/a/*".into());
                }
            }
        }
    }
}

/// Mostly one for every request that requires nothing. All look at the same place.
fn jwt_rule(rng: &mut Rng, issuer: &str, keys: &str, report_only: bool) -> Value {
    let non_jwt = ["ignore", "refuse"][rng.usize(..2)];
    let mut rule =
        json!({ "issuer": issuer, "jwks": keys, "reportOnly": report_only, "nonJwt": non_jwt });
    if rng.u8(..12) == 0 {
        rule["presence"] = ["OPTIONAL", "REQUIRED"][rng.usize(..2)].into();
    }
    if rng.u8(..6) == 0 {
        // What a native filter can match, too.
        let (field, patterns): (_, &[&str]) = match rng.u8(..4) {
            0 => ("hosts", &["a.test", "*.test", "a.test:*"]),
            1 => ("notHosts", &["a.test", "b.test"]),
            2 => ("notPaths", &["/a", "/a/*", "*/b"]),
            _ => ("paths", &["/a", "/a*", "/b/*", "*/b", "*"]),
        };
        let patterns: Vec<&str> = (0..rng.usize(1..3))
            .map(|_| patterns[rng.usize(..patterns.len())])
            .collect();
        rule["match"] = json!([{ field: patterns }]);
    }
    rule
}

fn workload(rng: &mut Rng) -> Value {
    let mut workload = json!({ "name": "w", "namespace": "foo" });
    if rng.bool() {
        workload["trustDomain"] = "td.test".into();
    }
    if rng.bool() {
        workload["trustDomainAliases"] = json!(["old.test", "td.test"]);
    }
    workload
}

fn policy(rng: &mut Rng, number: usize) -> Value {
    let action = ["ALLOW", "ALLOW", "DENY", "DENY", "AUDIT"][rng.usize(..5)];
    // A DENY policy without rules is a mistake.
    let least = usize::from(action == "DENY");
    let rules: Vec<Value> = (0..rng.usize(least..4)).map(|_| rule(rng)).collect();
    let mut policy = json!({ "name": format!("p{number}"), "action": action, "rules": rules });
    if action != "AUDIT" && rng.u8(..8) == 0 {
        policy["dryRun"] = true.into();
    }
    policy
}

fn rule(rng: &mut Rng) -> Value {
    let mut rule = json!({});
    if rng.u8(..3) > 0 {
        rule["from"] = (0..rng.usize(1..3))
            .map(|_| json!({ "source": source(rng) }))
            .collect();
    }
    if rng.u8(..3) > 0 {
        rule["to"] = (0..rng.usize(1..3))
            .map(|_| json!({ "operation": fields(rng, &OPERATIONS) }))
            .collect();
    }
    if rng.u8(..3) > 0 {
        rule["when"] = (0..rng.usize(1..3)).map(|_| condition(rng)).collect();
    }
    rule
}

fn source(rng: &mut Rng) -> Map<String, Value> {
    let mut fields = fields(rng, &SOURCES);
    // Istio takes service accounts only without these.
    if fields
        .keys()
        .any(|name| name.to_lowercase().ends_with("serviceaccounts"))
    {
        let stays = |name: &String| {
            let name = name.to_lowercase();
            name.contains("request")
                || !name.ends_with("principals") && !name.ends_with("namespaces")
        };
        fields.retain(|name, _| stays(name));
    }
    fields
}

fn fields(rng: &mut Rng, all: &[Field]) -> Map<String, Value> {
    let mut fields = Map::new();
    for _ in 0..rng.usize(1..3) {
        let (name, choices) = all[rng.usize(..all.len())];
        let name = match rng.u8(..4) {
            0 => format!("not{}{}", name[..1].to_ascii_uppercase(), &name[1..]),
            _ => name.to_owned(),
        };
        fields.insert(name, values(rng, choices));
    }
    fields
}

fn condition(rng: &mut Rng) -> Value {
    let (key, choices) = CONDITIONS[rng.usize(..CONDITIONS.len())];
    let mut condition = json!({ "key": key });
    if key == LIST {
        condition["separator"] = ",".into();
    }
    let which = rng.u8(..4);
    if which != 0 {
        condition["values"] = values(rng, choices);
    }
    if which < 2 {
        condition["notValues"] = values(rng, choices);
    }
    condition
}

fn values(rng: &mut Rng, choices: &[&str]) -> Value {
    let values = (0..rng.usize(1..4)).map(|_| choices[rng.usize(..choices.len())]);
    // An empty value is a mistake.
    let values: Vec<&str> = values.filter(|value| !value.is_empty()).collect();
    if values.is_empty() {
        json!([choices[0]])
    } else {
        json!(values)
    }
}
