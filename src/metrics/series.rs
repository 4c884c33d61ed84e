//! The time series, and the words of their labels.

use crate::check::{CheckId, CheckReply, CheckVerdict};
use crate::jwks::{FetchError, Fetched, KeySetId};
use crate::outcome::{Fault, Reason};

/// One time series.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Series {
    /// Requests that went on, by what allowed them.
    Allowed(By),
    /// Requests that match a policy with the action AUDIT.
    Audited(By),
    /// Answers to external checks.
    Checked(CheckId, CheckResult),
    /// How long requests waited for such an answer, in milliseconds.
    CheckTime(CheckId),
    /// What the policies in dry run would have decided.
    DryRun(Decision, By),
    /// Fetches of key sets that ended like this.
    Fetched(KeySetId, FetchResult),
    /// When keys were fetched last, in seconds since the Unix epoch.
    FetchedAt(KeySetId),
    /// How long requests waited for keys, in milliseconds.
    KeyWait,
    /// Requests that were refused.
    Refused(Reason, By),
    /// How many tokens are remembered, by all workers.
    Remembered,
    /// Requests with a token that only rules which report would have refused.
    Reported(Reason),
    /// Tokens that were looked up among those that are remembered.
    TokenLookups(Lookup),
    /// Requests that went on though a service gave no answer.
    Unchecked(CheckId),
    /// Requests whose header the host kept from us.
    Unseen,
    /// Signatures that were verified.
    Verified(Place),
    /// How many requests wait, on all workers.
    Waiting,
}

/// How the host keeps a series.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The policy that decided.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum By {
    Nobody,
    /// One that has no series of its own.
    Other,
    /// By its place in [`super::Names`].
    Policy(usize),
}

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $( $value:ident = $text:literal, )* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub(crate) enum $name { $( $value, )* }

        impl $name {
            pub(super) const ALL: &[Self] = &[$( Self::$value ),*];

            pub(super) fn label(self) -> &'static str {
                match self { $( Self::$value => $text, )* }
            }
        }
    };
}

labels! {
    /// What is, or would be, done with a request.
    Decision {
        Allow = "allow",
        Deny = "deny",
    }
}

labels! {
    /// How a check ended.
    CheckResult {
        Allowed = "allowed",
        Denied = "denied",
        Failed = "failed",
        Overloaded = "overloaded",
        Unreadable = "unreadable",
    }
}

labels! {
    /// How the fetch of a key set ended.
    FetchResult {
        Keys = "keys",
        Late = "late",
        NoAnswer = "no_answer",
        Status = "status",
        TooLarge = "too_large",
        Undeliverable = "undeliverable",
        Unusable = "unusable",
        Withdrawn = "withdrawn",
    }
}

labels! {
    /// What a look among the remembered tokens found.
    Lookup {
        Hit = "hit",
        Miss = "miss",
    }
}

labels! {
    /// Where a signature was verified.
    Place {
        Host = "host",
        Wasm = "wasm",
    }
}

impl CheckResult {
    pub(crate) fn of(reply: &CheckReply) -> Self {
        match CheckVerdict::of(reply) {
            CheckVerdict::Allowed(_) => Self::Allowed,
            CheckVerdict::Denied(_) => Self::Denied,
            CheckVerdict::Failed => Self::Failed,
            CheckVerdict::Overloaded => Self::Overloaded,
            CheckVerdict::Unreadable => Self::Unreadable,
        }
    }
}

impl FetchResult {
    /// `None` where the fetch goes on.
    pub(crate) fn of(result: &Result<Fetched<'_>, FetchError>) -> Option<Self> {
        Some(match result {
            Ok(Fetched::Keys { .. }) => Self::Keys,
            Ok(Fetched::Late) => Self::Late,
            Ok(Fetched::Next(_)) => return None,
            Ok(Fetched::Withdrawn) => Self::Withdrawn,
            Err(FetchError::NoAnswer) => Self::NoAnswer,
            Err(FetchError::Redirect(..) | FetchError::Status(_)) => Self::Status,
            Err(FetchError::TooLarge) => Self::TooLarge,
            Err(FetchError::Undeliverable(_)) => Self::Undeliverable,
            Err(FetchError::Unusable(_)) => Self::Unusable,
        })
    }
}

impl Series {
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Allowed(_)
            | Self::Audited(_)
            | Self::Checked(..)
            | Self::DryRun(..)
            | Self::Fetched(..)
            | Self::Refused(..)
            | Self::Reported(_)
            | Self::TokenLookups(_)
            | Self::Unchecked(_)
            | Self::Unseen
            | Self::Verified(_) => Kind::Counter,
            Self::FetchedAt(_) | Self::Remembered | Self::Waiting => Kind::Gauge,
            Self::CheckTime(_) | Self::KeyWait => Kind::Histogram,
        }
    }

    pub(super) fn metric(self) -> &'static str {
        match self {
            Self::Allowed(_) | Self::Refused(..) => "requests_total",
            Self::Audited(_) => "audited_requests_total",
            Self::Checked(..) => "checks_total",
            Self::CheckTime(_) => "check_milliseconds",
            Self::DryRun(..) => "dry_runs_total",
            Self::Fetched(..) => "key_set_fetches_total",
            Self::FetchedAt(_) => "key_set_fetched_timestamp_seconds",
            Self::KeyWait => "key_wait_milliseconds",
            Self::Remembered => "token_cache_tokens",
            Self::Reported(_) => "dry_run_tokens_total",
            Self::TokenLookups(_) => "token_cache_lookups_total",
            Self::Unchecked(_) => "unchecked_requests_total",
            Self::Unseen => "unseen_requests_total",
            Self::Verified(_) => "signatures_total",
            Self::Waiting => "waiting_requests",
        }
    }
}

/// Which rules a reason is about.
pub(super) fn rule_set(reason: Reason) -> &'static str {
    match (reason, reason.fault()) {
        (Reason::MtlsRequired, _) => "mtls",
        (Reason::PolicyNoneAllows, _) => "allow",
        (Reason::RequestAmbiguous, _) | (_, Fault::Caller | Fault::Token) => "authentication",
        (_, Fault::Check) => "custom",
        (_, Fault::Policy) => "deny",
        (_, Fault::Request) => "path",
        (_, Fault::Proxy) => "none",
    }
}
