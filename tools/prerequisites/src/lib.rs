//! Contains only a build script, which runs early and checks what the build needs.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
