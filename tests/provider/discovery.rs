//! Issuers that tell where their keys are.

use serde_json::json;

use super::stage::{A, FETCH_FAILED, Play, Scene, body, keys, passed, refused};
use crate::support::{mint, now};

const GOOD: &str = "an-issuer-tells";
const WRONG: &str = "an-issuer-tells-of-another";
const FORBIDDEN: &str = "an-issuer-tells-of-metadata";

pub fn scenes() -> Vec<Scene> {
    vec![
        scene(GOOD, |play| {
            let other = &play.stage.other;
            other.will("keys.test/of-an-issuer", [keys(&[A])]);
            metadata(play, &issuer(play.name), "http://keys.test/of-an-issuer");
            play.until("the metadata were right", || ask(play) == passed());
            assert_eq!(other.fetches()["keys.test/of-an-issuer"], 1);
        }),
        scene(WRONG, |play| {
            metadata(play, &issuer(GOOD), "http://keys.test/of-another");
            refuses(play, "keys.test/of-another");
        }),
        scene(FORBIDDEN, |play| {
            metadata(play, &issuer(play.name), "http://169.254.169.254/latest");
            refuses(play, "169.254.169.254/latest");
        }),
    ]
}

fn scene(name: &str, run: fn(&Play<'_>)) -> Scene {
    let host = format!("{name}.test");
    Scene::new(name, run)
        .rule(&json!({ "jwksUri": null, "issuer": issuer(name) }))
        .jwks(&json!({
            "cluster": "other",
            "clusters": [{ "host": host, "cluster": "provider" }],
        }))
}

fn issuer(name: &str) -> String {
    format!("http://{name}.test")
}

fn at(name: &str) -> String {
    format!("{name}.test/.well-known/openid-configuration")
}

fn metadata(play: &Play<'_>, issuer: &str, jwks_uri: &str) {
    let metadata = json!({ "issuer": issuer, "jwks_uri": jwks_uri });
    play.stage
        .provider
        .will(&at(play.name), [body(&metadata.to_string())]);
}

/// A token of the scene's issuer.
fn ask(play: &Play<'_>) -> (u16, String) {
    let claims = json!({ "iss": issuer(play.name), "sub": "alice", "exp": now() + 3600 });
    play.ask(&mint::token(&json!({ "kid": A, "claims": claims })))
}

/// The metadata are read, and lead nowhere.
fn refuses(play: &Play<'_>, uri: &str) {
    let metadata = || play.stage.provider.fetches().get(&at(play.name)).copied();
    let before = metadata().unwrap_or_default();
    play.until("the metadata are asked for", || {
        assert_eq!(ask(play), refused(FETCH_FAILED));
        metadata().unwrap_or_default() >= before + 2
    });
    assert_eq!(play.stage.other.fetches().get(uri), None);
}
