//! Tier 4: Envoy's own `jwt_authn` and `rbac`, configured as Istio does, must agree with every
//! case that doesn't say, with its reason, that ours differs.
#![cfg(not(target_family = "wasm"))]

mod support;

#[path = "oracle/paths.rs"]
mod paths;

use std::collections::BTreeMap;

use serde_json::Value;
use support::case::{Case, Oracle, Suite};
use support::check::differences;
use support::envoy::Envoy;
use support::place::Place;
use support::server::{JwksServer, Server};
use support::tally::Tally;
use support::{oracle, shared};

#[test]
fn native_filters_agree() {
    let mut tally = Tally::default();
    let (shared, missing) = shared::suites();
    tally.missing(missing);
    let suites: Vec<Suite> = Suite::all().into_iter().chain(shared).collect();
    let mut listeners = BTreeMap::new();
    let mut runnable = Vec::new();
    for suite in &suites {
        for case in &suite.cases {
            let place = Place::of(suite, case);
            let native = native(suite, case).and_then(|expect| {
                if !listeners.contains_key(&place.name) {
                    let normalization = place.normalization().unwrap_or("BASE");
                    let placed = place.listener(normalization, oracle::filters)?;
                    listeners.insert(place.name.clone(), placed);
                }
                Ok(expect)
            });
            match native {
                Ok(expect) => runnable.push((suite, case, place.name, expect)),
                Err(reason) => tally.leave_out(&reason),
            }
        }
    }
    let (listeners, _reserved): (Vec<_>, Vec<_>) = listeners.into_values().unzip();
    let upstream = Server::echo();
    let jwks = JwksServer::start(
        suites
            .iter()
            .flat_map(|suite| suite.servers.clone())
            .collect(),
    );
    let envoy = Envoy::start(&listeners, upstream.address, jwks.server.address).expect("Envoy");
    for (suite, case, listener, expect) in runnable {
        let play = suite.play(case, expect);
        // The first request that waits for a key set may get its claims twice: Envoy starts both
        // alternatives of Istio's form of the rules, and each of them writes.
        drop(envoy.ask(&listener, &play.request));
        let host = play.request.authority.clone().unwrap_or_default();
        jwks.asked(&host);
        let found = match envoy.ask(&listener, &play.request) {
            Ok(mut observed) => {
                observed.asked = Some(jwks.asked(&host));
                differences(&play.expect, &observed)
            }
            Err(error) => vec![error],
        };
        tally.ran(&format!("{}: {}", suite.name, case.id), found);
    }
    tally.finish("oracle");
}

/// What the native filters are expected to do, or why they can't be asked.
fn native<'a>(suite: &Suite, case: &'a Case) -> Result<&'a Value, String> {
    let expect = match &case.oracle {
        Oracle::Agrees => &case.expect,
        Oracle::Differs { expect, .. } => expect,
        Oracle::Skip(reason) => return Err(reason.clone()),
    };
    if suite.clock.is_some() {
        return Err("set clock".to_owned());
    }
    if !case.runs_in("oracle") {
        return Err("other tiers".to_owned());
    }
    if let Some(reason) = case.left_out {
        return Err(reason.to_owned());
    }
    Ok(expect)
}
