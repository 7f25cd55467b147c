//! The addresses of the stamps in a binary of this project, from its line tables: exact also for inlined functions.
use std::{collections::BTreeMap, path::Path};

use anyhow::{Result, anyhow};

use super::{places::Probe, symbols::Symbols};
use crate::sites::{self, Site};

/// Finds the first instruction of each stamp in each function that contains it, inlined or not; none without line
/// tables.
pub fn stamps(binary: &Path, symbols: &Symbols) -> Result<Vec<Probe>> {
    let loader = addr2line::Loader::new(binary)
        .map_err(|e| anyhow!("cannot read the debug information of {}: {e}", binary.display()))?;
    let (first, last) = symbols.range();
    let ranges = loader
        .find_location_range(first, last)
        .map_err(|e| anyhow!("cannot read the line tables of {}: {e}", binary.display()))?;
    let mut by_line: BTreeMap<u32, Vec<&Site>> = BTreeMap::new();
    for site in sites::sites() {
        // The line tables attribute a stamp to its own line, or to those of its arguments.
        (site.line..=site.end).for_each(|line| by_line.entry(line).or_default().push(site));
    }
    let mut found: BTreeMap<(&'static str, u64), Probe> = BTreeMap::new();
    for (address, _, location) in ranges {
        let (Some(file), Some(line)) = (location.file, location.line) else { continue };
        let Some(site) = by_line.get(&line).and_then(|all| all.iter().find(|s| s.is_in(file))) else {
            continue;
        };
        let Some(symbol) = symbols.around(address) else { continue };
        let probe = Probe {
            stage: site.stage,
            function: site.function.clone(),
            symbol: symbol.name.clone(),
            offset: address - symbol.address,
            address,
            line: Some((site.file, site.line)),
        };
        let known = found.entry((site.stage, symbol.address)).or_insert_with(|| probe.clone());
        if address < known.address {
            *known = probe;
        }
    }
    Ok(found.into_values().collect())
}
