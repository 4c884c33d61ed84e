//! An HTTP server of a key set, for development.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::published;
use crate::cli::{Failure, Status};

/// A client that takes longer to ask, or to listen, is left.
const PATIENCE: Duration = Duration::from_secs(5);
/// Octets of a request's head.
const LONGEST: u64 = 16 * 1024;

/// Serve the public set of keys, and the OpenID metadata of an issuer: for development, not for
/// production.
///
/// The file is read for each request, so that keys can be rotated while this runs.
#[derive(Args, Debug)]
pub(super) struct Serve {
    /// A JWK, a JWK set or PEM.
    file: PathBuf,
    /// Where to listen; with port 0, where there is room.
    #[arg(long, default_value = "127.0.0.1:8000")]
    address: SocketAddr,
    /// The issuer, as its tokens call it. Default: http://ADDRESS.
    #[arg(long)]
    issuer: Option<String>,
}

impl Serve {
    pub(super) fn run(&self) -> Result<Status, Failure> {
        published(&self.file)?;
        let listener = TcpListener::bind(self.address).map_err(Failure::of(self.address))?;
        let address = listener.local_addr().map_err(Failure::of(self.address))?;
        let issuer = match &self.issuer {
            Some(issuer) => issuer.clone(),
            None => format!("http://{address}"),
        };
        writeln!(
            io::stdout(),
            "key set of {issuer} at http://{address}{}/.well-known/jwks.json, for development only",
            path(&issuer),
        )
        .map_err(Failure::of("standard output"))?;
        for stream in listener.incoming() {
            let (file, issuer) = (self.file.clone(), issuer.clone());
            thread::spawn(move || {
                // A client that has left, or isn't one, is no matter of the server.
                let _ = stream.and_then(|stream| serve(stream, &file, &issuer));
            });
        }
        Ok(Status::Right)
    }
}

/// The path of an issuer, without a slash at its end.
fn path(issuer: &str) -> &str {
    let rest = issuer.split_once("://").map_or(issuer, |(_, rest)| rest);
    let path = rest.find('/').and_then(|at| rest.get(at..));
    path.unwrap_or_default().trim_end_matches('/')
}

/// Answers one request (RFC 9112), and closes the connection.
fn serve(mut stream: TcpStream, file: &Path, issuer: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut head = BufReader::new((&stream).take(LONGEST));
    let mut request = String::new();
    head.read_line(&mut request)?;
    let mut host = String::new();
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end().split_once(':') {
            None => break,
            Some((name, value)) if name.eq_ignore_ascii_case("host") => {
                value.trim().clone_into(&mut host);
            }
            Some(_) => {}
        }
    }
    let mut words = request.split(' ');
    let (method, target) = (words.next(), words.next().unwrap_or_default());
    let target = target.split('?').next().unwrap_or_default();
    let (status, body) = match method {
        Some("GET" | "HEAD") => answer(target, file, issuer, &host),
        _ => ("405 Method Not Allowed", Value::Null),
    };
    let body = body.to_string();
    let shown = if method == Some("HEAD") { "" } else { &body };
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         cache-control: no-store\r\nconnection: close\r\n\r\n{shown}",
        body.len(),
    )
}

fn answer(target: &str, file: &Path, issuer: &str, host: &str) -> (&'static str, Value) {
    let name = target.strip_prefix(path(issuer)).unwrap_or_default();
    match name {
        "/jwks.json" | "/.well-known/jwks.json" => match published(file) {
            Ok(keys) => ("200 OK", json!({ "keys": keys })),
            Err(_) => ("500 Internal Server Error", json!("the key file")),
        },
        // OpenID Connect Discovery 1.0 section 3; the keys are where the metadata were found.
        "/.well-known/openid-configuration" => {
            let keys = format!("http://{host}{}/.well-known/jwks.json", path(issuer));
            ("200 OK", json!({ "issuer": issuer, "jwks_uri": keys }))
        }
        _ => ("404 Not Found", Value::Null),
    }
}
