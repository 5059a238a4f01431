//! The plan of a run: every connect, emit and drop with its time, before anything happens.
