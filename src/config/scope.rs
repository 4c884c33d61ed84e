//! For which requests a rule for tokens is.

use serde_json::Value;

use super::authorization::operation::OperationFields;
use super::reader::{Input, Read};
use super::schema::Schemas;
use crate::authz::{Condition, PeerPattern, Rule};

/// Operations, of which one must match.
#[derive(Clone, Debug)]
pub(crate) struct Scope(pub(crate) Rule<PeerPattern>);

impl Read for Scope {
    fn read(input: &Input<'_>) -> Option<Self> {
        let operations = Vec::<Operation>::read(input)?;
        if operations.is_empty() {
            input
                .mistake("`match` must not be empty: remove it to have the rule for every request");
        }
        Some(Self(Rule {
            from: Vec::new(),
            to: operations.into_iter().map(|one| one.0).collect(),
            when: Vec::new(),
        }))
    }

    fn schema(schemas: &mut Schemas) -> Value {
        Vec::<Operation>::schema(schemas)
    }
}

/// All of these must hold.
struct Operation(Vec<Condition<PeerPattern>>);

impl Read for Operation {
    fn read(input: &Input<'_>) -> Option<Self> {
        let conditions = OperationFields::read(input)?.conditions();
        if conditions.is_empty() {
            input.mistake(
                "an operation must not be empty: remove `match` to have the rule for every request",
            );
        }
        Some(Self(conditions))
    }

    fn schema(schemas: &mut Schemas) -> Value {
        OperationFields::schema(schemas)
    }
}
