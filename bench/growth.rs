//! Decides one hostile request of a given size, for callgrind to count: `bench/growth.py` compares a size with its double.

use std::env;

use portcullis::{
    CheckAnswer, CheckReply, Checked, KeyStore, Known, NoHost, Node, Outcome, Policy, Request,
    Verifier, evaluate,
};
use serde_json::{Value, json};

type Headers = Vec<(String, String)>;

fn main() {
    let [attack, size] = [1, 2].map(|place| env::args().nth(place));
    let Some(attack) = attack else {
        return ATTACKS.iter().for_each(|(name, _)| println!("{name}"));
    };
    let size = size.expect("ATTACK SIZE").parse().expect("a number");
    let (_, attack) = ATTACKS
        .iter()
        .find(|(name, _)| *name == attack)
        .expect("one of the attacks");
    let (configuration, mut headers) = attack(size);
    let has = |headers: &Headers, name| headers.iter().any(|(own, _)| own == name);
    for (name, value) in [
        (":authority", "a.test"),
        (":method", "GET"),
        (":path", "/"),
        (":scheme", "http"),
    ] {
        if !has(&headers, name) {
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
    let policy = Policy::load(configuration.to_string().as_bytes(), &Node::default());
    let policy = policy.expect("a right configuration");
    let answer = CheckAnswer {
        status: 200,
        headers: answer_lines(size).collect(),
        body: Some(Vec::new()),
    };
    let keys = KeyStore::new(&policy, 0);
    let verifier = Verifier::new(&policy, None).expect("nothing is asked of a host");
    let known = |checked| Known {
        keys: &keys,
        waited: &[],
        checked,
        verifier: &verifier,
        host: &NoHost,
        now: &0,
    };
    let lines = headers
        .into_iter()
        .map(|(name, value)| (name, value.into()));
    let request = Request::new(lines.collect());
    // What is counted is what comes of the answer, where a service is asked.
    let checked = match evaluate(&policy, known(&[]), &request) {
        Outcome::Ask(check) => vec![Checked {
            id: check.id,
            reply: CheckReply::Answer(answer),
        }],
        _ => Vec::new(),
    };
    drop(decide(&policy, known(&checked), &request));
}

/// What is counted.
#[inline(never)]
fn decide(policy: &Policy, known: Known<'_>, request: &Request) -> Outcome {
    evaluate(policy, known, request)
}

/// What a service answers: lines for the upstream, and names that are to go.
fn answer_lines(size: usize) -> impl Iterator<Item = (String, Vec<u8>)> {
    let lines = (0..size).map(|number| (format!("x-user-{number}"), b"1".to_vec()));
    let names: Vec<String> = (0..size).map(|number| format!("x-{number}")).collect();
    lines.chain([(
        "x-envoy-auth-headers-to-remove".to_owned(),
        names.join(",").into_bytes(),
    )])
}

type Attack = fn(usize) -> (Value, Headers);

const ATTACKS: [(&str, Attack); 25] = [
    // No attack: so many rules that aren't for the request cost it nothing.
    ("rules for other paths", |size| {
        let one = |number| rule(json!({ "match": [{ "paths": [format!("/{number}/*")] }] }));
        let rules: Vec<Value> = (0..size).map(one).collect();
        let asked = "/1/x?access_token=a.b.c".to_owned();
        (
            json!({ "jwtRules": rules }),
            vec![(":path".to_owned(), asked)],
        )
    }),
    ("one parameter, again and again", |size| {
        (
            json!({ "jwtRules": [rule(json!({}))] }),
            path(&"access_token&".repeat(size)),
        )
    }),
    ("parameters of two rules that only report", |size| {
        let report = || rule(json!({ "reportOnly": true }));
        (
            json!({ "jwtRules": [report(), report()] }),
            path(&"access_token=a&".repeat(size)),
        )
    }),
    ("parameters that are no JWTs", |size| {
        (
            json!({ "jwtRules": [rule(json!({ "nonJwt": "ignore" }))] }),
            path(&"access_token=a&".repeat(size)),
        )
    }),
    ("a long parameter that is no JWT", |size| {
        (
            json!({ "jwtRules": [rule(json!({ "nonJwt": "ignore" }))] }),
            path(&format!("access_token={}", "AAAA".repeat(size))),
        )
    }),
    ("items of a header", |size| {
        let when = json!({ "key": "request.headers[x-a]", "separator": ",", "values": ["b"] });
        (
            json!({ "authorizationPolicies": [{ "action": "DENY", "rules": [{ "when": [when] }] }] }),
            vec![("x-a".into(), "\" a\",".repeat(size))],
        )
    }),
    ("ten rules' parameters in a preflight", |size| {
        let rules: Vec<Value> = letters()
            .map(|letter| rule(json!({ "fromParams": [letter] })))
            .collect();
        let params: String = letters()
            .rev()
            .map(|letter| format!("{letter}&").repeat(size))
            .collect();
        (json!({ "jwtRules": rules }), preflight(path(&params)))
    }),
    ("ten rules' parameters in turn, in a preflight", |size| {
        let rules: Vec<Value> = letters()
            .map(|letter| rule(json!({ "fromParams": [letter] })))
            .collect();
        let params: String = letters().rev().map(|letter| format!("{letter}&")).collect();
        (
            json!({ "jwtRules": rules }),
            preflight(path(&params.repeat(size))),
        )
    }),
    ("ten rules for one parameter, in a preflight", |size| {
        let rules: Vec<Value> = (0..10)
            .map(|_| rule(json!({ "fromParams": ["t"] })))
            .collect();
        (
            json!({ "jwtRules": rules }),
            preflight(path(&"t&".repeat(size))),
        )
    }),
    ("parameters in another spelling", |size| {
        (
            json!({ "jwtRules": [rule(json!({}))] }),
            path(&"access.token&a&".repeat(size)),
        )
    }),
    ("parameters behind semicolons", |size| {
        (
            json!({ "jwtRules": [rule(json!({}))] }),
            path(&"a;access_token;".repeat(size)),
        )
    }),
    ("blanks before a name", |size| {
        (
            json!({ "jwtRules": [rule(json!({ "fromParams": ["_", "__", "_t"] }))] }),
            path(&"+".repeat(size)),
        )
    }),
    ("escapes in names", |size| {
        (
            json!({ "jwtRules": [rule(json!({}))] }),
            path(&"%61ccess%".repeat(size)),
        )
    }),
    ("cookies in another spelling", |size| {
        (
            cookie_rule(),
            vec![("cookie".into(), "session.id=1; a=1; ".repeat(size))],
        )
    }),
    ("cookies between blanks", |size| {
        (
            cookie_rule(),
            vec![("cookie".into(), "a=1 session_id=1 ,".repeat(size))],
        )
    }),
    ("blanks in a cookie", |size| {
        (
            cookie_rule(),
            vec![("cookie".into(), format!("a=1{}b", " ".repeat(size)))],
        )
    }),
    ("lines of cookies", |size| {
        (
            cookie_rule(),
            (0..size)
                .map(|_| ("cookie".into(), "session.id=1; a=1".into()))
                .collect(),
        )
    }),
    ("spellings of a written header", |size| {
        let output = json!([{ "header": NAME, "claim": "a" }]);
        (
            json!({ "jwtRules": [rule(json!({ "outputClaimToHeaders": output }))] }),
            spellings(size),
        )
    }),
    ("spellings of a token's header", |size| {
        (
            json!({ "jwtRules": [rule(json!({ "fromHeaders": [{ "name": NAME }] }))] }),
            spellings(size),
        )
    }),
    ("headers that services write", |size| {
        (
            service(&["x-user*"]),
            (0..size)
                .map(|number| (format!("x-user.{number}"), "1".into()))
                .collect(),
        )
    }),
    ("the answer of a service", |size| {
        (
            service(&["x-user*"]),
            (0..size)
                .map(|number| (format!("x-{number}"), "1".into()))
                .collect(),
        )
    }),
    ("schemes in one value", |size| {
        (
            json!({ "jwtRules": [rule(json!({}))] }),
            vec![("authorization".into(), "Basic a,bearer".repeat(size))],
        )
    }),
    ("lines that policies look at", |size| {
        let when = json!([{ "key": "request.headers[x-a]", "values": ["b", "*c", "d*"] }]);
        let policy = json!({ "action": "DENY", "rules": [{ "when": when }] });
        (
            json!({ "authorizationPolicies": [policy] }),
            (0..size).map(|_| ("x-a".into(), " e".into())).collect(),
        )
    }),
    ("a path that is normalised", |size| {
        let paths = json!(["/{*}/a/{**}/b", "/a*", "*b"]);
        let policy =
            json!({ "action": "DENY", "rules": [{ "to": [{ "operation": { "paths": paths } }] }] });
        let configuration = json!({ "pathNormalization": "DECODE_AND_MERGE_SLASHES", "authorizationPolicies": [policy] });
        (
            configuration,
            vec![(":path".into(), "/a/..;b/%2e%2f%%36%31\\//".repeat(size))],
        )
    }),
    ("members of a token", |size| {
        let members: Vec<String> = (0..size)
            .map(|number| format!("\"m{number}\":[{number}]"))
            .collect();
        let [header, payload] =
            ["{\"alg\":\"RS256\"}", &format!("{{{}}}", members.join(","))].map(base64url);
        (
            json!({ "jwtRules": [rule(json!({}))] }),
            vec![(
                "authorization".into(),
                format!("Bearer {header}.{payload}.AAAA"),
            )],
        )
    }),
];

const NAME: &str = "x-a-b-c-d-e";

/// As many spellings of the name as there are that differ.
fn spellings(size: usize) -> Headers {
    let bytes = b"!#$%&'*+-.^_`|~";
    let spelled = |mut number: usize| {
        let letters = NAME.bytes().map(|byte| match byte {
            b'-' => {
                let letter = bytes[number % bytes.len()];
                number /= bytes.len();
                letter
            }
            byte => byte,
        });
        String::from_utf8(letters.collect()).expect("ASCII")
    };
    (0..size)
        .map(|number| (spelled(number), "1".to_owned()))
        .collect()
}

fn rule(mut more: Value) -> Value {
    more["issuer"] = "https://idp.test".into();
    more["jwksUri"] = "https://idp.test/keys".into();
    more
}

fn cookie_rule() -> Value {
    json!({ "jwtRules": [rule(json!({ "fromCookies": ["session_id"] }))] })
}

fn service(written: &[&str]) -> Value {
    json!({
        "extensionProviders": [{
            "name": "authz",
            "envoyExtAuthzHttp": { "service": "authz.test", "port": 80, "headersToUpstreamOnAllow": written },
        }],
        "authorizationPolicies": [{ "action": "CUSTOM", "provider": { "name": "authz" }, "rules": [{}] }],
    })
}

fn letters() -> impl DoubleEndedIterator<Item = String> {
    ('a'..='j').map(String::from)
}

fn path(query: &str) -> Headers {
    vec![(":path".to_owned(), format!("/?{query}"))]
}

fn preflight(mut headers: Headers) -> Headers {
    for (name, value) in [
        (":method", "OPTIONS"),
        ("origin", "http://x"),
        ("access-control-request-method", "GET"),
    ] {
        headers.push((name.to_owned(), value.to_owned()));
    }
    headers
}

fn base64url(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}
