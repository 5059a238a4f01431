//! `wss` and `https` with a certificate of our own making.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use touchstone_client::{
    ConnectError, ConnectOptions, Engine, TlsOptions, Transport, connect,
    provision::{ProvisionSpec, Provisioner},
};

use crate::script::{CALM, Peer, Server, header, next, soon};

/// A server for `localhost` and 127.0.0.1, and the PEM of the CA that vouches for it.
fn authority() -> (TlsAcceptor, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(names)
        .unwrap()
        .signed_by(&key, &ca)
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), ca.pem())
}

fn options(server: &Server, pem: &str) -> ConnectOptions {
    let url = server.origin().replace("http://", "wss://");
    let mut options = ConnectOptions::new(url.parse().unwrap());
    options.tls = Some(TlsOptions::with_extra_roots(pem.as_bytes()).unwrap());
    options
}

async fn accept(server: &Server, acceptor: &TlsAcceptor) -> Peer<TlsStream<TcpStream>> {
    let stream = server.accept().await.into_stream();
    Peer::new(soon(acceptor.accept(stream)).await.unwrap())
}

#[tokio::test]
async fn a_websocket_over_tls_carries_events_and_closes_orderly() {
    let server = Server::start().await;
    let (acceptor, pem) = authority();
    let options = options(&server, &pem);
    let script = async {
        let mut peer = accept(&server, &acceptor).await;
        peer.welcome(CALM).await;
        peer.send(r#"42["secret",1]"#).await;
        peer.expect(r#"42["reply"]"#).await;
        peer.expect("41").await;
        peer
    };
    let client = async {
        let (socket, mut events) = connect(&options).await.unwrap();
        assert_eq!(next(&mut events).await.0, "secret");
        socket.emit("reply", ()).await.unwrap();
        soon(socket.disconnect()).await;
    };
    tokio::join!(script, client);
}

#[tokio::test]
async fn polling_and_rest_over_tls_trust_the_same_roots() {
    let server = Server::start().await;
    let (acceptor, pem) = authority();
    let options = options(&server, &pem).transport(Transport::Polling);
    let script = async {
        let mut peer = accept(&server, &acceptor).await;
        peer.head().await;
        peer.answer(200, CALM).await;
        let mut rest = accept(&server, &acceptor).await;
        rest.head().await;
        rest.answer(200, r#"{"success":true,"token":"abc"}"#).await;
        (peer, rest)
    };
    let client = async {
        Engine::open(&options).await.unwrap();
        let rest = Provisioner::open(&ProvisionSpec::Rest, &options).unwrap();
        assert_eq!(rest.account([7; 32]).await.unwrap().token.expose(), "abc");
    };
    tokio::join!(script, client);
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_a_tls_error() {
    for transport in [Transport::WebSocket, Transport::Polling] {
        let server = Server::start().await;
        let (acceptor, _) = authority();
        let (_, other) = authority();
        let options = options(&server, &other).transport(transport);
        let script = async {
            let stream = server.accept().await.into_stream();
            assert!(soon(acceptor.accept(stream)).await.is_err());
        };
        let (opened, ()) = tokio::join!(connect(&options), script);
        let error = opened.unwrap_err();
        let ConnectError::Tls { source, .. } = &error else {
            panic!("{error:?}")
        };
        let cause = std::error::Error::source(source).unwrap().to_string();
        assert!(cause.contains("certificate"), "{cause}");
        assert!(
            error
                .to_string()
                .starts_with("cannot speak TLS with 127.0.0.1:"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_server_without_tls_is_a_tls_error() {
    let server = Server::start().await;
    let (_, pem) = authority();
    let options = options(&server, &pem);
    let script = async {
        let mut peer = server.accept().await;
        peer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        peer
    };
    let (opened, _peer) = tokio::join!(connect(&options), script);
    assert!(matches!(opened.unwrap_err(), ConnectError::Tls { .. }));
}

#[tokio::test]
async fn another_address_is_reached_under_the_name_of_the_url() {
    let server = Server::start().await;
    let (acceptor, pem) = authority();
    let mut options = options(&server, &pem).at("https://localhost:1".parse().unwrap());
    let address = server.origin();
    let (_, port) = address.rsplit_once(':').unwrap();
    options.connect_to = Some(("127.0.0.1".to_owned(), port.parse().unwrap()));
    let script = async {
        let mut seen = Vec::new();
        for answer in [CALM, r#"{"success":true,"token":"abc"}"#] {
            let mut peer = accept(&server, &acceptor).await;
            seen.push(header(&peer.head().await, "host"));
            peer.answer(200, answer).await;
        }
        let mut peer = accept(&server, &acceptor).await;
        let head = peer.head().await;
        seen.push(header(&head, "host"));
        peer.switch_protocols(&head).await;
        peer.send(CALM).await;
        assert_eq!(seen, vec![Some("localhost:1".to_owned()); 3]);
        peer
    };
    let client = async {
        let polling = options.clone().transport(Transport::Polling);
        Engine::open(&polling).await.unwrap();
        let rest = Provisioner::open(&ProvisionSpec::Rest, &options).unwrap();
        assert_eq!(rest.account([7; 32]).await.unwrap().token.expose(), "abc");
        Engine::open(&options).await.unwrap();
    };
    tokio::join!(script, client);
}

#[tokio::test]
async fn another_address_needs_a_name_that_stays() {
    let mut options = ConnectOptions::new("https://127.0.0.1:1".parse().unwrap());
    options.connect_to = Some(("localhost".to_owned(), 1));
    let error = Provisioner::open(&ProvisionSpec::Rest, &options).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("needs a name in the URL"), "{cause}");
}

#[tokio::test]
async fn whoever_verifies_nothing_reaches_everybody() {
    let server = Server::start().await;
    let (acceptor, pem) = authority();
    let mut options = options(&server, &pem);
    options.tls = Some(TlsOptions::unverified().unwrap());
    let script = async {
        let mut websocket = accept(&server, &acceptor).await;
        websocket.welcome(CALM).await;
        let mut rest = accept(&server, &acceptor).await;
        rest.head().await;
        rest.answer(200, r#"{"success":true,"token":"abc"}"#).await;
        (websocket, rest)
    };
    let client = async {
        let _connected = connect(&options).await.unwrap();
        let rest = Provisioner::open(&ProvisionSpec::Rest, &options).unwrap();
        assert_eq!(rest.account([7; 32]).await.unwrap().token.expose(), "abc");
    };
    tokio::join!(script, client);
}

#[test]
fn roots_that_are_none_are_told() {
    let empty = TlsOptions::with_extra_roots(b"no PEM at all").unwrap_err();
    assert_eq!(
        empty.to_string(),
        "cannot use root certificate: no certificate in the PEM text"
    );
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(TlsOptions::with_extra_roots(broken).is_err());
}
