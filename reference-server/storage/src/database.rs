//! Opening a database, bringing its schema up to date, and keeping a second server away from it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::AnyConnectOptions;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AnyConnection, ConnectOptions as _, SqlSafeStr as _};
use touchstone_reference_server::Storage;
use url::Url;

use crate::location::{Location, Place};
use crate::queue::Queue;
use crate::table::Dialect;
use crate::writer::Writer;

/// How long a database elsewhere may take to answer at all.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Tells a server that ended a moment ago, whose last transaction may still run, from one that runs.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '5s'";
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// The number stands for `touchsto`, so that nobody else's lock is meant.
const LOCK: &str = "SELECT pg_advisory_lock(8390053700629132399)";

/// What is acknowledged has to be stored, whatever the database does otherwise.
const SYNCHRONOUS: &str = "SELECT set_config('synchronous_commit', 'on', false) \
     WHERE current_setting('synchronous_commit') = 'off'";

/// The schema of each database, from the first version to the latest.
const SQLITE: &[(&str, &str)] = &[("rows", include_str!("../migrations/sqlite/0001_rows.sql"))];
const POSTGRES: &[(&str, &str)] = &[("rows", include_str!("../migrations/postgres/0001_rows.sql"))];

/// A database that is open, and belongs to this process alone.
#[derive(Debug)]
pub struct Database {
    pub(crate) location: Location,
    pub(crate) connection: AnyConnection,
    dialect: Dialect,
    queue: Arc<Queue>,
    lock: Option<File>,
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no file, and none can be made.
    #[error("cannot open {0}")]
    File(Location, #[source] io::Error),
    /// Another process uses it.
    #[error("{0} is in use by another server")]
    InUse(Location),
    /// No server answers, or it lets nobody in.
    #[error("cannot reach {0}: {1}")]
    Unreachable(Location, String),
    /// The database is of a later version.
    #[error(
        "{location} has version {found} of the schema, and this program knows those up to {known}"
    )]
    Newer {
        /// The database.
        location: Location,
        /// The version that it has.
        found: i64,
        /// The latest version that is known.
        known: usize,
    },
    /// It has something else in it, or is not what it should be.
    #[error("cannot keep rows in {0}: {1}")]
    Unusable(Location, String),
}

impl Database {
    /// Opens a database, makes it if it is a file that is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// When it cannot be used, with the reason.
    pub async fn open(location: &Location) -> Result<Self, OpenError> {
        sqlx::any::install_default_drivers();
        let (url, dialect, lock) = match &location.0 {
            Place::Sqlite(path) => {
                let (url, lock) = file(location, path)?;
                (url, Dialect::Sqlite, Some(lock))
            }
            Place::Postgres(url) => (url.clone(), Dialect::Postgres, None),
        };
        let unusable = |error| OpenError::Unusable(location.clone(), reason(&error));
        let unreachable = |reason| OpenError::Unreachable(location.clone(), reason);
        let options = AnyConnectOptions::from_url(&url).map_err(unusable)?;
        let options = options.disable_statement_logging();
        let mut connection = tokio::time::timeout(CONNECT_WITHIN, options.connect())
            .await
            .map_err(|_| unreachable("no answer within 10 seconds".to_owned()))?
            .map_err(|error| match (dialect, &error) {
                (Dialect::Sqlite, _) | (_, sqlx::Error::Configuration(_)) => unusable(error),
                (Dialect::Postgres, _) => unreachable(reason(&error)),
            })?;
        match dialect {
            Dialect::Sqlite => durable(&mut connection).await.map_err(unusable)?,
            Dialect::Postgres => alone(&mut connection).await.map_err(|error| {
                let code = error.as_database_error().and_then(|error| error.code());
                if code.as_deref() == Some(LOCK_NOT_AVAILABLE) {
                    OpenError::InUse(location.clone())
                } else {
                    unusable(error)
                }
            })?,
        }
        migrate(&mut connection, dialect, location).await?;
        Ok(Self {
            location: location.clone(),
            connection,
            dialect,
            queue: Arc::default(),
            lock,
        })
    }

    /// What a server is to give its changes to.
    #[must_use]
    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.queue) as Arc<dyn Storage>
    }

    /// Begins to write.
    #[must_use]
    pub fn write(self) -> Writer {
        Writer::start(self.connection, self.dialect, self.queue, self.lock)
    }
}

impl OpenError {
    /// Whether it is a matter of another machine or process, rather than of what was asked for.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable(..))
    }
}

/// Opens or makes the file, which nobody else may read, as tokens are in it; and locks it, which
/// SQLite's own locks do not notice.
fn file(location: &Location, path: &Path) -> Result<(Url, File), OpenError> {
    let failed = |error| OpenError::File(location.clone(), error);
    let path = std::path::absolute(path).map_err(failed)?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    // A name that is lost with the power takes the file along.
    let folder = path.parent().unwrap_or(&path);
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed)?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => OpenError::InUse(location.clone()),
        TryLockError::Error(error) => failed(error),
    })?;
    let url = Url::from_file_path(&path)
        .and_then(|url| Url::parse(&format!("sqlite://{}", url.path())).map_err(|_| ()))
        .map_err(|()| failed(io::ErrorKind::InvalidFilename.into()))?;
    Ok((url, file))
}

