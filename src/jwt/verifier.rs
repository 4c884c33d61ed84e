//! Who verifies signatures, and which tokens need no verification because they had one.
//!
//! A token that was verified is remembered, with the key set that verified it. It is taken again only
//! where every byte of it is the same and a rule wants that very key set; and what it says (issuer,
//! audiences, times) is compared with what is expected anew each time. So a remembered token is good
//! exactly as long as it would be if it were verified again.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};

use quick_cache::unsync::Cache;
use quick_cache::{OptionsBuilder, Weighter};
use rustc_hash::FxBuildHasher;

use super::{Content, Token, Verified, split};
use crate::config::reader::Mistakes;
use crate::jwks::{Algorithm, HostVerifier, Key, KeySet, VerifySignature};
use crate::outcome::Reason;
use crate::policy::Policy;

/// Under what a token is remembered: the first 12 bytes of its signature, in base64url. They are random whatever the
/// algorithm (the end of an ML-DSA signature hardly is), and who doesn't know them never gets to have the rest
/// compared.
type Start = [u8; 16];

/// Verifies tokens for one worker under one policy. The default does all by itself, and remembers
/// nothing.
#[derive(Default)]
pub struct Verifier {
    host: HostVerifier,
    /// `None` where nothing is to be remembered.
    remembered: Option<RefCell<Remembered>>,
    counts: Cell<Counts>,
}

/// What a [`Verifier`] has done since it was made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Tokens that were remembered.
    pub hits: u64,
    /// Tokens that weren't.
    pub misses: u64,
    /// Signatures that the host verified.
    pub by_host: u64,
    /// Signatures that were verified in here.
    pub in_here: u64,
}

type Remembered = Cache<Start, (Rc<Content>, Weak<KeySet>), Weight, FxBuildHasher>;

/// Bounds the cache in entries and in bytes at once: no entry weighs less than its share.
#[derive(Clone)]
struct Weight {
    least: u64,
}

impl Weighter<Start, (Rc<Content>, Weak<KeySet>)> for Weight {
    fn weight(&self, _: &Start, (content, _): &(Rc<Content>, Weak<KeySet>)) -> u64 {
        content.size().max(self.least)
    }
}

impl Verifier {
    /// A verifier that has the host verify signatures where the policy lets it and it proves that it
    /// can, and remembers as many tokens as the policy says.
    ///
    /// # Errors
    ///
    /// The policy leaves no choice but the host, which can't.
    pub fn new(policy: &Policy, host: Option<VerifySignature>) -> Result<Self, Mistakes> {
        Ok(Self {
            host: HostVerifier::new(policy.verification, host)?,
            remembered: remembered(policy.token_cache),
            counts: Cell::default(),
        })
    }

    /// What was done until now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts.get()
    }

    /// How many tokens are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        let remembered = self.remembered.as_ref();
        remembered.map_or(0, |remembered| remembered.borrow().len())
    }

    fn count(&self, count: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        count(&mut counts);
        self.counts.set(counts);
    }

    /// Takes a token apart, or remembers how that went.
    pub(crate) fn read(&self, text: &[u8]) -> Result<Token, Reason> {
        let (Some(remembered), Some(start)) = (&self.remembered, start(text)) else {
            return Token::parse(text);
        };
        if let Some((content, keys)) = remembered.borrow().get(start)
            && is_same(&content.text, text)
        {
            self.count(|counts| counts.hits += 1);
            return Ok(Token {
                content: Rc::clone(content),
                verified_with: Some(Weak::clone(keys)),
            });
        }
        self.count(|counts| counts.misses += 1);
        Token::parse(text)
    }

    /// Whether this is the key's signature of the message by this algorithm.
    pub(super) fn verifies(
        &self,
        key: &Key,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        match self.host.verifies(key, algorithm, message, signature) {
            Some(answer) => {
                self.count(|counts| counts.by_host += 1);
                answer
            }
            None => {
                self.count(|counts| counts.in_here += 1);
                key.verifies(algorithm, message, signature)
            }
        }
    }

    /// Only verified tokens are remembered: nobody can push them out with what is none.
    pub(super) fn remember(&self, verified: &Verified, keys: &Rc<KeySet>) {
        let Verified(content) = verified;
        if let (Some(remembered), Some(start)) = (&self.remembered, start(&content.text)) {
            let entry = (Rc::clone(content), Rc::downgrade(keys));
            remembered.borrow_mut().insert(*start, entry);
        }
    }
}

