//! HTTP clients and answers, with the bounds that a harness needs.
//!
//! Used by long-polling and by provisioning. Proxies of the environment and redirects are never
//! followed: what is measured is the server that was named.

use std::{error::Error, sync::Arc, time::Duration};

use reqwest::{
    Client, Response,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{HOST, HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};
use tokio::net::lookup_host;
use url::Host;

use crate::{
    error::{ConnectError, DialFailure},
    options::ConnectOptions,
    tls::{TlsError, TlsOptions},
};

/// A client for the server of `options`, with its headers, source address and roots.
pub(crate) fn client(options: &ConnectOptions) -> Result<Client, ConnectError> {
    let unusable = |reason: String| ConnectError::Unusable {
        url: options.url.to_string(),
        reason,
    };
    let mut headers = HeaderMap::new();
    for (name, value) in &options.headers {
        let parsed = HeaderName::try_from(name)
            .ok()
            .zip(HeaderValue::try_from(value.expose()).ok());
        let (name, mut value) =
            parsed.ok_or_else(|| unusable(format!("header {name:?} would break the request")))?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    let mut builder = Client::builder();
    if let Some((host, port)) = &options.connect_to {
        if !matches!(options.url.host(), Some(Host::Domain(_))) {
            let reason = "another address to connect to needs a name in the URL".to_owned();
            return Err(unusable(reason));
        }
        let named = HeaderValue::try_from(options.authority());
        headers.insert(HOST, named.map_err(|error| unusable(error.to_string()))?);
        builder = builder.dns_resolver(Arc::new(Elsewhere {
            host: host.clone(),
            port: *port,
        }));
    }
    builder = builder
        .http1_only()
        .no_proxy()
        .redirect(Policy::none())
        .referer(false)
        .tcp_nodelay(true)
        // Common servers close an idle connection after 5 s; a request that is sent just then fails, and
        // a POST is not sent again by itself.
        .pool_idle_timeout(Duration::from_secs(2))
        .local_address(options.local_address)
        .default_headers(headers);
    let tls = match &options.tls {
        Some(tls) => Ok(tls.clone()),
        None if options.is_tls() => TlsOptions::system(),
        // Without any the library would build a configuration of its own, which needs a
        // process-wide provider that is the program's to choose.
        None => TlsOptions::none(),
    };
    let failed = |source| ConnectError::Tls {
        address: options.url.to_string(),
        source,
    };
    let tls = tls.map_err(failed)?;
    builder
        .tls_backend_preconfigured((*tls.config()).clone())
        .build()
        .map_err(|error| unusable(root_cause(&error)))
}

/// What the client of `options` is asked for in order to reach `url`. The library prefers the port of a
/// URL to the one that a name has been resolved to.
pub(crate) fn requested(options: &ConnectOptions, url: &str) -> String {
    if options.connect_to.is_none() {
        return url.to_owned();
    }
    url.replacen(
        &options.authority(),
        options.url.host_str().unwrap_or_default(),
        1,
    )
}

/// Finds every name at one address.
struct Elsewhere {
    host: String,
    port: u16,
}

impl Resolve for Elsewhere {
    fn resolve(&self, _name: Name) -> Resolving {
        let (host, port) = (self.host.clone(), self.port);
        Box::pin(async move {
            let found: Vec<_> = lookup_host((host, port)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The innermost error's text: the outer ones of an HTTP client only say that a request failed.
pub(crate) fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// What a failure to send a request means for one who wanted to reach `options`.
pub(crate) fn connect_error(
    options: &ConnectOptions,
    url: &str,
    error: &reqwest::Error,
) -> ConnectError {
    let address = || match options.dialled() {
        Ok((host, port)) => format!("{host}:{port}"),
        Err(_) => options.url.to_string(),
    };
    let io = std::io::Error::other(root_cause(error));
    if is_tls(error) {
        return ConnectError::Tls {
            address: address(),
            source: TlsError::Handshake(io),
        };
    }
    if error.is_connect() {
        let source = DialFailure {
            attempts: vec![(None, io)],
        };
        return ConnectError::Dial {
            address: address(),
            source,
        };
    }
    ConnectError::Broken {
        url: url.to_owned(),
        stage: crate::error::Stage::Upgrading,
        reason: root_cause(error),
    }
}

/// Whether a TLS error is somewhere in the chain. Inside of I/O errors, which may be nested, it
/// is not among the sources.
fn is_tls(error: &(dyn Error + 'static)) -> bool {
    if error.is::<rustls::Error>() {
        return true;
    }
    let wrapped = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    wrapped.is_some_and(|inner| is_tls(inner)) || error.source().is_some_and(is_tls)
}

/// Why a body could not be read.
pub(crate) enum BodyError {
    /// It is larger than allowed.
    TooLarge(usize),
    /// The connection broke.
    Broken(String),
}

/// Reads a body of at most `limit` bytes; never holds more than that and one chunk.
pub(crate) async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>, BodyError> {
    let announced = response.content_length().unwrap_or(0);
    if announced > limit as u64 {
        return Err(BodyError::TooLarge(
            usize::try_from(announced).unwrap_or(usize::MAX),
        ));
    }
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => {
                return Err(BodyError::TooLarge(body.len() + chunk.len()));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) => return Err(BodyError::Broken(root_cause(&error))),
        }
    }
}
