//! Declares what `docs/src/coprocessor/expressions.md` uses of TiKV.
type Int = i64;
type Result<T> = std::result::Result<T, String>;

// block 1