fn start(text: &[u8]) -> Option<&Start> {
    let (_, signature) = split(text)?;
    signature.first_chunk()
}

/// In words of eight bytes: `==` goes byte by byte in Wasm.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let ((one, end), (other, other_end)) = (one.as_chunks(), other.as_chunks());
    let word = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
    let mut words = one.iter().zip(other);
    one.len() == other.len()
        && end == other_end
        && words.all(|(one, other)| word(one) == word(other))
}

fn remembered((entries, bytes): (u32, u32)) -> Option<RefCell<Remembered>> {
    let least = u64::from(bytes.checked_div(entries)?);
    if least == 0 {
        return None;
    }
    let options = OptionsBuilder::new()
        .estimated_items_capacity(entries as usize)
        .weight_capacity(least * u64::from(entries))
        .ghost_allocation(1.0)
        .build()
        .ok()?;
    let (weight, hasher) = (Weight { least }, FxBuildHasher);
    let lifecycle = quick_cache::unsync::DefaultLifecycle::default();
    Some(RefCell::new(Cache::with_options(
        options, weight, hasher, lifecycle,
    )))
}

impl fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Verifier")
            .field("host", &self.host)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::policy::Node;

    const KEYS: &str =
        r#"{"keys":[{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}"#;
    const OTHERS: &str =
        r#"{"keys":[{"kty":"oct","k":"BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}"#;

    fn verifier(cache: &serde_json::Value) -> Verifier {
        let configuration = json!({ "authorizationPolicies": [], "tokenCache": cache });
        let policy = Policy::load(configuration.to_string().as_bytes(), &Node::default());
        Verifier::new(&policy.unwrap(), None).unwrap()
    }

    fn key_set(text: &str) -> Rc<KeySet> {
        Rc::new(KeySet::parse(text.as_bytes()).unwrap())
    }

    /// A token of this subject, signed with [`KEYS`].
    fn token(subject: usize) -> String {
        use base64::Engine as _;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        use hmac::{Hmac, KeyInit as _, Mac as _};
        let [header, payload] = [
            json!({ "alg": "HS256" }),
            json!({ "sub": subject.to_string() }),
        ]
        .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{payload}");
        let mac = Hmac::<sha2::Sha256>::new_from_slice(&[0; 32]).unwrap();
        let signature = mac.chain_update(&signed).finalize().into_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn verify(verifier: &Verifier, token: &str, keys: &Rc<KeySet>) -> Result<(), Reason> {
        let token = verifier.read(token.as_bytes())?;
        token.verify(keys, verifier).map(|_| ())
    }

    #[test]
    fn a_token_is_verified_once_by_the_same_keys() {
        let (verifier, keys, token) = (verifier(&json!({})), key_set(KEYS), token(0));
        for _ in 0..3 {
            assert_eq!(verify(&verifier, &token, &keys), Ok(()));
        }
        assert_eq!(
            verifier.counts(),
            Counts {
                hits: 2,
                misses: 1,
                by_host: 0,
                in_here: 1
            }
        );
    }

    #[test]
    fn other_keys_verify_anew() {
        let (verifier, keys, token) = (verifier(&json!({})), key_set(KEYS), token(0));
        assert_eq!(verify(&verifier, &token, &keys), Ok(()));
        let others = key_set(OTHERS);
        assert_eq!(
            verify(&verifier, &token, &others),
            Err(Reason::SignatureInvalid)
        );
        // The same keys fetched again are others, too, and no reuse of memory makes them the same.
        drop(keys);
        for _ in 0..100 {
            let before = verifier.counts().in_here;
            assert_eq!(verify(&verifier, &token, &key_set(KEYS)), Ok(()));
            assert_eq!(verifier.counts().in_here, before + 1);
        }
    }

    #[test]
    fn what_fails_is_not_remembered() {
        let (verifier, keys) = (verifier(&json!({})), key_set(OTHERS));
        for subject in 0..100 {
            assert_eq!(
                verify(&verifier, &token(subject), &keys),
                Err(Reason::SignatureInvalid)
            );
        }
        assert_eq!(
            verify(&verifier, "a.b.c", &keys),
            Err(Reason::HeaderEncoding)
        );
        assert_eq!(verifier.remembered(), 0);
    }

    #[test]
    fn a_token_is_the_whole_of_its_text() {
        let (verifier, keys) = (verifier(&json!({})), key_set(KEYS));
        // They are compared in words of eight bytes, so the last one matters in every length.
        let mut lengths = BTreeSet::new();
        for subject in (0..10).map(|digits| 10_usize.pow(digits)) {
            let token = token(subject);
            lengths.insert(token.len() % 8);
            assert_eq!(verify(&verifier, &token, &keys), Ok(()));
            for at in 0..token.len() {
                let mut forged = token.clone().into_bytes();
                forged[at] = if forged[at] == b'B' { b'C' } else { b'B' };
                let forged = String::from_utf8(forged).unwrap();
                assert!(verify(&verifier, &forged, &keys).is_err(), "{at}");
                assert!(verify(&verifier, &token[..at], &keys).is_err(), "{at}");
            }
            assert!(verify(&verifier, &format!("{token}A"), &keys).is_err());
            let hits = verifier.counts().hits;
            assert_eq!(verify(&verifier, &token, &keys), Ok(()));
            assert_eq!(verifier.counts().hits, hits + 1);
        }
        assert!(lengths.len() >= 6, "{lengths:?}");
    }

    /// The last bytes of an ML-DSA signature are nearly the same in all of them.
    #[test]
    fn tokens_are_told_apart_by_the_start_of_their_signatures() {
        let start = |text: &str| start(text.as_bytes()).copied();
        let end = "A".repeat(100);
        let one = start(&format!("header.payload.0123456789abcdef{end}"));
        assert_eq!(one.as_ref(), Some(b"0123456789abcdef"));
        assert_ne!(start(&format!("header.payload.1123456789abcdef{end}")), one);
        assert_eq!(start("header.payload.0123456789abcde"), None);
        assert_eq!(start("0123456789abcdef"), None);
    }

    #[test]
    fn it_is_bounded_in_entries_and_bytes() {
        let keys = key_set(KEYS);
        for (cache, most) in [
            (json!({ "maxEntries": 100 }), 100),
            (
                json!({ "maxEntries": 100_000, "maxBytes": 100_000 }),
                100_000 / 1024,
            ),
            (json!({ "maxEntries": 0 }), 0),
            (json!({ "maxBytes": 0 }), 0),
        ] {
            let verifier = verifier(&cache);
            for subject in 0..1000 {
                assert_eq!(verify(&verifier, &token(subject), &keys), Ok(()));
            }
            let count = verifier.remembered();
            assert!(count <= most && count >= most / 2, "{cache}: {count}");
        }
    }

    /// Who has an issuer sign without end can't push out the tokens of those who come again: all of
    /// those that came before the flood stay, and some even of those that come in it.
    #[test]
    fn a_flood_leaves_those_who_come_again() {
        for (calm_rounds, percent) in [(2, 99), (0, 10)] {
            let (verifier, keys) = (verifier(&json!({ "maxEntries": 200 })), key_set(KEYS));
            let ours: Vec<String> = (0..100).map(token).collect();
            let mut flood = 1000..;
            let (mut hits, mut asked) = (0, 0);
            for round in 0..30 {
                for ours in &ours {
                    let before = verifier.counts().hits;
                    assert_eq!(verify(&verifier, ours, &keys), Ok(()));
                    if round >= calm_rounds {
                        (hits, asked) = (hits + verifier.counts().hits - before, asked + 1);
                        // Ten of the flood for each of ours.
                        for subject in flood.by_ref().take(10) {
                            assert_eq!(verify(&verifier, &token(subject), &keys), Ok(()));
                        }
                    }
                }
            }
            assert!(
                hits * 100 >= asked * percent,
                "{hits} of {asked} were remembered"
            );
        }
    }
}
