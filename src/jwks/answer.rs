//! What a provider answers, and how long it says that is good for.

use super::source::Fetching;
use super::{KeySet, form};

/// The largest body that is read, in bytes.
pub(crate) const MAX_BODY: usize = 256 * 1024;

/// A 200 answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer<'a> {
    /// The body.
    pub body: &'a [u8],
    /// `cache-control`, all lines joined by commas.
    pub cache_control: &'a [u8],
    /// `age`, in seconds: how long the answer lay in a cache already.
    pub age: &'a [u8],
}

/// Why a fetch brought no keys.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FetchError {
    /// No whole answer. The host answers by itself where none came at all.
    NoAnswer,
    /// A redirect, which isn't followed, and where it leads.
    Redirect(u16, String),
    /// The answer was not 200.
    Status(u16),
    /// The body is longer than 256 kB.
    TooLarge,
    /// The host wouldn't send the request; mostly there is no such cluster.
    Undeliverable(String),
    /// The body holds no usable key, or is not what it should be.
    Unusable(String),
}

impl FetchError {
    /// An answer with this status and this `location`.
    pub(crate) fn of(status: u16, location: &[u8]) -> Self {
        match status {
            300..=399 if !location.is_empty() => Self::Redirect(status, address(location)),
            _ => Self::Status(status),
        }
    }
}

/// An address without what may be secret of it: user, query and fragment.
fn address(location: &[u8]) -> String {
    let text = str::from_utf8(location).unwrap_or_default();
    let text = text.split(['?', '#']).next().unwrap_or_default();
    form::shown(text.rsplit('@').next().unwrap_or_default())
}

impl std::fmt::Display for FetchError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoAnswer => formatter.write_str(
                "no whole answer: it broke off, took longer than the time-out, or is longer than Envoy \
                 holds (32 MB)",
            ),
            Self::Redirect(status, to) => write!(
                formatter,
                "status {status} instead of 200, a redirect to {to}, which isn't followed: write that \
                 address, if it is the right one"
            ),
            Self::Status(status) => {
                let hint = match status {
                    401 | 403 => {
                        ": the server wants to know who asks, which Envoy's `credential_injector` can tell"
                    }
                    503 => {
                        ". If that is Envoy's own answer, the host can't be reached, closes the connection, \
                         or TLS fails: look at the cluster's authorities and names, and at \
                         `/stats?filter=ssl` of Envoy's admin port"
                    }
                    504 => ". If that is Envoy's own answer, the host took longer than the time-out",
                    _ => "",
                };
                write!(formatter, "status {status} instead of 200{hint}")
            }
            Self::TooLarge => write!(formatter, "the answer is longer than {MAX_BODY} bytes"),
            Self::Undeliverable(cluster) => write!(
                formatter,
                "Envoy has no cluster `{cluster}`; name another in `jwks.cluster` or \
                 `jwks.clusters`"
            ),
            Self::Unusable(why) => formatter.write_str(why),
        }
    }
}

impl std::error::Error for FetchError {}

impl Answer<'_> {
    /// How long the keys may be kept, in seconds: what the answer says (RFC 9111 section 4.2.1), within
    /// the bounds of the configuration.
    pub(super) fn lifetime(&self, fetching: &Fetching) -> u64 {
        let longest = fetching.cache_duration.as_secs();
        let shortest = fetching.min_cache_duration.as_secs().min(longest);
        let age = number(self.age).unwrap_or_default();
        let told = max_age(self.cache_control);
        told.map_or(longest, |seconds| {
            seconds.saturating_sub(age).clamp(shortest, longest)
        })
    }

    pub(super) fn body(&self) -> Result<&[u8], FetchError> {
        match self.body.len() > MAX_BODY {
            true => Err(FetchError::TooLarge),
            false => Ok(self.body),
        }
    }
}

/// What `max-age` allows, in seconds. `no-cache` and `no-store` alone say nothing of it: many providers
/// answer so whatever is asked, and public keys are no secret.
fn max_age(cache_control: &[u8]) -> Option<u64> {
    let (mut told, mut is_refused) = (None, false);
    for directive in cache_control.split(|byte| *byte == b',') {
        let directive = directive.trim_ascii();
        let is = |name: &[u8]| directive.eq_ignore_ascii_case(name);
        is_refused |= is(b"no-store") || is(b"no-cache");
        if let Some((name, value)) = directive.split_at_checked(b"max-age=".len())
            && name.eq_ignore_ascii_case(b"max-age=")
        {
            // Of several, and of what can't be read, the shortest (RFC 9111 section 4.2.1).
            let seconds = number(value).unwrap_or_default();
            told = Some(told.map_or(seconds, |told: u64| told.min(seconds)));
        }
    }
    told.map(|seconds| if is_refused { 0 } else { seconds })
}

