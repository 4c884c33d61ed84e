//! The key store in a real Envoy with two workers, and an identity provider that misbehaves on
//! command.
#![cfg(not(target_family = "wasm"))]

mod support;

#[path = "provider/cold.rs"]
mod cold;
#[path = "provider/discovery.rs"]
mod discovery;
#[path = "provider/refresh.rs"]
mod refresh;
#[path = "provider/reload.rs"]
mod reload;
#[path = "provider/stage.rs"]
mod stage;
#[path = "provider/vectors.rs"]
mod vectors;

use stage::{Scene, play};
use support::case::text;

#[test]
fn workers_that_share() {
    let scenes = [
        vectors::scenes(),
        cold::scenes(),
        refresh::scenes(),
        discovery::scenes(),
    ];
    play("provider, shared keys", "portcullis", &scenes.concat());
}

#[test]
fn workers_that_do_not_share() {
    play("provider, keys of each worker", "", &cold::scenes_apart());
}

/// What the scenarios demand is played somewhere.
#[test]
fn every_scenario_has_its_scene() {
    let file = support::read_json("tests/vectors/scenarios/jwks_fetch.json");
    let scenarios = file["scenarios"].as_array().expect("a list").iter();
    let wanted: Vec<&str> = scenarios.map(|each| text(&each["id"])).collect();
    let scenes: Vec<Scene> = vectors::scenes();
    let mut played: Vec<&str> = scenes.iter().map(|scene| scene.name.as_str()).collect();
    played.push(reload::SCENARIO);
    assert!(!wanted.is_empty());
    for id in wanted {
        assert!(played.contains(&id), "{id} is not played");
    }
}
