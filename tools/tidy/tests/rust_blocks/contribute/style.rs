//! Declares what `docs/src/contribute/style.md` uses of TiKV.
/// A line of slog: a constant message, and fields; `%` prints a value with its `Display`.
macro_rules! info {
    ($message:literal; $($name:literal => $(%)? $value:expr),+) => {
        $(let _: (&str, &dyn std::fmt::Display) = ($name, &$value);)+
    };
}

mod log_wrappers {
    pub struct Value<'a>(&'a [u8]);

    impl<'a> Value<'a> {
        // Signature of TiKV: components/log_wrappers/src/lib.rs::Value::key
        pub fn key(key: &'a [u8]) -> Self {
            Value(key)
        }
    }

    impl std::fmt::Display for Value<'_> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{:?}", self.0)
        }
    }
}

fn report_a_split(region_id: u64, key: Vec<u8>) {
    // block 1
}
