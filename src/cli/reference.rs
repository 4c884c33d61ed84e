//! The reference of the fields, in Markdown, out of the JSON Schema alone.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// What stands above the fields.
const INTRODUCTION: &str = "\
<!-- Made from the doc comments in src: do not edit. `portcullis schema --format markdown > docs/reference.md` -->

# Every field

What may stand in a configuration, by where it stands. What the fields do together, with examples: [configuration](configuration.md).
If no default is written, a field that isn't there asks for nothing. A `duration` is text such as `5s`, `1m30s` or `500ms`.
";

/// How the definitions of what stands inside Istio resources are marked.
const ISTIO: &str = ".istio";

/// A section for each kind of object, in the order in which they are met from the top.
pub(super) fn markdown(schema: &Value) -> String {
    let none = Map::new();
    let mut reference = Reference {
        definitions: schema["$defs"].as_object().unwrap_or(&none),
        sections: Vec::new(),
    };
    if let Some(top) = schema.pointer("/allOf/0") {
        reference.follow(top, &Place::default());
    }
    let mut page = INTRODUCTION.to_owned();
    for section in &reference.sections {
        // Writing to a String can't fail.
        let _ = reference.write(section, &mut page);
    }
    page
}

struct Reference<'a> {
    definitions: &'a Map<String, Value>,
    sections: Vec<Section<'a>>,
}

/// A kind of object.
struct Section<'a> {
    name: &'a str,
    /// Where it stands: its heading.
    place: Place,
    others: Vec<Place>,
}

/// Where an object stands.
#[derive(Clone, Default, PartialEq)]
struct Place {
    path: String,
    /// A field that tells it from others in the same place.
    with: Option<String>,
}

impl Place {
    fn below(&self, step: &str) -> Self {
        let path = match self.path.as_str() {
            "" => step.to_owned(),
            path if step.starts_with('[') => format!("{path}{step}"),
            path => format!("{path}.{step}"),
        };
        Self { path, with: None }
    }

    fn text(&self) -> String {
        match (self.path.as_str(), &self.with) {
            ("", _) => "Top level".to_owned(),
            (path, None) => format!("`{path}`"),
            (path, Some(field)) => format!("`{path}` with `{field}`"),
        }
    }

    /// What GitHub and mdBook make of it as a heading.
    fn anchor(&self) -> String {
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, '-' | ' ');
        let text = self.text().to_lowercase();
        text.chars()
            .filter(kept)
            .collect::<String>()
            .replace(' ', "-")
    }
}

impl<'a> Reference<'a> {
    /// Notes every object that can stand here or below.
    fn follow(&mut self, schema: &'a Value, place: &Place) {
        if let Some(name) = referred(schema) {
            self.visit(name, place);
        }
        if let Some(items) = schema.get("items") {
            self.follow(items, &place.below("[]"));
        }
        if let Some(values) = schema.get("additionalProperties") {
            self.follow(values, &place.below("*"));
        }
        let alternatives = schema["anyOf"].as_array().map_or(&[][..], Vec::as_slice);
        let are_many = alternatives.iter().filter_map(referred).count() > 1;
        for alternative in alternatives {
            let mut place = place.clone();
            if let Some(kind) = kind(alternative) {
                place = Place::default().below(kind);
            } else if are_many && let Some(name) = referred(alternative) {
                place.with = self.required(name).next().map(str::to_owned);
            }
            self.follow(alternative, &place);
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            self.follow(field, &place.below(name));
        }
    }

    fn visit(&mut self, name: &'a str, place: &Place) {
        let mut sections = self.sections.iter_mut();
        if let Some(section) = sections.find(|section| section.name == name) {
            if section.place != *place && !section.others.contains(place) {
                section.others.push(place.clone());
            }
            return;
        }
        self.sections.push(Section {
            name,
            place: place.clone(),
            others: Vec::new(),
        });
        for (name, field) in self.fields(name) {
            self.follow(field, &place.below(name));
        }
    }

