//! A token as people paste it.

use serde_json::Value;

/// Members of a provider's answer that may be what is meant (RFC 6749 section 5.1, OpenID Connect Core 3.1.3.3).
const MEMBERS: [&str; 3] = ["access_token", "id_token", "token"];

/// A token, and what was left out around it.
#[derive(Debug)]
pub(in crate::cli) struct Pasted {
    pub(in crate::cli) token: String,
    pub(in crate::cli) notes: Vec<String>,
}

impl Pasted {
    pub(in crate::cli) fn new(text: &str) -> Self {
        let mut notes = Vec::new();
        let mut token = text.trim().to_owned();
        if let Ok(Value::Object(answer)) = serde_json::from_str(&token) {
            let found = MEMBERS
                .iter()
                .find_map(|name| Some((name, answer.get(*name)?.as_str()?)));
            if let Some((name, value)) = found {
                notes.push(format!(
                    "this is a provider's answer: its `{name}` is taken for the token"
                ));
                token = value.trim().to_owned();
            }
        }
        if let Some(inner) = unquoted(&token) {
            notes.push("the quotes around the token are left out".to_owned());
            token = inner.trim().to_owned();
        }
        token = without_header(&token).to_owned();
        let whole: String = token.split_whitespace().collect();
        if whole != token && whole.contains('.') {
            notes.push(
                "blanks or line breaks in the token are left out: a proxy would refuse it with them"
                    .to_owned(),
            );
            token = whole;
        }
        Self { token, notes }
    }
}

fn unquoted(text: &str) -> Option<&str> {
    let quote = text
        .chars()
        .next()
        .filter(|first| "\"'`".contains(*first))?;
    text.strip_prefix(quote)?.strip_suffix(quote)
}

/// The token of a header's line, or of its value.
fn without_header(text: &str) -> &str {
    let value = match text.split_once(':') {
        Some((name, value)) if name.eq_ignore_ascii_case("authorization") => value.trim(),
        _ => text,
    };
    match value.split_once(char::is_whitespace) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_around_a_token_is_left_out() {
        for (text, token, notes) in [
            (" a.b.c\n", "a.b.c", 0),
            ("Bearer a.b.c", "a.b.c", 0),
            ("Authorization: bearer  a.b.c", "a.b.c", 0),
            ("\"a.b.c\"", "a.b.c", 1),
            ("'Bearer a.b.c'", "a.b.c", 1),
            ("a.b\n .c", "a.b.c", 1),
            (r#"{"access_token":"a.b.c","id_token":"x"}"#, "a.b.c", 1),
            (r#"{"id_token":"a.b.\nc"}"#, "a.b.c", 2),
            (r#"{"other":1}"#, r#"{"other":1}"#, 0),
            ("two words", "two words", 0),
            ("\"", "\"", 0),
            ("", "", 0),
        ] {
            let pasted = Pasted::new(text);
            assert_eq!(
                (pasted.token.as_str(), pasted.notes.len()),
                (token, notes),
                "{text}"
            );
        }
    }
}
