//! JSON Schema (draft 2020-12) of the configuration, from the types that it is read into.
//!
//! A schema takes all that is right, and finds unknown fields and wrong types. What is wrong in a
//! value, or only beside another one, is found by reading.

use serde_json::{Map, Value, json};

use super::reader::{Dialect, Input, Read, Report, camel_case};

/// The JSON Schema of the plugin configuration.
#[must_use]
pub fn schema() -> Value {
    let mut schemas = Schemas {
        dialect: Dialect::Short,
        definitions: Map::new(),
    };
    let configuration = super::Config::schema(&mut schemas);
    let starts = ["resources", "jwtRules", "authorizationPolicies"];
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The configuration of Portcullis",
        "allOf": [configuration],
        "anyOf": starts.map(|name| json!({ "required": [name] })),
        "$defs": schemas.definitions,
    })
}

/// The schemas of records, each written once for each dialect.
pub(crate) struct Schemas {
    dialect: Dialect,
    definitions: Map<String, Value>,
}

/// A field of a record.
pub(crate) struct Field {
    name: &'static str,
    /// The lines of its doc comment.
    doc: &'static [&'static str],
    schema: fn(&mut Schemas) -> Value,
    is_required: bool,
    /// Whether Istio has no such field.
    is_beyond: bool,
}

impl Field {
    pub(crate) fn of<T: Read>(name: &'static str, doc: &'static [&'static str]) -> Self {
        let report = Report::default();
        let absent = T::absent(&Input::root(&Value::Null, &report), name);
        Self {
            name,
            doc,
            schema: T::schema,
            is_required: absent.is_none(),
            is_beyond: false,
        }
    }

    /// The same where Istio has no such field.
    pub(crate) fn beyond(mut self) -> Self {
        self.is_beyond = true;
        self
    }
}

impl Schemas {
    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// What stands in a resource.
    pub(crate) fn of_istio<T: Read>(&mut self) -> Value {
        let before = std::mem::replace(&mut self.dialect, Dialect::Istio);
        let schema = T::schema(self);
        self.dialect = before;
        schema
    }

    /// A reference to the definition of a record, which is made where there is none yet.
    pub(crate) fn record(&mut self, module: &str, name: &str, fields: &[Field]) -> Value {
        let module = module.rsplit("::").next().unwrap_or(module);
        let suffix = match self.dialect {
            Dialect::Istio => ".istio",
            Dialect::Short => "",
        };
        let name = format!("{module}.{name}{suffix}");
        if !self.definitions.contains_key(&name) {
            // A record that holds itself finds this.
            self.definitions.insert(name.clone(), Value::Null);
            let definition = self.definition(fields);
            self.definitions.insert(name.clone(), definition);
        }
        json!({ "$ref": format!("#/$defs/{name}") })
    }

    fn definition(&mut self, fields: &[Field]) -> Value {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for field in fields {
            if field.is_beyond && self.dialect == Dialect::Istio {
                continue;
            }
            let camel = camel_case(field.name);
            let schema = (field.schema)(self);
            let is_respelled = self.dialect == Dialect::Istio && camel != field.name;
            if is_respelled {
                properties.insert(field.name.to_owned(), schema.clone());
            }
            if field.is_required {
                let names = [camel.as_str(), field.name];
                let names = names.get(..1 + usize::from(is_respelled));
                let one = names.unwrap_or_default().iter();
                let one: Vec<Value> = one.map(|name| json!({ "required": [name] })).collect();
                required.push(json!({ "anyOf": one }));
            }
            properties.insert(camel, described(schema, field.doc));
        }
        let mut definition = json!({
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        });
        if let Value::Object(definition) = &mut definition
            && !required.is_empty()
        {
            definition.insert("allOf".to_owned(), required.into());
        }
        definition
    }
}

fn described(schema: Value, doc: &[&str]) -> Value {
    let lines: Vec<&str> = doc.iter().map(|line| line.trim()).collect();
    match schema {
        Value::Object(mut schema) if !lines.is_empty() => {
            schema.insert("description".to_owned(), lines.join(" ").into());
            Value::Object(schema)
        }
        schema => schema,
    }
}

/// One of these strings.
pub(crate) fn one_of(texts: &[&str]) -> Value {
    json!({ "enum": texts })
}

/// One of these.
pub(crate) fn any_of<const N: usize>(schemas: [Value; N]) -> Value {
    json!({ "anyOf": schemas.to_vec() })
}

/// A value of this type of JSON.
pub(crate) fn a(kind: &str) -> Value {
    json!({ "type": kind })
}

/// An object whose members are all like this.
pub(crate) fn map_of(schema: &Value) -> Value {
    json!({ "type": "object", "additionalProperties": schema })
}
