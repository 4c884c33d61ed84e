//! `token`: test tokens, and what tokens say.

pub(super) mod pasted;
pub(super) mod remarks;

use std::io::{self, Read as _};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use self::pasted::Pasted;
use self::remarks::remarks;
use super::mint::{Algorithm, SigningKey};
use super::source::Source;
use super::{Failure, Status, shown};
use crate::json;
use crate::jwt::ClaimPath;

/// Mint a token for tests, or show what one says.
///
/// For example: portcullis token --key keys.json --iss https://idp.example.com --sub alice --claim
/// 'groups=["admin"]' --claim org.team=blue --expire 10m
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Token {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    mint: Option<Mint>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Decode(Decode),
}

impl Token {
    pub(super) fn run(&self) -> Result<Status, Failure> {
        match (&self.command, &self.mint) {
            (Some(Command::Decode(decode)), _) => decode.run(),
            (None, Some(mint)) => mint.run(),
            (None, None) => Err(Failure("there is no key: write --key FILE".to_owned())),
        }
    }
}

#[derive(Args, Debug)]
struct Mint {
    /// The private key: a JWK, a JWK set or PEM, as `portcullis keys generate` writes; `-` is standard
    /// input.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The name of the key in a set, and what the token's header says.
    #[arg(long)]
    kid: Option<String>,
    /// Default: what the key says, or is good for.
    #[arg(long, value_enum)]
    alg: Option<Algorithm>,
    /// The type in the header, such as at+jwt. Default: JWT.
    #[arg(long)]
    typ: Option<String>,
    /// The issuer.
    #[arg(long)]
    iss: Option<String>,
    /// The subject.
    #[arg(long)]
    sub: Option<String>,
    /// The audience; several make a list.
    #[arg(long)]
    aud: Vec<String>,
    /// How long the token is good, as in 90s, 1h30m or 3600, or since when it isn't, as in -5m; `never`
    /// leaves `exp` out.
    #[arg(long, default_value = "1h", allow_hyphen_values = true)]
    expire: String,
    /// From when on it is good, from now, in the same way.
    #[arg(long, allow_hyphen_values = true)]
    not_before: Option<String>,
    /// A claim. The value is JSON, or else text; a claim that is written more than once is a list. `a.b` is
    /// the member `b` of the claim `a`; names with dots go in brackets: `[a.b][c]`.
    #[arg(long, value_name = "NAME=VALUE")]
    claim: Vec<String>,
    /// An object of claims, which the others are added to.
    #[arg(long, value_name = "JSON")]
    claims: Option<String>,
}

impl Mint {
    fn run(&self) -> Result<Status, Failure> {
        let source = Source::read(&self.key)?;
        let key = SigningKey::parse(&source.text, self.alg, self.kid.as_deref())
            .map_err(|error| source.wrong(&error))?;
        let claims = self.said(now()).map_err(Failure)?;
        let token = key.sign(claims, self.typ.as_deref()).map_err(Failure)?;
        super::print(&format!("{token}\n"))?;
        Ok(Status::Right)
    }

    /// All claims, in seconds since 1970 where they are times.
    fn said(&self, now: i64) -> Result<Map<String, Value>, String> {
        let mut claims = match &self.claims {
            None => Map::new(),
            Some(text) => match json::parse(text.as_bytes()) {
                Ok(Value::Object(claims)) => claims,
                Ok(_) => return Err("--claims: not an object".to_owned()),
                Err(error) => return Err(format!("--claims: not JSON: {error}")),
            },
        };
        let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        for (name, text) in [("iss", &self.iss), ("sub", &self.sub)] {
            if let Some(text) = text {
                set(name, text.as_str().into());
            }
        }
        match self.aud.as_slice() {
            [] => {}
            [one] => _ = set("aud", one.as_str().into()),
            several => _ = set("aud", several.into()),
        }
        set("iat", now.into());
        if self.expire != "never" {
            set("exp", (now + seconds(&self.expire)?).into());
        }
        if let Some(not_before) = &self.not_before {
            set("nbf", (now + seconds(not_before)?).into());
        }
        let mut written = Vec::new();
        for claim in &self.claim {
            let (name, value) = split(claim)?;
            let path = ClaimPath::dotted(name).ok_or_else(|| not_a_claim(claim))?;
            let value = json::parse(value.as_bytes()).unwrap_or_else(|_| value.into());
            let is_again = written.contains(&path);
            if !path.put(&mut claims, value, is_again) {
                return Err(format!("`{claim}`: what it is to be in is no object"));
            }
            written.push(path);
        }
        Ok(claims)
    }
}

/// Name and value of a claim; a name in brackets may have `=` in it.
fn split(claim: &str) -> Result<(&str, &str), String> {
    match claim.starts_with('[') {
        true => claim.split_once("]=").and_then(|(name, value)| {
            let name = claim.get(..=name.len())?;
            Some((name, value))
        }),
        false => claim.split_once('='),
    }
    .ok_or_else(|| not_a_claim(claim))
}

