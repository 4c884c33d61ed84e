//! Tier 2: the whole plugin under a native stand-in for its host.
#![cfg(not(target_family = "wasm"))]

mod support;

#[path = "plugin/checks.rs"]
mod checks;
#[path = "plugin/configurations.rs"]
mod configurations;
#[path = "plugin/discovery.rs"]
mod discovery;
#[path = "plugin/fetches.rs"]
mod fetches;
#[path = "plugin/fixture.rs"]
mod fixture;
#[path = "plugin/harm.rs"]
mod harm;
#[path = "plugin/metrics.rs"]
mod metrics;
#[path = "plugin/sharing.rs"]
mod sharing;
#[path = "plugin/told.rs"]
mod told;
#[path = "plugin/trailers.rs"]
mod trailers;
#[path = "plugin/verification.rs"]
mod verification;
#[path = "plugin/waiting.rs"]
mod waiting;

use support::case::{Answer, Fault, Play, Suite, server_key};
use support::check::{differences, refusal};
use support::host::{Callout, State, Vm};
use support::tally::Tally;
use support::{attacks, from_bytes, scenarios, shared};

#[test]
fn our_cases() {
    let mut tally = Tally::default();
    Suite::all().iter().for_each(|suite| run(suite, &mut tally));
    tally.finish("plugin, our cases");
}

#[test]
fn shared_cases() {
    let mut tally = Tally::default();
    let (suites, missing) = shared::suites();
    tally.missing(missing);
    suites.iter().for_each(|suite| run(suite, &mut tally));
    tally.finish("plugin, shared cases");
}

#[test]
fn authorization_scenarios() {
    let mut tally = Tally::default();
    run(&scenarios::authorization(), &mut tally);
    tally.finish("plugin, authorization scenarios");
}

#[test]
fn attack_vectors() {
    let mut tally = Tally::default();
    attacks::suites()
        .iter()
        .for_each(|suite| run(suite, &mut tally));
    tally.finish("plugin, attacks");
}

fn run(suite: &Suite, tally: &mut Tally) {
    for case in &suite.cases {
        let config = suite.config(case);
        let other_tiers = (!case.runs_in("plugin")).then_some("other tiers");
        if let Some(reason) = case.left_out.or(other_tiers) {
            tally.leave_out(reason);
            continue;
        }
        let play = suite.play(case, &case.expect);
        let found = match Vm::start(config.to_string().as_bytes(), play.now) {
            Ok(vm) => ask(&vm, suite, &play),
            Err(log) => refusal(&case.expect, &log),
        };
        tally.ran(&format!("{}: {}", suite.name, case.id), found);
    }
}

fn ask(vm: &Vm, suite: &Suite, play: &Play) -> Vec<String> {
    let known = play.request.given().properties();
    let stream = vm.request_over(known, &play.request.pairs());
    let asked = serve(vm, suite);
    let state = vm.state(stream);
    match state.observed() {
        Some(mut observed) => {
            if let State::Forwarded(_) = state {
                let lines = vm.respond(stream, &[]).into_iter();
                let lines = lines.map(|(name, value)| (from_bytes(&name), from_bytes(&value)));
                observed.headers = lines.collect();
            }
            let host = play.request.authority.clone().unwrap_or_default();
            let asked = asked.into_iter();
            let asked = asked.filter(|callout| callout.header(":authority") == host);
            let lines = |callout: Callout| {
                let lines = callout.headers.into_iter();
                lines
                    .map(|(name, value)| (from_bytes(&name), value))
                    .collect()
            };
            observed.asked = Some(asked.map(lines).collect());
            let state = vm.filter_state(stream).into_iter();
            let told = state.map(|(name, value)| match name.strip_prefix("portcullis.") {
                Some(name) => (name.to_owned(), value),
                None => panic!("another's filter state: {name}"),
            });
            observed.filter_state = Some(told.collect());
            differences(&play.expect, &observed)
        }
        None => vec!["waits for nothing".to_owned()],
    }
}

/// Answers every call as the suite's servers would, and those that follow from it, and tells of
/// them.
fn serve(vm: &Vm, suite: &Suite) -> Vec<Callout> {
    vm.tick();
    let mut calls = Vec::new();
    while let Some(callout) = vm.callouts().into_iter().next() {
        calls.push(callout.clone());
        match suite.servers.get(&server_key(&callout.target())) {
            _ if callout.cluster != "jwks" => vm.unreachable(callout.token),
            Some(answer) if answer.delay_ms >= u64::from(callout.timeout_ms) => {
                vm.answer(callout.token, 504, b"upstream request timeout");
            }
            Some(Answer {
                fault: Some(fault), ..
            }) => match fault {
                Fault::Closed => vm.unreachable(callout.token),
                Fault::Cut => vm.fail(callout.token),
                Fault::Long => vm.garble(callout.token),
            },
            Some(answer) => {
                let headers = answer.headers.iter();
                let headers: Vec<_> = headers.map(|(n, v)| (n.as_str(), v.as_str())).collect();
                let body = answer.body.as_bytes();
                vm.answer_with(callout.token, answer.status, &headers, body);
            }
            None => vm.answer(callout.token, 404, b""),
        }
        if vm.callouts().is_empty() {
            vm.tick();
        }
    }
    calls
}
