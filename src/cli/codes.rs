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
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
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
    BehindRouter "behind-router",
    ClusterNoTls "cluster-no-tls",
    ClusterNoValidation "cluster-no-validation",
    CorsBehind "cors-behind",
    DeniesTokens "denies-tokens",
    Disabled "disabled",
    DisabledByRoute "disabled-by-route",
    EitherRule "either-rule",
    Elsewhere "elsewhere",
    EmptySelector "empty-selector",
    FailOpen "fail-open",
    HostWithoutPort "host-without-port",
    KeyLeftOut "key-left-out",
    LiteralStar "literal-star",
    MetadataAddress "metadata-address",
    MissingCapability "missing-capability",
    Misspelt "misspelt",
    Mistake "mistake",
    NeverMatches "never-matches",
    NeverPasses "never-passes",
    NoCluster "no-cluster",
    NoDestinationRule "no-destination-rule",
    NoDirectAddress "no-direct-address",
    NoKeys "no-keys",
    NoNormalization "no-normalization",
    NoPeerCertificates "no-peer-certificates",
    NoPhase "no-phase",
    NoPrincipal "no-principal",
    NoReload "no-reload",
    NoServiceEntry "no-service-entry",
    NoTimeouts "no-timeouts",
    NoTokenThere "no-token-there",
    NoVmId "no-vm-id",
    NotFilledIn "not-filled-in",
    NotNormalized "not-normalized",
    NotRead "not-read",
    PathForms "path-forms",
    PlainHttp "plain-http",
    ReportOnly "report-only",
    SameName "same-name",
    Shadowed "shadowed",
    SkipXffAppend "skip-xff-append",
    TrustsForwardedFor "trusts-forwarded-for",
    UnguardedListener "unguarded-listener",
    UnknownAudience "unknown-audience",
    UntrustedPeerCertificates "untrusted-peer-certificates",
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
    /// Whether it is of mistakes only, which nothing leaves out.
    pub(super) fn is_mistake(self) -> bool {
        matches!(
            self,
            Self::FailOpen | Self::Mistake | Self::UntrustedPeerCertificates
        )
    }

    /// Of what the plugin says when it loads a configuration that it takes.
    pub(super) fn of_warning(topic: Topic) -> Self {
        match topic {
            Topic::EmptySelector => Self::EmptySelector,
            Topic::KeyLeftOut => Self::KeyLeftOut,
            Topic::MetadataAddress => Self::MetadataAddress,
            Topic::NoKeys => Self::NoKeys,
            Topic::ReportOnly => Self::ReportOnly,
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

    #[test]
    fn what_must_be_set_is_found() {
        let page = include_str!("../../docs/threats.md");
        let chapter = page.split("## What you must set").nth(1).unwrap();
        let rows = chapter.lines().filter(|line| line.starts_with("| "));
        let said = rows.filter_map(|row| row.trim_end_matches(" |").rsplit(" | ").next());
        let said: Vec<&str> = said
            .flat_map(|said| said.split('`').skip(1).step_by(2))
            .collect();
        assert!(said.len() > 20, "{said:?}");
        for code in said.into_iter().filter(|said| *said != "check") {
            let is_one = Code::ALL.iter().any(|own| own.name() == code);
            assert!(is_one, "{code}");
        }
    }
}
