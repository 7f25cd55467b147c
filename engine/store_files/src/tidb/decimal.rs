//! TiDB's (MySQL's) binary decimal: precision, scale, then groups of nine digits that sort as the numbers do.
use keys::codec;

/// Bytes of a group by its number of digits.
const DIGIT_BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
const GROUP: usize = 9;
/// Maximum number of digits of a decimal.
const MAX_DIGITS: usize = 81;

/// Takes a decimal off `input` and returns it as text.
pub fn decode(input: &mut &[u8]) -> Option<String> {
    let precision = usize::from(codec::decode_u8(input).ok()?);
    let scale = usize::from(codec::decode_u8(input).ok()?);
    let whole = precision.checked_sub(scale)?;
    if precision == 0 || precision > MAX_DIGITS {
        return None;
    }
    let len = size(whole) + size(scale);
    let mut bytes = codec::take(input, len, "decimal").ok()?.to_vec();
    let negative = *bytes.first()? & 0x80 == 0;
    bytes[0] ^= 0x80;
    if negative {
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let mut rest = bytes.as_slice();
    let mut digits = group(&mut rest, whole % GROUP)?;
    for _ in 0..whole / GROUP {
        digits.push_str(&group(&mut rest, GROUP)?);
    }
    let trimmed = digits.trim_start_matches('0');
    let mut text = String::from(if negative { "-" } else { "" });
    text.push_str(if trimmed.is_empty() { "0" } else { trimmed });
    if scale > 0 {
        text.push('.');
        for _ in 0..scale / GROUP {
            text.push_str(&group(&mut rest, GROUP)?);
        }
        text.push_str(&group(&mut rest, scale % GROUP)?);
    }
    Some(text)
}

fn size(digits: usize) -> usize {
    digits / GROUP * 4 + DIGIT_BYTES[digits % GROUP]
}

/// Takes a group of `digits` digits and returns it as text of that length.
fn group(input: &mut &[u8], digits: usize) -> Option<String> {
    if digits == 0 {
        return Some(String::new());
    }
    let bytes = codec::take(input, DIGIT_BYTES[digits], "digits").ok()?;
    let value = bytes.iter().fold(0u32, |value, byte| value << 8 | u32::from(*byte));
    let text = format!("{value:0digits$}");
    (text.len() == digits).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_mysqls_manual_decodes() {
        // 1234567890.1234 as DECIMAL(14,4), from MySQL's manual of the format.
        let plain = [14, 4, 0x81, 0x0D, 0xFB, 0x38, 0xD2, 0x04, 0xD2];
        assert_eq!(decode(&mut &plain[..]).unwrap(), "1234567890.1234");
        let negative = [14, 4, 0x7E, 0xF2, 0x04, 0xC7, 0x2D, 0xFB, 0x2D];
        assert_eq!(decode(&mut &negative[..]).unwrap(), "-1234567890.1234");
        assert_eq!(decode(&mut &[1, 0, 0x80][..]).unwrap(), "0");
        assert_eq!(decode(&mut &[2, 5, 0x80][..]), None);
        assert_eq!(decode(&mut &plain[..5]), None);
    }
}
