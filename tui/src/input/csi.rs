//! Parses control sequences of keys with modifiers and mouse reports (xterm's forms, kitty's `u` form).
use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

/// The key of a typed character; a capital letter has Shift.
pub fn char_key(c: char) -> KeyEvent {
    let modifiers = if c.is_uppercase() { KeyModifiers::SHIFT } else { KeyModifiers::NONE };
    KeyEvent::new(KeyCode::Char(c), modifiers)
}

/// The key of the final letter of a sequence that begins with `ESC [` or `ESC O`.
pub fn letter(last: u8) -> Option<KeyCode> {
    Some(match last {
        b'A' => KeyCode::Up,
        b'B' => KeyCode::Down,
        b'C' => KeyCode::Right,
        b'D' => KeyCode::Left,
        b'F' => KeyCode::End,
        b'H' => KeyCode::Home,
        b'P'..=b'S' => KeyCode::F(last - b'P' + 1),
        b'Z' => KeyCode::BackTab,
        b'M' => KeyCode::Enter,
        _ => return None,
    })
}

/// The event of a complete sequence; None if this program does not use it.
pub fn event(parameters: &[u8], last: u8) -> Option<Event> {
    let text = std::str::from_utf8(parameters).ok()?;
    match (text.strip_prefix('<'), last) {
        (Some(report), b'M' | b'm') => return mouse(&numbers(report)?, last == b'm', 0).map(Event::Mouse),
        (None, b'M') => return mouse(&numbers(text)?, false, 32).map(Event::Mouse),
        _ => {}
    }
    if let Some(function) = text.strip_prefix('[') {
        let first = (function.is_empty() && matches!(last, b'A'..=b'E')).then(|| last - b'A' + 1);
        return first.map(|n| Event::Key(KeyCode::F(n).into()));
    }
    key(&numbers(text)?, last).map(Event::Key)
}

/// Parses numbers between semicolons. Of a group with colons the first counts; a missing number is 0.
fn numbers(text: &str) -> Option<Vec<u32>> {
    if !text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b';' | b':')) {
        return None;
    }
    let first = |part: &str| match part.split(':').next() {
        None | Some("") => Some(0),
        Some(digits) => digits.parse().ok(),
    };
    text.split(';').map(first).collect()
}

fn key(numbers: &[u32], last: u8) -> Option<KeyEvent> {
    let at = |i: usize| numbers.get(i).copied().unwrap_or(0);
    let code = match last {
        b'~' if at(0) == 27 => return unicode(at(2), at(1)),
        b'u' => return unicode(at(0), at(1)),
        b'~' => numbered(at(0))?,
        // A sequence with a third number is a report.
        _ if numbers.len() > 2 => return None,
        // A cursor report, unless its first number is 1.
        b'R' if at(0) != 1 => return None,
        b'M' => return None,
        letters => letter(letters)?,
    };
    let mut modifiers = modifiers(at(1));
    modifiers.set(KeyModifiers::SHIFT, modifiers.contains(KeyModifiers::SHIFT) || code == KeyCode::BackTab);
    Some(KeyEvent::new(code, modifiers))
}

fn unicode(codepoint: u32, mask: u32) -> Option<KeyEvent> {
    let code = match char::from_u32(codepoint)? {
        '\x1b' => KeyCode::Esc,
        '\r' => KeyCode::Enter,
        '\t' if mask == 2 => KeyCode::BackTab,
        '\t' => KeyCode::Tab,
        '\x7f' => KeyCode::Backspace,
        c if c.is_control() => return None,
        // Kitty's functional keys are in a private area.
        '\u{e000}'..='\u{f8ff}' => return None,
        c => KeyCode::Char(c),
    };
    Some(KeyEvent::new(code, modifiers(mask)))
}

fn numbered(number: u32) -> Option<KeyCode> {
    Some(match number {
        1 | 7 => KeyCode::Home,
        2 => KeyCode::Insert,
        3 => KeyCode::Delete,
        4 | 8 => KeyCode::End,
        5 => KeyCode::PageUp,
        6 => KeyCode::PageDown,
        11..=15 => KeyCode::F(number as u8 - 10),
        17..=21 => KeyCode::F(number as u8 - 11),
        23 | 24 => KeyCode::F(number as u8 - 12),
        _ => return None,
    })
}

/// Decodes xterm's modifiers: 1 plus the sum of Shift 1, Alt 2, Control 4.
fn modifiers(number: u32) -> KeyModifiers {
    let mask = number.saturating_sub(1);
    let mut out = KeyModifiers::NONE;
    out.set(KeyModifiers::SHIFT, mask & 1 != 0);
    out.set(KeyModifiers::ALT, mask & 2 != 0);
    out.set(KeyModifiers::CONTROL, mask & 4 != 0);
    out
}

/// Decodes a report of button, column and row, both counted from 1. Some forms add `base` to the button.
fn mouse(numbers: &[u32], released: bool, base: u32) -> Option<MouseEvent> {
    let [button, column, row] = numbers[..] else { return None };
    let button = u8::try_from(button.checked_sub(base)?).ok()?;
    let place = |n: u32| u16::try_from(n.saturating_sub(1)).unwrap_or(u16::MAX);
    let kind = match (button_kind(button)?, released) {
        (MouseEventKind::Down(b), true) => MouseEventKind::Up(b),
        (kind, _) => kind,
    };
    let mut modifiers = KeyModifiers::NONE;
    modifiers.set(KeyModifiers::SHIFT, button & 4 != 0);
    modifiers.set(KeyModifiers::ALT, button & 8 != 0);
    modifiers.set(KeyModifiers::CONTROL, button & 16 != 0);
    Some(MouseEvent { kind, column: place(column), row: place(row), modifiers })
}

/// Decodes the three bytes of an old report, each with 32 added.
pub fn old_mouse(button: u8, column: u8, row: u8) -> Option<Event> {
    let place = |n: u8| u32::from(n.saturating_sub(32));
    mouse(&[button.into(), place(column), place(row)], false, 32).map(Event::Mouse)
}

fn button_kind(bits: u8) -> Option<MouseEventKind> {
    use MouseButton::{Left, Middle, Right};
    let number = (bits & 0b11) | ((bits & 0b1100_0000) >> 4);
    let dragged = bits & 0b10_0000 != 0;
    Some(match (number, dragged) {
        (0, false) => MouseEventKind::Down(Left),
        (1, false) => MouseEventKind::Down(Middle),
        (2, false) => MouseEventKind::Down(Right),
        (0, true) => MouseEventKind::Drag(Left),
        (1, true) => MouseEventKind::Drag(Middle),
        (2, true) => MouseEventKind::Drag(Right),
        (3, false) => MouseEventKind::Up(Left),
        (3..=5, true) => MouseEventKind::Moved,
        (4, false) => MouseEventKind::ScrollUp,
        (5, false) => MouseEventKind::ScrollDown,
        (6, false) => MouseEventKind::ScrollLeft,
        (7, false) => MouseEventKind::ScrollRight,
        _ => return None,
    })
}
