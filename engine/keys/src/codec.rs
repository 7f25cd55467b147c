//! Codecs of keys and records: memcomparable bytes, fixed and variable integers, compact bytes.
//!
//! Encoders append to a `Vec<u8>`; decoders take from the front of a slice and advance it.
//! Mirrors `tikv_util::codec::{bytes, number}`; the memcomparable form is MyRocks' record format.
use crate::{Error, Result};

/// Bytes of a fixed 64-bit integer.
pub const U64_SIZE: usize = 8;
/// Maximum bytes of a 64-bit varint.
pub const MAX_VAR_U64_LEN: usize = 10;
const GROUP: usize = 8;
const MARKER: u8 = 0xff;
const SIGN_MASK: u64 = 0x8000_0000_0000_0000;

/// Takes `need` bytes from the front of `input`.
#[inline]
pub fn take<'a>(input: &mut &'a [u8], need: usize, what: &'static str) -> Result<&'a [u8]> {
    match input.split_at_checked(need) {
        Some((head, tail)) => {
            *input = tail;
            Ok(head)
        }
        None => Err(Error::UnexpectedEof { what, need, have: input.len() }),
    }
}

/// Takes one byte.
#[inline]
pub fn decode_u8(input: &mut &[u8]) -> Result<u8> {
    take(input, 1, "u8").map(|b| b[0])
}

/// Appends `v` big-endian.
pub fn encode_u64(buf: &mut Vec<u8>, v: u64) {
    buf.extend_from_slice(&v.to_be_bytes());
}

/// Takes a big-endian u64.
pub fn decode_u64(input: &mut &[u8]) -> Result<u64> {
    let bytes = take(input, U64_SIZE, "u64")?;
    let mut fixed = [0; U64_SIZE];
    fixed.copy_from_slice(bytes);
    Ok(u64::from_be_bytes(fixed))
}

/// Appends `v` so that greater numbers sort first.
pub fn encode_u64_desc(buf: &mut Vec<u8>, v: u64) {
    encode_u64(buf, !v);
}

/// Takes an integer written by [`encode_u64_desc`].
pub fn decode_u64_desc(input: &mut &[u8]) -> Result<u64> {
    decode_u64(input).map(|v| !v)
}

/// Appends `v` so that bytes sort as the signed numbers do.
pub fn encode_i64(buf: &mut Vec<u8>, v: i64) {
    encode_u64(buf, v as u64 ^ SIGN_MASK);
}

/// Takes an integer written by [`encode_i64`].
pub fn decode_i64(input: &mut &[u8]) -> Result<i64> {
    decode_u64(input).map(|v| (v ^ SIGN_MASK) as i64)
}

/// Appends `v` as LEB128.
pub fn encode_var_u64(buf: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        buf.push(v as u8 | 0x80);
        v >>= 7;
    }
    buf.push(v as u8);
}

/// Takes a LEB128 number.
#[inline]
pub fn decode_var_u64(input: &mut &[u8]) -> Result<u64> {
    let mut v = 0u64;
    for (i, byte) in input.iter().enumerate() {
        // The tenth byte has room for one bit only.
        if i == MAX_VAR_U64_LEN - 1 && *byte > 1 {
            return Err(Error::VarintOverflow);
        }
        v |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            *input = &input[i + 1..];
            return Ok(v);
        }
    }
    Err(Error::UnexpectedEof { what: "varint", need: input.len() + 1, have: input.len() })
}

/// Appends `v` as zigzag LEB128.
pub fn encode_var_i64(buf: &mut Vec<u8>, v: i64) {
    encode_var_u64(buf, ((v << 1) ^ (v >> 63)) as u64);
}

/// Takes a zigzag LEB128 number.
pub fn decode_var_i64(input: &mut &[u8]) -> Result<i64> {
    decode_var_u64(input).map(|v| (v >> 1) as i64 ^ -((v & 1) as i64))
}

/// Appends the length of `bytes` as a zigzag varint, then `bytes`.
pub fn encode_compact_bytes(buf: &mut Vec<u8>, bytes: &[u8]) {
    encode_var_i64(buf, bytes.len() as i64);
    buf.extend_from_slice(bytes);
}

/// Takes bytes written by [`encode_compact_bytes`], without copying.
pub fn decode_compact_bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8]> {
    let len = decode_var_i64(input)?;
    let len = usize::try_from(len).map_err(|_| Error::NegativeLength(len))?;
    take(input, len, "compact bytes")
}

