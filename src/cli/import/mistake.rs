//! What is wrong with what was read, at the place where it was read: nobody has seen the configuration yet that it is
//! wrong in.

use super::gathered::{Gathered, Origin, named};
use crate::cli::check::mistake_at;
use crate::cli::source::Unreadable;
use crate::cli::{Failure, tell};
use crate::config::place::{Place, Step};
use crate::config::reader::{Mistake, Mistakes};

/// Who repeats a mistake repeats how it is mended.
const MOST_TOLD: usize = 50;

/// What the configuration calls what here is an option.
const OPTIONS: [(&str, &str); 6] = [
    ("`workload.gateway`", "--gateway"),
    (
        "`workload.gatewayClass`",
        r#"--workload '{"gatewayClass": "..."}'"#,
    ),
    ("`workload.labels`", "--label"),
    ("`workload.namespace`", "--namespace"),
    (
        "`workload.serviceName`",
        r#"--workload '{"serviceName": "..."}'"#,
    ),
    (
        "it in `workload.ports`",
        r#"--workload '{"ports": [{"number": ..., "targetPort": ...}]}'"#,
    ),
];

pub(super) fn tell_all(gathered: &Gathered, Mistakes(mistakes): &Mistakes) {
    for mistake in mistakes.iter().take(MOST_TOLD) {
        let Failure(told) = told(gathered, mistake);
        tell(&told);
    }
    if let Some(rest) = mistakes
        .len()
        .checked_sub(MOST_TOLD)
        .filter(|rest| *rest > 0)
    {
        tell(&format!("and {rest} more mistakes"));
    }
}

fn told(gathered: &Gathered, mistake: &Mistake) -> Failure {
    let (origin, name, place) = match mistake.place.steps() {
        [Step::Member(list), Step::Item(index), rest @ ..] if list == "resources" => {
            let resource = gathered.resources.get(*index);
            let name = resource.map(|resource| format!("{}: ", named(resource)));
            (gathered.origins.get(*index), name, placed(rest))
        }
        _ => (gathered.base.as_ref(), None, mistake.place.clone()),
    };
    let message = message(gathered, &mistake.message);
    if let Some(name) = provider(gathered, &mistake.place) {
        return Failure(format!(
            "mistake: the extension provider `{name}`: {message}"
        ));
    }
    let Some(Origin { source, node }) = origin else {
        return Failure(format!("mistake: {}: {message}", mistake.place));
    };
    let mistake = Mistake {
        place,
        message,
        ..mistake.clone()
    };
    let (span, message, help) = mistake_at(&mistake, node, &source.text);
    let help = help.map_or(String::new(), |help| format!("; {help}"));
    let message = format!("mistake: {}{message}{help}", name.unwrap_or_default());
    source.failure(&Unreadable { span, message })
}

/// The provider of the mesh that a mistake is in.
fn provider(gathered: &Gathered, place: &Place) -> Option<String> {
    let [Step::Member(list), Step::Item(index), ..] = place.steps() else {
        return None;
    };
    let providers = gathered.providers();
    let is_of_mesh = list == "extensionProviders" && gathered.base.is_none();
    let provider = providers.get(*index).filter(|_| is_of_mesh)?;
    Some(provider.get("name")?.as_str()?.to_owned())
}

fn placed(steps: &[Step]) -> Place {
    let place = Place::default();
    steps.iter().fold(place, |place, step| match step {
        Step::Item(index) => place.item(*index),
        Step::Member(name) => place.member(name),
    })
}

/// A message that speaks of options and of what was read, not of the configuration.
fn message(gathered: &Gathered, message: &str) -> String {
    let unknown = message.strip_suffix("in `extensionProviders`: write it there");
    let unknown = unknown.and_then(|start| start.split('`').nth(1));
    if let Some(name) = unknown.filter(|_| gathered.base.is_none()) {
        return gathered.mesh.help(name);
    }
    let options = OPTIONS.iter();
    options.fold(message.to_owned(), |message, (field, option)| {
        message.replace(field, option)
    })
}
