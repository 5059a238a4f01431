//! Rows as JSON.

use serde_json::{Map, Value};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteExecutor, SqliteRow};
use sqlx::{Column as _, Row as _, Sqlite, TypeInfo as _, ValueRef as _};

/// `sql!(&pool, "SELECT … WHERE id = ?", id)`: all rows that the statement returns.
macro_rules! sql {
    ($db:expr, $text:expr $(, $value:expr)* $(,)?) => {
        $crate::sql::rows($db, sqlx::query($text)$(.bind($value))*)
    };
}
pub(crate) use sql;

pub(crate) async fn rows(
    db: impl SqliteExecutor<'_>,
    query: Query<'_, Sqlite, SqliteArguments>,
) -> sqlx::Result<Vec<Value>> {
    query.fetch_all(db).await?.iter().map(object).collect()
}

fn object(row: &SqliteRow) -> sqlx::Result<Value> {
    let mut object = Map::new();
    for column in row.columns().iter().filter(|column| !column.name().starts_with('_')) {
        let (name, at) = (column.name(), column.ordinal());
        let raw = row.try_get_raw(at)?;
        let value = match raw.type_info().name() {
            _ if raw.is_null() => Value::Null,
            "INTEGER" | "BOOLEAN" if name == "active" => Value::Bool(row.try_get(at)?),
            "INTEGER" => Value::from(row.try_get::<i64, _>(at)?),
            _ => Value::String(row.try_get(at)?),
        };
        object.insert(name.to_owned(), value);
    }
    Ok(Value::Object(object))
}

/// A whole number that a client sent, also as `1.0`. Anything else is a version that no row has.
#[expect(clippy::cast_possible_truncation, reason = "it was compared with what fits")]
pub(crate) fn int(value: &Value) -> i64 {
    let whole = |float: &f64| float.fract() == 0.0 && float.abs() < 9e15;
    let float = || value.as_f64().filter(whole).map(|float| float as i64);
    value.as_i64().or_else(float).unwrap_or(i64::MIN)
}
