//! Secrets in text: private members of JWKs, PEM private keys, tokens, and passwords in addresses.

use std::borrow::Cow;
use std::ops::Range;

/// Members of a JWK that nobody else may know (RFC 7518 sections 6.2.2, 6.3.2 and 6.4, RFC 8037, RFC 9964). `r`
/// and `t` are those of further primes, in `oth`.
const PRIVATE: [&str; 10] = ["d", "dp", "dq", "k", "p", "priv", "q", "qi", "r", "t"];
/// What a text says that has keys in it.
const OF_KEYS: [&str; 4] = ["kty", "jwks", "keys", "oct"];
/// Where the whole value may be a secret that somebody took for a key set.
const KEY_SETS: [&str; 3] = ["jwks", "jwksUri", "jwks_uri"];
/// A value of such a member is a secret in any text if it is as long as this.
const LONG: usize = 20;
/// What is shorter, in the place of an address, is a name.
const SHORT: usize = 8;
/// How base64url of a token's header starts: `{"`, `{ "`, and `{` at the end of a line.
const HEADERS: [&str; 5] = ["eyJ", "eyA", "ewo", "ewk", "ew0"];
/// As much of a token as is shown.
const START: usize = 10;
/// No token is shorter: `{"alg":"x"}` has sixteen letters alone.
const SHORTEST_TOKEN: usize = 18;
/// What stands for a secret that a message quotes.
const HIDDEN: &str = "***";
/// Shorter secrets are words that stand everywhere.
const SHORTEST: usize = 6;

/// Where the secrets of a text are, in order.
#[derive(Debug, Default)]
pub(in crate::cli) struct Secrets(Vec<Range<usize>>);

impl Secrets {
    /// Those of a configuration, a key set, or whatever a file holds.
    pub(in crate::cli) fn of_source(text: &str) -> Self {
        let has_keys = OF_KEYS.iter().any(|word| text.contains(word));
        Self::found(text, |member| {
            let written = text.get(member.value.clone()).unwrap_or_default().trim();
            match PRIVATE.contains(&member.name) {
                true => has_keys || written.len() >= LONG,
                false => !is_known(member.name, written),
            }
        })
    }

    /// Those of what we say ourselves, which may quote something.
    pub(in crate::cli) fn of_message(text: &str) -> Self {
        Self::found(text, |member| {
            member.is_in_json && PRIVATE.contains(&member.name)
        })
    }

    fn found(text: &str, is_secret: impl Fn(&Member<'_>) -> bool) -> Self {
        let mut found = Vec::new();
        tokens(text, &mut found);
        blocks(text, &mut found);
        let members = members(text).filter(|member| is_secret(member));
        found.extend(members.map(|member| member.value));
        passwords(text, &mut found);
        found.retain(|range| !range.is_empty());
        found.sort_unstable_by_key(|range| (range.start, range.end));
        Self(found)
    }

    /// Those that begin before a place and end behind another.
    pub(in crate::cli) fn within(
        &self,
        part: &Range<usize>,
    ) -> impl Iterator<Item = &Range<usize>> {
        let touches = move |range: &&Range<usize>| range.start < part.end && part.start < range.end;
        // Lines are short, and secrets few.
        self.0.iter().filter(touches)
    }

    /// A message without the secrets of the text that it is about.
    pub(in crate::cli) fn unsaid(&self, text: &str, message: &str) -> String {
        unsaid(&self.words(text), message)
    }

    /// The secrets themselves, for texts that quote them.
    pub(in crate::cli) fn words<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let words = self.0.iter().filter_map(|range| text.get(range.clone()));
        let words = words.flat_map(|word| word.split(char::is_whitespace));
        words.filter(|word| word.len() >= SHORTEST).collect()
    }

    /// The text with stars in the place of its secrets, so that what stands behind them stays where it is.
    pub(in crate::cli) fn masked<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.0.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut masked = String::with_capacity(text.len());
        let mut secrets = self.0.iter().peekable();
        for (at, letter) in text.char_indices() {
            while secrets.next_if(|range| range.end <= at).is_some() {}
            let is_secret = secrets.peek().is_some_and(|range| range.start <= at);
            masked.push(mask(letter, is_secret));
        }
        Cow::Owned(masked)
    }
}

