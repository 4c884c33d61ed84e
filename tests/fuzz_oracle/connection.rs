//! A connection over which many requests go.

use std::io::{BufReader, Write};
use std::net::SocketAddr;

use crate::support::case::Request;
use crate::support::from_bytes;
use crate::support::http::{self, Stream, read_message, to_wire};
use crate::support::peer::Peer;

pub struct Connection(BufReader<Box<dyn Stream>>);

impl Connection {
    pub fn open(address: SocketAddr, peer: &Peer) -> Self {
        let stream = http::connect(peer, address).expect("a connection");
        Self(BufReader::new(stream))
    }

    /// Sends a request; status and body of the answer.
    pub fn ask(&mut self, request: &Request) -> (u16, String) {
        let stream = self.0.get_mut();
        stream
            .write_all(&to_wire(request))
            .and_then(|()| stream.flush())
            .expect("the request is sent");
        let answer = read_message(&mut self.0, |_| true).expect("an answer");
        let answer = answer.unwrap_or_else(|| panic!("no answer to {request:?}"));
        (answer.status(), from_bytes(&answer.body))
    }
}
