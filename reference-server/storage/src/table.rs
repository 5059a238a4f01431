//! What is done with tables, and the SQL for it: one statement for any number of rows.

use std::fmt::Write as _;

/// One kind of write.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) table: &'static str,
    pub(crate) act: Act,
    /// What tells rows apart. One with a `#` before it is a text of a client, of any length.
    pub(crate) keys: &'static [&'static str],
    /// What is written besides.
    pub(crate) columns: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Adds a row.
    Add,
    /// Adds a row, or replaces what has the same keys.
    Put,
    /// Writes some columns of a row, if it is there.
    Set,
    /// Removes what has these keys.
    Remove,
}

/// How the two databases differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// A key as the index has it: Postgres takes no long texts there, but their digests.
    fn indexed(self, key: &str, column: &str) -> String {
        if self == Self::Postgres && key.starts_with('#') {
            format!("md5({column})")
        } else {
            column.to_owned()
        }
    }
}

fn name(key: &'static str) -> &'static str {
    key.trim_start_matches('#')
}

impl Operation {
    /// What tells it from all others.
    pub(crate) fn address(&'static self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// How many values a row has: its keys, then its columns.
    pub(crate) fn width(&self) -> usize {
        self.keys.len() + self.columns.len()
    }

    /// The most rows that one statement is for.
    pub(crate) fn most_rows(&self) -> usize {
        if self.act == Act::Remove { 1 } else { 64 }
    }

    /// The statement for so many rows.
    pub(crate) fn sql(&self, dialect: Dialect, rows: usize) -> String {
        let Self { table, columns, .. } = self;
        let keys = || self.keys.iter().copied();
        let all: Vec<_> = keys().map(name).chain(columns.iter().copied()).collect();
        let list = all.join(", ");
        let values = values(rows, all.len());
        let indexed = |key, column: &str| dialect.indexed(key, column);
        let set = |source: &dyn Fn(usize, &str) -> String| {
            let assigned = columns.iter().enumerate();
            let assigned =
                assigned.map(|(place, column)| format!("{column} = {}", source(place, column)));
            assigned.collect::<Vec<_>>().join(", ")
        };
        match self.act {
            Act::Add => format!("INSERT INTO {table} ({list}) VALUES {values}"),
            Act::Put => {
                let conflict: Vec<_> = keys().map(|key| indexed(key, name(key))).collect();
                let set = set(&|_, column| format!("excluded.{column}"));
                format!(
                    "INSERT INTO {table} ({list}) VALUES {values} ON CONFLICT ({}) DO UPDATE SET {set}",
                    conflict.join(", ")
                )
            }
            Act::Set => {
                let set = set(&|place, _| format!("v.column{}", self.keys.len() + place + 1));
                let meant = keys().enumerate().flat_map(|(place, key)| {
                    let ours = format!("{table}.{}", name(key));
                    let theirs = format!("v.column{}", place + 1);
                    // The index finds digests, and only the texts are sure.
                    let exact = format!("{ours} = {theirs}");
                    let found = format!("{} = {}", indexed(key, &ours), indexed(key, &theirs));
                    let is_same = found == exact;
                    std::iter::once(exact).chain((!is_same).then_some(found))
                });
                let meant: Vec<_> = meant.collect();
                format!(
                    "UPDATE {table} SET {set} FROM (VALUES {values}) AS v WHERE {}",
                    meant.join(" AND ")
                )
            }
            Act::Remove => {
                let meant = keys().enumerate();
                let meant = meant.map(|(place, key)| format!("{} = ${}", name(key), place + 1));
                let meant: Vec<_> = meant.collect();
                format!("DELETE FROM {table} WHERE {}", meant.join(" AND "))
            }
        }
    }
}

/// `($1, $2), ($3, $4)`
fn values(rows: usize, width: usize) -> String {
    let mut out = String::new();
    for place in 0..rows * width {
        let before = match (place, place % width) {
            (0, _) => "(",
            (_, 0) => "), (",
            _ => ", ",
        };
        // Writing to a String never fails.
        let _ = write!(out, "{before}${}", place + 1);
    }
    out.push(')');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUT: Operation = Operation {
        table: "t",
        act: Act::Put,
        keys: &["a", "#b"],
        columns: &["c"],
    };

    #[track_caller]
    fn check(act: Act, dialect: Dialect, rows: usize, expected: &str) {
        assert_eq!(Operation { act, ..PUT }.sql(dialect, rows), expected);
    }

    #[test]
    fn statements() {
        use Act::{Add, Put, Remove, Set};
        use Dialect::{Postgres, Sqlite};
        check(
            Add,
            Sqlite,
            2,
            "INSERT INTO t (a, b, c) VALUES ($1, $2, $3), ($4, $5, $6)",
        );
        check(
            Put,
            Sqlite,
            1,
            "INSERT INTO t (a, b, c) VALUES ($1, $2, $3) ON CONFLICT (a, b) DO UPDATE SET c = excluded.c",
        );
        check(
            Put,
            Postgres,
            1,
            "INSERT INTO t (a, b, c) VALUES ($1, $2, $3) ON CONFLICT (a, md5(b)) DO UPDATE SET c = excluded.c",
        );
        check(
            Set,
            Sqlite,
            1,
            "UPDATE t SET c = v.column3 FROM (VALUES ($1, $2, $3)) AS v WHERE t.a = v.column1 AND t.b = v.column2",
        );
        check(
            Set,
            Postgres,
            1,
            "UPDATE t SET c = v.column3 FROM (VALUES ($1, $2, $3)) AS v \
             WHERE t.a = v.column1 AND t.b = v.column2 AND md5(t.b) = md5(v.column2)",
        );
        check(Remove, Postgres, 1, "DELETE FROM t WHERE a = $1 AND b = $2");
    }
}