fn number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let text = text
        .strip_prefix(b"\"")
        .and_then(|text| text.strip_suffix(b"\""))
        .unwrap_or(text);
    let is_digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    // More digits than fit are a very long time.
    is_digits.then(|| {
        std::str::from_utf8(text)
            .ok()?
            .parse()
            .ok()
            .or(Some(u64::MAX))
    })?
}

/// The bodies of a fetch, as workers hand them to each other.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Bodies {
    /// What an issuer tells of itself; empty where the address is configured.
    pub(super) metadata: Vec<u8>,
    pub(super) key_set: Vec<u8>,
}

impl Bodies {
    pub(super) fn parse(&self) -> Result<KeySet, FetchError> {
        KeySet::parse_fetched(&self.key_set).map_err(FetchError::Unusable)
    }

    /// The version, the length of the metadata, the metadata, and the key set.
    pub(super) fn to_bytes(&self, version: u64) -> Vec<u8> {
        let length = self.metadata.len() as u64;
        [
            &version.to_le_bytes(),
            &length.to_le_bytes(),
            self.metadata.as_slice(),
            &self.key_set,
        ]
        .concat()
    }

    /// Reads bodies of just this version.
    pub(super) fn from_bytes(bytes: &[u8], version: u64) -> Option<Self> {
        let (own, rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (metadata, key_set) = rest.split_at_checked(length)?;
        let is_whole = u64::from_le_bytes(*own) == version
            && metadata.len() <= MAX_BODY
            && key_set.len() <= MAX_BODY;
        is_whole.then(|| Self {
            metadata: metadata.to_vec(),
            key_set: key_set.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cache_control_allows() {
        for (text, expected) in [
            ("", None),
            ("public", None),
            ("max-age=60", Some(60)),
            ("public, Max-Age=60, must-revalidate", Some(60)),
            ("max-age=\"60\"", Some(60)),
            ("max-age=60, max-age=30", Some(30)),
            ("max-age=", Some(0)),
            ("max-age=-1", Some(0)),
            ("max-age=99999999999999999999999", Some(u64::MAX)),
            ("s-maxage=60", None),
            ("max-age=60, no-store", Some(0)),
            ("no-store, max-age=60", Some(0)),
            ("no-cache", None),
            ("no-store", None),
            ("private, No-Cache, no-store, must-revalidate", None),
        ] {
            assert_eq!(max_age(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn where_a_redirect_leads_is_told_without_secrets() {
        for (location, expected) in [
            ("https://idp.test/keys?code=secret", "https://idp.test/keys"),
            ("https://idp.test?secret", "https://idp.test"),
            ("https://user:secret@idp.test/k#y", "idp.test/k"),
            ("/keys/?x", "/keys/"),
            ("/a\nb", "/a\\nb"),
        ] {
            let error = FetchError::of(301, location.as_bytes());
            assert_eq!(error, FetchError::Redirect(301, format!("\"{expected}\"")));
        }
        let long = format!("https://idp.test/{}", "a".repeat(1000));
        let told = FetchError::of(308, long.as_bytes()).to_string();
        assert!(told.len() < 400, "{told}");
        assert_eq!(FetchError::of(304, b""), FetchError::Status(304));
        assert_eq!(FetchError::of(500, b"/x"), FetchError::Status(500));
    }

    #[test]
    fn bodies_come_back_as_they_went() {
        let bodies = Bodies {
            metadata: b"m".to_vec(),
            key_set: b"keys".to_vec(),
        };
        let bytes = bodies.to_bytes(7);
        let back = Bodies::from_bytes(&bytes, 7).unwrap();
        assert_eq!(
            (back.metadata, back.key_set),
            (bodies.metadata, bodies.key_set)
        );
        assert!(Bodies::from_bytes(&bytes, 8).is_none());
        for end in 0..17 {
            assert!(Bodies::from_bytes(&bytes[..end], 7).is_none(), "{end}");
        }
        assert!(Bodies::from_bytes(&[0xff; 64], u64::MAX).is_none());
    }
}
