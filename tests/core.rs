//! Tier 1: cases through [`evaluate`], without a host. Runs natively and compiled to Wasm.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use portcullis::{
    Answer, Change, Check, CheckAnswer, CheckReply, Checked, Fetch, FetchError, Fetched, KeyStore,
    Known, NoHost, Node, Outcome, Policy, Property, Reason, RuleTrace, Stage, TokenTrace, Verdict,
    Verifier, evaluate, explain, reply,
};
use serde_json::Value;
use support::case::{Answer as Answered, Case, Fault, Oracle, Play, Suite, server_key};
use support::check::{Observed, differences, refusal};
use support::tally::Tally;
use support::{attacks, from_bytes, scenarios, shared, to_bytes, vectors};

#[test]
fn our_cases() {
    let mut tally = Tally::default();
    Suite::all().iter().for_each(|suite| run(suite, &mut tally));
    tally.finish("core, our cases");
}

#[test]
fn shared_cases() {
    let mut tally = Tally::default();
    let (suites, missing) = shared::suites();
    tally.missing(missing);
    suites.iter().for_each(|suite| run(suite, &mut tally));
    tally.finish("core, shared cases");
}

#[test]
fn authorization_scenarios() {
    let mut tally = Tally::default();
    run(&scenarios::authorization(), &mut tally);
    tally.finish("core, authorization scenarios");
}

#[test]
fn attack_vectors() {
    let mut tally = Tally::default();
    attacks::suites()
        .iter()
        .for_each(|suite| run(suite, &mut tally));
    tally.finish("core, attacks");
}

/// All 37 that are known, each in a vector or in a case.
#[test]
fn what_native_envoy_takes_wrongly_is_here() {
    let cases = Suite::load("tests/cases/native_accepts.json").cases;
    let differs = |case: &&Case| matches!(case.oracle, Oracle::Differs { .. });
    let cases = cases.iter().filter(differs).map(|case| case.id.clone());
    let ids: BTreeSet<String> = cases.chain(attacks::taken_by_native_envoy()).collect();
    assert_eq!(ids.len(), 37, "{ids:?}");
}

#[test]
fn conformance_vectors() {
    let mut tally = Tally::default();
    let (suites, missing) = vectors::suites();
    tally.missing(missing);
    suites.iter().for_each(|suite| run(suite, &mut tally));
    tally.finish("core, conformance vectors");
}

/// What the cases can't see: whether a request waits.
#[test]
fn only_keys_that_change_something_are_waited_for() {
    let suite = Suite::load("tests/cases/several.json");
    for (id, waits) in [
        ("the loser's keys are fetched", true),
        ("the loser does not forward", false),
        ("one place, the second's keys are fetched", false),
        ("all: fetched", true),
        ("all: can't be had, and not needed", false),
    ] {
        let case = suite.case(id);
        let policy = load(&suite.config(case)).expect("a good configuration");
        let play = suite.play(case, &case.expect);
        let known = Known {
            keys: &KeyStore::new(&policy, 0),
            waited: &[],
            checked: &[],
            verifier: &Verifier::default(),
            host: &NoHost,
            now: &play.now,
        };
        let request = portcullis::Request::new(play.request.pairs());
        let outcome = evaluate(&policy, known, &request);
        assert_eq!(matches!(outcome, Outcome::Await(_)), waits, "{id}");
    }
}

fn run(suite: &Suite, tally: &mut Tally) {
    let mut policies: BTreeMap<&str, Result<Policy, String>> = BTreeMap::new();
    for case in &suite.cases {
        let config = suite.config(case);
        let other_tiers = (!case.runs_in("core")).then_some("other tiers");
        if let Some(reason) = case.left_out.or(other_tiers) {
            tally.leave_out(reason);
            continue;
        }
        let policy = policies
            .entry(&case.config)
            .or_insert_with(|| load(&config));
        let found = match policy {
            Ok(policy) => {
                let play = suite.play(case, &case.expect);
                differences(&play.expect, &decide(policy, suite, &play))
            }
            Err(mistakes) => refusal(&case.expect, mistakes),
        };
        tally.ran(&format!("{}: {}", suite.name, case.id), found);
    }
}

