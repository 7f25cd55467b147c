//! Inspects TiKV data directories and live servers; see the library.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    tikv_ctl::main()
}