    /// The definition in the short form, or where there is none, that of Istio.
    fn definition(&self, name: &str) -> &'a Value {
        let definitions = self.definitions;
        let istio = || definitions.get(&format!("{name}{ISTIO}"));
        definitions.get(name).or_else(istio).unwrap_or(&Value::Null)
    }

    /// The fields of an object. Those in snake_case are the same in another spelling.
    fn fields(&self, name: &str) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        let fields = self.definition(name)["properties"].as_object();
        let fields = fields.into_iter().flatten();
        fields
            .map(|(name, field)| (name.as_str(), field))
            .filter(|(name, _)| !name.contains('_'))
    }

    fn required(&self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let all = self.definition(name)["allOf"].as_array();
        let all = all.into_iter().flatten();
        all.filter_map(|one| one.pointer("/anyOf/0/required/0")?.as_str())
    }

    fn write(&self, section: &Section<'_>, page: &mut String) -> std::fmt::Result {
        writeln!(page, "\n## {}\n", section.place.text())?;
        let others: Vec<String> = section.others.iter().map(Place::text).collect();
        if !others.is_empty() {
            writeln!(page, "The same stands in {}.\n", list(&others, "and"))?;
        }
        writeln!(page, "| field | type | meaning |")?;
        writeln!(page, "|---|---|---|")?;
        let istio = self.definitions.get(&format!("{}{ISTIO}", section.name));
        for (name, field) in self.fields(section.name) {
            let told = field["description"].as_str().unwrap_or_default();
            let (meaning, default) = told.split_once("Default: ").unwrap_or((told, ""));
            let mut meaning = meaning.trim().to_owned();
            if istio.is_some_and(|istio| istio["properties"].get(name).is_none()) {
                meaning.push_str(" Short form only.");
            }
            if self.required(section.name).any(|needed| needed == name) {
                meaning.push_str(" **Required.**");
            } else if !default.is_empty() {
                meaning.push_str(&format!(" *Default:* {default}"));
            }
            let cells = [self.kind(field, ""), meaning];
            let [kind, meaning] = cells.map(|cell| cell.replace('|', "\\|"));
            writeln!(page, "| `{name}` | {kind} | {meaning} |")?;
        }
        Ok(())
    }

    /// What a value is; `s` makes it several.
    fn kind(&self, schema: &Value, s: &str) -> String {
        if let Some(place) = referred(schema).and_then(|name| self.place(name)) {
            let with = place.with.iter().map(|field| format!(" with `{field}`"));
            let with: String = with.collect();
            return format!("[object{s}{with}](#{})", place.anchor());
        }
        if let Some(title) = schema["title"].as_str() {
            return format!("{title}{s}");
        }
        if let Some(values) = schema["enum"].as_array() {
            let values = values.iter().filter_map(Value::as_str);
            let values: Vec<String> = values.map(|value| format!("`{value}`")).collect();
            return list(&values, "or");
        }
        if let Some(alternatives) = schema["anyOf"].as_array() {
            let mut kinds: Vec<String> = Vec::new();
            for kind in alternatives.iter().map(|each| self.kind(each, s)) {
                if !kinds.contains(&kind) {
                    kinds.push(kind);
                }
            }
            return list(&kinds, "or");
        }
        if let Some(kind) = kind(schema) {
            let spec = schema.pointer("/properties/spec").and_then(referred);
            let spec = spec.and_then(|name| self.place(name));
            let anchor = spec.map(Place::anchor).unwrap_or_default();
            return format!("[{kind}](#{anchor})");
        }
        let bounds = (schema["minimum"].as_u64(), schema["maximum"].as_u64());
        match (schema["type"].as_str(), bounds) {
            (Some("array"), _) => format!("list{s} of {}", self.kind(&schema["items"], "s")),
            (Some("object"), _) => match (&schema["additionalProperties"], &schema["properties"]) {
                (values @ Value::Object(_), _) => {
                    format!("object{s} of {}", self.kind(values, "s"))
                }
                (_, Value::Object(fields)) => {
                    let fields: Vec<String> = fields.keys().cloned().collect();
                    format!("`{{{}}}`", fields.join(", "))
                }
                _ => format!("object{s}"),
            },
            (Some(kind), (Some(from), Some(to))) => format!("{kind}{s} from {from} to {to}"),
            (Some(kind), _) => format!("{kind}{s}"),
            (None, _) => "anything".to_owned(),
        }
    }

    /// The heading of the section about a kind of object.
    fn place(&self, name: &str) -> Option<&Place> {
        let mut sections = self.sections.iter();
        let section = sections.find(|section| section.name == name);
        section.map(|section| &section.place)
    }
}

/// The definition that a schema refers to, whether it is that of the short form or Istio's.
fn referred(schema: &Value) -> Option<&str> {
    let name = schema["$ref"].as_str()?.strip_prefix("#/$defs/")?;
    Some(name.strip_suffix(ISTIO).unwrap_or(name))
}

/// The kind of an Istio resource.
fn kind(schema: &Value) -> Option<&str> {
    schema.pointer("/properties/kind/const")?.as_str()
}

/// `a, b or c`.
fn list(items: &[String], word: &str) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [start @ .., last] => format!("{} {word} {last}", start.join(", ")),
    }
}
