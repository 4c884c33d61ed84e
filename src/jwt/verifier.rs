//! Who verifies signatures, and which tokens need no verification because they had one.
//!
//! A token that was verified is remembered under the BLAKE3 hash of its whole text, together with the
//! key set that verified it. It is taken again only where a rule wants that very key set, and what
//! it says (issuer, audiences, times) is compared anew each time. So a remembered token is good
//! exactly as long as it would be if it were verified again.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};

use quick_cache::unsync::Cache;
use quick_cache::{OptionsBuilder, Weighter};
use rustc_hash::FxBuildHasher;

use super::{Content, Token, Verified};
use crate::config::reader::Mistakes;
use crate::jwks::{Algorithm, HostVerifier, Key, KeySet, VerifySignature};
use crate::outcome::Reason;
use crate::policy::Policy;

/// The BLAKE3 hash of a token.
pub(super) type Digest = [u8; 32];

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

type Remembered = Cache<Digest, (Rc<Content>, Weak<KeySet>), Weight, FxBuildHasher>;

/// Bounds the cache in entries and in bytes at once: no entry weighs less than its share.
#[derive(Clone)]
struct Weight {
    least: u64,
}

impl Weighter<Digest, (Rc<Content>, Weak<KeySet>)> for Weight {
    fn weight(&self, _: &Digest, (content, _): &(Rc<Content>, Weak<KeySet>)) -> u64 {
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
    pub(crate) fn read<'t>(&self, text: Cow<'t, [u8]>) -> Result<Token<'t>, Reason> {
        let Some(remembered) = &self.remembered else {
            return Token::parse(text);
        };
        let digest = blake3::hash(&text).into();
        if let Some((content, keys)) = remembered.borrow().get(&digest) {
            self.count(|counts| counts.hits += 1);
            return Ok(Token {
                text,
                content: Rc::clone(content),
                verified_with: Some(Weak::clone(keys)),
                digest: Some(digest),
            });
        }
        self.count(|counts| counts.misses += 1);
        Ok(Token {
            digest: Some(digest),
            ..Token::parse(text)?
        })
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
    pub(super) fn remember(&self, token: &Token<'_>, verified: &Verified, keys: &Rc<KeySet>) {
        if let (Some(remembered), Some(digest)) = (&self.remembered, token.digest) {
            let entry = (Rc::clone(&verified.0), Rc::downgrade(keys));
            remembered.borrow_mut().insert(digest, entry);
        }
    }
}

fn remembered((entries, bytes): (u32, u32)) -> Option<RefCell<Remembered>> {
    let least = u64::from(bytes.checked_div(entries)?.max(1));
    let options = OptionsBuilder::new()
        .estimated_items_capacity(entries as usize)
        .weight_capacity(least * u64::from(entries))
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
