//! What a text is that should be a key set, or should tell where one is, and what to write instead.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::key;
use crate::json;

pub(super) const NO_KEY_SET: &str = "no key set: expected {\"keys\": [...]}, or PEM";

/// How much of a text is shown, in characters.
const SHOWN: usize = 128;

/// A text that others wrote, for one line of a log.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
    }
}

/// The text of an answer, or of what is written.
pub(super) fn text(bytes: &[u8]) -> Result<&str, &'static str> {
    const GZIP: &[u8] = &[0x1f, 0x8b];
    match str::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(_) if bytes.starts_with(GZIP) => Err(
            "it is compressed (gzip), though nobody asked for that: have the server send it plain",
        ),
        Err(_) => Err("not UTF-8; or it is compressed, though nobody asked for that"),
    }
}

/// A JSON document.
pub(super) fn document(text: &str) -> Result<Value, String> {
    json::parse(text.as_bytes()).map_err(|error| {
        let start = text.trim_ascii_start();
        if start.is_empty() {
            "it is empty".to_owned()
        } else if start.starts_with('<') {
            "it is a web page (HTML or XML)".to_owned()
        } else if start.starts_with('\u{feff}') {
            "it begins with a byte order mark, which JSON forbids".to_owned()
        } else {
            format!("not JSON: {error}")
        }
    })
}

/// What stands there instead of JSON that should be a key set. Nothing of it is repeated: it may be a
/// secret.
pub(super) fn instead(text: &str) -> Option<String> {
    let text = text.trim_ascii();
    if text.is_empty() || text.starts_with(['{', '[', '<', '\u{feff}']) {
        return None;
    }
    if text.starts_with("https://") || text.starts_with("http://") {
        return Some("this is an address, not a key set: write it in `jwksUri`".to_owned());
    }
    let lines = text.split_ascii_whitespace().collect::<String>();
    let der = STANDARD.decode(lines).unwrap_or_default();
    Some(match key::label(&der) {
        Some(label) => format!(
            "this is the inside of a PEM block: write `-----BEGIN {label}-----` in a line \
             above it and `-----END {label}-----` below"
        ),
        None => format!(
            "{NO_KEY_SET}; a shared secret is {{\"keys\": [{{\"kty\": \"oct\", \"k\": ...}}]}}, with \
             its base64url for `k`"
        ),
    })
}

/// What a document is that has no list of keys.
pub(super) fn no_key_set(document: &Value) -> &'static str {
    let has = |name| document.get(name).is_some();
    if has("jwks_uri") {
        "this is an issuer's metadata, not a key set: name its `jwks_uri`; or leave `jwksUri` out, and \
         it is found by the issuer's name"
    } else if has("kty") {
        "this is one key, not a set: write {\"keys\": [...]} around it"
    } else if document.is_array() {
        "this is a list, not a key set: write {\"keys\": [...]} around its items"
    } else {
        NO_KEY_SET
    }
}

#[cfg(test)]
mod tests {
    use super::super::KeySet;
    use super::*;

    /// Keycloak's "Public key" button gives the first.
    #[test]
    fn what_stands_there_instead_of_a_key_set() {
        let bare = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        let secret = "correct horse battery staple";
        for (text, expected) in [
            (
                bare,
                "write `-----BEGIN PUBLIC KEY-----` in a line above it",
            ),
            ("https://idp.test/keys", "write it in `jwksUri`"),
            (secret, "a shared secret is {\"keys\": [{\"kty\": \"oct\""),
            ("c2VjcmV0c2VjcmV0", "a shared secret is {\"keys\""),
            ("", "it is empty"),
            (
                "<html>-----BEGIN PUBLIC KEY-----</html>",
                "it is a web page",
            ),
            ("\u{feff}{}", "it begins with a byte order mark"),
            (
                r#"{"issuer":"https://idp.test","jwks_uri":"https://idp.test/keys"}"#,
                "this is an issuer's metadata, not a key set: name its `jwks_uri`",
            ),
            (
                r#"{"kty":"oct","k":"x"}"#,
                "write {\"keys\": [...]} around it",
            ),
            (r#"[{"kty":"oct"}]"#, "around its items"),
            (
                "{\"keys\": [}",
                "not JSON: expected value at line 1 column 11",
            ),
        ] {
            let error = KeySet::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(
                !error.contains("horse") && !error.contains("c2Vj"),
                "{error}"
            );
        }
        for (bytes, expected) in [
            (&[0x1f, 0x8b, 8, 0][..], "it is compressed (gzip)"),
            (&[0xff], "not UTF-8"),
        ] {
            let error = KeySet::parse_fetched(bytes).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn what_others_wrote_is_shown_on_one_line_and_not_whole() {
        assert_eq!(shown("k1"), "\"k1\"");
        assert_eq!(shown("a\nb\"\u{1b}"), r#""a\nb\"\u{1b}""#);
        assert_eq!(
            shown(&"\u{e9}".repeat(129)),
            format!("{:?}...", "\u{e9}".repeat(128))
        );
    }
}
