use super::*;
use crate::{
    FoldOptions,
    model::{LabelsId, Module},
};

#[inline(never)]
fn known_function() -> u64 {
    std::hint::black_box(41) + 1
}

/// Makes a profile of one sample in this program, mapped as in a process.
fn of_this_program(path: &str, build_id: &str) -> (Profile, String) {
    let exe = std::env::current_exe().unwrap();
    let file = file::locate(exe.to_str().unwrap(), "", &SymbolOptions::default()).unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let address = known_function as fn() -> u64 as usize as u64 + 1;
    let range = |line: &str| {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        let offset = number(words.nth(1)?)?;
        Some((number(start)?, number(end)?, offset))
    };
    let (start, end, offset) =
        maps.lines().filter_map(range).find(|(start, end, _)| (*start..*end).contains(&address)).unwrap();
    let mut profile = Profile::default();
    let (path, build_id) = (profile.intern(path), profile.intern(build_id));
    let module = profile.module(Module { path, build_id, start, end, offset });
    let frame = profile.add_frame(Frame { module: Some(module), address, ..Frame::default() });
    let stack = profile.stack([frame]);
    profile.add(stack, LabelsId::default(), &[1]);
    known_function();
    (profile, file.build_id)
}

fn folded(profile: &Profile) -> String {
    profile.fold(&FoldOptions::default()).to_string()
}

#[test]
fn an_address_gets_its_name_and_line_and_is_cached() {
    let exe = std::env::current_exe().unwrap();
    let (bare, build_id) = of_this_program(exe.to_str().unwrap(), "");
    let dir = tempfile::tempdir().unwrap();
    let options = SymbolOptions { cache: Some(dir.path().to_path_buf()), ..SymbolOptions::default() };
    // The second time from the cache.
    for _ in 0..2 {
        let (named, notes) = resolve(&bare, &options);
        assert!(folded(&named).contains("symbols::tests::known_function 1"), "{}", folded(&named));
        assert!(notes.is_empty(), "{notes:?}");
        let frame = named.frames().find(|f| named.text(f.function).contains("known_function")).unwrap();
        assert!(named.text(frame.file).ends_with("symbols/tests.rs") && frame.line > 0);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), usize::from(!build_id.is_empty()));
}

#[test]
fn missing_and_different_programs_are_reported() {
    let (bare, _) = of_this_program("/none/tikv-server", "c0ffee");
    let (named, notes) = resolve(&bare, &SymbolOptions::default());
    assert!(folded(&named).starts_with("tikv-server+0x"), "{}", folded(&named));
    assert!(notes[0].contains("/none/tikv-server") && notes[0].contains("--binary"), "{notes:?}");
    let exe = std::env::current_exe().unwrap();
    let (bare, build_id) = of_this_program(exe.to_str().unwrap(), "c0ffee");
    let (_, notes) = resolve(&bare, &SymbolOptions::default());
    assert_eq!(notes.is_empty(), build_id.is_empty(), "{notes:?}");
    assert!(notes.iter().all(|note| note.contains("build id")), "{notes:?}");
}

#[test]
fn a_file_that_is_no_program_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("prog");
    for bytes in [&b""[..], b"\x7fELF", b"hello"] {
        std::fs::write(&path, bytes).unwrap();
        let (bare, _) = of_this_program(path.to_str().unwrap(), "");
        let (_, notes) = resolve(&bare, &SymbolOptions::default());
        assert!(notes[0].contains("prog"), "{notes:?}");
        assert!(lookup(&path, &[1, 2]).is_err());
    }
}
