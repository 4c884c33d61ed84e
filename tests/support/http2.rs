//! An HTTP/2 client; in clear text it doesn't ask first.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::case::Request;
use super::http::Message;
use super::{from_bytes, tls, to_bytes};

const TIMEOUT: Duration = Duration::from_secs(20);

/// Sends a request and reads the response, but for trailers.
pub fn exchange(address: SocketAddr, request: &Request) -> io::Result<Message> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { timeout(TIMEOUT, send(address, request)).await? })
}

async fn send(address: SocketAddr, request: &Request) -> io::Result<Message> {
    let stream = tls::connect(&request.peer, address)?;
    stream.set_nonblocking(true)?;
    let stream = TcpStream::from_std(stream)?;
    match &request.peer.tls {
        None => send_over(stream, request).await,
        Some(handshake) => {
            assert!(!handshake.resumed, "HTTP/2 resumes no session here");
            let (config, name) = tls::client(handshake, Some(b"h2"), rustls::ALL_VERSIONS);
            let stream = TlsConnector::from(config).connect(name, stream).await?;
            send_over(stream, request).await
        }
    }
}

async fn send_over(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: &Request,
) -> io::Result<Message> {
    let (client, connection) = h2::client::handshake(stream)
        .await
        .map_err(io::Error::other)?;
    // It ends with the runtime; what goes wrong there shows in the response.
    tokio::spawn(connection);
    let mut client = client.ready().await.map_err(io::Error::other)?;
    let (response, _) = client
        .send_request(head(request).map_err(io::Error::other)?, true)
        .map_err(io::Error::other)?;
    let (head, mut stream) = response.await.map_err(io::Error::other)?.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece.map_err(io::Error::other)?;
        body.extend_from_slice(&piece);
        stream
            .flow_control()
            .release_capacity(piece.len())
            .map_err(io::Error::other)?;
    }
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), from_bytes(value.as_bytes()))
    };
    Ok(Message {
        first_line: format!("HTTP/2 {}", head.status.as_u16()),
        headers: head.headers.iter().map(header).collect(),
        body,
    })
}

pub fn head(request: &Request) -> Result<http::Request<()>, http::Error> {
    let uri = http::Uri::builder()
        .scheme("http")
        .authority(request.authority.as_deref().unwrap_or_default())
        .path_and_query(request.path.as_deref().unwrap_or_default())
        .build()?;
    let forwarded = request.remote_ip.iter().map(|ip| ("x-forwarded-for", ip));
    let headers = request.headers.iter();
    headers
        .map(|(name, value)| (name.as_str(), value))
        .chain(forwarded)
        .fold(
            http::Request::builder()
                .method(request.method.as_str())
                .uri(uri),
            |builder, (name, value)| builder.header(name, to_bytes(value)),
        )
        .body(())
}
