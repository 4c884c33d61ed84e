//! Istio resources as they stand in YAML, and which of them apply to this workload.

mod attachment;

use std::fmt;

use serde_json::{Map, Value};

use self::attachment::Attachment;
pub(crate) use self::attachment::Here;
use crate::config::authorization::{self, Action, Provider};
use crate::config::reader::{Dialect, Input, Mistake, Object, Read, record};
use crate::config::{AuthorizationRules, JwtRule};

/// An Istio resource.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    /// Where it stands in the configuration.
    pub(crate) path: String,
    attachment: Attachment,
    pub(crate) kind: Kind,
}

impl fmt::Display for Resource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::AuthorizationPolicy(..) => "AuthorizationPolicy",
            Kind::RequestAuthentication(_) => "RequestAuthentication",
        };
        let namespace = self.namespace.as_deref().unwrap_or_default();
        write!(formatter, "{kind} {namespace}/{}", self.name)
    }
}

/// What a resource says.
#[derive(Debug)]
pub(crate) enum Kind {
    AuthorizationPolicy(AuthorizationPolicy, DryRun),
    RequestAuthentication(Vec<JwtRule>),
}

impl Read for Resource {
    fn read(input: &Input<'_>) -> Option<Self> {
        let object = input.object()?;
        object.deny_unknown(
            &["api_version", "kind", "metadata", "spec", "status"],
            &[],
            &[],
        );
        let api_version = object.field::<String>("api_version")?;
        let kind = object.field::<String>("kind")?;
        let metadata = object
            .field::<Option<Metadata>>("metadata")?
            .unwrap_or_default();
        let (attachment, kind) = match (api_version.as_str(), kind.as_str()) {
            ("security.istio.io/v1" | "security.istio.io/v1beta1", "RequestAuthentication") => {
                if metadata.dry_run.is_some() {
                    input.mistake(
                        "istio.io/dry-run is not for a RequestAuthentication: remove the annotation",
                    );
                }
                let spec = spec::<RequestAuthentication>(&object, input)?;
                (
                    spec.attachment,
                    Kind::RequestAuthentication(spec.rules.jwt_rules),
                )
            }
            ("security.istio.io/v1" | "security.istio.io/v1beta1", "AuthorizationPolicy") => {
                let spec = spec::<AuthorizationPolicy>(&object, input)?;
                if metadata.dry_run.is_some() {
                    authorization::check_dry_run(spec.rules.action.unwrap_or_default(), input);
                }
                let dry_run = metadata.dry_run.unwrap_or_default();
                (
                    spec.attachment,
                    Kind::AuthorizationPolicy(spec.rules, dry_run),
                )
            }
            _ => {
                input.mistake(format!(
                    "`{kind}` of `{api_version}` is not supported by this version of Portcullis: \
                     write a RequestAuthentication or AuthorizationPolicy of security.istio.io/v1, \
                     and leave other kinds out"
                ));
                return None;
            }
        };
        Some(Self {
            name: metadata.name.unwrap_or_default(),
            namespace: metadata.namespace,
            path: input.path(),
            attachment,
            kind,
        })
    }
}

/// `spec` of either kind: to whom it applies, and what it says.
struct Spec<T> {
    attachment: Attachment,
    rules: T,
}

impl<T: Read> Read for Spec<T> {
    fn read(input: &Input<'_>) -> Option<Self> {
        let attachment = Attachment::read(input);
        let rules = T::read(input);
        Some(Self {
            attachment: attachment?,
            rules: rules?,
        })
    }
}

/// Reads `spec`; a resource without one says what an empty one says.
fn spec<T: Read>(object: &Object<'_>, input: &Input<'_>) -> Option<Spec<T>> {
    match object.field_in("spec", Dialect::Istio)? {
        Some(spec) => Some(spec),
        None => Spec::read(&input.replaced(&Value::Object(Map::new()), Dialect::Istio)),
    }
}

record! {
    /// What a RequestAuthentication says.
    pub(crate) struct RequestAuthentication {
        /// The tokens that are taken.
        jwt_rules: Vec<JwtRule>,
    }
    unread {
        selector, target_ref, target_refs,
    }
}

record! {
    /// What an AuthorizationPolicy says.
    pub(crate) struct AuthorizationPolicy {
        /// `ALLOW` (default), `DENY`, `AUDIT` or `CUSTOM`.
        action: Option<Action>,
        /// Who is asked, where the action is `CUSTOM`.
        provider: Option<Provider>,
        /// A request matches the policy if it matches one of the rules.
        rules: Vec<AuthorizationRules>,
    }
    unread {
        selector, target_ref, target_refs,
    }
    check check_policy;
}

fn check_policy(spec: &AuthorizationPolicy, input: &Input<'_>) {
    let action = spec.action.unwrap_or_default();
    authorization::check_action(action, spec.provider.as_ref(), &spec.rules, input);
}

/// `metadata`, of which Kubernetes has many members that mean nothing here.
#[derive(Debug, Default)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    dry_run: Option<DryRun>,
}

/// Whether a policy only tells what it would do: the annotation `istio.io/dry-run`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DryRun(pub(crate) bool);

impl DryRun {
    /// As Go's `strconv.ParseBool`, by which Istio reads it.
    fn read(annotations: Option<&Value>, input: &Input<'_>) -> Option<Self> {
        let written = annotations?.get("istio.io/dry-run")?;
        match written.as_str() {
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Some(Self(true)),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Some(Self(false)),
            _ => {
                input.mistake("the annotation istio.io/dry-run is \"true\" or \"false\"");
                None
            }
        }
    }
}

impl Read for Metadata {
    fn read(input: &Input<'_>) -> Option<Self> {
        let object = input.object()?;
        let name = object.field("name");
        let namespace = object.field::<Option<String>>("namespace");
        Some(Self {
            name: name?,
            namespace: namespace?.filter(|namespace| !namespace.is_empty()),
            dry_run: DryRun::read(input.value().get("annotations"), input),
        })
    }
}

impl Resource {
    /// The mistake of a resource of which [`Self::applies`] can't tell.
    pub(crate) fn misplaced(&self, message: &str) -> Mistake {
        Mistake {
            path: self.path.clone(),
            message: message.to_owned(),
        }
    }

    /// Whether the resource applies here.
    ///
    /// # Errors
    ///
    /// What has to be known of the workload to tell. To leave the resource out could open what it
    /// closes, so this is a mistake in the configuration.
    pub(crate) fn applies(&self, here: &Here) -> Result<bool, &'static str> {
        self.attachment.reaches(self.namespace.as_deref(), here)
    }

    /// Whether it is one of those that apply everywhere.
    pub(crate) fn is_of_root(&self, here: &Here) -> bool {
        here.is_root(self.namespace.as_deref()) == Ok(true)
    }
}
