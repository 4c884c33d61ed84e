//! Certificates made for a test, what Envoy is told of them, and clients that present them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion,
};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use super::peer::{Certificate, Peer, Tls};

const TIMEOUT: Duration = Duration::from_secs(20);

type Authority = CertifiedIssuer<'static, KeyPair>;

/// The one that listeners trust.
static TRUSTED: LazyLock<Authority> = LazyLock::new(|| authority("mesh"));
/// One that they don't know.
static STRANGER: LazyLock<Authority> = LazyLock::new(|| authority("stranger"));

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, key()).expect("an authority")
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

/// The transport socket of a listener, which takes clients that present no certificate or one that
/// can't be validated only where it is open to them.
pub fn transport_socket(is_open: bool) -> Value {
    let key = key();
    let params = CertificateParams::new(["portcullis.test".to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &TRUSTED).expect("a certificate");
    let mut validation = json!({ "trusted_ca": { "inline_string": TRUSTED.pem() } });
    if is_open {
        validation["trust_chain_verification"] = "ACCEPT_UNTRUSTED".into();
    }
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": !is_open,
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificates": [{
                    "certificate_chain": { "inline_string": certificate.pem() },
                    "private_key": { "inline_string": key.serialize_pem() },
                }],
                "validation_context": validation,
            },
        },
    })
}

/// The transport socket of a cluster whose peer is this Envoy, with this certificate.
pub fn upstream_socket(certificate: &Certificate) -> Value {
    let (params, issuer) = params(certificate);
    let key = key();
    let certificate = params.signed_by(&key, issuer).expect("a certificate");
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "common_tls_context": {
                "tls_certificates": [{
                    "certificate_chain": { "inline_string": certificate.pem() },
                    "private_key": { "inline_string": key.serialize_pem() },
                }],
            },
        },
    })
}

/// A connection from where the peer is.
pub fn connect(peer: &Peer, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(peer.source_ip, 0).into())?;
    socket.connect_timeout(&address.into(), TIMEOUT)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The client of a handshake, and what it calls the server: without a name, its address, of which
/// a hello says nothing.
pub fn client(
    tls: &Tls,
    protocol: Option<&[u8]>,
    versions: &[&'static SupportedProtocolVersion],
) -> (Arc<ClientConfig>, ServerName<'static>) {
    let provider = Arc::new(ring::default_provider());
    let anybody = Arc::new(Anybody(provider.signature_verification_algorithms));
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider) as Arc<CryptoProvider>)
        .with_protocol_versions(versions)
        .expect("TLS")
        .dangerous()
        .with_custom_certificate_verifier(anybody);
    let mut config = match &tls.certificate {
        Some(certificate) => {
            let (chain, key) = issued(certificate);
            builder.with_client_auth_cert(chain, key).expect("a client")
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocol.into_iter().map(<[u8]>::to_vec).collect();
    let name = match &tls.server_name {
        Some(name) => ServerName::try_from(name.clone()).expect("a server name"),
        None => IpAddr::from(Ipv4Addr::LOCALHOST).into(),
    };
    (Arc::new(config), name)
}

fn issued(certificate: &Certificate) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let (params, issuer) = params(certificate);
    let key = key();
    let certificate = params.signed_by(&key, issuer).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    (vec![certificate.der().clone()], key)
}

fn params(certificate: &Certificate) -> (CertificateParams, &'static Authority) {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    if let Some(name) = &certificate.common_name {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    let ascii = |name: &String| name.as_str().try_into().expect("an ASCII name");
    let uris = certificate.uris.iter().map(|uri| SanType::URI(ascii(uri)));
    let dns = certificate
        .dns
        .iter()
        .map(|name| SanType::DnsName(ascii(name)));
    params.subject_alt_names = uris.chain(dns).collect();
    let issuer: &Authority = if certificate.trusted {
        &TRUSTED
    } else {
        &STRANGER
    };
    (params, issuer)
}

/// Tests know whom they connect to, by the port.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
