//! Inspects TiKV data directories and live servers; see the library.

fn main() -> std::process::ExitCode {
    tikv_ctl::main()
}
