//! The functions of a binary, by address and by the path of their name.
use std::collections::HashMap;

use anyhow::{Context as _, Result, bail};
use object::{Object as _, ObjectSymbol as _, SymbolKind};
use tracepoints::symbolize::demangle;

use crate::state::function_name;

/// A function of a binary: one instance, if it is generic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// The address in the file.
    pub address: u64,
    /// The length in bytes; 0 if unknown.
    pub size: u64,
    /// The name for the linker.
    pub name: String,
}

/// The functions of a binary.
#[derive(Debug, Default)]
pub struct Symbols {
    /// By address.
    all: Vec<Symbol>,
    /// Positions by the path of the name, without generics and closures.
    by_path: HashMap<String, Vec<usize>>,
}

impl Symbols {
    /// Reads the symbol table.
    ///
    /// # Errors
    /// If the bytes are not a program, or have no symbols.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let file =
            object::File::parse(bytes).context("expected a program (ELF or Mach-O), found another file")?;
        let mut all: Vec<Symbol> = file
            .symbols()
            .chain(file.dynamic_symbols())
            .filter(|s| s.kind() == SymbolKind::Text && s.is_definition())
            .filter_map(|s| {
                let name = s.name().ok().filter(|name| is_linker_name(name))?.to_owned();
                Some(Symbol { address: s.address(), size: s.size(), name })
            })
            .collect();
        all.sort_by(|a, b| (a.address, &a.name).cmp(&(b.address, &b.name)));
        all.dedup();
        if all.is_empty() {
            bail!(
                "expected a program with symbols, found none: it was stripped; use the one that the build wrote"
            );
        }
        let mut by_path: HashMap<String, Vec<usize>> = HashMap::new();
        for (i, symbol) in all.iter().enumerate() {
            by_path.entry(function_name::path(&demangle(&symbol.name))).or_default().push(i);
        }
        Ok(Self { all, by_path })
    }

    /// Whether the binary is of this project: it has the recorder of stamps.
    pub fn is_ours(&self) -> bool {
        self.by_path.keys().any(|path| path.starts_with("tracepoints::"))
    }

    /// All instances of the function of this path, with its closures: the body of an async function is one.
    pub fn of_path(&self, path: &str) -> Vec<&Symbol> {
        self.by_path.get(path).into_iter().flatten().map(|i| &self.all[*i]).collect()
    }

    /// The function around an address.
    pub fn around(&self, address: u64) -> Option<&Symbol> {
        let after = self.all.partition_point(|s| s.address <= address);
        let symbol = self.all.get(after.checked_sub(1)?)?;
        (symbol.size == 0 || address < symbol.address.saturating_add(symbol.size)).then_some(symbol)
    }

    /// The first and the last address.
    pub fn range(&self) -> (u64, u64) {
        let first = self.all.first().map_or(0, |s| s.address);
        (first, self.all.last().map_or(0, |s| s.address.saturating_add(s.size.max(1))))
    }
}

/// Whether a compiler writes such a name. A script contains it in quotes, so that any other one could end the quotes.
fn is_linker_name(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || "_.$@".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_the_quotes_of_a_script() {
        assert!(is_linker_name("_ZN4core3fmt$LT$impl$GT$3fmt17h0E") && is_linker_name("memcpy@@GLIBC_2.14"));
        for bad in ["a'b", "a\nb", "a\"b", "a b", "a;b", "a\\b"] {
            assert!(!is_linker_name(bad), "{bad:?}");
        }
    }
}
