//! What is written in a file of policy tests.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::cli::request::Written;
use crate::config::reader::{Input, Read, record};
use crate::config::schema::{Schemas, a, any_of, one_of};
use crate::outcome::Reason;

record! {
    /// Tests of one configuration.
    pub(crate) struct Suite {
        /// The file of the configuration, seen from this one; or the configuration itself.
        configuration: Configured,
        /// Which of several configurations in the file, counted from 1.
        plugin: Option<Number>,
        /// The namespace of the workload, as Envoy's node metadata tell it.
        namespace: Option<String>,
        /// The labels of the workload, as Envoy's node metadata tell them.
        labels: BTreeMap<String, String>,
        /// Tokens that requests carry.
        tokens: Vec<Token>,
        /// What services answer that CUSTOM policies ask: `allow` or `deny`.
        checks: BTreeMap<String, String>,
        /// The tests.
        tests: Vec<Test>,
    }
    check check_suite;
}

record! {
    /// A request, and what is expected.
    pub(crate) struct Test {
        /// What is tested.
        name: String,
        /// The request. `${NAME}` in its path and headers stands for a token.
        request: Option<Written>,
        /// The name of the token that is sent as `authorization: Bearer`.
        token: Option<String>,
        /// What services answer in this test.
        checks: BTreeMap<String, String>,
        /// What becomes of the request.
        expect: Expected,
    }
}

record! {
    /// A token, signed with a key that is made for the tests.
    pub(crate) struct Token {
        /// What tests call it.
        name: String,
        /// The claims. Times are numbers, or `now`, `now+60`, `now-60`. Without `exp` the token lives for an
        /// hour; with null for ever.
        claims: Members,
        /// Members of the header to set, or, null, to leave out.
        header: Members,
        /// The issuer whose key signs, or, of a rule for any issuer, its `jwksUri`. Default: the claim `iss`.
        signed_by: Option<String>,
        /// Whether the signature is spoilt.
        tampered: bool,
        /// Any text, as it is, instead of a token.
        literal: Option<String>,
    }
}

/// What becomes of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    pub(crate) allows: bool,
    pub(crate) status: Option<u64>,
    pub(crate) reason: Option<String>,
    pub(crate) rule: Option<String>,
    pub(crate) body: Option<String>,
    pub(crate) dry_run: Option<String>,
    pub(crate) headers: Map<String, Value>,
}

record! {
    /// The long form of what is expected.
    pub(crate) struct ExpectedFields {
        /// `allow` or `deny`.
        decision: String,
        /// The status of the reply.
        status: Option<Number>,
        /// The code of the reason, such as `jwt_expired`.
        reason: Option<ReasonCode>,
        /// The rule that decides: `ns[foo]-policy[name]-rule[0]`.
        rule: Option<String>,
        /// The body of the reply.
        body: Option<String>,
        /// What a dry run says, as in filter state: `denied jwt_expired`.
        dry_run: Option<String>,
        /// Headers that the upstream gets, or the reply has: a value, or, null, none.
        headers: Members,
    }
}

/// A configuration, or where it is.
#[derive(Debug)]
pub(crate) enum Configured {
    File(String),
    Inline(Value),
}

/// The members of an object, whatever they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members(pub(crate) Map<String, Value>);

/// The code of a reason to refuse.
#[derive(Clone, Debug)]
pub(crate) struct ReasonCode(String);

/// A whole number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number(pub(crate) u64);

const DECISIONS: [&str; 2] = ["allow", "deny"];
const DECISION: &str = "write `allow` or `deny`";

fn check_suite(suite: &Suite, input: &Input<'_>) {
    if suite.tests.is_empty() {
        input.mistake("there are no `tests`: write one");
    }
    for (index, test) in suite.tests.iter().enumerate() {
        if let Some(token) = &test.token
            && !suite.tokens.iter().any(|known| known.name == *token)
        {
            input.mistake(format!(
                "`tests[{index}].token`: there is no `{token}` in `tokens`"
            ));
        }
        let answers = suite.checks.values().chain(test.checks.values());
        if answers
            .into_iter()
            .any(|answer| !DECISIONS.contains(&answer.as_str()))
        {
            input.mistake(format!("`checks`: {DECISION}"));
        }
    }
}

impl Read for Expected {
    fn read(input: &Input<'_>) -> Option<Self> {
        let decision = |text: &str| match text {
            "allow" => Some(true),
            "deny" => Some(false),
            _ => {
                input.mistake(DECISION);
                None
            }
        };
        if let Value::String(text) = input.value() {
            return Some(Self {
                allows: decision(text)?,
                ..Self::default()
            });
        }
        let fields = ExpectedFields::read(input)?;
        Some(Self {
            allows: decision(&fields.decision)?,
            status: fields.status.map(|Number(status)| status),
            reason: fields.reason.map(|ReasonCode(code)| code),
            rule: fields.rule,
            body: fields.body,
            dry_run: fields.dry_run,
            headers: fields.headers.0,
        })
    }

    fn schema(schemas: &mut Schemas) -> Value {
        any_of([one_of(&DECISIONS), ExpectedFields::schema(schemas)])
    }
}

impl Read for Configured {
    fn read(input: &Input<'_>) -> Option<Self> {
        match input.value() {
            Value::String(path) => Some(Self::File(path.clone())),
            Value::Object(_) => Some(Self::Inline(input.value().clone())),
            _ => input.expected("the name of a file, or a configuration"),
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        any_of([a("string"), a("object")])
    }
}

impl Read for Members {
    fn read(input: &Input<'_>) -> Option<Self> {
        match input.value() {
            Value::Object(members) => Some(Self(members.clone())),
            _ => input.expected("an object"),
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        a("object")
    }

    fn absent(_: &Input<'_>, _: &str) -> Option<Self> {
        Some(Self::default())
    }
}

impl Read for ReasonCode {
    fn read(input: &Input<'_>) -> Option<Self> {
        let code = input.text()?;
        let codes = || Reason::ALL.iter().map(|reason| reason.code());
        if codes().any(|known| known == code) {
            return Some(Self(code.to_owned()));
        }
        let nearest = codes().min_by_key(|known| strsim::damerau_levenshtein(known, code));
        let nearest = nearest.unwrap_or_default();
        input.mistake(format!(
            "no request is refused for `{code}`: the nearest is `{nearest}`"
        ));
        None
    }

    fn schema(_: &mut Schemas) -> Value {
        let codes: Vec<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        one_of(&codes)
    }
}

impl Read for Number {
    fn read(input: &Input<'_>) -> Option<Self> {
        match input.value().as_u64() {
            Some(number) => Some(Self(number)),
            None => input.expected("a whole number"),
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        a("integer")
    }
}
