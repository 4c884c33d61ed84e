//! The scenarios of `tests/vectors/scenarios/jwks_fetch.json`, by their ids.

use serde_json::{Value, json};

use super::stage::{
    A, B, FETCH_FAILED, NO_KEY, Play, Scene, body, keys, passed, refused, status, token, token_with,
};
use crate::support::mint;
use crate::support::server::{Deed, Response};

pub fn scenes() -> Vec<Scene> {
    let often = json!({ "cacheDuration": "1s" });
    vec![
        Scene::new("jwks-cache-hit", |play| {
            let good = token(A);
            assert!((0..101).all(|_| play.ask(&good) == passed()));
            assert_eq!(play.fetches(), 1);
        }),
        Scene::new("jwks-500-no-cache", fails).provider([status(500)]),
        Scene::new("jwks-500-with-stale", |play| {
            play.while_fetched(2, &token(A), &passed());
            // Not for ever.
            play.until("the old keys expire", || {
                play.ask(&token(A)) == refused(FETCH_FAILED)
            });
        })
        .jwks(&json!({ "cacheDuration": "1s", "staleIfError": "10s" }))
        .provider([keys(&[A]), status(500)]),
        Scene::new("jwks-html-200", fails).provider([html()]),
        Scene::new("jwks-empty-set", |play| {
            assert_eq!(play.ask(&token(A)), passed());
            play.until("the keys are withdrawn", || {
                let said = play.ask(&token(A));
                assert!([passed(), refused(NO_KEY)].contains(&said), "{said:?}");
                said != passed()
            });
            assert!(play.fetches() >= 3, "not confirmed");
        })
        .jwks(&often)
        .provider([keys(&[A]), body("{\"keys\":[]}")]),
        Scene::new("jwks-invalid-json-refresh", |play| {
            play.while_fetched(3, &token(A), &passed());
        })
        .jwks(&often)
        .provider([keys(&[A]), body("{\"keys\":[")]),
        // More keys than a request could be tried with are no key set.
        Scene::new("jwks-thousand-keys", |play| {
            let no_kid = token_with(A, &json!({ "kid": null }));
            assert_eq!(play.ask(&no_kid), refused(FETCH_FAILED));
        })
        .provider([thousand_keys()]),
        Scene::new("jwks-rotation-new-kid", |play| {
            assert_eq!(play.ask(&token(A)), passed());
            assert_eq!(play.ask(&token(B)), passed());
            assert_eq!(play.fetches(), 2);
        })
        .provider([keys(&[A]), keys(&[A, B])]),
        Scene::new("jwks-cross-issuer-key", |play| {
            assert_eq!(play.ask(&token(A)), passed());
            assert_eq!(play.ask(&token(B)), refused(NO_KEY));
        })
        .provider([keys(&[A])])
        .second_rule(&json!({
            "issuer": "https://another.test",
            "jwks": mint::public_set(&json!([B])),
        })),
        // Where the provider's cluster leads everywhere, only what is configured is asked for.
        Scene::new("jwks-iss-to-url", |play| {
            for issuer in [
                "http://169.254.169.254/x",
                "http://jwks-iss-to-url.evil.test",
            ] {
                let claims = json!({ "iss": issuer, "sub": "alice" });
                let token = mint::token(&json!({ "kid": A, "claims": claims }));
                assert_eq!(play.ask(&token), refused("Jwt issuer is not configured"));
            }
            assert_eq!(play.ask(&token(A)), passed());
            let asked = play.stage.provider.fetches();
            let hosts = asked
                .keys()
                .filter(|uri| uri.contains("169.254") || uri.contains("evil"));
            assert_eq!(hosts.count(), 0, "{asked:?}");
        }),
        Scene::new("jwks-cache-control", |play| {
            let good = token(A);
            assert!((0..50).all(|_| play.ask(&good) == passed()));
            assert_eq!(play.fetches(), 1);
        })
        .provider([with_header(&[A], "cache-control", "no-store")]),
        Scene::new("jwks-gzip", fails).provider([gzip(&[A])]),
        Scene::new("jwks-utf8-bom", fails).provider([byte_order_mark(&[A])]),
    ]
}

fn fails(play: &Play<'_>) {
    assert_eq!(play.ask(&token(A)), refused(FETCH_FAILED));
}

pub fn html() -> Deed {
    let page = "<!doctype html><title>Sign in</title>";
    Deed::Answer(Response::new(200, page).with("content-type", "text/html"))
}

/// One key of this set is good; but who would look for it among so many?
pub fn thousand_keys() -> Deed {
    let key = |index: usize| match index {
        0 => mint::public_key(A),
        _ => json!({ "kty": "EC", "kid": index.to_string() }),
    };
    let set: Vec<Value> = (0..1000).map(key).collect();
    body(&json!({ "keys": set }).to_string())
}

pub fn with_header(kids: &[&str], name: &str, value: &str) -> Deed {
    match keys(kids) {
        Deed::Answer(response) => Deed::Answer(response.with(name, value)),
        other => other,
    }
}

/// A key set in gzip's format, though nobody asked for that (RFC 1952, RFC 1951 section 3.2.4).
pub fn gzip(kids: &[&str]) -> Deed {
    let plain = mint::public_set(&json!(kids)).into_bytes();
    let length = u16::try_from(plain.len()).expect("a short set");
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    bytes.push(1);
    bytes.extend(length.to_le_bytes());
    bytes.extend((!length).to_le_bytes());
    bytes.extend(&plain);
    bytes.extend(crc32(&plain).to_le_bytes());
    bytes.extend(u32::from(length).to_le_bytes());
    Deed::Answer(Response::new(200, bytes).with("content-encoding", "gzip"))
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            sum >> 1 ^ (sum & 1).wrapping_mul(0xedb8_8320)
        })
    })
}

pub fn byte_order_mark(kids: &[&str]) -> Deed {
    body(&format!("\u{feff}{}", mint::public_set(&json!(kids))))
}
