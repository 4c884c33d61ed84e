//! Structs that are read from an object, declared with their fields.

/// Declares a struct that is read from an object; the doc comment of a field is its reference, and
/// its description in the schema.
///
/// Fields under `beyond` are ours: they can't be written inside an Istio resource. Those under
/// `not_yet` are Istio's and can't be decided by this version; those under `unread` are right
/// here but read elsewhere, or facts that nothing depends on yet. `check` is a function that looks at the fields together.
macro_rules! record {
    (
        $(#[$meta:meta])*
        pub(crate) struct $name:ident {
            $( $(#[doc = $doc:literal])* $field:ident: $type:ty, )*
        }
        $( beyond { $( $(#[doc = $beyond_doc:literal])* $beyond:ident: $beyond_type:ty, )* } )?
        $( not_yet { $( $not_yet:ident, )* } )?
        $( unread { $( $(#[doc = $unread_doc:literal])* $unread:ident: $unread_type:ty, )* } )?
        $( check $check:path; )?
    ) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub(crate) struct $name {
            $( $(#[doc = $doc])* pub(crate) $field: $type, )*
            $( $( $(#[doc = $beyond_doc])* pub(crate) $beyond: $beyond_type, )* )?
        }

        impl $crate::config::reader::Read for $name {
            fn read(input: &$crate::config::reader::Input<'_>) -> Option<Self> {
                let object = input.object()?;
                let all_known = object.deny_unknown(
                    &[$( stringify!($field), )* $( $( stringify!($unread), )* )?],
                    &[$( $( stringify!($beyond), )* )?],
                    &[$( $( stringify!($not_yet), )* )?],
                );
                $( let $field = object.field(stringify!($field)); )*
                $( $( let $beyond = object.field(stringify!($beyond)); )* )?
                let record = Self {
                    $( $field: $field?, )*
                    $( $( $beyond: $beyond?, )* )?
                };
                // What can't be read may be just what a check would miss.
                if !all_known {
                    return None;
                }
                $( $check(&record, input); )?
                Some(record)
            }

            fn schema(schemas: &mut $crate::config::schema::Schemas) -> serde_json::Value {
                use $crate::config::schema::Field;
                schemas.record(module_path!(), stringify!($name), &[
                    $( Field::of::<$type>(stringify!($field), &[$($doc),*]), )*
                    $( $( Field::of::<$unread_type>(stringify!($unread), &[$($unread_doc),*]), )* )?
                    $( $(
                        Field::of::<$beyond_type>(stringify!($beyond), &[$($beyond_doc),*])
                            .beyond(),
                    )* )?
                ])
            }
        }
    };
}

pub(crate) use record;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::config::reader::{Dialect, Input, Mistake, Read as _, Report};

    record! {
        /// A record to try.
        pub(crate) struct Sample {
            /// A name.
            first_name: String,
            tags: Vec<String>,
        }
        beyond {
            extra: Option<bool>,
        }
        check check_sample;
    }

    fn check_sample(sample: &Sample, input: &Input<'_>) {
        if sample.tags.len() > 2 {
            input.mistake("too many tags");
        }
    }

    fn read(value: Value, dialect: Dialect) -> Result<Sample, Vec<String>> {
        let report = Report::default();
        let input = Input {
            dialect,
            ..Input::root(&value, &report)
        };
        let sample = Sample::read(&input);
        match report.into_result(sample) {
            Ok((sample, _)) => Ok(sample),
            Err(mistakes) => Err(mistakes.iter().map(Mistake::to_string).collect()),
        }
    }

    #[test]
    fn lists_every_mistake_with_its_path() {
        let value = json!({"tags": ["a", 1, {}], "extra": "yes", "frist": 1});
        assert_eq!(
            read(value, Dialect::Short).unwrap_err(),
            [
                "frist: unknown field; the fields here are `firstName`, `tags`, `extra`",
                "`firstName` is missing",
                "tags[1]: expected a string, found a number: put it in quotes",
                "tags[2]: expected a string, found an object",
                "extra: expected true or false, found a string",
            ]
        );
    }

    #[test]
    fn istio_resources_take_both_spellings_and_none_of_our_fields() {
        let snake = json!({"first_name": "x"});
        assert_eq!(read(snake.clone(), Dialect::Istio).unwrap().first_name, "x");
        assert!(read(snake, Dialect::Short).is_err());
        let beyond = json!({"firstName": "x", "extra": true});
        assert_eq!(
            read(beyond.clone(), Dialect::Short).unwrap().extra,
            Some(true)
        );
        assert!(read(beyond, Dialect::Istio).is_err());
        let twice = json!({"firstName": "x", "first_name": "y"});
        assert_eq!(
            read(twice, Dialect::Istio).unwrap_err(),
            ["`firstName` and `first_name` are the same field: write it once"]
        );
    }

    #[test]
    fn null_is_unset_and_checks_see_the_whole() {
        let value = json!({"firstName": "x", "tags": null});
        assert!(read(value, Dialect::Short).unwrap().tags.is_empty());
        let value = json!({"firstName": "x", "tags": ["a", "b", "c"]});
        assert_eq!(read(value, Dialect::Short).unwrap_err(), ["too many tags"]);
    }
}
