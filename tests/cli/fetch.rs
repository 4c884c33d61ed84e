//! `explain --fetch`: keys from where they are, and what is said where they can't be had.

use std::fs;
use std::io::{BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, Stream};
use serde_json::{Value, json};

use crate::support::http::read_message;
use crate::support::place::Reserved;
use crate::support::server::{Deed, JwksServer, Response};
use crate::{folder, portcullis};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Whoever it is, without a key or an address of one.
const ISSUER: &str = "https://idp.test";

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

/// An issuer's keys, and a machine that trusts one authority.
struct Stage {
    folder: PathBuf,
    /// The public set.
    keys: String,
    trusted: Authority,
}

impl Stage {
    fn new(name: &str) -> Self {
        let stage = Self {
            folder: folder(name),
            keys: String::new(),
            trusted: authority(),
        };
        fs::write(stage.path("authority.pem"), stage.trusted.pem()).expect("a file");
        let (private, _) = portcullis(&["keys", "generate"]);
        fs::write(stage.path("private.json"), private).expect("a file");
        let (keys, _) = portcullis(&["keys", "public", &stage.path("private.json")]);
        fs::write(stage.path("public.json"), &keys).expect("a file");
        Self { keys, ..stage }
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().expect("UTF-8").to_owned()
    }

    fn good(&self) -> Deed {
        Deed::Answer(Response::new(200, self.keys.clone()))
    }

    /// What becomes of a request with a token of the issuer, and the exit status.
    fn explain(&self, rule: &Value, arguments: &[&str]) -> (String, i32) {
        let issuer = rule["issuer"].as_str().expect("an issuer");
        let key = self.path("private.json");
        let (token, _) = portcullis(&["token", "--key", &key, "--iss", issuer, "--sub", "a"]);
        fs::write(self.path("token"), token).expect("a file");
        let configuration = self.path("configuration.json");
        fs::write(&configuration, json!({ "jwtRules": [rule] }).to_string()).expect("a file");
        // No proxy of this machine's, and no authority that it trusts.
        let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .env_clear()
            .env("SSL_CERT_FILE", self.path("authority.pem"))
            .args(["explain", &configuration, "--token", &self.path("token")])
            .args(arguments)
            .args(["--", "http://a.test/"])
            .output()
            .expect("the command line runs");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        (text, output.status.code().expect("an exit status"))
    }

    fn fetched(&self, uri: &str) -> (String, i32) {
        let rule = json!({ "issuer": ISSUER, "jwksUri": uri });
        self.explain(&rule, &["--fetch"])
    }
}

#[test]
fn keys_are_fetched_where_they_are() {
    let stage = Stage::new("fetch");
    let server = JwksServer::start([].into());
    let at = |path: &str| format!("http://{}{path}", server.server.address);
    server.will(&at("/keys"), [stage.good()]);
    let (printed, status) = stage.fetched(&at("/keys"));
    assert_eq!(status, 0, "{printed}");
    // The issuer's metadata tell where its keys are.
    let issuer = at("/realm");
    let metadata = json!({ "issuer": issuer, "jwks_uri": at("/keys") }).to_string();
    let metadata = Deed::Answer(Response::new(200, metadata));
    server.will(&at("/realm/.well-known/openid-configuration"), [metadata]);
    let (printed, status) = stage.explain(&json!({ "issuer": issuer }), &["--fetch"]);
    assert_eq!(status, 0, "{printed}");
    assert_eq!(server.fetches().values().sum::<usize>(), 3);
}

#[test]
fn nothing_is_fetched_unasked() {
    let stage = Stage::new("unfetched");
    let server = JwksServer::start([].into());
    let uri = format!("http://{}/keys", server.server.address);
    server.will(&uri, [stage.good()]);
    let rule = json!({ "issuer": ISSUER, "jwksUri": uri });
    let (printed, status) = stage.explain(&rule, &[]);
    assert_eq!(status, 2, "{printed}");
    let given = format!("{ISSUER}={}", stage.path("public.json"));
    let (printed, status) = stage.explain(&rule, &["--fetch", "--keys", &given]);
    assert_eq!(status, 0, "{printed}");
    assert_eq!(server.fetches(), [].into());
}

