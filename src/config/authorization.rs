//! The rules of an `AuthorizationPolicy`, read into the conditions that are evaluated.

pub(crate) mod operation;
mod source;
mod when;

use serde_json::Value;

use self::operation::Operation;
use self::source::Source;
use self::when::When;
use super::reader::{Input, Read, record};
use super::schema::{Schemas, one_of};
use super::text::Text;
use crate::authz::{Condition, PeerPattern, Rule, Test};

/// What a matching policy does.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Action {
    #[default]
    Allow,
    /// Nothing, but leave a line in the log.
    Audit,
    /// Has a service asked.
    Custom,
    Deny,
}

impl Read for Action {
    fn read(input: &Input<'_>) -> Option<Self> {
        match input.text()? {
            "ALLOW" => Some(Self::Allow),
            "AUDIT" => Some(Self::Audit),
            "CUSTOM" => Some(Self::Custom),
            "DENY" => Some(Self::Deny),
            _ => {
                input.mistake("unknown action: write ALLOW, DENY, AUDIT or CUSTOM");
                None
            }
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        one_of(&["ALLOW", "AUDIT", "CUSTOM", "DENY"])
    }
}

record! {
    /// Istio's `AuthorizationPolicy.ExtensionProvider`.
    pub(crate) struct Provider {
        /// One of `extensionProviders`.
        name: Text,
    }
}

/// A DENY policy without rules could never deny, which is not what anybody means by one; CUSTOM is
/// decided before tokens are looked at, and Istio takes no identity of a peer there either.
pub(crate) fn check_action(
    action: Action,
    provider: Option<&Provider>,
    rules: &[AuthorizationRules],
    input: &Input<'_>,
) {
    let never = match action {
        Action::Allow | Action::Audit => None,
        Action::Custom => Some(
            "CUSTOM without `rules` would never be triggered: \
                                write `rules: [{}]` to have every request checked",
        ),
        Action::Deny => Some(
            "DENY without `rules` would never be triggered: \
                              write `rules: [{}]` to deny every request",
        ),
    };
    if let Some(message) = never.filter(|_| rules.is_empty()) {
        input.mistake(message);
    }
    match (action, provider) {
        (Action::Custom, None) => {
            input.mistake("CUSTOM needs `provider.name`: write one of `extensionProviders`");
        }
        (Action::Custom, Some(_)) | (_, None) => {}
        (_, Some(_)) => {
            input.mistake("`provider` is for the action CUSTOM: remove it, or write CUSTOM");
        }
    }
    if action == Action::Custom {
        for (index, AuthorizationRules(rule)) in rules.iter().enumerate() {
            for attribute in rule.conditions().filter_map(|c| c.test.of_identity()) {
                input.mistake(format!(
                    "`rules[{index}]`: {attribute} can't be decided upon with the action CUSTOM, \
                     which comes before tokens are looked at: write it in an ALLOW or DENY policy"
                ));
            }
        }
    }
}

/// As Istio's webhook says it.
pub(crate) fn check_dry_run(action: Action, input: &Input<'_>) {
    if !matches!(action, Action::Allow | Action::Deny) {
        input.mistake("a dry run is for the actions ALLOW and DENY only: remove it");
    }
}

/// One rule of a policy.
#[derive(Debug)]
pub(crate) struct AuthorizationRules(pub(crate) Rule<PeerPattern>);

record! {
    /// Istio's `Rule`.
    pub(crate) struct RuleFields {
        /// Who: one of these must match. Default: anybody.
        from: Option<Vec<From>>,
        /// What: one of these must match. Default: anything.
        to: Option<Vec<To>>,
        /// All of these must match. Those on claims and scopes are for the short form only.
        when: Vec<When>,
    }
}

impl Read for AuthorizationRules {
    fn read(input: &Input<'_>) -> Option<Self> {
        let fields = RuleFields::read(input)?;
        if fields.from.as_ref().is_some_and(Vec::is_empty) {
            input.mistake("`from` must not be empty: remove it to match any source");
        }
        if fields.to.as_ref().is_some_and(Vec::is_empty) {
            input.mistake("`to` must not be empty: remove it to match any operation");
        }
        let from = fields.from.unwrap_or_default().into_iter();
        let to = fields.to.unwrap_or_default().into_iter();
        Some(Self(Rule {
            from: from.map(|from| from.source.0).collect(),
            to: to.map(|to| to.operation.0).collect(),
            when: fields.when.into_iter().flat_map(|when| when.0).collect(),
        }))
    }

    fn schema(schemas: &mut Schemas) -> Value {
        RuleFields::schema(schemas)
    }
}

record! {
    /// Istio's `Rule.From`.
    pub(crate) struct From {
        /// A source matches if all of its fields do.
        source: Source,
    }
}

record! {
    /// Istio's `Rule.To`.
    pub(crate) struct To {
        /// An operation matches if all of its fields do.
        operation: Operation,
    }
}

fn compile<T>(texts: &[Text], pattern: impl Fn(&str) -> T) -> Vec<T> {
    texts.iter().map(|text| pattern(&text.0)).collect()
}

/// A field that lists nothing says nothing.
fn conditions<const N: usize>(
    fields: [(bool, Test<PeerPattern>); N],
) -> Vec<Condition<PeerPattern>> {
    let stated = fields.into_iter().filter(|(_, test)| !test.is_empty());
    stated
        .map(|(negated, test)| Condition { negated, test })
        .collect()
}
