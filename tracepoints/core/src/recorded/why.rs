//! Reasons to keep a request.
use serde::{Deserialize, Serialize};

/// The reason to keep a request. A request with several reasons counts under one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// A client asked for the request, by a trace id or by a call.
    Asked,
    /// The request took longer than its kind's threshold or its own deadline.
    Slow,
    /// The reply has an error, or there was no reply.
    Failed,
    /// One of every `one_in` requests.
    Sampled,
}

impl Why {
    /// Every reason, by its number.
    pub const ALL: [Why; 4] = [Self::Asked, Self::Slow, Self::Failed, Self::Sampled];

    /// Returns the lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Slow => "slow",
            Self::Failed => "failed",
            Self::Sampled => "sampled",
        }
    }

    /// Finds a reason by its name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|w| w.name() == name)
    }
}
