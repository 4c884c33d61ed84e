//! Parsing and validation of tokens.

use super::*;

fn token(header: &str, payload: &str) -> String {
    format!(
        "{}.{}.AA",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(payload)
    )
}

fn reason(header: &str, payload: &str) -> Option<Reason> {
    Token::parse(token(header, payload).as_bytes()).err()
}

#[test]
fn forms() {
    for (text, expected) in [
        ("", Reason::Malformed),
        ("a", Reason::Malformed),
        ("a.b", Reason::Malformed),
        ("a.b.", Reason::Malformed),
        (".b.c", Reason::Malformed),
        ("a.b.c.d", Reason::Malformed),
        ("a.b.c", Reason::HeaderEncoding),
        ("AA.b.c", Reason::HeaderSyntax),
    ] {
        assert_eq!(
            Token::parse(text.as_bytes()).unwrap_err(),
            expected,
            "{text}"
        );
    }
    let padded = token(r#"{"alg":"RS256"}"#, "{}").replace(".AA", ".AA==");
    assert_eq!(
        Token::parse(padded.as_bytes()).unwrap_err(),
        Reason::SignatureEncoding
    );
    let trailing_bits = token(r#"{"alg":"RS256"}"#, "{}").replace(".AA", ".AB");
    assert_eq!(
        Token::parse(trailing_bits.as_bytes()).unwrap_err(),
        Reason::SignatureEncoding
    );
    let huge = vec![b'a'; MAX_TOKEN + 1];
    assert_eq!(Token::parse(&huge).unwrap_err(), Reason::TokenTooLarge);
}

#[test]
fn headers() {
    for (header, expected) in [
        ("[]", Some(Reason::HeaderSyntax)),
        ("{}", Some(Reason::AlgorithmMissing)),
        (r#"{"alg":["RS256"]}"#, Some(Reason::AlgorithmMissing)),
        (r#"{"alg":"none"}"#, Some(Reason::AlgorithmUnsupported)),
        (r#"{"alg":"rs256"}"#, Some(Reason::AlgorithmUnsupported)),
        (r#"{"alg":"RS256","kid":1}"#, Some(Reason::KeyIdNotAString)),
        (
            r#"{"alg":"RS256","kid":null}"#,
            Some(Reason::KeyIdNotAString),
        ),
        (r#"{"alg":"RS256","crit":[]}"#, Some(Reason::CriticalHeader)),
        (
            r#"{"alg":"RS256","crit":null}"#,
            Some(Reason::CriticalHeader),
        ),
        (
            r#"{"alg":"RS256","b64":false}"#,
            Some(Reason::UnencodedPayload),
        ),
        (r#"{"alg":"RS256","b64":true}"#, None),
        (
            r#"{"alg":"RS256","alg":"RS256"}"#,
            Some(Reason::HeaderSyntax),
        ),
        (r#"{"alg":"RS256","kid":""}"#, None),
    ] {
        assert_eq!(reason(header, "{}"), expected, "{header}");
    }
}

#[test]
fn claim_types() {
    for (payload, expected) in [
        ("[]", Some(Reason::PayloadSyntax)),
        (r#"{"a":1,"a":1}"#, Some(Reason::PayloadSyntax)),
        (r#"{"iss":1}"#, Some(Reason::IssuerNotAString)),
        (r#"{"iss":null}"#, Some(Reason::IssuerNotAString)),
        (r#"{"sub":1}"#, Some(Reason::SubjectNotAString)),
        (r#"{"jti":1}"#, Some(Reason::IdNotAString)),
        (r#"{"aud":1}"#, Some(Reason::AudienceNotAString)),
        (r#"{"aud":["a",1]}"#, Some(Reason::AudienceNotAString)),
        (r#"{"aud":["a","b"]}"#, None),
        (r#"{"exp":"1"}"#, Some(Reason::ExpirationNotANumber)),
        (r#"{"exp":null}"#, Some(Reason::ExpirationNotANumber)),
        (r#"{"exp":-1}"#, Some(Reason::ExpirationOutOfRange)),
        (r#"{"exp":-0.5}"#, Some(Reason::ExpirationOutOfRange)),
        (r#"{"exp":18446744073709551615}"#, None),
        (
            r#"{"exp":18446744073709551616}"#,
            Some(Reason::ExpirationOutOfRange),
        ),
        (r#"{"exp":1e300}"#, Some(Reason::ExpirationOutOfRange)),
        (r#"{"exp":1.5e9}"#, None),
        (r#"{"nbf":true}"#, Some(Reason::NotBeforeNotANumber)),
        (r#"{"nbf":-1}"#, Some(Reason::NotBeforeOutOfRange)),
        (r#"{"iat":{}}"#, Some(Reason::IssuedAtNotANumber)),
        (r#"{"iat":-1}"#, Some(Reason::IssuedAtOutOfRange)),
    ] {
        assert_eq!(reason(r#"{"alg":"RS256"}"#, payload), expected, "{payload}");
    }
}

#[test]
fn validation() {
    let expected = |issuer: Option<&str>, audiences: &[&str]| Expected {
        issuer: issuer.map(str::to_owned),
        audiences: audiences.iter().map(|a| (*a).to_owned()).collect(),
        clock_skew: 60,
        ..Expected::default()
    };
    let any = expected(None, &[]);
    let api = expected(Some("i"), &["https://api/"]);
    for (payload, expected, now, reason) in [
        (r#"{"iss":"i","aud":"api"}"#, &api, 0, None),
        (r#"{"iss":"i","aud":["x","http://api"]}"#, &api, 0, None),
        (
            r#"{"iss":"i","aud":"api//"}"#,
            &api,
            0,
            Some(Reason::AudienceNotAllowed),
        ),
        (
            r#"{"iss":"i","aud":"API"}"#,
            &api,
            0,
            Some(Reason::AudienceNotAllowed),
        ),
        (r#"{"iss":"i"}"#, &api, 0, Some(Reason::AudienceNotAllowed)),
        (
            r#"{"iss":"i","aud":[]}"#,
            &api,
            0,
            Some(Reason::AudienceNotAllowed),
        ),
        (
            r#"{"iss":"I","aud":"api"}"#,
            &api,
            0,
            Some(Reason::IssuerUnknown),
        ),
        (r#"{"aud":"api"}"#, &api, 0, Some(Reason::IssuerUnknown)),
        (r#"{"exp":1000}"#, &any, 1060, None),
        (r#"{"exp":1000}"#, &any, 1061, Some(Reason::Expired)),
        (r#"{"exp":1000.9}"#, &any, 1061, Some(Reason::Expired)),
        (r#"{"exp":0}"#, &any, 61, Some(Reason::Expired)),
        (r#"{"exp":18446744073709551615}"#, &any, u64::MAX, None),
        (r#"{"nbf":1000}"#, &any, 940, None),
        (r#"{"nbf":1000}"#, &any, 939, Some(Reason::NotYetValid)),
        (
            r#"{"nbf":18446744073709551615}"#,
            &any,
            1,
            Some(Reason::NotYetValid),
        ),
        (r#"{"iat":18446744073709551615}"#, &any, 1, None),
    ] {
        let text = token(r#"{"alg":"RS256"}"#, payload);
        let token = Token::parse(text.as_bytes()).unwrap();
        assert_eq!(
            token.validate(expected, now).err(),
            reason,
            "{payload} {now}"
        );
    }
}

#[test]
fn limits_that_istio_does_not_have() {
    let must_end = Expected {
        require_expiration: true,
        ..Expected::default()
    };
    let an_hour = Expected {
        max_lifetime: Some(3600),
        ..Expected::default()
    };
    let access = Expected {
        media_type: Some("at+jwt".to_owned()),
        ..Expected::default()
    };
    let identity = Expected {
        media_type: Some("wit+jwt".to_owned()),
        ..Expected::default()
    };
    let any = Expected::default();
    let typed = |name: &str| format!(r#"{{"alg":"RS256","typ":{name}}}"#);
    let plain = r#"{"alg":"RS256"}"#.to_owned();
    for (header, payload, expected, reason) in [
        (&plain, "{}", &must_end, Some(Reason::ExpirationMissing)),
        (&plain, r#"{"exp":101}"#, &must_end, None),
        (&plain, "{}", &an_hour, Some(Reason::ExpirationMissing)),
        (&plain, r#"{"exp":3700}"#, &an_hour, None),
        (
            &plain,
            r#"{"exp":3701}"#,
            &an_hour,
            Some(Reason::LifetimeTooLong),
        ),
        (&plain, r#"{"exp":99}"#, &an_hour, Some(Reason::Expired)),
        (&typed("\"at+jwt\""), "{}", &access, None),
        (&typed("\"AT+JWT\""), "{}", &access, None),
        (&typed("\"application/at+jwt\""), "{}", &access, None),
        (&typed("\"Application/At+Jwt\""), "{}", &access, None),
        (
            &typed("\"JWT\""),
            "{}",
            &access,
            Some(Reason::TypeNotAllowed),
        ),
        (
            &typed("\"a/at+jwt\""),
            "{}",
            &access,
            Some(Reason::TypeNotAllowed),
        ),
        (
            &typed("[\"at+jwt\"]"),
            "{}",
            &access,
            Some(Reason::TypeNotAllowed),
        ),
        (&plain, "{}", &access, Some(Reason::TypeNotAllowed)),
        (&plain, "{}", &any, None),
        (&typed("\"dpop+jwt\""), "{}", &any, None),
        (
            &typed("\"wit+jwt\""),
            "{}",
            &any,
            Some(Reason::TypeNotAllowed),
        ),
        (
            &typed("\"Application/WIT+JWT\""),
            "{}",
            &any,
            Some(Reason::TypeNotAllowed),
        ),
        (
            &typed("\"wpt+jwt\""),
            "{}",
            &any,
            Some(Reason::TypeNotAllowed),
        ),
        (&typed("\"wit+jwt\""), "{}", &identity, None),
        (
            &typed("\"wpt+jwt\""),
            "{}",
            &identity,
            Some(Reason::TypeNotAllowed),
        ),
    ] {
        let text = token(header, payload);
        let token = Token::parse(text.as_bytes()).unwrap();
        assert_eq!(
            token.validate(expected, 100).err(),
            reason,
            "{header} {payload}"
        );
    }
}

/// Claims take several times their text, a signature doesn't.
#[test]
fn a_long_signature_weighs_what_it_is() {
    let size = |payload: &str, signature: usize| {
        let signed = token(r#"{"alg":"RS256"}"#, payload);
        let (signed, _) = signed.rsplit_once('.').unwrap();
        let text = format!("{signed}.{}", "A".repeat(signature));
        Token::parse(text.as_bytes()).unwrap().content.size()
    };
    let claims = |length: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(length));
    let least = size(&claims(3), 400);
    assert_eq!(size(&claims(3), 4400), least + 4000);
    assert_eq!(size(&claims(3 + 3000), 400), least + 4 * 4000);
}
