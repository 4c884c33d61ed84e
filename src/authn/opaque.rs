//! What can't be a JWT, and so may be left to whoever reads it behind us (`nonJwt: ignore`).

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// As lenient as any reader of tokens is.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How a JOSE header begins in base64url: `{"`, or `{` and a blank.
const HEADER: &[u8] = b"ey";

/// Whether nobody takes this for a JWT: it is one bearer token of RFC 6750 section 2.1, with one dot at most,
/// where each form of a JWT has two or more (RFC 7515 section 7.1, RFC 7516 section 7.1, RFC 7519 section 6.1).
/// Nor does it begin like one, and neither part of it is an object: some only decode what stands behind the
/// first dot.
pub(super) fn is_opaque(text: &[u8]) -> bool {
    let dots = text.iter().filter(|byte| **byte == b'.').count();
    is_bearer_token(text)
        && dots < 2
        && !text.starts_with(HEADER)
        && !text.split(|byte| *byte == b'.').any(is_object)
}

/// `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`
fn is_bearer_token(text: &[u8]) -> bool {
    let text = without_padding(text);
    let is_legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    !text.is_empty() && text.iter().all(is_legal)
}

/// Whether this decodes to what begins like an object of JSON, also as lenient parsers read it.
fn is_object(part: &[u8]) -> bool {
    let standard = |byte: &u8| match byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => *byte,
    };
    let mut part: Vec<u8> = without_padding(part).iter().map(standard).collect();
    // One digit more is less than a byte.
    if part.len() % 4 == 1 {
        part.pop();
    }
    let decoded = LENIENT.decode(part).unwrap_or_default();
    let inner = decoded.trim_ascii_start().strip_prefix(b"{");
    let first = inner.and_then(|inner| inner.trim_ascii_start().first());
    first.is_some_and(|first| b"\"'}".contains(first))
}

fn without_padding(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte != b'=');
    text.get(..end.map_or(0, |end| end + 1)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_no_jwt() {
        for (text, expected) in [
            ("a", true),
            ("2YotnFZFEjr1zCsicMWpAA", true),
            ("mF_9.B5f-4.1JqM", false),
            ("ya29.a0AfH6SMBx-y_z", true),
            ("gho_16C7e42F292c6912E7710c838347Ae178B4a", true),
            ("a+b/c~d==", true),
            (".", true),
            ("a.", true),
            (".a", true),
            // Each form of a JWT, whole or cut off.
            ("eyJhbGciOiJub25lIn0.e30.", false),
            ("eyJhbGciOiJub25lIn0.e30", false),
            ("eyJhbGciOiJub25lIn0", false),
            ("eyJhbGciOiJub25lIn0==", false),
            ("ewogImFsZyI6Im5vbmUifQ.e30", false),
            ("a.b.c", false),
            ("a..c", false),
            ("..", false),
            ("a.b.c.d.e", false),
            // A part that is an object: `{}`, ` {"a":1}`, `{'a':1}`, in either alphabet.
            ("a.e30", false),
            ("e30.a", false),
            ("e30=", false),
            ("x.IHsiYSI6MX0", false),
            ("x.eydhJzoxfQ", false),
            ("x.e30A", false),
            ("x.eyI_Ijox", false),
            ("x.eyI/Ijox", false),
            // `{` and something else is none.
            ("x.e2Fi", true),
            // What else could hide one.
            ("", false),
            ("==", false),
            ("a=b", false),
            (" a", false),
            ("a ", false),
            ("a b", false),
            ("a,b", false),
            ("a\tb", false),
            ("\"a\"", false),
            ("a%2Eb%2Ec", false),
            ("a;b", false),
            ("{\"payload\":\"e30\"}", false),
            ("a\u{2024}b", false),
        ] {
            assert_eq!(is_opaque(text.as_bytes()), expected, "{text:?}");
        }
    }
}
