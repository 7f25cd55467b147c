//! Decodes the bytes of a terminal into keys, mouse reports and pastes.
//!
//! crossterm's decoder is not used: it panics at some reports (`ESC [ < 0 ; 0 ; 0 M`) and is unusable
//! afterwards, waits for the end of a paste without a timeout, and never returns after its terminal has
//! closed. This one takes any bytes in any portions.
use std::collections::VecDeque;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

use super::csi;

const BEL: u8 = 0x07;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;
const ESC: u8 = 0x1b;
const PASTE_END: &[u8] = b"\x1b[201~";
/// Maximum length of a control sequence, in bytes; every sequence with a meaning is shorter.
const MAX_SEQUENCE: usize = 64;
/// Maximum length of a paste, in bytes; the rest is dropped.
const MAX_PASTE: usize = 1 << 20;

/// Position in a sequence after the bytes so far.
#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    /// In a multi-byte character.
    Utf8 { begun: Vec<u8>, alt: bool },
    /// After `ESC`, or after two of them.
    Escape { twice: bool },
    /// After `ESC O`: a function key of the application mode.
    Ss3 { alt: bool },
    /// After `ESC [`, with the bytes after it.
    Csi { bytes: Vec<u8>, alt: bool },
    /// After `ESC [ M`: three bytes of an old mouse report.
    Mouse(Vec<u8>),
    /// In a control sequence that is too long to mean anything.
    Skip,
    /// In a string that the terminal sends as a report (OSC, DCS, APC, PM, SOS), with its introducer.
    String { introducer: u8, empty: bool },
    /// After `ESC` in such a string.
    StringEscape,
    /// In a bracketed paste; `matched`: number of bytes of its end sequence so far.
    Paste { text: Vec<u8>, matched: usize },
}

/// A decoder that turns bytes into events.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    events: VecDeque<Event>,
}

