//! Istio resources as they stand in YAML, and which of them apply to this workload.

mod attachment;

use std::fmt;

use serde_json::{Map, Value, json};

use self::attachment::Attachment;
pub(crate) use self::attachment::{Here, Selector};
use crate::authn::legacy::Reach;
use crate::config::authorization::{self, Action, Provider};
use crate::config::legacy::{LegacyPolicy, PortSelector, Target};
use crate::config::peer_authentication::PeerAuthentication;
use crate::config::place::Place;
use crate::config::reader::{Dialect, Input, Mistake, Object, Read, record};
use crate::config::schema::{Schemas, a, any_of, one_of};
use crate::config::text::Name;
use crate::config::{AuthorizationRules, JwtRule};
use crate::mtls::Scope;

/// The name of a policy without targets.
const DEFAULT: &str = "default";

/// An Istio resource.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    /// Where it stands in the configuration.
    pub(crate) place: Place,
    /// When it was created, as Kubernetes writes it: in RFC 3339, to the second, in UTC.
    created: Option<String>,
    attachment: Attachment,
    pub(crate) kind: Kind,
}

impl fmt::Display for Resource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::AuthorizationPolicy(..) => "AuthorizationPolicy",
            Kind::MeshPolicy(_) => "MeshPolicy",
            Kind::PeerAuthentication(_) => "PeerAuthentication",
            Kind::Policy(_) => "Policy",
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
    MeshPolicy(LegacyPolicy),
    PeerAuthentication(PeerAuthentication),
    Policy(LegacyPolicy),
    RequestAuthentication(Vec<JwtRule>),
}

impl Kind {
    /// Whether it is one of the older policies.
    pub(crate) fn is_older(&self) -> bool {
        matches!(self, Self::MeshPolicy(_) | Self::Policy(_))
    }

    /// Whether of several only one counts.
    fn is_replaced(&self) -> bool {
        self.is_older() || matches!(self, Self::PeerAuthentication(_))
    }
}

/// Versions of Istio's API.
const SECURITY: &[&str] = &["security.istio.io/v1", "security.istio.io/v1beta1"];
const OLDER: &[&str] = &["authentication.istio.io/v1alpha1"];

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
            ("security.istio.io/v1" | "security.istio.io/v1beta1", "PeerAuthentication") => {
                let spec = spec::<PeerAuthentication>(&object, input)?;
                (spec.attachment, Kind::PeerAuthentication(spec.rules))
            }
            ("authentication.istio.io/v1alpha1", "Policy") => {
                let spec = spec::<LegacyPolicy>(&object, input)?;
                check_name(metadata.name.as_deref(), &spec.rules, input);
                (spec.attachment, Kind::Policy(spec.rules))
            }
            ("authentication.istio.io/v1alpha1", "MeshPolicy") => {
                let spec = spec::<LegacyPolicy>(&object, input)?;
                if metadata.name.as_deref() != Some(DEFAULT) || !spec.rules.targets.is_empty() {
                    input.mistake("a MeshPolicy is named `default` and has no `targets`");
                }
                (spec.attachment, Kind::MeshPolicy(spec.rules))
            }
            _ => {
                let mut versions = SECURITY.iter().chain(OLDER);
                let is_known = versions.any(|known| *known == api_version);
                let wrong = if is_known { "kind" } else { "api_version" };
                object.mistake_at(wrong, format!(
                    "`{kind}` of `{api_version}` is not supported by this version of Portcullis: \
                     write a RequestAuthentication, AuthorizationPolicy or PeerAuthentication of \
                     security.istio.io/v1, or a Policy or MeshPolicy of \
                     authentication.istio.io/v1alpha1, and leave other kinds out"
                ));
                return None;
            }
        };
        Some(Self {
            name: metadata.name.unwrap_or_default(),
            namespace: metadata.namespace,
            place: input.place(),
            created: metadata.created,
            attachment,
            kind,
        })
    }

    fn schema(schemas: &mut Schemas) -> Value {
        let metadata = Metadata::schema(schemas);
        let resource = |versions: &[&str], kind, spec: Value| {
            json!({
                "type": "object",
                "properties": {
                    "apiVersion": one_of(versions),
                    "kind": { "const": kind },
                    "metadata": metadata,
                    "spec": spec,
                    "status": true,
                },
                "required": ["apiVersion", "kind"],
                "additionalProperties": false,
            })
        };
        let (security, older) = (SECURITY, OLDER);
        let policy = schemas.of_istio::<LegacyPolicy>();
        any_of([
            resource(
                security,
                "RequestAuthentication",
                schemas.of_istio::<RequestAuthentication>(),
            ),
            resource(
                security,
                "AuthorizationPolicy",
                schemas.of_istio::<AuthorizationPolicy>(),
            ),
            resource(
                security,
                "PeerAuthentication",
                schemas.of_istio::<PeerAuthentication>(),
            ),
            resource(older, "Policy", policy.clone()),
            resource(older, "MeshPolicy", policy),
        ])
    }
}

/// As Istio's webhook said it.
fn check_name(name: Option<&str>, policy: &LegacyPolicy, input: &Input<'_>) {
    match (name == Some(DEFAULT), policy.targets.is_empty()) {
        (true, false) => {
            input.mistake("a Policy named `default` has no `targets`: give it another name");
        }
        (false, true) => {
            input.mistake("a Policy without `targets` must be named `default`");
        }
        _ => {}
    }
}

/// `spec` of any kind: to whom it applies, and what it says.
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

    fn schema(schemas: &mut Schemas) -> Value {
        T::schema(schemas)
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
        /// Which workloads of the namespace; in the root namespace, of the mesh. Default: all.
        selector: Option<attachment::Selector>,
        /// To what the resource is attached, in place of a selector.
        target_ref: Option<attachment::TargetRef>,
        /// To what the resource is attached, where that is several.
        target_refs: Vec<attachment::TargetRef>,
    }
}

