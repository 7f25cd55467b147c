//! Does nothing; it is here so that the build-dependencies count, which pin features (see Cargo.toml).
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
}
