//! The processed profile of Firefox's profiler (profiler.firefox.com), JSON or JSON in gzip, both ways.
mod gecko;
mod read;
mod schema;
mod tables;
mod write;

pub use read::read;
pub use write::write;

#[cfg(test)]
mod tests;
