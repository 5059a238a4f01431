//! TLS towards clients, with a certificate of the user's.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use touchstone_client::NetStream;

/// A certificate with its key, ready to be shown to clients.
#[derive(Clone)]
pub struct Certificate(TlsAcceptor);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The PEM text of the certificate.
    #[error("no usable certificate: {0}")]
    Certificate(String),
    /// The PEM text of the key.
    #[error("no usable private key: {0}")]
    Key(String),
    /// The two do not fit together.
    #[error("certificate and key cannot be used together")]
    Pair(#[source] rustls::Error),
}

impl Certificate {
    /// The certificate of a PEM text, with those of its issuers behind it, and its key.
    ///
    /// # Errors
    /// One of them cannot be read, or they do not fit together.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| CertificateError::Certificate(error.to_string()))?;
        if chain.is_empty() {
            let reason = "there is none in the PEM text".to_owned();
            return Err(CertificateError::Certificate(reason));
        }
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| CertificateError::Key(error.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(CertificateError::Pair)?;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    pub(crate) async fn accept(&self, tcp: TcpStream) -> io::Result<NetStream> {
        let stream = self.0.accept(tcp).await?;
        Ok(NetStream::Tls(Box::new(stream.into())))
    }
}
