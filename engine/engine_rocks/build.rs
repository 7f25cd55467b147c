//! Does nothing; exists so that the build-dependencies, which pin features, take effect (see Cargo.toml).
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
}