fn load(config: &Value) -> Result<Policy, String> {
    Policy::load(config.to_string().as_bytes(), &Node::default())
        .map_err(|mistakes| mistakes.to_string())
}

/// Evaluates until no key set is awaited any more.
fn decide(policy: &Policy, suite: &Suite, play: &Play) -> Observed {
    let now = play.now;
    let request = portcullis::Request::new(play.request.pairs());
    let host = play.request.given();
    let mut keys = KeyStore::new(policy, 0);
    // The explanation comes second, and finds the tokens remembered.
    let verifier = Verifier::new(policy, None).expect("nothing is asked of a host");
    let mut waited = Vec::new();
    let (mut asked, mut checked) = (Vec::new(), Vec::new());
    // One wait for each of two services, one for the rules before the winner, and one for the
    // others.
    for _ in 0..5 {
        let known = Known {
            keys: &keys,
            waited: &waited,
            checked: &checked,
            verifier: &verifier,
            host: &host,
            now: &now,
        };
        let outcome = evaluate(policy, known, &request);
        explained(policy, known, &request, &outcome);
        match outcome {
            Outcome::Ask(check) => {
                let id = check.id;
                let reply = check_reply(suite, &check);
                let lines = check.headers.into_iter();
                asked.push(lines.map(|(n, v)| (n, v.into_bytes())).collect());
                checked.push(Checked { id, reply });
            }
            Outcome::Await(ids) => {
                for id in ids {
                    waited.push(id);
                    let mut next = keys.start(id, true, now);
                    while let Some(fetch) = next {
                        // Whether it brought keys shows in what becomes of the request.
                        next = match keys.finish(id, answer(suite, &fetch), now) {
                            Ok(Fetched::Next(fetch)) => Some(fetch),
                            _ => None,
                        };
                    }
                }
            }
            Outcome::Forward(changes, its) => {
                let changed = request.changed(&changes);
                let headers = changed.headers();
                let headers = headers.map(|(name, value)| (name.to_owned(), value.to_vec()));
                let headers = headers.collect();
                let response = changes.iter().filter_map(|change| match change {
                    Change::Respond(name, value) => Some((name.clone(), from_bytes(value))),
                    _ => None,
                });
                return Observed {
                    headers: response.collect(),
                    asked: Some(asked),
                    filter_state: Some(told(its.state)),
                    ..Observed::forwarded(headers)
                };
            }
            Outcome::Refuse(refusal, its) => {
                let reply = reply(&refusal, Some(policy), &request);
                return Observed {
                    status: reply.status,
                    body: from_bytes(&reply.body),
                    headers: reply
                        .headers
                        .iter()
                        .map(|(n, v)| (n.clone(), from_bytes(v)))
                        .collect(),
                    upstream: None,
                    asked: Some(asked),
                    decision: Some((refusal.reason.code().to_owned(), refusal.policy)),
                    filter_state: Some(told(its.state)),
                };
            }
        }
    }
    panic!("still waits for keys: {:?}", play.request)
}

fn told(state: Vec<Property>) -> BTreeMap<String, String> {
    let name = |property: &Property| property.name.trim_start_matches("portcullis.").to_owned();
    let told = state.into_iter();
    told.map(|property| (name(&property), property.value))
        .collect()
}

