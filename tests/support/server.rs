//! Small HTTP/1.1 servers on ports of their own: an upstream that tells what reached it, and a
//! key-set server that answers as told and counts.

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::case::{Answer, server_key, text};
use super::http::{Message, read_message};

/// Marks a response as the upstream's own, whatever its status.
pub const UPSTREAM: &str = "x-upstream";

/// A server that lives as long as this value.
pub struct Server {
    pub address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

impl Server {
    fn start(respond: impl Fn(&Message) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let stopped = Arc::new(AtomicBool::new(false));
        let (stop, respond) = (Arc::clone(&stopped), Arc::new(respond));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let respond = Arc::clone(&respond);
                if let Ok(stream) = stream {
                    thread::spawn(move || serve(&stream, &*respond));
                }
            }
        });
        Self { address, stopped }
    }

    /// An upstream that answers every request with what it received.
    pub fn echo() -> Self {
        Self::start(|request| {
            let mut line = request.first_line.split(' ');
            let body = json!({
                "method": line.next(),
                "path": line.next(),
                "headers": request.headers,
            });
            Response {
                status: 200,
                header: format!("{UPSTREAM}: 1\r\n"),
                body: body.to_string(),
                delay: Duration::ZERO,
            }
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts; where nobody listens, it has ended already.
        drop(TcpStream::connect(self.address));
    }
}

struct Response {
    status: u16,
    header: String,
    body: String,
    delay: Duration,
}

fn serve(stream: &TcpStream, respond: &dyn Fn(&Message) -> Response) {
    let mut reader = BufReader::new(stream);
    while let Ok(Some(request)) = read_message(&mut reader, |_| true) {
        let response = respond(&request);
        thread::sleep(response.delay);
        let head = format!(
            "HTTP/1.1 {} Test\r\n{}content-length: {}\r\n\r\n",
            response.status,
            response.header,
            response.body.len()
        );
        let body = if request.first_line.starts_with("HEAD ") {
            ""
        } else {
            &response.body
        };
        if (&*stream).write_all((head + body).as_bytes()).is_err() {
            return;
        }
    }
}

/// What reached the upstream, out of what it answered; nothing is known of a HEAD but that it did.
pub fn echoed(response: &Message) -> Option<Vec<(String, Vec<u8>)>> {
    response.header(UPSTREAM)?;
    if response.body.is_empty() {
        return Some(Vec::new());
    }
    let echo: Value = serde_json::from_slice(&response.body).expect("the upstream's JSON");
    let pairs = echo["headers"].as_array().expect("a list").iter();
    let mut headers: Vec<_> = pairs
        .map(|pair| (text(&pair[0]).to_owned(), super::to_bytes(text(&pair[1]))))
        .collect();
    headers.push((":path".to_owned(), super::to_bytes(text(&echo["path"]))));
    headers.push((":method".to_owned(), super::to_bytes(text(&echo["method"]))));
    Some(headers)
}

/// A server of key sets, by host and path.
pub struct JwksServer {
    pub server: Server,
    state: Arc<Mutex<JwksState>>,
}

#[derive(Default)]
struct JwksState {
    answers: BTreeMap<String, Answer>,
    fetches: BTreeMap<String, usize>,
}

impl JwksServer {
    pub fn start(answers: BTreeMap<String, Answer>) -> Self {
        let state = Arc::new(Mutex::new(JwksState {
            answers,
            ..JwksState::default()
        }));
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| {
            let path = request.first_line.split(' ').nth(1).unwrap_or("/");
            let key = server_key(&format!("{}{path}", request.header("host").unwrap_or("")));
            let mut state = shared.lock().expect("the server's state");
            *state.fetches.entry(key.clone()).or_default() += 1;
            match state.answers.get(&key) {
                Some(answer) => Response {
                    status: answer.status,
                    header: "content-type: application/json\r\n".to_owned(),
                    body: answer.body.clone(),
                    delay: Duration::from_millis(answer.delay_ms),
                },
                None => Response {
                    status: 404,
                    header: String::new(),
                    body: String::new(),
                    delay: Duration::ZERO,
                },
            }
        });
        Self { server, state }
    }

    /// How often each key set was asked for, by host and path.
    pub fn fetches(&self) -> BTreeMap<String, usize> {
        self.state
            .lock()
            .expect("the server's state")
            .fetches
            .clone()
    }
}