impl Decoder {
    /// Decodes the next bytes, in any portions.
    pub fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let state = std::mem::take(&mut self.state);
            self.state = self.byte(state, *byte);
        }
    }

    /// Ends an incomplete sequence after a timeout: `ESC` becomes the Escape key, and a paste ends.
    pub fn pause(&mut self) {
        match std::mem::take(&mut self.state) {
            State::Escape { twice } => (0..=usize::from(twice)).for_each(|_| self.key(KeyCode::Esc)),
            State::Ss3 { .. } => self.alt('O'),
            State::Csi { bytes, .. } if bytes.is_empty() => self.alt('['),
            State::String { introducer, empty: true } => self.alt(char::from(introducer)),
            State::Paste { text, .. } => self.paste(&text),
            _ => {}
        }
    }

    /// Whether [`Self::pause`] would change anything.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.state != State::Ground
    }

    /// Whether a paste has begun and not ended.
    #[must_use]
    pub fn is_pasting(&self) -> bool {
        matches!(self.state, State::Paste { .. })
    }

    /// The next event, in order.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn byte(&mut self, state: State, byte: u8) -> State {
        match state {
            State::Ground => self.ground(byte, false),
            State::Utf8 { begun, alt } => self.utf8(begun, byte, alt),
            State::Escape { twice } => self.escape(byte, twice),
            State::Ss3 { alt } => self.ss3(byte, alt),
            State::Csi { bytes, alt } => self.csi(bytes, byte, alt),
            State::Mouse(bytes) => self.mouse(bytes, byte),
            State::Skip => match byte {
                0x20..=0x3f => State::Skip,
                0x40..=0x7e => State::Ground,
                _ => self.ground(byte, false),
            },
            State::String { introducer, .. } => match byte {
                BEL | CAN | SUB => State::Ground,
                ESC => State::StringEscape,
                _ => State::String { introducer, empty: false },
            },
            State::StringEscape if byte == b'\\' => State::Ground,
            // Another sequence ends the string.
            State::StringEscape => self.escape(byte, false),
            State::Paste { text, matched } => self.in_paste(text, matched, byte),
        }
    }

    fn ground(&mut self, byte: u8, alt: bool) -> State {
        let control = |c: u8| KeyEvent::new(KeyCode::Char(char::from(c)), KeyModifiers::CONTROL);
        let key = match byte {
            ESC => return State::Escape { twice: false },
            b'\r' => KeyCode::Enter.into(),
            b'\t' => KeyCode::Tab.into(),
            0x7f => KeyCode::Backspace.into(),
            0 => control(b' '),
            0x01..=0x1a => control(byte - 1 + b'a'),
            0x1c..=0x1f => control(byte - 0x1c + b'4'),
            0x20..=0x7e => csi::char_key(char::from(byte)),
            0xc2..=0xf4 => return State::Utf8 { begun: vec![byte], alt },
            // No character begins with this byte.
            _ => return State::Ground,
        };
        self.push(key, alt);
        State::Ground
    }

    fn utf8(&mut self, mut begun: Vec<u8>, byte: u8, alt: bool) -> State {
        begun.push(byte);
        match std::str::from_utf8(&begun) {
            Ok(text) => {
                // A C1 control character is not a key.
                text.chars().filter(|c| !c.is_control()).for_each(|c| self.push(csi::char_key(c), alt));
                State::Ground
            }
            Err(e) if e.error_len().is_none() => State::Utf8 { begun, alt },
            Err(_) => self.ground(byte, false),
        }
    }

    fn escape(&mut self, byte: u8, twice: bool) -> State {
        match byte {
            ESC if twice => {
                self.key(KeyCode::Esc);
                State::Escape { twice }
            }
            ESC => State::Escape { twice: true },
            b'[' => State::Csi { bytes: Vec::new(), alt: twice },
            b'O' => State::Ss3 { alt: twice },
            b']' | b'P' | b'X' | b'^' | b'_' => State::String { introducer: byte, empty: true },
            _ => {
                if twice {
                    self.key(KeyCode::Esc);
                }
                self.ground(byte, true)
            }
        }
    }

    fn ss3(&mut self, byte: u8, alt: bool) -> State {
        if !matches!(byte, 0x20..=0x7e) {
            self.alt('O');
            return self.ground(byte, false);
        }
        if let Some(code) = csi::letter(byte) {
            self.push(code.into(), alt);
        }
        State::Ground
    }

    fn csi(&mut self, mut bytes: Vec<u8>, byte: u8, alt: bool) -> State {
        match byte {
            b'M' if bytes.is_empty() => {
                self.escape_before(alt);
                return State::Mouse(Vec::new());
            }
            // Linux's console: `ESC [ [ A` is F1.
            b'[' if bytes.is_empty() => {}
            0x20..=0x3f => {}
            0x40..=0x7e => return self.sequence(&bytes, byte, alt),
            // Another sequence begins, or the bytes are not a sequence.
            _ => return self.ground(byte, false),
        }
        bytes.push(byte);
        if bytes.len() > MAX_SEQUENCE { State::Skip } else { State::Csi { bytes, alt } }
    }

    /// Handles a complete control sequence: its parameters and its final byte.
    fn sequence(&mut self, parameters: &[u8], last: u8, alt: bool) -> State {
        if (parameters, last) == (b"200", b'~') {
            self.escape_before(alt);
            return State::Paste { text: Vec::new(), matched: 0 };
        }
        match csi::event(parameters, last) {
            Some(Event::Key(key)) => self.push(key, alt),
            other => {
                self.escape_before(alt);
                self.events.extend(other);
            }
        }
        State::Ground
    }

    /// After two escapes before a sequence that is not a key, the first was the Escape key.
    fn escape_before(&mut self, alt: bool) {
        if alt {
            self.key(KeyCode::Esc);
        }
    }

    fn mouse(&mut self, mut bytes: Vec<u8>, byte: u8) -> State {
        bytes.push(byte);
        let [button, column, row] = bytes[..] else { return State::Mouse(bytes) };
        self.events.extend(csi::old_mouse(button, column, row));
        State::Ground
    }

    fn in_paste(&mut self, mut text: Vec<u8>, mut matched: usize, byte: u8) -> State {
        if PASTE_END.get(matched) == Some(&byte) {
            matched += 1;
        } else {
            text.extend_from_slice(&PASTE_END[..matched]);
            matched = usize::from(byte == ESC);
            if matched == 0 {
                text.push(byte);
            }
            text.truncate(MAX_PASTE);
        }
        if matched == PASTE_END.len() {
            self.paste(&text);
            return State::Ground;
        }
        State::Paste { text, matched }
    }

    fn paste(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        // Terminals send a line end of a paste as a carriage return.
        self.events.push_back(Event::Paste(text.replace("\r\n", "\n").replace('\r', "\n")));
    }

    fn push(&mut self, mut key: KeyEvent, alt: bool) {
        key.modifiers.set(KeyModifiers::ALT, alt || key.modifiers.contains(KeyModifiers::ALT));
        self.events.push_back(Event::Key(key));
    }

    fn key(&mut self, code: KeyCode) {
        self.push(code.into(), false);
    }

    fn alt(&mut self, c: char) {
        self.push(csi::char_key(c), true);
    }
}

#[cfg(test)]
mod tests {
    use crossterm::event::{MouseButton, MouseEventKind};
    use proptest::prelude::*;

    use super::*;

    fn events(bytes: &[u8]) -> Vec<Event> {
        let mut decoder = Decoder::default();
        decoder.feed(bytes);
        decoder.pause();
        assert!(!decoder.is_waiting());
        std::iter::from_fn(|| decoder.next_event()).collect()
    }

    /// The names of the keys in bindings.
    fn keys(bytes: &[u8]) -> Vec<String> {
        let name = |e| match e {
            Event::Key(k) if k.modifiers.contains(KeyModifiers::ALT) => {
                format!("Alt-{}", crate::input::action::key_name(k))
            }
            Event::Key(k) => crate::input::action::key_name(k),
            other => format!("{other:?}"),
        };
        events(bytes).into_iter().map(name).collect()
    }