/// A message with something else in the place of each of these secrets, and of those that are known by their form.
pub(in crate::cli) fn unsaid(secrets: &[&str], message: &str) -> String {
    let mut said = message.to_owned();
    for secret in secrets {
        if said.contains(secret) {
            said = said.replace(secret, HIDDEN);
        }
    }
    Secrets::of_message(&said).masked(&said).into_owned()
}

/// What stands for a letter.
pub(in crate::cli) fn mask(letter: char, is_secret: bool) -> char {
    match is_secret && !letter.is_whitespace() {
        true => '*',
        false => letter,
    }
}

/// Whether a text is a token and nothing else.
pub(in crate::cli) fn is_token(text: &str) -> bool {
    let text = text.trim();
    let text = text.strip_prefix("Bearer ").unwrap_or(text).trim();
    let is_header = HEADERS.iter().any(|header| text.starts_with(header));
    is_header && text.contains('.') && run(text) == text.len()
}

/// How long the start of a text is that may be a token.
fn run(text: &str) -> usize {
    let is_other = |letter: char| !(letter.is_ascii_alphanumeric() || "-_.=%".contains(letter));
    text.find(is_other).unwrap_or(text.len())
}

/// Places of a word.
fn places<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + use<'t> {
    text.match_indices(word).map(|(at, _)| at)
}

fn tokens(text: &str, found: &mut Vec<Range<usize>>) {
    for header in HEADERS {
        for at in places(text, header) {
            let rest = text.get(at..).unwrap_or_default();
            let length = run(rest);
            let parts = rest.get(..length).unwrap_or_default().split('.');
            if parts.count() >= 2 && length >= SHORTEST_TOKEN {
                found.push(at + START..at + length);
            }
        }
    }
}

fn blocks(text: &str, found: &mut Vec<Range<usize>>) {
    for at in places(text, "PRIVATE KEY-----") {
        let begins = text.get(..at).and_then(|before| before.rfind("-----"));
        let head = begins.and_then(|begin| text.get(begin..at));
        if head.is_some_and(|head| head.starts_with("-----BEGIN")) {
            let start = at + "PRIVATE KEY-----".len();
            let rest = text.get(start..).unwrap_or_default();
            let end = rest.find("-----").unwrap_or(rest.len());
            found.push(start..start + end);
        }
    }
}

/// A name with a value that is a text.
struct Member<'t> {
    name: &'t str,
    /// Both in quotes, as JSON has them.
    is_in_json: bool,
    /// Without quotes.
    value: Range<usize>,
}

/// Members of objects, however quoted: in YAML, in JSON, and in JSON in a string of either.
fn members(text: &str) -> impl Iterator<Item = Member<'_>> {
    places(text, ":").filter_map(move |colon| {
        let before = text.get(..colon)?.trim_end();
        let bare = before.trim_end_matches(['"', '\'', '\\']);
        let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let name = bare.trim_end_matches(is_of_name);
        let name = bare.get(name.len()..)?;
        if !PRIVATE.contains(&name) && !KEY_SETS.contains(&name) {
            return None;
        }
        let (value, is_quoted) = value(text, colon + 1)?;
        Some(Member {
            name,
            is_in_json: is_quoted && bare.len() < before.len(),
            value,
        })
    })
}

