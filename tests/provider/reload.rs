//! Another configuration for a running Envoy.

use serde_json::json;

use super::stage::{A, FETCH_FAILED, Play, Scene, Stage, passed, refused, token};

/// The scenario that is played here.
pub const SCENARIO: &str = "jwks-vm-restart";

#[test]
fn jwks_vm_restart() {
    let scene = |leeway: &str| Scene::new(SCENARIO, |_| {}).rule(&json!({ "clockSkew": leeway }));
    let stage = Stage::start(&[scene("1s")], "portcullis", true);
    assert_eq!(play(&stage).ask(&token(A)), passed());
    for leeway in ["2s", "3s", "4s"] {
        stage.envoy.replace(&[scene(leeway).listener("portcullis")]);
        assert!((0..10).all(|_| play(&stage).ask(&token(A)) == passed()));
    }
    assert_eq!(play(&stage).fetches(), 1, "the shared keys are still there");

    // Another VM shares nothing with the first.
    stage.envoy.replace(&[scene("1s").listener("another")]);
    assert!((0..10).all(|_| play(&stage).ask(&token(A)) == passed()));
    assert_eq!(play(&stage).fetches(), 2);
}

/// Whoever fetches for them may be gone with the old configuration.
#[test]
fn requests_that_wait_outlive_their_configuration() {
    for vm_id in ["portcullis", ""] {
        let scene = |leeway: &str| {
            let rule = json!({ "clockSkew": leeway, "timeout": "2s" });
            Scene::new(SCENARIO, |_| {}).rule(&rule).held()
        };
        let stage = Stage::start(&[scene("1s")], vm_id, true);
        let play = play(&stage);
        let said = play.ask_at_once(10, &token(A), || {
            play.until("all wait", || play.active() == 10);
            stage.envoy.replace(&[scene("2s").listener(vm_id)]);
            play.release();
        });
        let good = [passed(), refused(FETCH_FAILED)];
        assert!(said.iter().all(|said| good.contains(said)), "{said:?}");
        play.until("the keys are there", || play.ask(&token(A)) == passed());
    }
}

fn play(stage: &Stage) -> Play<'_> {
    Play {
        stage,
        name: SCENARIO,
    }
}
