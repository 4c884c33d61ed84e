//! Why a request is decided upon as it is: each rule that was asked, and what it wanted otherwise.

use crate::authn::Authentication;
use crate::authz::{RuleSet, Subject};
use crate::connection::Connection;
use crate::evaluate::{Known, decide};
use crate::outcome::{Fault, Outcome, Reason};
use crate::policy::Policy;
use crate::request::Request;

/// A decision, from the token to the rules.
#[derive(Debug)]
pub struct Explanation {
    /// What [`evaluate`](crate::evaluate) says.
    pub outcome: Outcome,
    /// What was made of the tokens.
    pub token: TokenTrace,
    /// Each rule for tokens and each token that it found, in the order in which they are tried.
    pub attempts: Vec<Attempt>,
    /// The issuers of the rules that require a token of which there is none; any where `None`.
    pub missing: Vec<Option<String>>,
    /// The rules for tokens that aren't for this request.
    pub unasked: Vec<Unasked>,
    /// The rules that the request came to, in the order of the stages; in a stage, as they are tried.
    pub rules: Vec<RuleTrace>,
}

/// What was made of a request's tokens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TokenTrace {
    /// The request didn't come as far.
    Unread,
    /// There is none that counts.
    None,
    /// One was refused.
    Refused(Reason),
    /// One verified, and this is its `iss/sub`, where it has both.
    Verified(Option<String>),
}

/// A rule for tokens, and a token that stands where it looks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// The issuer that the rule takes; any where `None`.
    pub issuer: Option<String>,
    /// The audiences that it takes; any where there is none.
    pub audiences: Vec<String>,
    /// How far the clocks may be apart, in seconds.
    pub clock_skew: u64,
    /// Whether bad tokens of the rule refuse nobody.
    pub report_only: bool,
    /// Where the token stands: `header authorization`.
    pub place: String,
    /// The token as it was sent.
    pub token: Vec<u8>,
    /// What came of it.
    pub verdict: Verdict,
}

/// A rule for tokens that isn't for this request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unasked {
    /// The issuer that the rule takes; any where `None`.
    pub issuer: Option<String>,
    /// The conditions of its `match`: of those of one `match[..]` all must hold.
    pub conditions: Vec<Tried>,
}

/// What a rule makes of a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is what the rule wants, and a key of the issuer signed it.
    Verified,
    /// It isn't. What is looked at before this reason was right: first the form of the token, then
    /// `iss`, `typ`, `nbf`, `exp` and `aud`, and last key and signature.
    Refused(Reason),
    /// Keys are needed to tell.
    Awaits,
    /// It can't be a JWT, and the rule leaves it to others.
    Ignored,
}

/// When a rule is asked.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// Whether another service is asked, before tokens are looked at.
    Custom,
    /// What is told in the log.
    Audit,
    /// What would be refused.
    DryRunDeny,
    /// What would be allowed.
    DryRunAllow,
    /// What is refused.
    Deny,
    /// What is allowed.
    Allow,
}

/// One rule, and what came of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RuleTrace {
    /// When it was asked.
    pub stage: Stage,
    /// In Istio's form: `ns[foo]-policy[name]-rule[0]`; without a rule, of a policy that has none
    /// and so never matches.
    pub rule: String,
    /// Whether it matched.
    pub matched: bool,
    /// Its conditions: of those of one `from[..]` all must hold, and so of one `to[..]`, and all of
    /// `when`.
    pub conditions: Vec<Tried>,
}

/// A condition, and whether it holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tried {
    /// Its place in the rule: `from[0]`, `to[1]` or `when`.
    pub place: String,
    /// What it looks at: `paths`, `request.headers[x-a]`. With `not` before it, its patterns must
    /// not match.
    pub condition: String,
    /// The patterns, of which one must match.
    pub wanted: Vec<String>,
    /// What the request has there, if anything.
    pub seen: Option<String>,
    /// Whether it holds.
    pub holds: bool,
    /// Whether it can't be told what the attribute is, and so it counts against the request.
    pub unknown: bool,
}

/// Who sees which rules a request comes to.
pub(crate) trait Witness {
    fn looks_at(&mut self, _: &Authentication, _: &Request, _: &Connection<'_>, _: Known<'_>) {}

    fn sees(&mut self, stage: Stage, rules: &RuleSet, subject: Subject<'_>);
}

/// Nobody.
pub(crate) struct Unseen;

impl Witness for Unseen {
    fn sees(&mut self, _: Stage, _: &RuleSet, _: Subject<'_>) {}
}

#[derive(Default)]
struct Trace {
    attempts: Vec<Attempt>,
    missing: Vec<Option<String>>,
    unasked: Vec<Unasked>,
    rules: Vec<RuleTrace>,
    token: Option<TokenTrace>,
}

impl Witness for Trace {
    fn looks_at(
        &mut self,
        authentication: &Authentication,
        request: &Request,
        connection: &Connection<'_>,
        known: Known<'_>,
    ) {
        self.attempts = authentication.attempts(request, connection, known);
        self.missing = authentication.missing(request, connection, known);
        self.unasked = authentication.unasked(request, connection);
    }

    fn sees(&mut self, stage: Stage, rules: &RuleSet, subject: Subject<'_>) {
        if stage != Stage::Custom {
            let identity = subject.identity;
            self.token = Some(identity.map_or(TokenTrace::None, |identity| {
                TokenTrace::Verified(identity.principal())
            }));
        }
        self.rules.extend(rules.trace(stage, subject));
    }
}

/// Decides as [`evaluate`](crate::evaluate) does, and tells why.
#[must_use]
pub fn explain(policy: &Policy, known: Known<'_>, request: &Request) -> Explanation {
    let mut trace = Trace::default();
    let outcome = decide(policy, known, request, &mut trace);
    let refused = match &outcome {
        Outcome::Refuse(refusal, _) => match (refusal.reason, refusal.reason.fault()) {
            (Reason::Missing, _) => Some(TokenTrace::None),
            (reason, Fault::Token) => Some(TokenTrace::Refused(reason)),
            _ => None,
        },
        _ => None,
    };
    Explanation {
        outcome,
        token: trace.token.or(refused).unwrap_or(TokenTrace::Unread),
        attempts: trace.attempts,
        missing: trace.missing,
        unasked: trace.unasked,
        rules: trace.rules,
    }
}

#[cfg(not(target_family = "wasm"))]
impl Policy {
    /// Every rule of the policies that apply, by the stage in which it is asked.
    pub(crate) fn rules(&self) -> Vec<(Stage, String)> {
        let checks = self.checks.iter().map(|(_, rules)| (Stage::Custom, rules));
        let others = [
            (Stage::Audit, &self.audit),
            (Stage::DryRunDeny, &self.dry_run.deny),
            (Stage::DryRunAllow, &self.dry_run.allow),
            (Stage::Deny, &self.authorization.deny),
            (Stage::Allow, &self.authorization.allow),
        ];
        let named = |(stage, rules): (Stage, &RuleSet)| -> Vec<(Stage, String)> {
            rules
                .names()
                .map(|name| (stage, name.to_string()))
                .collect()
        };
        checks.chain(others).flat_map(named).collect()
    }
}
