//! The one task that writes: whatever waits becomes one transaction. What comes from it leaves when it
//! is stored, while the next one is on its way.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{AnyConnection, Connection as _};
use tokio::task::JoinHandle;

use crate::batch::{Batch, Statements};
use crate::database::reason;
use crate::queue::Queue;
use crate::table::Dialect;

/// How long a database elsewhere may take for a transaction. One that has gone without a word would be
/// waited for in vain, and so would every answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);

/// Writes until it is closed, or until a transaction fails.
#[derive(Debug)]
pub struct Writer {
    task: JoinHandle<Result<(), sqlx::Error>>,
    queue: Arc<Queue>,
}

impl Writer {
    pub(crate) fn start(
        connection: AnyConnection,
        dialect: Dialect,
        queue: Arc<Queue>,
        lock: Option<File>,
    ) -> Self {
        let writing = write(connection, dialect, Arc::clone(&queue));
        let task = tokio::spawn(async move {
            let end = writing.await;
            // The file is locked as long as it is written to.
            drop(lock);
            end
        });
        Self { task, queue }
    }

    /// Resolves when nothing can be written any more, with the reason. What waits then is never
    /// answered, and the process should end.
    pub async fn failed(&mut self) -> String {
        ended((&mut self.task).await)
            .err()
            .unwrap_or_else(|| "the writer has ended".to_owned())
    }

    /// Writes what still waits, and closes the database.
    ///
    /// # Errors
    /// When that fails: what was answered is stored, and what waited is not.
    pub async fn close(self) -> Result<(), String> {
        self.queue.close();
        ended(self.task.await)
    }
}

fn ended(end: Result<Result<(), sqlx::Error>, tokio::task::JoinError>) -> Result<(), String> {
    match end {
        Ok(written) => written.map_err(|error| reason(&error)),
        Err(panic) => Err(panic.to_string()),
    }
}

async fn write(
    mut connection: AnyConnection,
    dialect: Dialect,
    queue: Arc<Queue>,
) -> Result<(), sqlx::Error> {
    let mut statements = Statements::new(dialect);
    while let Some(waiting) = queue.take().await {
        if !waiting.records.is_empty() {
            let mut batch = Batch::default();
            waiting
                .records
                .into_iter()
                .for_each(|record| batch.add(record));
            let transaction = transaction(&mut connection, batch, &mut statements);
            if dialect == Dialect::Postgres {
                tokio::time::timeout(ANSWER_WITHIN, transaction)
                    .await
                    .map_err(|_| sqlx::Error::Io(io::ErrorKind::TimedOut.into()))??;
            } else {
                transaction.await?;
            }
        }
        // Meanwhile the next transaction begins.
        tokio::spawn(async move { waiting.kept.into_iter().for_each(|kept| kept()) });
    }
    connection.close().await
}

async fn transaction(
    connection: &mut AnyConnection,
    batch: Batch,
    statements: &mut Statements,
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    batch.write(&mut transaction, statements).await?;
    transaction.commit().await
}
