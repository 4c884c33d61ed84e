//! Portcullis: JWT authentication and authorization for Envoy, by Istio's rules, in one Wasm plugin.
//!
//! The core is [`evaluate`], a pure function that knows nothing of Envoy:
//!
//! ```
//! use portcullis::{KeyStore, Known, NoHost, Node, Outcome, Policy, Request, Verifier, evaluate};
//!
//! let configuration = br#"{"authorizationPolicies": [{
//!     "rules": [{"to": [{"operation": {"paths": ["/healthz"]}}]}]
//! }]}"#;
//! let policy = Policy::load(configuration, &Node::default())?;
//! let keys = KeyStore::new(&policy, 0);
//! let request = |path: &str| Request::new(vec![(":path".into(), path.into())]);
//! let verifier = Verifier::new(&policy, None)?; // and no help of the host
//! let known = Known {
//!     keys: &keys,
//!     waited: &[],
//!     checked: &[],
//!     verifier: &verifier,
//!     host: &NoHost,
//!     now: &1_700_000_000,
//! };
//!
//! assert!(matches!(evaluate(&policy, known, &request("/healthz")), Outcome::Forward(..)));
//! assert!(matches!(evaluate(&policy, known, &request("/")), Outcome::Refuse(..)));
//! # Ok::<(), portcullis::Mistakes>(())
//! ```
//!
//! The shell around it is the module `filter`, the only place that names `proxy_wasm`.

mod authn;
mod authz;
#[cfg(all(test, not(target_family = "wasm")))]
#[path = "../tests/support/boring.rs"]
mod boring;
mod check;
#[cfg(not(target_family = "wasm"))]
pub mod cli;
mod config;
mod connection;
mod evaluate;
mod explain;
mod filter;
mod filter_state;
mod istio;
mod json;
mod jwks;
mod jwt;
mod matcher;
mod metrics;
mod mtls;
mod outcome;
mod path;
mod plural;
mod policy;
mod reply;
mod request;
mod sorted;
mod spelling;
#[cfg(test)]
mod vectors;
mod waiting;

pub use self::check::{Check, CheckAnswer, CheckId, CheckReply, Checked};
pub use self::config::place::{Place, Step};
pub use self::config::reader::{Mistake, Mistakes};
pub use self::config::schema::schema;
pub use self::connection::{Attribute, Host, Metadata, NoHost, Untold};
pub use self::evaluate::{Clock, Known, evaluate};
pub use self::explain::{
    Attempt, Explanation, RuleTrace, Stage, TokenTrace, Tried, Unasked, Verdict, explain,
};
pub use self::filter::start;
pub use self::jwks::{Answer, Fetch, FetchError, Fetched, KeySetId, KeyStore, VerifySignature};
pub use self::jwt::{Counts, Verifier};
pub use self::outcome::{
    Change, Changes, Denial, DryRun, Fault, Lack, Note, Outcome, Property, Reason, Refusal, Told,
};
pub use self::policy::{Node, Policy};
pub use self::reply::{Reply, reply};
pub use self::request::Request;