#[test]
fn keys_that_can_not_be_had() {
    let stage = Stage::new("unavailable");
    let server = JwksServer::start([].into());
    let at = |path: &str| format!("http://{}{path}", server.server.address);
    let answer = |status, body: &str| Deed::Answer(Response::new(status, body));
    let elsewhere = Response::new(302, "").with("location", &at("/keys"));
    server.will(&at("/keys"), [stage.good()]);
    server.will(&at("/page"), [answer(200, "<html></html>")]);
    server.will(&at("/empty"), [answer(200, "{\"keys\": []}")]);
    server.will(&at("/broken"), [answer(500, &stage.keys)]);
    server.will(&at("/moved"), [Deed::Answer(elsewhere)]);
    server.will(&at("/closed"), [Deed::Close]);
    server.will(&at("/cut"), [Deed::Cut(Response::new(200, &*stage.keys))]);
    let nobody = Reserved::at(LOCALHOST);
    for (uri, why) in [
        (at("/nothing"), "404"),
        (at("/page"), "it is a web page"),
        (at("/empty"), "is empty"),
        (at("/broken"), "500"),
        (at("/moved"), "302 instead of 200, a redirect to \"http://"),
        (at("/closed"), ""),
        (at("/cut"), ""),
        (format!("http://{}/keys", nobody.address), "refused"),
    ] {
        is_refused(&stage.fetched(&uri), &uri, why);
    }
    let silent = at("/silent");
    server.will(&silent, [Deed::Hang]);
    let rule = json!({ "issuer": ISSUER, "jwksUri": silent, "timeout": "1ms" });
    is_refused(&stage.explain(&rule, &["--fetch"]), &silent, "timeout");
}

/// Who can't verify lets nobody pass, and says why.
fn is_refused((printed, status): &(String, i32), uri: &str, why: &str) {
    let note = format!("no keys of {ISSUER}: ");
    let note = printed.lines().find_map(|line| line.split_once(&note));
    let told = note.map(|(_, told)| told).unwrap_or_default();
    assert!(!told.is_empty() && told.contains(why), "{uri}: {printed}");
    assert!(printed.contains("jwks_unavailable"), "{uri}: {printed}");
    assert_eq!(*status, 1, "{uri}: {printed}");
}

#[test]
fn certificates_are_validated() {
    let stage = Stage::new("certificates");
    for (authority, name, refused) in [
        (&stage.trusted, "127.0.0.1", None),
        (&authority(), "127.0.0.1", Some("invalid peer certificate")),
        (&stage.trusted, "idp.test", Some("not valid for name")),
    ] {
        let server = https(authority, name, stage.keys.clone());
        let uri = format!("https://{server}/keys");
        let told = stage.fetched(&uri);
        match refused {
            None => assert_eq!(told.1, 0, "{}", told.0),
            Some(why) => is_refused(&told, &uri, why),
        }
    }
}

/// A server with this body that proves by this authority that it has this name.
fn https(authority: &Authority, name: &str, body: String) -> SocketAddr {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new([name.to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a server");
    let config = Arc::new(config);
    let listener = TcpListener::bind((LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            // A client that doesn't trust us leaves.
            let _ = stream.map(|stream| serve(stream, Arc::clone(&config), &body));
        }
    });
    address
}

fn serve(mut stream: TcpStream, config: Arc<ServerConfig>, body: &str) -> std::io::Result<()> {
    let mut connection = ServerConnection::new(config).expect("a server");
    let mut tls = Stream::new(&mut connection, &mut stream);
    if let Ok(Some(_)) = read_message(&mut BufReader::new(&mut tls), |_| true) {
        let length = body.len();
        write!(
            tls,
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"
        )?;
        tls.conn.send_close_notify();
        tls.flush()?;
    }
    Ok(())
}