/// Where the text behind a colon stands, without its quotes, and whether it had some.
fn value(text: &str, from: usize) -> Option<(Range<usize>, bool)> {
    let skip = |at: usize, more: usize| {
        let rest = text.get(at + more..)?;
        let start = at + more + (rest.len() - rest.trim_start().len());
        Some((start, text.get(start..)?))
    };
    let (mut at, mut rest) = skip(from, 0)?;
    let is_below = text.get(from..at)?.contains('\n');
    let line = rest.lines().next().unwrap_or_default();
    if is_below && (line.contains(": ") || line.ends_with(':') || line.starts_with("- ")) {
        return None;
    }
    if rest.starts_with(['|', '>']) {
        (at, rest) = skip(at, line.len())?;
    }
    let slashes = rest.len() - rest.trim_start_matches('\\').len();
    let quoted = rest.get(slashes..)?;
    let until = |text: &str, ends: &[char]| text.find(ends).unwrap_or(text.len());
    Some(match quoted.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let (start, inner) = (at + slashes + 1, quoted.get(1..)?);
            let inner = inner.get(..until(inner, &[quote]))?;
            (start..start + inner.trim_end_matches('\\').len(), true)
        }
        _ => (
            at..at + until(rest, &['\n', ',', '}', ']', '"', '\'']),
            false,
        ),
    })
}

/// Whether what stands in the place of a key set is one, says where it is, or is something else that anybody may
/// know.
fn is_known(name: &str, written: &str) -> bool {
    let starts = ["{", "[", "http", "-----", "&", "*", "$", "\\", "<"];
    written.is_empty()
        || starts.iter().any(|start| written.starts_with(start))
        || [".json", ".pem"].iter().any(|end| written.ends_with(end))
        || name != "jwks" && (written.len() < SHORT || is_address(written))
}

/// Whether a host with a dot or a port stands first. Base64 has neither, but has slashes.
fn is_address(written: &str) -> bool {
    let host = written.split('/').next().unwrap_or_default();
    host.contains(['.', ':'])
}

/// `https://name:password@host`.
fn passwords(text: &str, found: &mut Vec<Range<usize>>) {
    for at in places(text, "://") {
        let start = at + "://".len();
        let rest = text.get(start..).unwrap_or_default();
        let end = rest.find(|letter: char| letter.is_whitespace() || "/?#\"'`,".contains(letter));
        let authority = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        if let Some((user, _)) = authority.rsplit_once('@')
            && let Some((name, _)) = user.split_once(':')
        {
            found.push(start + name.len() + 1..start + user.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        Secrets::of_source(text).masked(text).into_owned()
    }

    #[test]
    fn secrets_are_masked_in_place() {
        assert_eq!(
            Secrets::of_message("rules[0].jwks: not JSON: k: v")
                .masked("rules[0].jwks: not JSON: k: v"),
            "rules[0].jwks: not JSON: k: v"
        );
        for (text, expected) in [
            (
                r#"{"kty":"oct","k":"c2VjcmV0"}"#,
                r#"{"kty":"oct","k":"********"}"#,
            ),
            (
                r#"{\"kty\":\"EC\",\"d\":\"abc\",\"x\":\"pub\"}"#,
                r#"{\"kty\":\"EC\",\"d\":\"***\",\"x\":\"pub\"}"#,
            ),
            ("{ kty: oct, k: abc }", "{ kty: oct, k: *** }"),
            ("kty: oct\nk:\n  abc\n", "kty: oct\nk:\n  ***\n"),
            ("jwks:\n  cluster: idp\n", "jwks:\n  cluster: idp\n"),
            ("kty: oct\nk: >-\n  abc\n", "kty: oct\nk: >-\n  ***\n"),
            ("d: 1\nk: v\n", "d: 1\nk: v\n"),
            ("jwks: hush-hush\n", "jwks: *********\n"),
            ("jwksUri: idp.test/keys\n", "jwksUri: idp.test/keys\n"),
            (
                "Bearer eyJhbGciOiJ9.e30.AAAA x",
                "Bearer eyJhbGciOi*********** x",
            ),
            (
                "-----BEGIN EC PRIVATE KEY-----\nMHc=\n-----END",
                "-----BEGIN EC PRIVATE KEY-----\n****\n-----END",
            ),
            (
                "-----BEGIN PUBLIC KEY-----\nMHc=\n",
                "-----BEGIN PUBLIC KEY-----\nMHc=\n",
            ),
            ("https://a:b@c.test/", "https://a:*@c.test/"),
            ("é: { kty: oct, k: é }", "é: { kty: oct, k: * }"),
        ] {
            assert_eq!(masked(text), expected);
        }
    }
}
