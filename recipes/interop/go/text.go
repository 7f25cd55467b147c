package main

import (
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// Values longer than this are printed as their length and checksum.
const longest = 64

// Reads bytes from text: \xNN is one byte, @N:C is N times C.
func parse(word string) []byte {
	if count, character, found := strings.Cut(strings.TrimPrefix(word, "@"), ":"); found && word[0] == '@' {
		n, err := strconv.Atoi(count)
		if err == nil {
			return []byte(strings.Repeat(character, n))
		}
	}
	var bytes []byte
	for i := 0; i < len(word); i++ {
		if strings.HasPrefix(word[i:], `\x`) && i+4 <= len(word) {
			if b, err := strconv.ParseUint(word[i+2:i+4], 16, 8); err == nil {
				bytes = append(bytes, byte(b))
				i += 3
				continue
			}
		}
		bytes = append(bytes, word[i])
	}
	return bytes
}

func show(bytes []byte) string {
	if len(bytes) > longest {
		return fmt.Sprintf("%d bytes, crc32 %08x", len(bytes), crc32.ChecksumIEEE(bytes))
	}
	var text strings.Builder
	for _, b := range bytes {
		if b > ' ' && b < 0x7f && b != '\\' {
			text.WriteByte(b)
		} else {
			fmt.Fprintf(&text, `\x%02x`, b)
		}
	}
	return text.String()
}

func showFound(value []byte, found bool) string {
	if !found {
		return "none"
	}
	return show(value)
}

// Prints pairs without the prefix of their keys.
func showPairs(prefix string, keys, values [][]byte) string {
	if len(keys) == 0 {
		return "empty"
	}
	pairs := make([]string, len(keys))
	for i, key := range keys {
		pairs[i] = show(key[len(prefix):]) + "=" + show(values[i])
	}
	return strings.Join(pairs, " ")
}

// Reads keys from words and adds the prefix.
func keys(prefix string, words []string) [][]byte {
	list := make([][]byte, len(words))
	for i, word := range words {
		list[i] = key(prefix, word)
	}
	return list
}

func key(prefix, word string) []byte { return append([]byte(prefix), parse(word)...) }

// Reads the words FROM TO LIMIT.
func bounds(prefix string, words []string) (from, to []byte, limit int, err error) {
	limit, err = strconv.Atoi(words[2])
	return key(prefix, words[0]), key(prefix, words[1]), limit, err
}