record! {
    /// What an AuthorizationPolicy says.
    pub(crate) struct AuthorizationPolicy {
        /// What a matching policy does. Default: `ALLOW`.
        action: Option<Action>,
        /// Who is asked, where the action is `CUSTOM`.
        provider: Option<Provider>,
        /// A request matches the policy if it matches one of the rules.
        rules: Vec<AuthorizationRules>,
    }
    unread {
        /// Which workloads of the namespace; in the root namespace, of the mesh. Default: all.
        selector: Option<attachment::Selector>,
        /// To what the resource is attached, in place of a selector.
        target_ref: Option<attachment::TargetRef>,
        /// To what the resource is attached, where that is several.
        target_refs: Vec<attachment::TargetRef>,
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
    created: Option<String>,
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
        for (member, text) in [("name", &name), ("namespace", &namespace)] {
            let text = text.as_ref().and_then(Option::as_deref);
            if let Some(mistake) = text.and_then(Name::mistake) {
                object.mistake_at(member, mistake.to_owned());
            }
        }
        let created = input.value().get("creationTimestamp");
        Some(Self {
            name: name?,
            namespace: namespace?.filter(|namespace| !namespace.is_empty()),
            created: created.and_then(Value::as_str).map(str::to_owned),
            dry_run: DryRun::read(input.value().get("annotations"), input),
        })
    }

    fn schema(_: &mut Schemas) -> Value {
        a("object")
    }
}

impl Resource {
    /// The mistake of a resource of which [`Self::applies`] can't tell.
    pub(crate) fn misplaced(&self, message: &str) -> Mistake {
        Mistake::at(self.place.clone(), message)
    }

    /// Whether the resource applies here.
    ///
    /// # Errors
    ///
    /// What has to be known of the workload to tell. To leave the resource out could open what it
    /// closes, so this is a mistake in the configuration.
    pub(crate) fn applies(&self, here: &Here) -> Result<bool, &'static str> {
        let namespace = self.namespace.as_deref();
        match &self.kind {
            Kind::MeshPolicy(_) => Ok(true),
            Kind::Policy(policy) if policy.targets.is_empty() => here.is_in(namespace),
            Kind::Policy(policy) => {
                let is_ours = |target: &Target| here.serves(namespace, &target.name.0);
                policy
                    .targets
                    .iter()
                    .try_fold(false, |any, target| Ok(any || is_ours(target)?))
            }
            _ => self.attachment.reaches(namespace, here),
        }
    }

    /// For what an older policy is that applies here.
    ///
    /// # Errors
    ///
    /// A port of which it isn't known where its requests arrive.
    pub(crate) fn reach(&self, here: &Here) -> Result<Vec<Reach>, Mistake> {
        let policy = match &self.kind {
            Kind::MeshPolicy(_) => return Ok(vec![Reach::Mesh]),
            Kind::Policy(policy) if policy.targets.is_empty() => return Ok(vec![Reach::Namespace]),
            Kind::Policy(policy) => policy,
            _ => return Ok(Vec::new()),
        };
        let namespace = self.namespace.as_deref();
        let ours = policy.targets.iter();
        let ours = ours.filter(|target| here.serves(namespace, &target.name.0) == Ok(true));
        ours.map(|target| {
            if target.ports.is_empty() {
                return Ok(Reach::Service);
            }
            let ports = target.ports.iter().map(|selector| {
                here.target_port(selector)
                    .ok_or_else(|| self.unmapped(selector))
            });
            ports.collect::<Result<_, _>>().map(Reach::Ports)
        })
        .collect()
    }

    fn unmapped(&self, selector: &PortSelector) -> Mistake {
        self.misplaced(&format!(
            "it can't be told where requests for port `{selector}` of the service arrive: write it \
             in `workload.ports`"
        ))
    }

    /// How far a PeerAuthentication reaches that applies here.
    ///
    /// # Errors
    ///
    /// Istio looks at none with a selector in the root namespace.
    pub(crate) fn scope(&self, here: &Here) -> Result<Scope, Mistake> {
        match (self.is_of_root(here), self.attachment.selects_some()) {
            (true, true) => Err(self.misplaced(
                "a PeerAuthentication with a selector has no effect in the root namespace",
            )),
            (true, false) => Ok(Scope::Mesh),
            (false, true) => Ok(Scope::Workload),
            (false, false) => Ok(Scope::Namespace),
        }
    }

    /// Where it comes among those that apply here: the root namespace last; of those that replace one
    /// another the oldest first, then by name, and those that don't tell when they were created
    /// last, as they are written.
    pub(crate) fn order(&self, here: &Here) -> (bool, bool, &str, &str) {
        let is_of_root = self.is_of_root(here);
        match &self.created {
            Some(created) if self.kind.is_replaced() => (is_of_root, false, created, &self.name),
            _ => (is_of_root, true, "", ""),
        }
    }

    /// Whether it is one of those that apply everywhere.
    pub(crate) fn is_of_root(&self, here: &Here) -> bool {
        here.is_root(self.namespace.as_deref()) == Ok(true)
    }
}

/// Resources in a few words, if there is one.
pub(crate) fn named(resources: &[impl fmt::Display]) -> Option<String> {
    const MAX_NAMED: usize = 10;
    let (first, rest) = resources.split_at(resources.len().min(MAX_NAMED));
    let first: Vec<String> = first.iter().map(ToString::to_string).collect();
    let first = first.join(", ");
    match rest.len() {
        0 => Some(first).filter(|first| !first.is_empty()),
        rest => Some(format!("{first} and {rest} more")),
    }
}
