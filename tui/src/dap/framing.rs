//! Frames of the protocol: a header with `Content-Length`, an empty line, and a body of that many bytes.
use std::io::{self, BufRead, Read as _, Write};

/// Maximum length of a body in bytes.
pub const MAX_BODY: usize = 16 << 20;
/// Maximum length of one line of a header in bytes.
const MAX_LINE: u64 = 1 << 10;
/// Maximum number of lines of a header.
const MAX_LINES: usize = 16;

/// The reason for which no frame could be read. The bytes after it have no known meaning, so the connection ends.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The connection failed.
    #[error("cannot read from the client: {0}")]
    Io(#[from] io::Error),
    /// A line of a header has no colon, no end, or is not text.
    #[error(
        "expected a header line such as `Content-Length: 119`, found `{0}`: send the frames of the Debug Adapter Protocol"
    )]
    Line(String),
    /// A header is longer than any client's.
    #[error("expected at most {MAX_LINES} header lines, found more: send an empty line before the body")]
    Lines,
    /// The length is missing or no number.
    #[error("expected `Content-Length: N`, found `{0}`: send the length of the body in bytes")]
    Length(String),
    /// The body is too long.
    #[error("expected a body of at most {MAX_BODY} bytes, found {0}: send a shorter message")]
    Long(u64),
    /// The client closed the connection within a frame.
    #[error(
        "expected a body of {expected} bytes, found {found} before the end of the connection: send the whole message"
    )]
    Cut {
        /// The length of the header.
        expected: u64,
        /// The bytes that came.
        found: u64,
    },
}

/// Reads one body; None at the end of the connection.
///
/// # Errors
/// If the connection fails or the bytes are not a frame.
pub fn read(from: &mut impl BufRead) -> Result<Option<Vec<u8>>, FrameError> {
    let Some(expected) = header(from)? else { return Ok(None) };
    let mut body = Vec::new();
    // The memory grows with the bytes that come, not with the announced length.
    from.take(expected).read_to_end(&mut body)?;
    let found = body.len() as u64;
    if found < expected {
        return Err(FrameError::Cut { expected, found });
    }
    Ok(Some(body))
}

/// Reads the lines up to the empty one; returns the length of the body.
fn header(from: &mut impl BufRead) -> Result<Option<u64>, FrameError> {
    let mut length = None;
    for n in 0..MAX_LINES {
        let mut line = Vec::new();
        from.take(MAX_LINE).read_until(b'\n', &mut line)?;
        if line.is_empty() && n == 0 {
            return Ok(None);
        }
        let shown =
            || String::from_utf8_lossy(&line).chars().take(80).collect::<String>().trim_end().to_owned();
        let Some(text) = std::str::from_utf8(&line).ok().and_then(|text| text.strip_suffix('\n')) else {
            return Err(FrameError::Line(shown()));
        };
        let text = text.trim_end_matches('\r');
        if text.is_empty() {
            return length.map(Some).ok_or(FrameError::Length("no such line".into()));
        }
        let Some((name, value)) = text.split_once(':') else { return Err(FrameError::Line(shown())) };
        if name.trim().eq_ignore_ascii_case("Content-Length") {
            let bytes: u64 = value.trim().parse().map_err(|_| FrameError::Length(shown()))?;
            if bytes > MAX_BODY as u64 {
                return Err(FrameError::Long(bytes));
            }
            length = Some(bytes);
        }
    }
    Err(FrameError::Lines)
}

/// Writes one body as a frame.
///
/// # Errors
/// If the connection fails.
pub fn write(to: &mut impl Write, body: &[u8]) -> io::Result<()> {
    write!(to, "Content-Length: {}\r\n\r\n", body.len())?;
    to.write_all(body)?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(bytes: &[u8]) -> (Vec<Vec<u8>>, Option<FrameError>) {
        let (mut from, mut bodies) = (bytes, Vec::new());
        loop {
            match read(&mut from) {
                Ok(Some(body)) => bodies.push(body),
                Ok(None) => return (bodies, None),
                Err(e) => return (bodies, Some(e)),
            }
        }
    }

    fn error(text: &str) -> String {
        all(text.as_bytes()).1.map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_malformed_header_is_an_error_with_its_line() {
        assert!(error("GET / HTTP/1.1\r\n\r\n").contains("found `GET / HTTP/1.1`"));
        assert!(error("Content-Length: x\r\n\r\n").contains("found `Content-Length: x`"));
        assert!(error("Content-Length: -1\r\n\r\n").contains("found `Content-Length: -1`"));
        assert!(error("Content-Type: json\r\n\r\n{}").contains("no such line"));
        assert!(error("Content-Length: 99999999999\r\n\r\n").contains("at most 16777216 bytes"));
        assert!(error("Content-Length: 5\r\n\r\n{}").contains("found 2 before the end"));
        assert!(error("Content-Length: 5").contains("expected a header line"));
        assert!(error(&"a: b\r\n".repeat(20)).contains("at most 16 header lines"));
        assert!(error(&"a".repeat(5_000)).contains("expected a header line"));
        assert_eq!(error(""), "");
    }

    #[test]
    fn other_header_lines_and_plain_newlines_are_accepted() {
        let (bodies, error) = all(b"Content-Type: x\ncontent-length: 2\n\n{}Content-Length:0\r\n\r\n");
        assert!(error.is_none());
        assert_eq!(bodies, [b"{}".to_vec(), Vec::new()]);
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (bodies, _) = all(&bytes);
            prop_assert!(bodies.iter().map(Vec::len).sum::<usize>() <= bytes.len());
        }

        #[test]
        fn damaged_headers_end_without_a_panic(text in "(Content-Length: ?[0-9a-]{0,12}|[a-z:]{0,9})(\r\n|\n|\r){0,3}.{0,20}") {
            let (bodies, _) = all(text.as_bytes());
            prop_assert!(bodies.iter().map(Vec::len).sum::<usize>() <= text.len());
        }

        #[test]
        fn written_frames_are_read_back_however_they_are_cut(
            sent in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..5),
            cut in 0usize..300,
        ) {
            let mut bytes = Vec::new();
            sent.iter().for_each(|body| write(&mut bytes, body).unwrap());
            prop_assert_eq!(&all(&bytes).0, &sent);
            let (before, _) = all(&bytes[..cut.min(bytes.len())]);
            prop_assert_eq!(&sent[..before.len()], &before[..]);
        }
    }
}