/// Returns the length of the memcomparable form of `raw_len` bytes.
pub const fn encoded_len(raw_len: usize) -> usize {
    (raw_len / GROUP + 1) * (GROUP + 1)
}

/// Returns `raw` in memcomparable form: zero-padded groups of eight bytes, each followed by `ff` minus its
/// padding.
pub fn encode_bytes(raw: &[u8]) -> Vec<u8> {
    let mut buf = Vec::with_capacity(encoded_len(raw.len()));
    encode_bytes_to(&mut buf, raw);
    buf
}

/// Appends `raw` in memcomparable form.
pub fn encode_bytes_to(buf: &mut Vec<u8>, raw: &[u8]) {
    let (groups, rest) = raw.as_chunks::<GROUP>();
    for group in groups {
        buf.extend_from_slice(group);
        buf.push(MARKER);
    }
    let pad = GROUP - rest.len();
    buf.extend_from_slice(rest);
    buf.extend_from_slice(&[0; GROUP][..pad]);
    buf.push(MARKER - pad as u8);
}

/// Takes one group; returns its content, and whether another group follows.
fn decode_group<'a>(input: &mut &'a [u8]) -> Result<(&'a [u8], bool)> {
    let chunk = take(input, GROUP + 1, "memcomparable group")?;
    let (group, marker) = (&chunk[..GROUP], chunk[GROUP]);
    let pad = usize::from(MARKER - marker);
    let content = GROUP.checked_sub(pad).map(|len| group.split_at(len));
    match content {
        Some((content, padding)) if padding.iter().all(|b| *b == 0) => Ok((content, pad == 0)),
        _ => Err(Error::BadPadding { group: group.to_vec(), marker }),
    }
}

/// Takes memcomparable bytes and returns the decoded bytes.
pub fn decode_bytes_from(input: &mut &[u8]) -> Result<Vec<u8>> {
    let mut raw = Vec::with_capacity(input.len() / (GROUP + 1) * GROUP);
    loop {
        let (content, more) = decode_group(input)?;
        raw.extend_from_slice(content);
        if !more {
            return Ok(raw);
        }
    }
}

/// Decodes memcomparable bytes that fill all of `encoded`.
pub fn decode_bytes(encoded: &[u8]) -> Result<Vec<u8>> {
    let mut input = encoded;
    let raw = decode_bytes_from(&mut input)?;
    if input.is_empty() { Ok(raw) } else { Err(Error::TrailingBytes(input.len())) }
}

/// Returns the length of the memcomparable bytes at the front of `input`, without decoding them.
pub fn encoded_prefix_len(input: &[u8]) -> Result<usize> {
    let mut rest = input;
    while decode_group(&mut rest)?.1 {}
    Ok(input.len() - rest.len())
}

