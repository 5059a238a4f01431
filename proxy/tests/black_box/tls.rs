//! TLS on either side: what the other side gets is the same.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use touchstone_client::TlsOptions;
use touchstone_client::trace::{Kind, Record};
use touchstone_proxy::Certificate;

use crate::stand::{Stand, at_end, pass};

/// A certificate for `localhost` that vouches for itself, and its key, as PEM.
fn certificate() -> (String, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    (cert.pem(), signing_key.serialize_pem())
}

fn connector(pem: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate"))
        .expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config).into()
}

fn acceptor(pem: &str, key: &str) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .expect("a configuration");
    Arc::new(config).into()
}

const ANSWER: &str = "HTTP/1.1 204 No Content\r\n\r\n";

#[tokio::test]
async fn a_client_comes_by_tls() {
    let (pem, key) = certificate();
    let shown = Certificate::from_pem(pem.as_bytes(), key.as_bytes()).expect("a certificate");
    let stand = Stand::with(|plan| plan.certificate = Some(shown)).await;
    let tcp = TcpStream::connect(stand.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = connector(&pem).connect(name, tcp).await.unwrap();
    let (mut server, _) = stand.server.accept().await.unwrap();
    let head = |host: &str| format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let expected = head(&stand.upstream);
    pass(&mut client, &mut server, &head("localhost"), &expected).await;
    pass(&mut server, &mut client, ANSWER, ANSWER).await;
    drop(server);
    assert_eq!(at_end(&mut client).await.unwrap(), b"");
    drop(client);
    // Somebody who speaks plainly is refused, and that is recorded.
    let mut plain = TcpStream::connect(stand.address).await.unwrap();
    pass(&mut plain, &mut tokio::io::empty(), ANSWER, b"").await;
    assert!(!at_end(&mut plain).await.unwrap().starts_with(b"HTTP"));
    let is_refusal = |record: &Record| matches!(&record.kind, Kind::Mark(text) if text.starts_with("a client failed its TLS handshake"));
    let records = stand.records(is_refusal).await;
    assert!(matches!(&records[0].kind, Kind::Http(one) if one.url == "/a"));
}

#[tokio::test]
async fn a_server_is_reached_by_tls() {
    let (pem, key) = certificate();
    let mut port = 0;
    let stand = Stand::with(|plan| {
        port = plan.server.url.port().expect("a port");
        plan.server.url = format!("https://localhost:{port}").parse().expect("a URL");
        plan.server.tls = Some(TlsOptions::with_extra_roots(pem.as_bytes()).expect("a root"));
    })
    .await;
    let mut client = TcpStream::connect(stand.address).await.unwrap();
    let (tcp, _) = stand.server.accept().await.unwrap();
    let mut server = acceptor(&pem, &key).accept(tcp).await.unwrap();
    let head = |host: &str| format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let expected = head(&format!("localhost:{port}"));
    pass(&mut client, &mut server, &head("proxy"), &expected).await;
    pass(&mut server, &mut client, ANSWER, ANSWER).await;
    let records = stand
        .records(|record| matches!(&record.kind, Kind::Http(one) if one.status == Some(204)))
        .await;
    assert_eq!(records.len(), 1, "{records:?}");
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_one_that_cannot_be_reached() {
    let (pem, key) = certificate();
    let stand = Stand::with(|plan| {
        let port = plan.server.url.port().expect("a port");
        plan.server.url = format!("https://localhost:{port}").parse().expect("a URL");
        plan.server.tls =
            Some(TlsOptions::with_extra_roots(certificate().0.as_bytes()).expect("a root"));
    })
    .await;
    let mut client = TcpStream::connect(stand.address).await.unwrap();
    let (tcp, _) = stand.server.accept().await.unwrap();
    assert!(acceptor(&pem, &key).accept(tcp).await.is_err());
    let error = at_end(&mut client).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let is_failure =
        |record: &Record| matches!(&record.kind, Kind::Mark(text) if text.starts_with("failed: "));
    let records = stand.records(is_failure).await;
    let text = format!("{records:?}");
    assert!(
        text.contains("TLS") && text.contains("ertificate"),
        "{text}"
    );
}
