//! What a request says of Engine.IO.

use url::form_urlencoded;

/// What stands in the query of a request of one of Engine.IO's transports.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) is_polling: bool,
    /// The session, unless this request opens it.
    pub(crate) sid: Option<String>,
}

impl Engine {
    /// Nothing where it is another request.
    pub(crate) fn of(target: &str) -> Option<Self> {
        let (_, query) = target.split_once('?')?;
        let (mut transport, mut sid, mut is_engine) = (None, None, false);
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "EIO" => is_engine = true,
                "transport" => transport = Some(value),
                "sid" => sid = Some(value.into_owned()),
                _ => {}
            }
        }
        is_engine.then(|| Self {
            is_polling: transport.as_deref() == Some("polling"),
            sid,
        })
    }
}
