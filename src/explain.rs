//! Why a request is decided upon as it is: each rule that was asked, and what it wanted otherwise.

use crate::authz::{RuleSet, Subject};
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

/// When a rule is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
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
    /// Why it didn't.
    pub misses: Vec<Miss>,
}

/// A condition that kept a rule from matching.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Miss {
    /// Its place in the rule: `from[0]`, `to[1]` or `when`.
    pub place: String,
    /// What it looks at: `paths`, `request.headers[x-a]`. With `not` before it, its patterns must
    /// not match.
    pub condition: String,
    /// Whether it can't be told what the attribute is, and so it counts against the request.
    pub unknown: bool,
}

/// Who sees which rules a request comes to.
pub(crate) trait Witness {
    fn sees(&mut self, stage: Stage, rules: &RuleSet, subject: Subject<'_>);
}

/// Nobody.
pub(crate) struct Unseen;

impl Witness for Unseen {
    fn sees(&mut self, _: Stage, _: &RuleSet, _: Subject<'_>) {}
}

#[derive(Default)]
struct Trace {
    rules: Vec<RuleTrace>,
    token: Option<TokenTrace>,
}

impl Witness for Trace {
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
        Outcome::Refuse(refusal, _) if refusal.reason.fault() == Fault::Token => {
            Some(TokenTrace::Refused(refusal.reason))
        }
        _ => None,
    };
    Explanation {
        outcome,
        token: trace.token.or(refused).unwrap_or(TokenTrace::Unread),
        rules: trace.rules,
    }
}
