//! `POST /v1/auth/request` and `/response`: a terminal asks to be signed in, and another device lets it
//! into its account. The rows are those that belong to no account.

use super::{Context, Outcome};
use crate::store::{Change, Pairing, PublicKey};

/// Terminals that may wait at the same time; beyond it the oldest is forgotten.
const MAX_PAIRINGS: usize = 10_000;

/// How the terminal with this key stands; at first sight it begins to wait.
pub(crate) fn request(cx: &Context<'_>, key: PublicKey, supports_v2: bool) -> Outcome<Pairing> {
    let pairings = &cx.rows.pairings;
    if let Some(known) = pairings.get(&key) {
        return Outcome::of(known.clone());
    }
    let pairing = Pairing {
        supports_v2,
        requested_at: cx.now,
        response: None,
    };
    let mut outcome = Outcome::of(pairing.clone());
    let is_full = pairings.len() >= MAX_PAIRINGS;
    if let Some(oldest) = pairings.oldest().filter(|_| is_full) {
        outcome = outcome.change(Change::PairingForgotten(oldest));
    }
    outcome.change(Change::PairingChanged(key, pairing))
}

/// Lets a terminal into an account; false if none waits with this key. The first response stays.
pub(crate) fn respond(
    cx: &Context<'_>,
    key: PublicKey,
    response: &str,
    account: &str,
) -> Outcome<bool> {
    let Some(known) = cx.rows.pairings.get(&key) else {
        return Outcome::of(false);
    };
    if known.response.is_some() {
        return Outcome::of(true);
    }
    let pairing = Pairing {
        response: Some((response.to_owned(), account.to_owned())),
        ..known.clone()
    };
    Outcome::of(true).change(Change::PairingChanged(key, pairing))
}