/// What is explained is what was decided, and the rules, each tried by itself, bear it out.
fn explained(policy: &Policy, known: Known<'_>, request: &portcullis::Request, outcome: &Outcome) {
    let explanation = explain(policy, known, request);
    let said = format!("{explanation:?}");
    assert_eq!(format!("{:?}", explanation.outcome), format!("{outcome:?}"));
    let first = |stage: Stage| {
        let rules = explanation.rules.iter();
        let mut matched = rules.filter(|rule| rule.stage == stage && rule.matched);
        matched.next().map(|rule| rule.rule.clone())
    };
    let has_rules = |rule: &&RuleTrace| rule.rule.contains("-rule[");
    assert!(
        explanation
            .rules
            .iter()
            .filter(has_rules)
            .all(|rule| rule.matched == holds(rule)),
        "{said}"
    );
    let is_refused = |reason: Reason| {
        let verdicts = explanation.attempts.iter().map(|attempt| attempt.verdict);
        verdicts
            .clone()
            .any(|verdict| verdict == Verdict::Refused(reason))
    };
    if let TokenTrace::Refused(reason) = explanation.token {
        assert!(is_refused(reason), "{said}");
    }
    match outcome {
        Outcome::Forward(..) => {
            let asks = explanation
                .rules
                .iter()
                .any(|rule| rule.stage == Stage::Allow);
            assert_eq!(first(Stage::Deny), None, "{said}");
            assert_eq!(first(Stage::Allow).is_some(), asks, "{said}");
        }
        Outcome::Refuse(refusal, _) => match refusal.reason {
            Reason::PolicyDenied => assert_eq!(first(Stage::Deny), refusal.policy, "{said}"),
            Reason::PolicyNoneAllows => assert_eq!(first(Stage::Allow), None, "{said}"),
            Reason::CheckDenied | Reason::CheckFailed => {
                assert!(first(Stage::Custom).is_some(), "{said}");
            }
            _ => {}
        },
        Outcome::Ask(_) => assert!(first(Stage::Custom).is_some(), "{said}"),
        Outcome::Await(_) => {}
    }
}

/// Whether the conditions of a rule say that it matches.
fn holds(rule: &RuleTrace) -> bool {
    let of = |part: &str| {
        let tried = rule.conditions.iter();
        let mut places: BTreeMap<&str, bool> = BTreeMap::new();
        for one in tried.filter(|one| one.place.starts_with(part)) {
            *places.entry(&one.place).or_insert(true) &= one.holds;
        }
        places.is_empty() || places.values().any(|holds| *holds)
    };
    of("from") && of("to") && of("when")
}

/// What the shell would have got for a check.
fn check_reply(suite: &Suite, check: &Check) -> CheckReply {
    /// What the shell hands on of a body.
    const LONGEST: usize = 256 * 1024;
    let line = |name: &str| {
        let line = check.headers.iter().find(|(header, _)| header == name);
        line.map_or("", |(_, value)| value.as_str())
    };
    let uri = server_key(&format!("{}{}", line(":authority"), line(":path")));
    let answer = suite.servers.get(&uri).filter(|_| check.cluster == "jwks");
    let is_late = |answer: &&Answered| u128::from(answer.delay_ms) >= check.timeout.as_millis();
    let Some(answer) = answer.filter(|answer| !is_late(answer)) else {
        return CheckReply::Nothing;
    };
    match answer.fault {
        Some(Fault::Closed) => return CheckReply::Nothing,
        Some(Fault::Cut | Fault::Long) => return CheckReply::Unreadable,
        None => {}
    }
    let headers = answer.headers.iter();
    let body = answer.body.clone().into_bytes();
    CheckReply::Answer(CheckAnswer {
        status: answer.status,
        headers: headers.map(|(n, v)| (n.clone(), to_bytes(v))).collect(),
        body: (body.len() <= LONGEST).then_some(body),
    })
}

/// What the shell would have got for a fetch.
fn answer<'a>(suite: &'a Suite, fetch: &Fetch) -> Result<Answer<'a>, FetchError> {
    if fetch.cluster() != "jwks" {
        return Err(FetchError::Undeliverable(fetch.cluster().to_owned()));
    }
    match suite.servers.get(&server_key(&fetch.uri())) {
        None => Err(FetchError::Status(404)),
        Some(answer) if u128::from(answer.delay_ms) >= fetch.timeout().as_millis() => {
            Err(FetchError::NoAnswer)
        }
        Some(answer) if answer.status != 200 => Err(FetchError::Status(answer.status)),
        Some(answer) => Ok(Answer {
            body: answer.body.as_bytes(),
            ..Answer::default()
        }),
    }
}
