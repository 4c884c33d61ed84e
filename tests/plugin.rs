//! Tier 2: the whole plugin under a native stand-in for its host.
#![cfg(not(target_family = "wasm"))]

mod support;

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
#[path = "plugin/sharing.rs"]
mod sharing;

use support::case::{Play, Suite, server_key};
use support::check::{differences, refusal};
use support::host::Vm;
use support::not_yet::not_yet;
use support::tally::Tally;
use support::{attacks, scenarios, shared};

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
        if let Some(reason) = case.left_out.or(other_tiers).or_else(|| not_yet(&config)) {
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
    serve(vm, suite);
    match vm.state(stream).observed() {
        Some(mut observed) => {
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

/// Answers every fetch as the suite's servers would, and those that follow from it.
fn serve(vm: &Vm, suite: &Suite) {
    vm.tick();
    while let Some(callout) = vm.callouts().into_iter().next() {
        match suite.servers.get(&server_key(&callout.target())) {
            _ if callout.cluster != "jwks" => vm.fail(callout.token),
            Some(answer) if answer.delay_ms >= u64::from(callout.timeout_ms) => {
                vm.fail(callout.token);
            }
            Some(answer) => vm.answer(callout.token, answer.status, answer.body.as_bytes()),
            None => vm.answer(callout.token, 404, b""),
        }
    }
}
