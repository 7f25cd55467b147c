//! Nothing but a build script, which runs early and checks what the build needs.
