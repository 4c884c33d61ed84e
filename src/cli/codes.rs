//! The codes of what is found, each with a chapter in docs/advice.md.

use clap::builder::PossibleValue;

use clap::ValueEnum;

use crate::config::reader::Topic;

/// What people read of each.
const PAGE: &str = include_str!("../../docs/advice.md");
/// Where that is on the web.
const URI: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/advice.md");

macro_rules! codes {
    ($( $name:ident $code:literal, )*) => {
        /// What kind of thing was found.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        pub(super) enum Code { $( $name, )* }

        impl Code {
            pub(super) const ALL: &[Self] = &[ $( Self::$name, )* ];

            /// A word or some that stay the same.
            pub(super) fn name(self) -> &'static str {
                match self { $( Self::$name => $code, )* }
            }
        }
    };
}

codes! {
    AnyAudience "any-audience",
    Elsewhere "elsewhere",
    EmptySelector "empty-selector",
    HostWithoutPort "host-without-port",
    KeyLeftOut "key-left-out",
    LiteralStar "literal-star",
    MetadataAddress "metadata-address",
    Mistake "mistake",
    NeverMatches "never-matches",
    NoKeys "no-keys",
    NoPrincipal "no-principal",
    NotFilledIn "not-filled-in",
    NotNormalized "not-normalized",
    NotRead "not-read",
    PlainHttp "plain-http",
    Shadowed "shadowed",
    WhenLoaded "when-loaded",
}

impl ValueEnum for Code {
    fn value_variants<'a>() -> &'a [Self] {
        Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

impl Code {
    /// Of what the plugin says when it loads a configuration that it takes.
    pub(super) fn of_warning(topic: Topic) -> Self {
        match topic {
            Topic::EmptySelector => Self::EmptySelector,
            Topic::KeyLeftOut => Self::KeyLeftOut,
            Topic::MetadataAddress => Self::MetadataAddress,
            Topic::NoKeys => Self::NoKeys,
            Topic::Other => Self::WhenLoaded,
        }
    }

    /// Its chapter, without the heading.
    pub(super) fn explained(self) -> &'static str {
        let mut chapters = PAGE.split("\n## ").skip(1);
        let text = chapters.find_map(|chapter| {
            let (heading, text) = chapter.split_once('\n')?;
            (heading.trim_matches('`') == self.name()).then_some(text)
        });
        text.unwrap_or_default().trim()
    }

    pub(super) fn uri(self) -> String {
        format!("{URI}#{}", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_chapter() {
        for code in Code::ALL {
            let text = code.explained();
            assert!(text.contains("**Cause.** "), "{}: {text}", code.name());
            assert!(text.contains("**Mend.** "), "{}: {text}", code.name());
        }
        let chapters = PAGE.split("\n## ").skip(1);
        let headings = chapters.filter_map(|chapter| chapter.lines().next());
        let headings: Vec<&str> = headings.map(|heading| heading.trim_matches('`')).collect();
        let names: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(headings, names);
    }
}
