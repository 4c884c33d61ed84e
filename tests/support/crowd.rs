//! Many clients at once, and an upstream that takes them all over one HTTP/2 connection.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use h2::server::SendResponse;
use http::HeaderValue;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::case::Request;
use super::http::to_wire;
use super::{envoy, http2};

const PATIENCE: Duration = Duration::from_secs(60);
/// More than one connection is allowed to have under way at Envoy is never asked for.
const STREAMS: usize = 1000;

/// How many got which answer: a status, or what went wrong instead.
pub type Answers = BTreeMap<String, usize>;

/// Sends a request so many times at once, over HTTP/2 or a connection for each, and gathers the answers.
pub fn ask(address: SocketAddr, request: &Request, count: usize) -> Answers {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut all = JoinSet::new();
        if request.http2 {
            for start in (0..count).step_by(STREAMS) {
                let streams = STREAMS.min(count - start);
                all.spawn(over_http2(address, request.clone(), streams));
            }
        } else {
            for _ in 0..count {
                all.spawn(over_http1(address, to_wire(request)));
            }
        }
        let mut answers = Answers::new();
        while let Some(some) = all.join_next().await {
            for answer in some.expect("a client") {
                *answers.entry(answer).or_default() += 1;
            }
        }
        answers
    })
}

async fn over_http2(address: SocketAddr, request: Request, count: usize) -> Vec<String> {
    let connected = async {
        let stream = TcpStream::connect(address).await?;
        h2::client::handshake(stream)
            .await
            .map_err(io::Error::other)
    };
    let (mut client, connection) = match connected.await {
        Ok(connected) => connected,
        Err(error) => return vec![error.to_string(); count],
    };
    tokio::spawn(connection);
    let mut responses = Vec::new();
    for _ in 0..count {
        let head = http2::head(&request).expect("a request");
        client = client.ready().await.expect("a connection");
        responses.push(client.send_request(head, true).expect("a stream").0);
    }
    let mut answers = Vec::new();
    for response in responses {
        let whole = async {
            let (head, mut body) = response.await?.into_parts();
            while let Some(piece) = body.data().await {
                let size = piece?.len();
                body.flow_control().release_capacity(size)?;
            }
            Ok::<_, h2::Error>(head.status.as_u16().to_string())
        };
        answers.push(match timeout(PATIENCE, whole).await {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "silence".to_owned(),
        });
    }
    answers
}

/// Sends requests over HTTP/2 and leaves before anything is answered.
pub fn send_and_leave(address: SocketAddr, request: &Request, count: usize) {
    /// How long a client stays: its requests are through the filter by then.
    const STAY: Duration = Duration::from_millis(200);
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        for start in (0..count).step_by(STREAMS) {
            let streams = STREAMS.min(count - start);
            let answers = over_http2(address, request.clone(), streams);
            assert!(timeout(STAY, answers).await.is_err(), "they are answered");
        }
    });
}

/// Sends a request with trailers over HTTP/2, and tells which of them [`Http2Upstream`] got.
pub fn send_trailers(
    address: SocketAddr,
    request: &Request,
    trailers: &[(&str, &str)],
) -> Vec<String> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let stream = TcpStream::connect(address).await.expect("a connection");
        let (client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        tokio::spawn(connection);
        let mut client = client.ready().await.expect("a connection");
        let head = http2::head(request).expect("a request");
        let (response, mut body) = client.send_request(head, false).expect("a stream");
        body.send_data(b"body".to_vec().into(), false)
            .expect("a body");
        let names = trailers.iter().map(|(name, value)| {
            let name = http::HeaderName::from_bytes(name.as_bytes()).expect("a name");
            (name, HeaderValue::from_str(value).expect("a value"))
        });
        body.send_trailers(names.collect()).expect("trailers");
        let response = timeout(PATIENCE, response)
            .await
            .expect("in time")
            .expect("a response");
        let seen = response.headers().get_all("x-trailer").iter();
        seen.map(|name| name.to_str().expect("a name").to_owned())
            .collect()
    })
}

async fn over_http1(address: SocketAddr, wire: Vec<u8>) -> Vec<String> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(&wire).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let answer = match timeout(PATIENCE, exchange).await {
        Ok(Ok(answer)) => String::from_utf8_lossy(&answer).into_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "silence".to_owned(),
    };
    let status = answer
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3));
    vec![status.unwrap_or(&answer).to_owned()]
}

/// An upstream that answers every request over HTTP/2 with 200, as long as this value lives.
pub struct Http2Upstream {
    pub address: SocketAddr,
    _stop: mpsc::Sender<()>,
}

impl Http2Upstream {
    pub fn start() -> Self {
        let (tell, address) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
                tell.send(listener.local_addr().expect("an address"))
                    .expect("the test");
                tokio::spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(serve(stream));
                    }
                });
                // It ends with the value that is the other end of this.
                while stopped.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
        });
        let address = address.recv().expect("an upstream");
        Self {
            address,
            _stop: stop,
        }
    }
}

impl Http2Upstream {
    /// What leads there.
    pub fn cluster(&self) -> Value {
        let mut cluster = envoy::cluster("upstream", self.address);
        let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        cluster["typed_extension_protocol_options"] = json!({ options: {
            "@type": format!("type.googleapis.com/{options}"),
            "explicit_http_config": { "http2_protocol_options": { "max_concurrent_streams": 100_000 } },
        } });
        cluster
    }
}

async fn serve(stream: TcpStream) {
    let mut builder = h2::server::Builder::new();
    let handshake = builder
        .max_concurrent_streams(100_000)
        .handshake::<_, &'static [u8]>(stream);
    let Ok(mut connection) = handshake.await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer(request, respond));
    }
}

/// Tells the names of the trailers that came.
async fn answer(request: http::Request<h2::RecvStream>, mut respond: SendResponse<&'static [u8]>) {
    let mut body = request.into_body();
    let mut response = http::Response::new(());
    if !body.is_end_stream() {
        while let Some(Ok(piece)) = body.data().await {
            // A client that has gone needs no credit.
            let _ = body.flow_control().release_capacity(piece.len());
        }
        let trailers = body.trailers().await.ok().flatten().unwrap_or_default();
        for name in trailers.keys() {
            let name = HeaderValue::from_bytes(name.as_str().as_bytes()).expect("a name");
            response.headers_mut().append("x-trailer", name);
        }
    }
    let _ = respond.send_response(response, true);
}
