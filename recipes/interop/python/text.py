"""Reads and prints keys and values."""

import re
import zlib

# Values longer than this are printed as their length and checksum.
LONGEST = 64


def parse(word):
    """Reads bytes from text: \\xNN is one byte, @N:C is N times C."""
    if many := re.fullmatch(r"@(\d+):(.)", word):
        return many[2].encode() * int(many[1])
    return re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes.fromhex(m[1].decode()), word.encode())


def show(value):
    if value is None:
        return "none"
    if len(value) > LONGEST:
        return f"{len(value)} bytes, crc32 {zlib.crc32(value):08x}"
    return "".join(chr(b) if 0x20 < b < 0x7F and b != 0x5C else f"\\x{b:02x}" for b in value)


def show_pairs(prefix, pairs):
    """Prints pairs without the prefix of their keys."""
    return " ".join(f"{show(key[len(prefix):])}={show(value)}" for key, value in pairs) or "empty"


def show_found(prefix, words, pairs):
    """Prints a value for each word. The client returns only the keys that exist."""
    values = dict(pairs)
    return " ".join(f"{word}={show(values.get(prefix + parse(word)))}" for word in words)
