//! For which requests a rule for tokens is.

use serde_json::Value;

use super::authorization::operation::OperationFields;
use super::reader::{Input, Read};
use super::schema::Schemas;
use crate::authz::{PeerPattern, Rule};

/// Operations, of which one must match.
#[derive(Clone, Debug)]
pub(crate) struct Scope(Vec<Operation>);

impl Scope {
    /// The same as a policy says it.
    pub(crate) fn into_rule(self) -> Rule<PeerPattern> {
        let operations = self.0.into_iter();
        Rule {
            from: Vec::new(),
            to: operations.map(|one| one.0.conditions()).collect(),
            when: Vec::new(),
        }
    }
}

impl Read for Scope {
    fn read(input: &Input<'_>) -> Option<Self> {
        let operations = Vec::<Operation>::read(input)?;
        if operations.is_empty() {
            input
                .mistake("`match` must not be empty: remove it to have the rule for every request");
        }
        Some(Self(operations))
    }

    fn schema(schemas: &mut Schemas) -> Value {
        Vec::<Operation>::schema(schemas)
    }
}

/// All of these must hold.
#[derive(Clone, Debug)]
struct Operation(OperationFields);

impl Read for Operation {
    fn read(input: &Input<'_>) -> Option<Self> {
        let fields = OperationFields::read(input)?;
        if fields.is_empty() {
            input.mistake(
                "an operation must not be empty: remove `match` to have the rule for every request",
            );
        }
        Some(Self(fields))
    }

    fn schema(schemas: &mut Schemas) -> Value {
        OperationFields::schema(schemas)
    }
}
