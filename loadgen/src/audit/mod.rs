//! The delivery audit: what became of every (event, recipient).
//!
//! Each account has a [`Ledger`]. An event is entered when it is sent, with the connections that
//! must receive it by the rules of the protocol and that surely live; arrivals are struck off, and
//! what is left after a bound is lost. The ledger keeps only what is in flight, so its memory does
//! not grow with the length of a run. It knows no sockets and no clock: whoever calls brings the
//! time, in microseconds from the start of the schedule.

mod bits;
mod ledger;
pub(crate) mod stamp;
#[cfg(test)]
mod tests;
mod wide;

pub(crate) use self::ledger::{Arrival, Entry, Finding, Found, Ledger, Presence, Rules};
pub(crate) use self::wide::Wide;
