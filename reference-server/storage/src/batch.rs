//! One transaction's writes, put together so that there are few statements: what writes the same columns
//! of different rows becomes one, and what is written to a row twice is written once. The order of
//! writes to one row stays.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::{AnyConnection, AssertSqlSafe};
use touchstone_reference_server::Record;

use crate::steps::{self, Step, Value};
use crate::table::{Act, Dialect, Operation};

/// The writes of a transaction.
#[derive(Default)]
pub(crate) struct Batch {
    groups: Vec<Group>,
    /// The last group of each operation.
    of: HashMap<usize, usize>,
    /// The last group that writes to rows of a table whose first key is this.
    on: HashMap<(&'static str, Value), usize>,
    /// The last group that writes to a table.
    in_table: HashMap<&'static str, usize>,
}

struct Group {
    operation: &'static Operation,
    rows: Vec<Vec<Value>>,
    /// Where the row with these keys is.
    places: HashMap<Vec<Value>, usize>,
}

impl Batch {
    pub(crate) fn add(&mut self, record: Record) {
        let account = &record.account;
        for change in record.changes {
            steps::steps(account, change)
                .into_iter()
                .for_each(|step| self.put(step));
        }
        if !account.is_empty() {
            self.put(steps::seq(account, record.seq));
        }
    }

    fn put(&mut self, Step { operation, values }: Step) {
        let row = (operation.table, values[0].clone());
        // What is removed may be named by another key than it was written by.
        let last = match operation.act {
            Act::Remove => self.in_table.get(operation.table),
            Act::Add | Act::Put | Act::Set => self.on.get(&row),
        };
        let earliest = last.copied().unwrap_or(0);
        let own = self.of.get(&operation.address()).copied();
        let group = own.filter(|own| *own >= earliest).unwrap_or_else(|| {
            self.groups.push(Group {
                operation,
                rows: Vec::new(),
                places: HashMap::new(),
            });
            self.groups.len() - 1
        });
        self.of.insert(operation.address(), group);
        self.on.insert(row, group);
        let in_table = self.in_table.entry(operation.table).or_default();
        *in_table = group.max(*in_table);
        self.groups[group].put(values);
    }

    /// Writes everything, within the transaction that the connection is in.
    pub(crate) async fn write(
        self,
        connection: &mut AnyConnection,
        statements: &mut Statements,
    ) -> Result<(), sqlx::Error> {
        for Group {
            operation,
            mut rows,
            ..
        } in self.groups
        {
            while !rows.is_empty() {
                // Powers of two, so that few statements have to be prepared.
                let count = 1 << rows.len().min(operation.most_rows()).ilog2();
                let mut query = sqlx::query(AssertSqlSafe(statements.of(operation, count)));
                for value in rows.drain(..count).flatten() {
                    query = match value {
                        Value::Text(text) => query.bind(text),
                        Value::Integer(integer) => query.bind(integer),
                        Value::Flag(flag) => query.bind(flag),
                    };
                }
                query.execute(&mut *connection).await?;
            }
        }
        Ok(())
    }
}

impl Group {
    fn put(&mut self, values: Vec<Value>) {
        debug_assert_eq!(values.len(), self.operation.width());
        if self.operation.act != Act::Add {
            let keys = values[..self.operation.keys.len()].to_vec();
            if let Some(place) = self.places.get(&keys) {
                self.rows[*place] = values;
                return;
            }
            self.places.insert(keys, self.rows.len());
        }
        self.rows.push(values);
    }
}

/// The SQL of what was written before.
pub(crate) struct Statements {
    dialect: Dialect,
    known: HashMap<(usize, usize), Arc<str>>,
}

impl Statements {
    pub(crate) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            known: HashMap::new(),
        }
    }

    fn of(&mut self, operation: &'static Operation, rows: usize) -> Arc<str> {
        let key = (operation.address(), rows);
        let sql = || operation.sql(self.dialect, rows).into();
        Arc::clone(self.known.entry(key).or_insert_with(sql))
    }
}

#[cfg(test)]
mod tests {
    use touchstone_reference_server::seams::{Artifact, Cell, Change, Part, Usage};

    use super::*;

    fn artifact(id: &str) -> Change {
        Change::ArtifactCreated(Box::new(Artifact {
            id: id.to_owned(),
            header: Cell::new(None, 1),
            body: Cell::new(None, 1),
            data_encryption_key: String::new(),
            seq: 0,
            created_at: 0,
            updated_at: 0,
        }))
    }

    fn header(id: &str, version: u64) -> Change {
        Change::Written {
            part: Part::ArtifactHeader(id.to_owned()),
            value: None,
            version,
            at: 0,
        }
    }

    /// The groups of records of these accounts, as their act, table and number of rows.
    #[track_caller]
    fn check(records: &[(&str, Vec<Change>)], expected: &[&str]) {
        let mut batch = Batch::default();
        for (account, changes) in records {
            batch.add(Record {
                account: (*account).to_owned(),
                seq: 1,
                changes: changes.clone(),
            });
        }
        let groups = batch.groups.iter().map(|group| {
            let Operation { act, table, .. } = group.operation;
            let act = match act {
                Act::Add => "add",
                Act::Put => "put",
                Act::Set => "set",
                Act::Remove => "remove",
            };
            format!("{act} {table} {}", group.rows.len())
        });
        assert_eq!(groups.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_alike_is_written_together_and_in_order() {
        let gone = |id: &str| Change::ArtifactDeleted(id.to_owned());
        // Different rows are written by one statement, and a row is written once.
        check(
            &[
                ("a", vec![header("x", 2)]),
                ("b", vec![header("x", 2)]),
                ("a", vec![header("x", 3)]),
            ],
            &["set artifacts 2", "set accounts 2"],
        );
        // What was made, removed and made again is there afterwards.
        check(
            &[
                (
                    "a",
                    vec![artifact("x"), gone("x"), artifact("x"), header("x", 2)],
                ),
                ("b", vec![artifact("x")]),
            ],
            &[
                "put artifacts 1",
                "remove artifacts 1",
                "put artifacts 2",
                "set artifacts 1",
                "set accounts 2",
            ],
        );
        // A report has a key of its own, and goes with its session all the same.
        let report = |session: &str| {
            let usage = Usage {
                id: format!("of {session}"),
                session_id: Some(session.to_owned()),
                tokens: 1.into(),
                cost: 1.into(),
                created_at: 0,
                updated_at: 0,
            };
            Change::UsageReported("key".to_owned(), usage)
        };
        let deleted = |id: &str| Change::SessionDeleted(id.to_owned());
        check(
            &[("a", vec![deleted("s"), report("t"), deleted("t")])],
            &[
                "remove sessions 2",
                "remove messages 2",
                "remove access_keys 2",
                "remove usage_reports 1",
                "put usage_reports 1",
                "remove usage_reports 1",
                "set accounts 1",
            ],
        );
    }
}
