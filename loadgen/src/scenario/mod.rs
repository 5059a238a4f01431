//! Scenarios: who connects to a server, and what they do there.