fn not_a_claim(claim: &str) -> String {
    format!("`{claim}`: write NAME=VALUE, outer.inner=VALUE or [na.me][inner]=VALUE")
}

/// A time from now, in seconds.
fn seconds(text: &str) -> Result<i64, String> {
    let (sign, amount) = match text.strip_prefix('-') {
        Some(amount) => (-1, amount),
        None => (1, text),
    };
    let seconds = match amount.parse::<u64>() {
        Ok(seconds) => Some(seconds),
        Err(_) => humantime::parse_duration(amount)
            .ok()
            .map(|time| time.as_secs()),
    };
    // Beyond what any clock will show, and far from the bounds of the type.
    let seconds = seconds.filter(|seconds| *seconds < 1 << 40);
    let seconds = seconds.and_then(|seconds| i64::try_from(seconds).ok());
    let seconds =
        seconds.ok_or_else(|| format!("`{text}`: write a time as in 90s, 1h30m, 3600 or -5m"))?;
    Ok(sign * seconds)
}

/// Show the header and the claims of a token, with times in words. Nothing is verified.
#[derive(Args, Debug)]
struct Decode {
    /// The token, or `-` for standard input.
    token: String,
}

impl Decode {
    fn run(&self) -> Result<Status, Failure> {
        let mut token = self.token.clone();
        if token == "-" {
            token.clear();
            let read = io::stdin().read_to_string(&mut token);
            read.map_err(Failure::of("standard input"))?;
        }
        let Pasted { token, notes } = Pasted::new(&token);
        notes.iter().for_each(|note| super::tell(note));
        let [header, claims] = decoded(token.as_bytes());
        let remarks = remarks(token.as_bytes(), header.as_ref(), claims.as_ref());
        let shown = match shown(&token, now()) {
            Ok(shown) => {
                let remarks = remarks.iter().map(|remark| format!("but {remark}\n"));
                shown + &remarks.collect::<String>()
            }
            Err(error) => {
                super::tell(&error);
                remarks.iter().for_each(|remark| super::tell(remark));
                return Ok(Status::Wrong);
            }
        };
        super::print(&shown)?;
        Ok(Status::Right)
    }
}

/// What a token says (RFC 7515 section 3.1), to be read.
fn shown(token: &str, now: i64) -> Result<String, String> {
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        return Err(format!(
            "no signed token: one has three parts with a dot between them, and this has {}",
            token.split('.').count()
        ));
    };
    let (header, claims) = (part("header", header)?, part("claims", claims)?);
    let mut shown = format!(
        "header {}\nclaims {}\n",
        shown::json(&header),
        shown::json(&claims)
    );
    for (name, what) in [
        ("iat", "issued"),
        ("nbf", "good from"),
        ("exp", "good until"),
    ] {
        if let Some(value) = claims.get(name) {
            shown += &format!("{what} {}\n", in_words(value, now));
        }
    }
    if claims.get("exp").is_none() {
        shown += "good for ever: there is no `exp`\n";
    }
    shown += match signature.is_empty() {
        true => "not signed\n",
        false => "not verified: anybody could have written this\n",
    };
    Ok(shown)
}

/// Header and claims of a token, as far as they can be read; nothing is said of whether they are true.
pub(super) fn decoded(token: &[u8]) -> [Option<Value>; 2] {
    let mut parts = token.split(|byte| *byte == b'.');
    [parts.next(), parts.next()].map(|part| {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(part?).ok()?;
        serde_json::from_slice(&bytes).ok()
    })
}

fn part(what: &str, text: &str) -> Result<Value, String> {
    let bytes = BASE64_URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|error| format!("the {what}: not base64url without padding: {error}"))?;
    json::parse(&bytes).map_err(|error| format!("the {what}: not JSON: {error}"))
}

/// A time (RFC 7519 section 2, NumericDate), as a date and from now.
fn in_words(value: &Value, now: i64) -> String {
    let Some(time) = value.as_f64().map(|time| time.floor() as i64) else {
        return format!("{}, which is no time", shown::json(value));
    };
    let date = u64::try_from(time).ok().and_then(|time| {
        let date = UNIX_EPOCH.checked_add(Duration::from_secs(time))?;
        // humantime writes years of four digits.
        (time < 253_402_300_800).then(|| humantime::format_rfc3339_seconds(date).to_string())
    });
    let date = date.unwrap_or_else(|| time.to_string());
    let apart = Duration::from_secs(time.abs_diff(now));
    let words = humantime::format_duration(apart).to_string();
    let words = words
        .split_inclusive(' ')
        .take(2)
        .collect::<String>()
        .trim()
        .to_owned();
    match time.cmp(&now) {
        std::cmp::Ordering::Less => format!("{date}, {words} ago"),
        std::cmp::Ordering::Equal => format!("{date}, now"),
        std::cmp::Ordering::Greater => format!("{date}, in {words}"),
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs().cast_signed())
}
