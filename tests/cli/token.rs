//! `token` and `keys`: what is minted verifies under what is published, by the filter's own core.

use std::fs;

use portcullis::{KeyStore, Known, NoHost, Node, Outcome, Policy, Request, Verifier, evaluate};
use serde_json::{Value, json};

use crate::support::now;
use crate::{folder, portcullis, said};

/// Whether a request with this token passes under these keys.
fn passes(keys: &Value, token: &str) -> bool {
    let configuration = json!({
        "jwtRules": [{ "issuer": "i", "audiences": ["a"], "jwks": keys.to_string() }],
        "authorizationPolicies": [{ "rules": [{
            "from": [{ "source": { "requestPrincipals": ["i/s"] } }],
            "when": [
                { "key": "request.auth.claims[groups]", "values": ["admin"] },
                { "key": "request.auth.claims[org][team]", "values": ["blue"] },
                { "key": "request.auth.claims[a.b]", "values": ["c"] },
            ],
        }] }],
    });
    let policy = Policy::load(configuration.to_string().as_bytes(), &Node::default())
        .unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let request = Request::new(vec![
        (":method".to_owned(), b"GET".to_vec()),
        (":path".to_owned(), b"/".to_vec()),
        (
            "authorization".to_owned(),
            format!("Bearer {token}").into_bytes(),
        ),
    ]);
    let known = Known {
        keys: &KeyStore::new(&policy, 0),
        waited: &[],
        checked: &[],
        verifier: &Verifier::default(),
        host: &NoHost,
        now: &now(),
    };
    matches!(evaluate(&policy, known, &request), Outcome::Forward(..))
}

const CLAIMS: [&str; 10] = [
    "--iss=i",
    "--sub=s",
    "--aud=a",
    "--aud=b",
    "--claim=groups=user",
    "--claim=groups=admin",
    "--claim=org.team=blue",
    "--claim=[a.b]=c",
    "--claim=count=3",
    "--claims={\"org\": {\"name\": \"n\"}}",
];

#[test]
fn what_is_minted_verifies() {
    let file = folder("minted").join("keys.json");
    let path = file.to_str().expect("UTF-8");
    for algorithm in [
        "ES256",
        "ES256K",
        "ES384",
        "EdDSA",
        "HS256",
        "HS512",
        "ML-DSA-44",
        "PS256",
        "RS256",
    ] {
        let (keys, status) = portcullis(&["keys", "generate", "--alg", algorithm, "--kid=k"]);
        assert_eq!(status, 0, "{algorithm}");
        fs::write(&file, &keys).expect("a file");
        let (token, status) = portcullis(&[&["token", "--key", path], &CLAIMS[..]].concat());
        assert_eq!(status, 0, "{algorithm}");
        let (public, status) = portcullis(&["keys", "public", path]);
        let (public, private): (Value, Value) = match algorithm.starts_with("HS") {
            // Nothing of a secret is public.
            true => {
                assert_eq!((public.as_str(), status), ("", 2));
                let keys: Value = serde_json::from_str(&keys).expect("JSON");
                (keys.clone(), keys)
            }
            false => (
                serde_json::from_str(&public).expect("JSON"),
                serde_json::from_str(&keys).expect("JSON"),
            ),
        };
        assert_eq!(public["keys"][0]["kid"], "k");
        assert_eq!(public["keys"][0]["alg"], algorithm);
        for secret in ["d", "p", "q", "priv"] {
            assert_eq!(public["keys"][0].get(secret), None, "{algorithm}");
        }
        assert!(private["keys"][0].to_string().len() > 50);
        assert!(passes(&public, token.trim()), "{algorithm}: {token}");
        let (other, _) = portcullis(&["keys", "generate", "--alg", algorithm]);
        fs::write(&file, &other).expect("a file");
        let (forged, _) = portcullis(&[&["token", "--key", path, "--kid=k"], &CLAIMS[..]].concat());
        // The set has no key of that name, so nothing is minted by mistake.
        assert_eq!(forged, "", "{algorithm}");
    }
}

#[test]
fn keys_rotate() {
    let folder = folder("rotated");
    let path = |name: &str| folder.join(name).to_str().expect("UTF-8").to_owned();
    let (old, _) = portcullis(&["keys", "generate"]);
    fs::write(path("old"), &old).expect("a file");
    let (both, _) = portcullis(&["keys", "generate", "--alg=EdDSA", "--before", &path("old")]);
    fs::write(path("both"), &both).expect("a file");
    let (public, _) = portcullis(&["keys", "public", &path("both")]);
    let public: Value = serde_json::from_str(&public).expect("JSON");
    assert_eq!(public["keys"].as_array().map(Vec::len), Some(2));
    for name in ["old", "both"] {
        let (token, _) = portcullis(&[&["token", "--key", &path(name)], &CLAIMS[..]].concat());
        assert!(passes(&public, token.trim()), "{name}");
    }
}

#[test]
fn a_token_is_shown() {
    let file = folder("shown").join("keys.json");
    let path = file.to_str().expect("UTF-8");
    let (keys, _) = portcullis(&["keys", "generate", "--kid=k"]);
    fs::write(&file, &keys).expect("a file");
    let mint = |arguments: &[&str]| {
        let (token, _) = portcullis(&[&["token", "--key", path], arguments].concat());
        portcullis(&["token", "decode", token.trim()])
    };
    let (shown, status) = mint(&[
        "--sub=alice",
        "--typ=at+jwt",
        "--expire=90m",
        "--not-before=-2h",
    ]);
    assert_eq!(status, 0);
    for part in [
        "\"sub\": \"alice\"",
        "\"alg\": \"ES256\"",
        "\"kid\": \"k\"",
        "\"typ\": \"at+jwt\"",
        "good until 20",
        ", in 1h",
        "good from 20",
        ", 2h ago",
        "not verified",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let (shown, _) = mint(&["--expire=never"]);
    assert!(shown.contains("good for ever"), "{shown}");
    for (token, expected) in [
        ("a.b", "three parts"),
        ("eyJlbmMiOiJBMjU2R0NNIn0.a.b.c.d", "encrypted (JWE"),
        ("opaque", "it has no dots"),
        ("é.b.c", "not base64url"),
        ("YQ.e30.", "not JSON"),
    ] {
        let (shown, said, status) = said(&["token", "decode", token]);
        assert!(said.contains(expected), "{token}: {said}");
        assert_eq!((shown.as_str(), status), ("", 1), "{token}");
    }
    let (shown, _) = portcullis(&["token", "decode", "e30.e30."]);
    assert!(shown.contains("not signed"), "{shown}");
}

#[test]
fn what_can_not_be_minted() {
    let file = folder("unminted").join("keys.json");
    let path = file.to_str().expect("UTF-8");
    let (keys, _) = portcullis(&["keys", "generate"]);
    fs::write(&file, &keys).expect("a file");
    for (arguments, expected) in [
        (&["--claim=a"][..], "NAME=VALUE"),
        (&["--claim=[a.b]c"], "NAME=VALUE"),
        (&["--claim=a=1", "--claim=a.b=1"], "is no object"),
        (&["--claims=[]"], "not an object"),
        (&["--claims={"], "not JSON"),
        (&["--expire=soon"], "write a time"),
        (&["--kid=other"], "no key in the set has the kid `other`"),
        (&["--alg=RS256"], "no private key that can sign"),
    ] {
        let (token, said, status) = said(&[&["token", "--key", path], arguments].concat());
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert_eq!((token.as_str(), status), ("", 2), "{arguments:?}");
    }
}
