//! Whole numbers.

use serde_json::{Value, json};

use super::reader::{Input, Read};
use super::schema::Schemas;

/// A whole number that isn't negative.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count(pub(crate) u32);

impl Read for Count {
    fn read(input: &Input<'_>) -> Option<Self> {
        let count = match input.value() {
            Value::Number(_) => input.whole(),
            _ => return input.expected("a number"),
        };
        if count.is_none() {
            input.mistake(format!(
                "out of range: write a whole number up to {}",
                u32::MAX
            ));
        }
        count.map(Self)
    }

    fn schema(_: &mut Schemas) -> Value {
        json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX })
    }
}

/// A whole number from 1 on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AtLeastOne(pub(crate) u32);

impl Read for AtLeastOne {
    fn read(input: &Input<'_>) -> Option<Self> {
        match Count::read(input)?.0 {
            0 => {
                input.mistake("0 lets nobody in: write a whole number from 1 on");
                None
            }
            count => Some(Self(count)),
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        json!({ "type": "integer", "minimum": 1, "maximum": u32::MAX })
    }
}
