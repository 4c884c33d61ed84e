//! Where in a document something stands.

use std::fmt;

/// The way from the root of a document to a value of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Place(Vec<Step>);

/// From a value to one that it holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// An item of a list, counted from 0.
    Item(usize),
    /// A member of an object, by its name as it is written.
    Member(String),
}

impl Place {
    /// The steps, from the root on; none to the document itself.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    pub(crate) fn item(mut self, index: usize) -> Self {
        self.0.push(Step::Item(index));
        self
    }

    pub(crate) fn member(mut self, name: &str) -> Self {
        self.0.push(Step::Member(name.to_owned()));
        self
    }
}

/// As in `resources[2].spec.rules[0].to[0].operation.paths[1]`.
impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Item(index) => write!(formatter, "[{index}]")?,
                Step::Member(name) if index == 0 => formatter.write_str(name)?,
                Step::Member(name) => write!(formatter, ".{name}")?,
            }
        }
        Ok(())
    }
}
