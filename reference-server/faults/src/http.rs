//! Faults that answer an HTTP request otherwise than its route.

use axum::http::StatusCode;
use touchstone_reference_server::seams::{HttpAnswer, HttpRequest};

use crate::{Fault, Faults};

/// The fault, the right status, the wrong one.
const STATUSES: &[(Fault, StatusCode, StatusCode)] = &[
    (
        Fault::BadBody500,
        StatusCode::BAD_REQUEST,
        StatusCode::INTERNAL_SERVER_ERROR,
    ),
    (
        Fault::MachineTaken500,
        StatusCode::CONFLICT,
        StatusCode::INTERNAL_SERVER_ERROR,
    ),
];

/// What keeps a request from its route.
pub(crate) fn refused(faults: &Faults, request: &HttpRequest<'_>) -> Option<HttpAnswer> {
    let query = request.uri.query().unwrap_or_default();
    let is_upgrade = query.contains("transport=websocket") && query.contains("sid=");
    let is_refused = request.is_socket && is_upgrade && faults.on(Fault::UpgradeRefused);
    is_refused.then_some(HttpAnswer {
        status: StatusCode::BAD_REQUEST,
        body: None,
    })
}

/// Puts the wrong answer in the place of the right one.
pub(crate) fn rewrite(faults: &Faults, request: &HttpRequest<'_>, answer: &mut HttpAnswer) {
    if request.is_socket && answer.status.is_client_error() && faults.on(Fault::UnknownSidOk) {
        answer.status = StatusCode::OK;
    }
    for (fault, right, wrong) in STATUSES {
        if faults.on(*fault) && answer.status == *right {
            answer.status = *wrong;
        }
    }
}