    #[test]
    fn key_sequences_of_terminals_are_decoded() {
        assert_eq!(keys(b"n?\x03\x04\r\t\x7f"), ["n", "?", "Ctrl-c", "Ctrl-d", "Enter", "Tab", "Backspace"]);
        assert_eq!(keys(b"\x1b[A\x1bOB\x1b[1;5C\x1b[D"), ["↑", "↓", "Ctrl-→", "←"]);
        assert_eq!(
            keys(b"\x1b[H\x1b[4~\x1b[5~\x1b[6~\x1b[Z"),
            ["Home", "End", "PageUp", "PageDown", "Shift-Tab"]
        );
        assert_eq!(keys("ü日".as_bytes()), ["ü", "日"]);
        assert_eq!(keys(b"\x1b"), ["Esc"]);
        assert_eq!(keys(b"\x1b\x1b\x1b"), ["Esc", "Esc", "Esc"]);
        assert_eq!(keys(b"\x1b\x1b[A\x1bx"), ["Alt-↑", "Alt-x"]);
        assert_eq!(keys(b"\x1b[113;5u\x1b[27;5;113~"), ["Ctrl-q", "Ctrl-q"]);
        assert_eq!(keys(b"\x1b["), ["Alt-["]);
    }

    #[test]
    fn unused_reports_are_ignored() {
        for bytes in [
            &b"\x1b[0;0R"[..],
            b"\x1b[?1;2c",
            b"\x1b]11;rgb:ffff/ffff/ffff\x07",
            b"\x1bP>|tmux q\x1b\\",
            b"\x1b[99999999999999999999;1;1q",
            b"\x1b[1;2;3 q",
            b"\x1b[?u",
            b"\x1b[<;M",
            b"\xff\xc2\x80\x9b",
            &[b"\x1b[".as_slice(), &[b'1'; 500], b"q"].concat(),
        ] {
            assert_eq!(events(bytes), [], "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn mouse_reports_with_any_numbers_are_decoded() {
        for bytes in
            [&b"\x1b[<0;0;0M"[..], b"\x1b[<0;1;1M", b"\x1b[M \x00\x00", b"\x1b[32;0;0M", b"\x1b[M !!"]
        {
            let [Event::Mouse(m)] = events(bytes)[..] else { panic!("{:?}", events(bytes)) };
            assert_eq!((m.kind, m.column, m.row), (MouseEventKind::Down(MouseButton::Left), 0, 0));
        }
        assert!(
            matches!(events(b"\x1b[<64;65535;3M")[..], [Event::Mouse(m)] if m.kind == MouseEventKind::ScrollUp && m.column == 65534)
        );
    }

    #[test]
    fn a_paste_is_text_with_or_without_its_end() {
        let paste = |text: &str| vec![Event::Paste(text.into())];
        assert_eq!(events(b"\x1b[200~rpc\rnotes: pqqq\x1b[201~"), paste("rpc\nnotes: pqqq"));
        assert_eq!(events(b"\x1b\x1b[200~q\x1b[201~").len(), 2, "Escape, then a paste");
        assert_eq!(events(b"\x1b[200~a\x1b[20\x1b\x1b[31mq\xc3"), paste("a\x1b[20\x1b\x1b[31mq\u{fffd}"));
        let long = [b"\x1b[200~".as_slice(), &vec![b'q'; MAX_PASTE + 9], PASTE_END, b"n"].concat();
        let found = events(&long);
        assert!(matches!(&found[..], [Event::Paste(t), Event::Key(_)] if t.len() == MAX_PASTE));
    }

    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            any::<Vec<u8>>(),
            "\x1b\\[[<?>=]?[0-9;:]{0,9}[ -/]{0,2}[@-~]".prop_map(String::into_bytes),
            "\x1b[\\[\\]OPX^_M]?".prop_map(String::into_bytes),
            Just(PASTE_END.to_vec()),
            Just(b"\x1b[200~".to_vec()),
        ];
        proptest::collection::vec(piece, 0..8).prop_map(|p| p.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn any_bytes_in_any_portions_give_the_same_events(bytes in hostile(), at in any::<prop::sample::Index>()) {
            let whole = events(&bytes);
            let (a, b) = bytes.split_at(at.index(bytes.len() + 1));
            let mut decoder = Decoder::default();
            decoder.feed(a);
            decoder.feed(b);
            decoder.pause();
            let parts: Vec<Event> = std::iter::from_fn(|| decoder.next_event()).collect();
            prop_assert_eq!(whole, parts);
            decoder.feed(b"\x07n");
            decoder.pause();
            prop_assert!(decoder.next_event().is_some(), "keys are still decoded");
        }

        #[test]
        fn a_paste_is_never_a_command(text in "[^\x1b]{0,99}") {
            let found = events(&[b"\x1b[200~", text.as_bytes(), PASTE_END].concat());
            prop_assert!(matches!(&found[..], [Event::Paste(_)]));
        }
    }
}