/// Whether `encoded` is the memcomparable form of `raw`, without allocating.
pub fn is_encoded_from(encoded: &[u8], raw: &[u8]) -> bool {
    let (mut encoded, mut raw) = (encoded, raw);
    loop {
        match decode_group(&mut encoded) {
            Ok((content, true)) => match raw.strip_prefix(content) {
                Some(rest) => raw = rest,
                None => return false,
            },
            Ok((content, false)) => return encoded.is_empty() && raw == content,
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hex_decode, hex_lower};

    fn random(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    fn random_bytes(state: &mut u64, max: u64) -> Vec<u8> {
        let len = random(state) % (max + 1);
        (0..len).map(|_| if random(state).is_multiple_of(3) { 0 } else { random(state) as u8 }).collect()
    }

    #[test]
    fn memcomparable_vectors() {
        assert_eq!(hex_lower(&encode_bytes(b"")), "0000000000000000f7");
        assert_eq!(hex_lower(&encode_bytes(b"a")), "6100000000000000f8");
        assert_eq!(hex_lower(&encode_bytes(b"abcdefgh")), "6162636465666768ff0000000000000000f7");
        assert_eq!(hex_lower(&encode_bytes(b"r\0\0\0foo")), "72000000666f6f00fe");
        let tidb = hex_decode("7480000000000008FFC65F728000000000FF0000010000000000FA").unwrap();
        assert_eq!(encode_bytes(b"t\x80\0\0\0\0\0\x08\xc6_r\x80\0\0\0\0\0\0\x01"), tidb);
    }

    #[test]
    fn memcomparable_round_trips_and_keeps_order() {
        let mut state = 0x9e37_79b9_7f4a_7c15;
        for _ in 0..2000 {
            let (a, b) = (random_bytes(&mut state, 40), random_bytes(&mut state, 40));
            let (ea, eb) = (encode_bytes(&a), encode_bytes(&b));
            assert_eq!(ea.len(), encoded_len(a.len()));
            assert_eq!(a.cmp(&b), ea.cmp(&eb));
            assert_eq!(decode_bytes(&ea).as_ref(), Ok(&a));
            assert!(is_encoded_from(&ea, &a));
            assert_eq!(is_encoded_from(&ea, &b), a == b);
            let followed = [&ea[..], b"rest"].concat();
            assert_eq!(encoded_prefix_len(&followed), Ok(ea.len()));
            assert_eq!(decode_bytes(&followed), Err(Error::TrailingBytes(4)));
        }
    }

    #[test]
    fn memcomparable_refuses_bad_groups() {
        let bad_marker = hex_decode("6100000000000000f6").unwrap();
        assert!(matches!(decode_bytes(&bad_marker), Err(Error::BadPadding { marker: 0xf6, .. })));
        let bad_padding = hex_decode("6100000000000001f8").unwrap();
        assert!(matches!(decode_bytes(&bad_padding), Err(Error::BadPadding { .. })));
        assert!(matches!(decode_bytes(b"abc"), Err(Error::UnexpectedEof { need: 9, have: 3, .. })));
    }

    #[test]
    fn varint_vectors() {
        for (v, hex) in
            [(0, "00"), (127, "7f"), (300, "ac02"), (3000, "b817"), (u64::MAX, "ffffffffffffffffff01")]
        {
            let mut buf = Vec::new();
            encode_var_u64(&mut buf, v);
            assert_eq!(hex_lower(&buf), hex);
            assert_eq!(decode_var_u64(&mut &buf[..]), Ok(v));
        }
        assert_eq!(decode_var_u64(&mut &[0xff; 11][..]), Err(Error::VarintOverflow));
        assert!(matches!(decode_var_u64(&mut &[0x80][..]), Err(Error::UnexpectedEof { .. })));
    }

    #[test]
    fn integers_round_trip_and_keep_order() {
        let mut state = 42;
        for _ in 0..2000 {
            let (a, b) = (random(&mut state) as i64 >> (state % 64), random(&mut state) as i64);
            let (mut ea, mut eb, mut da, mut db, mut va) = (vec![], vec![], vec![], vec![], vec![]);
            encode_i64(&mut ea, a);
            encode_i64(&mut eb, b);
            assert_eq!(ea.cmp(&eb), a.cmp(&b));
            assert_eq!(decode_i64(&mut &ea[..]), Ok(a));
            encode_u64_desc(&mut da, a as u64);
            encode_u64_desc(&mut db, b as u64);
            assert_eq!(da.cmp(&db), (b as u64).cmp(&(a as u64)));
            assert_eq!(decode_u64_desc(&mut &da[..]), Ok(a as u64));
            encode_var_i64(&mut va, a);
            assert_eq!(decode_var_i64(&mut &va[..]), Ok(a));
        }
    }

    #[test]
    fn compact_bytes_vector_and_bad_lengths() {
        let mut buf = Vec::new();
        encode_compact_bytes(&mut buf, b"pk");
        assert_eq!(buf, b"\x04pk");
        assert_eq!(decode_compact_bytes(&mut &buf[..]), Ok(&b"pk"[..]));
        assert_eq!(decode_compact_bytes(&mut &[0x01][..]), Err(Error::NegativeLength(-1)));
        assert!(matches!(decode_compact_bytes(&mut &[0x04, 1][..]), Err(Error::UnexpectedEof { .. })));
    }

    #[test]
    fn decoders_never_panic() {
        let mut state = 7;
        for _ in 0..20_000 {
            let bytes = random_bytes(&mut state, 30);
            let _ = decode_bytes(&bytes);
            let _ = encoded_prefix_len(&bytes);
            let _ = is_encoded_from(&bytes, &bytes);
            let _ = decode_compact_bytes(&mut &bytes[..]);
            let _ = decode_var_i64(&mut &bytes[..]);
            let _ = decode_u64_desc(&mut &bytes[..]);
        }
    }
}
