//! Reads jemalloc's heap profiles (`heap_v2`): stacks, and the memory currently allocated by each.
use tracepoints::symbolize::Symbolizer;

use crate::{
    FoldOptions, Profile, ProfileError, flame,
    flame::{FlameOptions, Measure},
    model::{Frame, LabelsId, StackId},
};

/// Reads a heap profile of this process: objects and bytes by stack, scaled up from the samples.
///
/// # Errors
/// If the dump is no `heap_v2`.
pub fn read(dump: &[u8]) -> Result<Profile, ProfileError> {
    let text = String::from_utf8_lossy(dump);
    let mut lines = text.lines().enumerate();
    let bad = |line: usize, text: &str| ProfileError::Heap {
        line: line + 1,
        text: text.chars().take(80).collect(),
    };
    let first = lines.next().map_or("", |(_, line)| line);
    let period = first.strip_prefix("heap_v2/").and_then(|p| p.parse::<u64>().ok()).filter(|p| *p > 0);
    let period = period.ok_or_else(|| bad(0, first))?;
    let mut profile = Profile::new(&[("inuse_objects", "count"), ("inuse_space", "bytes")]);
    profile.period = i64::try_from(period).unwrap_or(i64::MAX);
    profile.period_type = Some(profile.value_type("space", "bytes"));
    let mut symbols = Symbolizer::for_this_process().ok();
    let mut stack = None;
    for (n, line) in lines {
        if line.starts_with("MAPPED_LIBRARIES:") {
            break;
        }
        if let Some(addresses) = line.strip_prefix('@') {
            let addresses: Option<Vec<usize>> = addresses.split_whitespace().map(hex).collect();
            let addresses = addresses.ok_or_else(|| bad(n, line))?;
            stack = Some(push(&mut profile, symbols.as_mut(), &addresses));
        } else if let Some(counts) = line.trim_start().strip_prefix("t*:") {
            // Counts before the first stack are the total.
            let Some(stack) = stack.take() else { continue };
            let (objects, bytes) = counts_of(counts).ok_or_else(|| bad(n, line))?;
            let values = unsampled(objects, bytes, period);
            profile.add(stack, LabelsId::default(), &values);
        }
    }
    Ok(profile)
}

/// Draws the allocated bytes of a dump.
///
/// # Errors
/// As [`read`] and [`flame::svg`].
pub fn svg(dump: &[u8], title: &str) -> Result<String, ProfileError> {
    let profile = read(dump)?;
    let folded = profile.fold(&FoldOptions { value: 1, roots: Vec::new() });
    let mb = folded.total() as f64 / f64::from(1 << 20);
    let sample = profile.period >> 10;
    let subtitle = Some(format!("{mb:.1} MiB in use, scaled up from samples of one in {sample} KiB"));
    flame::svg(
        folded.lines(),
        title,
        &FlameOptions { subtitle, measure: Measure::Bytes, ..FlameOptions::default() },
    )
}

fn hex(address: &str) -> Option<usize> {
    usize::from_str_radix(address.strip_prefix("0x")?, 16).ok()
}

/// Parses ` 23: 150960 [0: 0]`: objects and bytes in use.
fn counts_of(text: &str) -> Option<(u64, u64)> {
    let (objects, rest) = text.split_once(':')?;
    let bytes = rest.split_whitespace().next()?;
    Some((objects.trim().parse().ok()?, bytes.parse().ok()?))
}

/// Scales up samples: an object is sampled with probability `1 - exp(-size / period)`.
fn unsampled(objects: u64, bytes: u64, period: u64) -> [i64; 2] {
    if objects == 0 || bytes == 0 {
        return [0, 0];
    }
    let size = bytes as f64 / objects as f64;
    let scale = 1.0 / -(-size / period as f64).exp_m1();
    [(objects as f64 * scale).round() as i64, (bytes as f64 * scale).round() as i64]
}

/// Prefixes of the allocator's functions, including the entry points of C++ and Rust.
const ALLOCATOR: &[&str] = &[
    "prof_",
    "_rjem_",
    "je_",
    "imalloc",
    "malloc",
    "calloc",
    "realloc",
    "aligned_alloc",
    "posix_memalign",
    "iallocztm",
    "arena_",
    "tcache_",
    "do_rallocx",
    "mallocx",
    "newImpl",
    "operator new",
    "<tikv_jemallocator::",
    "__rust_alloc",
    "__rustc::__rust_alloc",
    "__rust_realloc",
    "__rustc::__rust_realloc",
    "alloc::alloc::alloc",
];

fn allocates(function: &str) -> bool {
    ALLOCATOR.iter().any(|name| function.starts_with(name))
}

/// Adds a stack whose addresses begin with the innermost one; leaves out the allocator's frames there.
fn push(profile: &mut Profile, mut symbols: Option<&mut Symbolizer>, addresses: &[usize]) -> StackId {
    let mut named: Vec<_> = Vec::new();
    for address in addresses {
        let frames = symbols.as_mut().map(|s| s.resolve(&[*address])).unwrap_or_default();
        named.extend(frames.into_iter().map(|f| (*address, f)));
    }
    let asked = named.iter().position(|(_, f)| !allocates(&f.function)).unwrap_or(0);
    named[asked..].iter().rev().fold(StackId::ROOT, |stack, (address, frame)| {
        let frame = Frame {
            function: profile.intern(&frame.function),
            file: profile.intern(&frame.file),
            line: frame.line,
            address: *address as u64,
            inlined: frame.inlined,
            ..Frame::default()
        };
        let frame = profile.add_frame(frame);
        profile.push(stack, frame)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_is_read_and_scaled_and_drawn() {
        let here = read as fn(&[u8]) -> Result<Profile, ProfileError> as usize + 1;
        let dump = format!(
            "heap_v2/524288\n  t*: 3: 600 [0: 0]\n  t0: 3: 600 [0: 0]\n@ {here:#x} 0x10\n  t*: 2: 400 [9: 9]\n  \
             t0: 2: 400 [9: 9]\n@ 0x20\n  t*: 1: 6291456 [0: 0]\n@ 0x30\n  t*: 0: 0 [0: 0]\n\nMAPPED_LIBRARIES:\n@ x\n"
        );
        let profile = read(dump.as_bytes()).unwrap();
        let folded = profile.fold(&FoldOptions { value: 1, roots: Vec::new() });
        // Small objects are rarely sampled; large ones always.
        let large = folded.iter().find(|(s, _)| *s == "0x20").unwrap().1;
        assert!((6_291_456..6_291_600).contains(&large), "{large}");
        let small = folded.iter().find(|(s, _)| s.contains("heap::read")).unwrap();
        assert!(small.0.starts_with("0x10;") && small.1.abs_diff(2 * 524_288) < 1000, "{small:?}");
        let svg = svg(dump.as_bytes(), "Heap").unwrap();
        assert!(svg.contains("heap::read") && svg.contains("7.0 MiB in use") && svg.contains(" bytes"));
    }

    #[test]
    fn an_invalid_dump_is_reported_with_its_line() {
        for (dump, line) in [
            ("", 1),
            ("heap_v2/0", 1),
            ("<svg>", 1),
            ("heap_v2/1\n@ 0xzz", 2),
            ("heap_v2/1\n@ 0x1\n  t*: many", 3),
        ] {
            let error = read(dump.as_bytes()).unwrap_err();
            assert!(matches!(error, ProfileError::Heap { line: l, .. } if l == line), "{dump:?}: {error}");
        }
        assert!(svg(b"heap_v2/1\n", "t").unwrap().contains("no samples"));
        read(&[0xff; 64]).unwrap_err();
    }
}
