//! Keys that are there: rotated, withdrawn, and kept through whatever the provider says instead.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use super::stage::{A, B, NO_KEY, Play, Scene, body, keys, passed, refused, status, stray, token};
use super::vectors::{byte_order_mark, gzip, html, thousand_keys, with_header};
use crate::support::mint;
use crate::support::server::{Deed, Response};

pub fn scenes() -> Vec<Scene> {
    let often = json!({ "cacheDuration": "1s", "refetchInterval": "1s" });
    let seldom = json!({ "refetchInterval": "1h" });
    let mut scenes = vec![
        Scene::new("rotation-under-load", rotation)
            .jwks(&often)
            .provider([keys(&[A])]),
        Scene::new("an-outage", |play| {
            play.while_fetched(1, &token(A), &passed());
            play.provider_will([Deed::Close]);
            play.while_fetched(3, &token(A), &passed());
            play.provider_will([keys(&[B])]);
            play.until("the new key is there", || play.ask(&token(B)) == passed());
            play.until("the old key is gone", || {
                play.ask(&token(A)) == refused(NO_KEY)
            });
        })
        .jwks(&often),
        Scene::new("tokens-of-no-key", |play| {
            let (good, stray) = (token(A), stray());
            assert_eq!(play.ask(&good), passed());
            let said = play.ask_at_once(50, &stray, || {});
            assert!(said.iter().all(|said| *said == refused(NO_KEY)), "{said:?}");
            for _ in 0..200 {
                assert_eq!(play.ask(&stray), refused(NO_KEY));
                assert_eq!(play.ask(&good), passed());
            }
            assert_eq!(play.fetches(), 2, "one at load, and one early");
        })
        .jwks(&seldom),
        Scene::new("tokens-of-no-key-in-an-outage", |play| {
            assert_eq!(play.ask(&token(A)), passed());
            play.provider_will([Deed::Hang]);
            let stray = stray();
            let said = play.ask_at_once(50, &stray, || {});
            assert!(said.iter().all(|said| *said == refused(NO_KEY)), "{said:?}");
            assert_eq!(play.ask(&token(A)), passed());
            assert_eq!(play.fetches(), 2, "one at load, and one early");
        })
        .rule(&json!({ "timeout": "1s" }))
        .jwks(&seldom),
        Scene::new("a-slip-is-no-withdrawal", |play| {
            play.while_fetched(4, &token(A), &passed());
        })
        .jwks(&often)
        .provider([keys(&[A]), body("{\"keys\":[]}"), keys(&[A])]),
        Scene::new("a-withdrawn-key", |play| {
            assert_eq!(play.ask(&token(A)), passed());
            play.provider_will([keys(&[B])]);
            play.until("the withdrawn key is refused", || {
                assert_eq!(play.ask(&token(B)), passed());
                play.ask(&token(A)) == refused(NO_KEY)
            });
        })
        .jwks(&often),
    ];
    let too_long = format!(
        "{}{}",
        mint::public_set(&json!([B])),
        " ".repeat(256 * 1024)
    );
    let truncated = &mint::public_set(&json!([B]))[..50];
    let instead = [
        ("html", html()),
        ("truncated", body(truncated)),
        ("nothing", body("")),
        ("another-document", body("{\"error\":\"try later\"}")),
        ("too-long", body(&too_long)),
        ("a-thousand-keys", thousand_keys()),
        ("gzip", gzip(&[B])),
        ("byte-order-mark", byte_order_mark(&[B])),
        ("redirect", redirect()),
        ("no-content", Deed::Answer(Response::new(204, ""))),
        ("error", status(500)),
        ("cut", cut()),
        ("silence", Deed::Hang),
    ];
    scenes.extend(instead.map(|(name, deed)| {
        Scene::new(&format!("{name}-in-place-of-keys"), |play| {
            play.while_fetched(2, &token(A), &passed());
        })
        .rule(&json!({ "timeout": "1s" }))
        .jwks(&often)
        .provider([keys(&[A]), deed])
    }));
    scenes.push(
        Scene::new("max-age", |play| {
            play.while_fetched(2, &token(A), &passed());
        })
        .jwks(&json!({ "minCacheDuration": "1s" }))
        .provider([with_header(&[A], "cache-control", "public, max-age=1")]),
    );
    scenes
}

/// From one key to another, with both for a while: no token is refused that is signed with a key
/// that is published.
fn rotation(play: &Play<'_>) {
    let (over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let signer = Mutex::new(A);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let kid = *signer.lock().expect("the signer");
                    let said = play.ask(&token(kid));
                    assert_eq!(said, passed(), "{kid}");
                    asked.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let some_more = || {
            let before = asked.load(Ordering::SeqCst);
            play.until("the load goes on", || {
                asked.load(Ordering::SeqCst) >= before + 50
            });
        };
        some_more();
        // No answer may be on its way that knows only of the old key.
        play.hold();
        let before = play.fetches();
        play.until("a refresh", || play.fetches() > before);
        play.provider_will([keys(&[A, B])]);
        play.release();
        *signer.lock().expect("the signer") = B;
        some_more();
        play.provider_will([keys(&[B])]);
        play.until("the old key is refused", || {
            play.ask(&token(A)) == refused(NO_KEY)
        });
        some_more();
        over.store(true, Ordering::SeqCst);
    });
}

fn redirect() -> Deed {
    let body = mint::public_set(&json!([B]));
    Deed::Answer(Response::new(302, body).with("location", "http://an-outage.test/keys"))
}

fn cut() -> Deed {
    Deed::Cut(Response::new(200, mint::public_set(&json!([B]))))
}
