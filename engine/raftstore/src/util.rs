//! Text forms of configuration values.
mod duration;
mod size;
pub(crate) mod slog_bridge;

pub use duration::ReadableDuration;
pub use size::ReadableSize;
