//! What is odd about a token, in words, and what to do about it.

use serde_json::Value;

/// Later than any time in seconds that a token has, and earlier than any in milliseconds.
const MILLISECONDS: f64 = 1e11;

/// What a look at a token tells beyond the reason for which it is refused.
pub(in crate::cli) fn remarks(
    token: &[u8],
    header: Option<&Value>,
    claims: Option<&Value>,
) -> Vec<String> {
    let mut remarks = Vec::new();
    let mut say = |is_so: bool, remark: &str| {
        if is_so {
            remarks.push(remark.to_owned());
        }
    };
    let has = |letters: &[u8]| token.iter().any(|byte| letters.contains(byte));
    let parts = token.split(|byte| *byte == b'.').count();
    let is_encrypted = parts == 5 || header.is_some_and(|header| header.get("enc").is_some());
    say(
        is_encrypted,
        "it is encrypted (JWE, five parts), so only whom it is for can read it: have the provider issue a \
         signed one; Auth0 does once the client asks for an `audience`",
    );
    say(
        parts == 1 && !token.is_empty(),
        "it has no dots, so it is no JWT but a word that only the provider can look up: have the provider \
         issue JWTs as access tokens",
    );
    say(
        !is_encrypted && !matches!(parts, 1 | 3),
        "a signed JWT has three parts with a dot between them: perhaps a part is cut off, or there is too much",
    );
    say(
        header.is_some_and(|header| header.get("zip").is_some()),
        "its claims are compressed (`zip`), which signed tokens can't be (RFC 7515): have the provider leave \
         that out",
    );
    say(
        has(b"="),
        "it is padded with `=`, which base64url in tokens is not (RFC 7515 section 2)",
    );
    say(
        has(b"+/"),
        "it has `+` or `/` in it: it was encoded as base64, not as base64url (RFC 7515 section 2)",
    );
    say(
        has(b"\"'`"),
        "there are quotes in it, which don't belong to a token",
    );
    say(
        token.iter().any(u8::is_ascii_whitespace),
        "there are blanks or line breaks in it, which don't belong to a token",
    );
    for name in ["exp", "nbf", "iat"] {
        let time = claims.and_then(|claims| claims.get(name)?.as_f64());
        say(
            time.is_some_and(|time| time > MILLISECONDS),
            &format!(
                "`{name}` is in milliseconds, it seems; it counts seconds (RFC 7519 section 2)"
            ),
        );
    }
    remarks
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_odd_is_said() {
        let (plain, compressed) = (json!({ "alg": "ES256" }), json!({ "zip": "DEF" }));
        let (good, late) = (
            json!({ "exp": 1_795_931_759 }),
            json!({ "exp": 1_795_931_759_000_u64 }),
        );
        for (token, header, claims, expected) in [
            ("a.b.c", &plain, &good, None),
            ("a.b.c.d.e", &plain, &good, Some("encrypted (JWE")),
            ("a.b", &plain, &good, Some("three parts")),
            ("opaque", &plain, &good, Some("no dots")),
            ("a.b.c", &compressed, &good, Some("compressed (`zip`)")),
            ("a==.b.c", &plain, &good, Some("padded")),
            ("a+.b.c", &plain, &good, Some("base64url")),
            ("\"a.b.c\"", &plain, &good, Some("quotes")),
            ("a.b .c", &plain, &good, Some("blanks")),
            ("a.b.c", &plain, &late, Some("`exp` is in milliseconds")),
        ] {
            let remarks = remarks(token.as_bytes(), Some(header), Some(claims));
            assert_eq!(
                remarks.len(),
                usize::from(expected.is_some()),
                "{remarks:?}"
            );
            let is_said = |part: &str| remarks.iter().any(|remark| remark.contains(part));
            assert!(expected.is_none_or(is_said), "{remarks:?}");
        }
    }
}
