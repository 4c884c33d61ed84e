//! An HTTP/1.1 client that sends exactly what it is told, and the reading of messages that the
//! test servers share with it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::{ClientConnection, HandshakeKind, StreamOwned, SupportedProtocolVersion};

use super::case::Request;
use super::peer::Peer;
use super::{from_bytes, tls, to_bytes};

/// The head of a message, and its body.
#[derive(Clone, Debug)]
pub struct Message {
    pub first_line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Message {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The status, where this is a response.
    pub fn status(&self) -> u16 {
        self.first_line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or_else(|| panic!("not a response: {}", self.first_line))
    }
}

/// A connection that requests go over one after the other.
pub trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// Sends a request and reads the response. A session that is resumed has had such a request before.
pub fn exchange(address: SocketAddr, request: &Request) -> io::Result<Message> {
    if request.peer.tls.as_ref().is_some_and(|tls| tls.resumed) {
        let [_, resumed] = exchange_twice(address, request, rustls::ALL_VERSIONS)?;
        return Ok(resumed);
    }
    exchange_over(connect(&request.peer, address)?, &to_wire(request))
}

/// Sends a request over a TLS session with one of these versions, and again over another connection that
/// resumes it.
pub fn exchange_twice(
    address: SocketAddr,
    request: &Request,
    versions: &[&'static SupportedProtocolVersion],
) -> io::Result<[Message; 2]> {
    let wire = to_wire(request);
    let handshake = request.peer.tls.as_ref().expect("a TLS peer");
    let (config, name) = tls::client(handshake, None, versions);
    let connect = || -> io::Result<_> {
        let mut stream = tls::connect(&request.peer, address)?;
        let client = ClientConnection::new(Arc::clone(&config), name.clone());
        let mut client = client.map_err(io::Error::other)?;
        while client.is_handshaking() {
            client.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(client, stream))
    };
    let first = connect()?;
    assert_eq!(first.conn.handshake_kind(), Some(HandshakeKind::Full));
    let first = exchange_over(Box::new(first), &wire)?;
    let second = connect()?;
    assert_eq!(second.conn.handshake_kind(), Some(HandshakeKind::Resumed));
    Ok([first, exchange_over(Box::new(second), &wire)?])
}

/// Sends bytes in plain text and reads one response.
pub fn exchange_bytes(address: SocketAddr, bytes: &[u8]) -> io::Result<Message> {
    exchange_over(connect(&Peer::default(), address)?, bytes)
}

/// A connection of this peer, its handshake not yet made.
pub fn connect(peer: &Peer, address: SocketAddr) -> io::Result<Box<dyn Stream>> {
    let stream = tls::connect(peer, address)?;
    Ok(match &peer.tls {
        None => Box::new(stream),
        Some(handshake) => {
            let (config, name) = tls::client(handshake, None, rustls::ALL_VERSIONS);
            let client = ClientConnection::new(config, name).map_err(io::Error::other)?;
            Box::new(StreamOwned::new(client, stream))
        }
    })
}

fn exchange_over(mut stream: Box<dyn Stream>, bytes: &[u8]) -> io::Result<Message> {
    // Envoy may refuse a request before it has read all of it: what it says then counts.
    let sent = stream.write_all(bytes);
    let has_body = |response: &Message| {
        let tunnel = bytes.starts_with(b"CONNECT ") && response.status() == 200;
        !tunnel && !bytes.starts_with(b"HEAD ")
    };
    let mut reader = BufReader::new(stream);
    match read_message(&mut reader, has_body)? {
        Some(mut message) => {
            if bytes.starts_with(b"HEAD ") {
                // None, whatever the length says: if anything comes, the test shall see it.
                reader.read_to_end(&mut message.body)?;
            }
            Ok(message)
        }
        None => Err(sent
            .err()
            .unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())),
    }
}

/// The request as it goes over the wire, byte by byte as it was written.
pub fn to_wire(request: &Request) -> Vec<u8> {
    let target = request
        .path
        .as_deref()
        .or(request.authority.as_deref())
        .unwrap_or("/");
    let mut wire = to_bytes(&format!("{} {target} HTTP/1.1\r\n", request.method));
    let mut add = |name: &str, value: &str| {
        wire.extend(
            name.bytes()
                .chain(*b": ")
                .chain(to_bytes(value))
                .chain(*b"\r\n"),
        );
    };
    if let Some(authority) = &request.authority {
        add("host", authority);
    }
    for (name, value) in &request.headers {
        add(name, value);
    }
    if let Some(ip) = &request.remote_ip {
        add("x-forwarded-for", ip);
    }
    let upgrades = request
        .headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("connection"));
    if !upgrades {
        add("connection", "close");
    }
    wire.extend(b"\r\n");
    wire
}

/// Reads one message; `None` where the other side closed before it began.
pub fn read_message(
    reader: &mut impl BufRead,
    has_body: impl Fn(&Message) -> bool,
) -> io::Result<Option<Message>> {
    let first_line = read_line(reader)?;
    if first_line.is_empty() {
        return Ok(None);
    }
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut message = Message {
        first_line,
        headers,
        body: Vec::new(),
    };
    if has_body(&message) {
        message.body = read_body(reader, &message)?;
    }
    Ok(Some(message))
}

fn read_body(reader: &mut impl BufRead, message: &Message) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if message
        .header("transfer-encoding")
        .is_some_and(|coding| coding.contains("chunked"))
    {
        loop {
            let line = read_line(reader)?;
            let size = u64::from_str_radix(line.split(';').next().unwrap_or(&line).trim(), 16)
                .map_err(io::Error::other)?;
            reader.by_ref().take(size).read_to_end(&mut body)?;
            read_line(reader)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    if let Some(length) = message.header("content-length") {
        let length = length.parse().map_err(io::Error::other)?;
        reader.by_ref().take(length).read_to_end(&mut body)?;
    } else if message.first_line.starts_with("HTTP/") {
        reader.read_to_end(&mut body)?;
    }
    Ok(body)
}

/// A line without its end, in Latin-1.
fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    let end = line
        .iter()
        .rposition(|byte| !b"\r\n".contains(byte))
        .map_or(0, |last| last + 1);
    Ok(from_bytes(&line[..end]))
}