/// Leaves a file alone that belongs to another program, and makes SQLite synchronise each transaction
/// before it is acknowledged.
async fn durable(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    let (all, ours): (i64, i64) = sqlx::query_as(
        "SELECT COUNT(*), COUNT(CASE name WHEN '_sqlx_migrations' THEN 1 END) FROM sqlite_master",
    )
    .fetch_one(&mut *connection)
    .await?;
    if all > 0 && ours == 0 {
        let problem = "it has tables of another program";
        return Err(sqlx::Error::Configuration(problem.into()));
    }
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode = WAL")
        .fetch_one(&mut *connection)
        .await?;
    if mode != "wal" {
        let problem = format!("its journal is \"{mode}\" and cannot be a write-ahead log");
        return Err(sqlx::Error::Configuration(problem.into()));
    }
    sqlx::query("PRAGMA synchronous = FULL")
        .execute(connection)
        .await?;
    Ok(())
}

/// Keeps other servers away from a Postgres database, and waits for the last transaction of one that
/// has ended.
async fn alone(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    for statement in [LOCK_TIMEOUT, LOCK, "RESET lock_timeout", SYNCHRONOUS] {
        sqlx::query(statement).execute(&mut *connection).await?;
    }
    let encoding: String = sqlx::query_scalar("SHOW server_encoding")
        .fetch_one(connection)
        .await?;
    if !["UTF8", "SQL_ASCII"].contains(&encoding.as_str()) {
        let problem =
            format!("its encoding is {encoding}, which cannot hold every text; make it with UTF8");
        return Err(sqlx::Error::Configuration(problem.into()));
    }
    Ok(())
}

async fn migrate(
    connection: &mut AnyConnection,
    dialect: Dialect,
    location: &Location,
) -> Result<(), OpenError> {
    let schema = match dialect {
        Dialect::Sqlite => SQLITE,
        Dialect::Postgres => POSTGRES,
    };
    let migrations = (1..).zip(schema).map(|(version, (name, sql))| {
        let kind = MigrationType::Simple;
        Migration::new(version, (*name).into(), kind, sql.into_sql_str(), false)
    });
    let migrator = Migrator::with_migrations(migrations.collect());
    migrator.run(connection).await.map_err(|error| {
        let unusable = |reason| OpenError::Unusable(location.clone(), reason);
        match error {
            MigrateError::VersionMissing(found) => OpenError::Newer {
                location: location.clone(),
                found,
                known: schema.len(),
            },
            MigrateError::VersionMismatch(version) => {
                unusable(format!("version {version} of its schema is not ours"))
            }
            MigrateError::Execute(error) => unusable(reason(&error)),
            MigrateError::ExecuteMigration(error, version) => unusable(format!(
                "version {version} of the schema cannot be made: {}",
                reason(&error)
            )),
            error => unusable(error.to_string()),
        }
    })
}

/// What went wrong, without what everybody knows: that it came from a database.
pub(crate) fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Configuration(error) => error.to_string(),
        sqlx::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(path: &Path) -> String {
        let location = Location(Place::Sqlite(path.to_owned()));
        let error = Database::open(&location).await.expect_err("a refusal");
        error.to_string().replace(&location.to_string(), "HERE")
    }

    async fn change(path: &Path, sql: &'static str) {
        sqlx::any::install_default_drivers();
        let url = Url::parse(&format!("sqlite://{}?mode=rwc", path.display())).unwrap();
        let options = AnyConnectOptions::from_url(&url).unwrap();
        let mut connection = options.connect().await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_not_ours_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);

        std::fs::write(
            file("text"),
            "not a database, but longer than its header is: ".repeat(9),
        )
        .unwrap();
        let before = std::fs::read(file("text")).unwrap();
        assert_eq!(
            refusal(&file("text")).await,
            "cannot keep rows in HERE: file is not a database"
        );
        assert_eq!(std::fs::read(file("text")).unwrap(), before);

        change(&file("foreign"), "CREATE TABLE accounts (name TEXT)").await;
        assert_eq!(
            refusal(&file("foreign")).await,
            "cannot keep rows in HERE: it has tables of another program"
        );
    }

    #[tokio::test]
    async fn a_schema_that_is_not_known_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        let location = Location(Place::Sqlite(path.clone()));
        let database = Database::open(&location).await.unwrap();
        assert_eq!(refusal(&path).await, "HERE is in use by another server");
        database.write().close().await.unwrap();

        let later = "INSERT INTO _sqlx_migrations SELECT 7, description, installed_on, success, checksum, \
                     execution_time FROM _sqlx_migrations";
        change(&path, later).await;
        assert_eq!(
            refusal(&path).await,
            "HERE has version 7 of the schema, and this program knows those up to 1"
        );
        change(&path, "DELETE FROM _sqlx_migrations WHERE version = 7").await;
        change(&path, "UPDATE _sqlx_migrations SET checksum = X'00'").await;
        assert_eq!(
            refusal(&path).await,
            "cannot keep rows in HERE: version 1 of its schema is not ours"
        );
    }
}
