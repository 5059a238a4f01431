//! Which certificates are trusted for `https` and `wss`.

use std::{
    fmt, io,
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

/// Why TLS cannot be set up or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The protocol versions and ciphers do not fit together.
    #[error("cannot configure TLS")]
    Config(#[source] rustls::Error),
    /// An extra root certificate is not usable.
    #[error("cannot use root certificate: {0}")]
    Root(String),
    /// The host of the URL is no valid TLS server name.
    #[error("{0:?} is not a valid server name")]
    ServerName(String),
    /// The handshake failed, for instance because the certificate is not trusted.
    #[error("handshake failed")]
    Handshake(#[source] io::Error),
}

/// A ready TLS configuration. Build it once and clone it: all connections then share its roots.
#[derive(Clone)]
pub struct TlsOptions(Arc<ClientConfig>);

impl TlsOptions {
    /// Trusts what the system trusts. The roots are read once per process, and as the system's
    /// convention has it, `SSL_CERT_FILE` and `SSL_CERT_DIR` replace them.
    pub fn system() -> Result<Self, TlsError> {
        static SYSTEM: OnceLock<Arc<ClientConfig>> = OnceLock::new();
        if let Some(config) = SYSTEM.get() {
            return Ok(Self(Arc::clone(config)));
        }
        let config = build(system_roots())?;
        Ok(Self(Arc::clone(SYSTEM.get_or_init(|| config))))
    }

    /// Trusts the system's roots and the certificates in `pem`, for servers with a CA of their
    /// own.
    pub fn with_extra_roots(pem: &[u8]) -> Result<Self, TlsError> {
        let mut roots = system_roots();
        let mut found = 0;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| TlsError::Root(error.to_string()))?;
            roots
                .add(certificate)
                .map_err(|error| TlsError::Root(error.to_string()))?;
            found += 1;
        }
        if found == 0 {
            return Err(TlsError::Root("no certificate in the PEM text".to_owned()));
        }
        Ok(Self(build(roots)?))
    }

    /// Trusts every certificate: whoever answers may be anybody, so a report says that it was so.
    pub fn unverified() -> Result<Self, TlsError> {
        let mut config = with_roots(RootCertStore::empty())?;
        let verifier = Unverified(Arc::clone(config.crypto_provider()));
        config
            .dangerous()
            .set_certificate_verifier(Arc::new(verifier));
        Ok(Self(Arc::new(config)))
    }

    /// Trusts nothing, for plain HTTP: reading the system's roots for that would be waste.
    pub(crate) fn none() -> Result<Self, TlsError> {
        Ok(Self(build(RootCertStore::empty())?))
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsOptions")
    }
}

/// Roots that the system cannot read are left out: a server that needs one of them then fails
/// its handshake with a message of its own.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn build(roots: RootCertStore) -> Result<Arc<ClientConfig>, TlsError> {
    with_roots(roots).map(Arc::new)
}

fn with_roots(roots: RootCertStore) -> Result<ClientConfig, TlsError> {
    // The provider is named, since the process-wide default belongs to the program.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Config)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Takes any certificate for the right one. Signatures are still checked: whoever presents a certificate
/// has its key.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
