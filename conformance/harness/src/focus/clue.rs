//! What is said of the lines that made a finding, and what a judge says beforehand of where they are.

use serde::Serialize;

/// What a line has to do with a finding, the most telling last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// What the event came to that may have it.
    Delivery,
    /// The answer to the cause.
    Answer,
    /// A later event on the same connection: what has not come before it does not come.
    Proof,
    /// What was sent, and made the server do what was found.
    Cause,
    /// What the server should not have sent, or not so.
    Wrong,
}

impl Part {
    /// The word that reports use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivery => "delivery",
            Self::Answer => "answer",
            Self::Proof => "proof",
            Self::Cause => "cause",
            Self::Wrong => "wrong",
        }
    }
}

/// A line of the trace that made a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Focus {
    /// Its place in the trace, counted from 0.
    pub line: usize,
    /// What it has to do with the finding.
    pub part: Part,
}

/// What a judge knows of the packets that it judged.
#[derive(Debug, Clone, Default)]
pub struct Clue {
    /// The note that the finding left in the trace.
    pub(crate) mark: String,
    /// Texts that occur in the packets that belong to what was judged, and in no others.
    pub(crate) markers: Vec<String>,
    /// The connections that received what they should not.
    pub(crate) wrong: Vec<String>,
    /// The connections that did not receive what they should.
    pub(crate) missing: Vec<String>,
}

impl Clue {
    /// A clue about packets that hold one of `markers`.
    pub fn of(markers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            markers: markers.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// These connections received what they should not.
    pub fn wrong<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Self {
        Self {
            wrong: names.into_iter().map(str::to_owned).collect(),
            ..self
        }
    }

    /// These connections did not receive what they should.
    pub fn missing<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Self {
        Self {
            missing: names.into_iter().map(str::to_owned).collect(),
            ..self
        }
    }
}
