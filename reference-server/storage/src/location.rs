//! Where rows are kept, as a person writes it on a command line and reads it in a log.

use std::fmt;
use std::path::PathBuf;

use url::Url;

/// Where rows are kept. Shown, it hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Location(pub(crate) Place);

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A file.
    Sqlite(PathBuf),
    /// A server.
    Postgres(Url),
}

/// Why a text names no place for rows.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LocationError {
    /// Neither of the two kinds.
    #[error("not a database that rows can be kept in: {0}")]
    Scheme(String),
    /// No file.
    #[error("sqlite:// has no path behind it")]
    NoPath,
    /// Not a URL.
    #[error("not a URL of a Postgres database: {0}")]
    Url(url::ParseError),
}

impl Location {
    /// Reads `sqlite://PATH` or `postgres://USER@HOST/DATABASE`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        if let Some(path) = text.strip_prefix("sqlite://") {
            return match path {
                "" => Err(LocationError::NoPath),
                path => Ok(Self(Place::Sqlite(PathBuf::from(path)))),
            };
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            let url = Url::parse(text).map_err(LocationError::Url)?;
            return Ok(Self(Place::Postgres(url)));
        }
        // Whatever it is, it may have a password in it.
        let scheme = text.split_once("://").map_or(text, |(scheme, _)| scheme);
        Err(LocationError::Scheme(scheme.to_owned()))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Place::Postgres(url) => {
                let mut url = url.clone();
                if url.password().is_some() {
                    // It fails for URLs without a host only, which have no password.
                    let _ = url.set_password(Some("***"));
                }
                // Parameters can hold a password too.
                url.set_query(None);
                write!(f, "{url}")
            }
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::{Location, LocationError};

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        let shown = Location::parse(text)
            .map(|location| location.to_string())
            .map_err(|error| error.to_string());
        assert_eq!(shown.as_deref().map_err(String::as_str), expected, "{text}");
    }

    #[test]
    fn places_are_told_apart_and_passwords_are_hidden() {
        check("sqlite:///tmp/rows.db", Ok("sqlite:///tmp/rows.db"));
        check("sqlite://rows.db", Ok("sqlite://rows.db"));
        check(
            "postgres://me:secret@db:5432/rows?password=secret",
            Ok("postgres://me:***@db:5432/rows"),
        );
        check("postgresql://me@db/rows", Ok("postgresql://me@db/rows"));
        check("sqlite://", Err("sqlite:// has no path behind it"));
        check(
            "mysql://me:secret@db/rows",
            Err("not a database that rows can be kept in: mysql"),
        );
        check(
            "rows.db",
            Err("not a database that rows can be kept in: rows.db"),
        );
        assert!(matches!(
            Location::parse("postgres://db:port/x"),
            Err(LocationError::Url(_))
        ));
    }
}
