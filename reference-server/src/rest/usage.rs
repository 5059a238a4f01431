//! What an account has spent, summed up by hour or day.

use axum::Json;
use axum::extract::Query;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

use super::{Answer, ApiError, Body, Caller};
use crate::store::Rows;

/// Which reports to sum up. Times are Unix seconds, as clients of this route send them.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct UsageQuery {
    session_id: Option<String>,
    start_time: Option<i64>,
    end_time: Option<i64>,
    group_by: Option<Group>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Group {
    Hour,
    #[default]
    Day,
}

/// `GET /v1/usage`.
pub(super) async fn read(
    Caller { app, account }: Caller,
    Query(query): Query<UsageQuery>,
) -> Answer {
    Ok(Json(app.read(&account, |cx| sum_up(cx.rows, &query)).await))
}

/// `POST /v1/usage/query`: the same with the question in the body.
pub(super) async fn query(Caller { app, account }: Caller, Body(body): Body) -> Answer {
    let query: Option<UsageQuery> = serde_json::from_value(body)
        .map_err(|error| ApiError::invalid(&format!("body {error}")))?;
    let query = query.unwrap_or_default();
    Ok(Json(app.read(&account, |cx| sum_up(cx.rows, &query)).await))
}

#[derive(Default)]
struct Sum {
    tokens: BTreeMap<String, f64>,
    cost: BTreeMap<String, f64>,
    reports: u64,
}

fn sum_up(rows: &Rows, query: &UsageQuery) -> Value {
    let group = query.group_by.unwrap_or_default();
    let (name, seconds) = match group {
        Group::Hour => ("hour", 3_600),
        Group::Day => ("day", 86_400),
    };
    let mut sums: BTreeMap<i64, Sum> = BTreeMap::new();
    let mut total = 0_u64;
    for report in rows.usage.values() {
        let at = report.created_at.div_euclid(1_000);
        let is_wanted = (query.session_id.is_none() || query.session_id == report.session_id)
            && query.start_time.is_none_or(|start| at >= start)
            && query.end_time.is_none_or(|end| at <= end);
        if !is_wanted {
            continue;
        }
        let sum = sums.entry(at - at.rem_euclid(seconds)).or_default();
        add(&mut sum.tokens, &report.tokens);
        add(&mut sum.cost, &report.cost);
        sum.reports += 1;
        total += 1;
    }
    let usage: Vec<Value> = sums
        .into_iter()
        .map(|(at, sum)| {
            json!({
                "timestamp": at,
                "tokens": numbers(sum.tokens),
                "cost": numbers(sum.cost),
                "reportCount": sum.reports,
            })
        })
        .collect();
    json!({ "usage": usage, "groupBy": name, "totalReports": total })
}

fn add(sums: &mut BTreeMap<String, f64>, figures: &Value) {
    for (key, figure) in figures.as_object().into_iter().flatten() {
        *sums.entry(key.clone()).or_default() += figure.as_f64().unwrap_or_default();
    }
}

/// Sums of whole numbers stay whole.
fn numbers(sums: BTreeMap<String, f64>) -> Map<String, Value> {
    sums.into_iter()
        .map(|(key, sum)| {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "checked to be whole and small"
            )]
            let number = if sum.fract() == 0.0 && sum.abs() < 9e15 {
                json!(sum as i64)
            } else {
                json!(sum)
            };
            (key, number)
        })
        .collect()
}
