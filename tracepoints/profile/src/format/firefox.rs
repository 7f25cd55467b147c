//! Reads and writes the processed profile of Firefox's profiler (profiler.firefox.com), as JSON or gzipped
//! JSON.
mod gecko;
mod read;
mod schema;
mod tables;
mod write;

pub use read::read;
pub use write::write;

#[cfg(test)]
mod tests;
