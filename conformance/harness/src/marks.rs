//! What the suite notes in a trace about itself.

/// The name under which the suite leaves notes about itself.
pub const SUITE: &str = "suite";

/// What stands where the middle of a text is left out, before the number of its characters.
pub(crate) const CUT: &str = " …(";

/// What stands before the id of the case in the first mark of a recording.
pub const CASE: &str = "case: ";
/// What stands before the verdict in the last mark of a recording.
pub const VERDICT: &str = "verdict: ";

/// What stands before and after the names of connections in a note on a case where their silence could not
/// be proved.
pub(crate) const UNPROVED: (&str, &str) = (
    "silence of ",
    " rests on a settle window, since no sentinel reached it",
);
