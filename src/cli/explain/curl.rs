//! A request out of curl's arguments.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::cli::Failure;
use crate::cli::request::Written;

/// What has a value that decides nothing here.
const IGNORED_VALUES: &[&str] = &[
    "--cacert",
    "--cert",
    "--connect-timeout",
    "--connect-to",
    "--key",
    "--max-time",
    "--output",
    "--resolve",
    "--retry",
    "--write-out",
    "-E",
    "-m",
    "-o",
    "-w",
];
/// What has none, and decides nothing here.
const IGNORED: &[&str] = &[
    "--compressed",
    "--fail",
    "--http1.1",
    "--http2",
    "--include",
    "--insecure",
    "--location",
    "--path-as-is",
    "--show-error",
    "--silent",
    "--verbose",
    "-L",
    "-N",
    "-S",
    "-f",
    "-g",
    "-i",
    "-k",
    "-s",
    "-v",
];
/// What writes requests in another way.
const OTHERS: &[&str] = &["grpcurl", "http", "https", "httpie", "wget", "xh"];
/// Short names and what they stand for.
const LONG: &[(&str, &str)] = &[
    ("-A", "--user-agent"),
    ("-F", "--form"),
    ("-G", "--get"),
    ("-H", "--header"),
    ("-I", "--head"),
    ("-T", "--upload-file"),
    ("-X", "--request"),
    ("-b", "--cookie"),
    ("-d", "--data"),
    ("-e", "--referer"),
    ("-u", "--user"),
];

/// Reads the arguments, of which those that change nothing in a request's header are passed over.
pub(super) fn parse<'a>(arguments: &'a [String]) -> Result<Written, Failure> {
    let mut written = Written::default();
    let mut method = None;
    let mut implied = "GET";
    let mut arguments = arguments.iter().map(String::as_str);
    let first = arguments.clone().next().unwrap_or_default();
    if first == "curl" {
        arguments.next();
    } else if OTHERS.contains(&first) {
        return Err(Failure(format!(
            "{first} isn't known here: write the request as for curl, for example \
             `-X POST -H 'name: value' https://host/path`"
        )));
    } else if first.starts_with("curl ") {
        return Err(Failure(
            "the request is one word: leave out the quotes around `curl ...`".to_owned(),
        ));
    }
    let mut first_address: Option<&str> = None;
    let mut address = |written: &mut Written, address: &'a str| {
        if let Some(first) = first_address.replace(address) {
            return Err(Failure(format!(
                "there are two addresses, {first} and {address}: one request is explained at a time"
            )));
        }
        written.address(address).map_err(Failure)
    };
    while let Some(argument) = arguments.next() {
        if !argument.starts_with('-') {
            address(&mut written, argument)?;
            continue;
        }
        // `-sXPOST`: what stands for itself may come before what has a value.
        let mut attached = None;
        let mut name = argument.to_owned();
        if let Some(letters) = argument
            .strip_prefix('-')
            .filter(|rest| !rest.starts_with('-'))
        {
            let is_ignored = |letter| IGNORED.contains(&format!("-{letter}").as_str());
            let rest = letters.trim_start_matches(is_ignored);
            let mut letters = rest.chars();
            let Some(letter) = letters.next() else {
                continue;
            };
            name = format!("-{letter}");
            attached = Some(letters.as_str()).filter(|value| !value.is_empty());
        }
        let name = name.as_str();
        if IGNORED.contains(&name) {
            continue;
        }
        let long = LONG.iter().find(|(short, _)| *short == name);
        let long = long.map_or(name, |(_, long)| long);
        let mut value = || {
            let value = attached.take().or_else(|| arguments.next());
            value.ok_or_else(|| Failure(format!("curl's {name} has no value")))
        };
        match long {
            "--get" => method = Some("GET"),
            "--head" => implied = "HEAD",
            "--request" => method = Some(value()?),
            "--url" => address(&mut written, value()?)?,
            "--header" => {
                let line = value()?;
                let (name, text) = line
                    .split_once(':')
                    .ok_or_else(|| Failure(format!("`{name}`: no header is without a colon")))?;
                written.header(name.trim(), text.trim());
            }
            "--cookie" => written.header("cookie", value()?),
            "--oauth2-bearer" => written.header("authorization", &format!("Bearer {}", value()?)),
            "--referer" => written.header("referer", value()?),
            "--user" => {
                let text = format!("Basic {}", STANDARD.encode(value()?));
                written.header("authorization", &text);
            }
            "--user-agent" => written.header("user-agent", value()?),
            "--data" | "--data-ascii" | "--data-binary" | "--data-raw" | "--data-urlencode" => {
                value()?;
                implied = "POST";
                content_type(&mut written, "application/x-www-form-urlencoded");
            }
            "--json" => {
                value()?;
                implied = "POST";
                content_type(&mut written, "application/json");
            }
            "--form" => {
                value()?;
                implied = "POST";
                content_type(&mut written, "multipart/form-data");
            }
            "--upload-file" => {
                value()?;
                implied = "PUT";
            }
            _ if IGNORED_VALUES.contains(&name) => {
                value()?;
            }
            _ => {
                return Err(Failure(format!(
                    "curl's {argument} isn't known here: leave it out"
                )));
            }
        }
    }
    if first_address.is_none() {
        return Err(Failure(
            "there is no request: write one behind `--`, as for curl".to_owned(),
        ));
    }
    written.method = Some(method.unwrap_or(implied).to_owned());
    Ok(written)
}

fn content_type(written: &mut Written, default: &str) {
    let headers = &written.headers.0;
    let is_told = headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    if !is_told {
        written.header("content-type", default);
    }
}
