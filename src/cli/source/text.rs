//! Text out of the bytes of a file.

use super::Unreadable;

/// The text, or what can be read of it and what isn't text.
pub(super) fn decoded(bytes: Vec<u8>) -> Result<String, (String, Unreadable)> {
    if let Some(text) = utf_16(&bytes) {
        let unreadable = Unreadable {
            span: 0..0,
            message: "this is UTF-16, not UTF-8: save the file as UTF-8".to_owned(),
        };
        return Err((text, unreadable));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let byte = bytes.get(at).copied().unwrap_or_default();
        let text = String::from_utf8_lossy(bytes).into_owned();
        let unreadable = Unreadable {
            span: at..at + char::REPLACEMENT_CHARACTER.len_utf8(),
            message: format!(
                "not UTF-8: byte {} of the file is 0x{byte:02X}: save the file as UTF-8",
                at + 1
            ),
        };
        (text, unreadable)
    })
}

/// What is UTF-16 by its byte order mark, or by the zeros that every other byte of ASCII has there.
fn utf_16(bytes: &[u8]) -> Option<String> {
    let is_big = match *bytes {
        [0xFE, 0xFF, ..] => true,
        [0xFF, 0xFE, ..] => false,
        [0, first, ..] if first != 0 => true,
        [first, 0, second, ..] if first != 0 && second != 0 => false,
        _ => return None,
    };
    let (pairs, _) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|pair| match is_big {
        true => u16::from_be_bytes(*pair),
        false => u16::from_le_bytes(*pair),
    });
    let letters = char::decode_utf16(units);
    let text: String = letters
        .map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    Some(text.trim_start_matches('\u{feff}').to_owned())
}
