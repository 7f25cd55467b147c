package interop;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.StringJoiner;
import java.util.zip.CRC32;
import org.tikv.shade.com.google.protobuf.ByteString;

/** Reads and prints keys and values. */
final class Text {
  /** Values longer than this are printed as their length and checksum. */
  private static final int LONGEST = 64;

  private Text() {}

  /** Reads bytes from text: \xNN is one byte, @N:C is N times C. */
  static ByteString parse(String word) {
    if (word.matches("@\\d+:.")) {
      int count = Integer.parseInt(word.substring(1, word.indexOf(':')));
      return ByteString.copyFromUtf8(word.substring(word.length() - 1).repeat(count));
    }
    ByteString.Output bytes = ByteString.newOutput();
    for (int i = 0; i < word.length(); i++) {
      if (word.startsWith("\\x", i)) {
        bytes.write(Integer.parseInt(word.substring(i + 2, i + 4), 16));
        i += 3;
      } else {
        bytes.write(word.charAt(i));
      }
    }
    return bytes.toByteString();
  }

  static ByteString key(String prefix, String word) {
    return ByteString.copyFrom(prefix, StandardCharsets.UTF_8).concat(parse(word));
  }

  /** Prints a value; null is a key without one. */
  static String show(ByteString value) {
    if (value == null) {
      return "none";
    }
    if (value.size() > LONGEST) {
      CRC32 checksum = new CRC32();
      checksum.update(value.toByteArray());
      return String.format("%d bytes, crc32 %08x", value.size(), checksum.getValue());
    }
    StringBuilder text = new StringBuilder();
    for (byte b : value.toByteArray()) {
      text.append(b > ' ' && b < 0x7f && b != '\\' ? "" + (char) b : String.format("\\x%02x", b));
    }
    return text.toString();
  }

  /** Prints pairs without the prefix of their keys. */
  static String showPairs(String prefix, Map<ByteString, ByteString> pairs) {
    StringJoiner text = new StringJoiner(" ").setEmptyValue("empty");
    pairs.forEach((key, value) -> text.add(show(key.substring(prefix.length())) + "=" + show(value)));
    return text.toString();
  }

  /** Prints a value for each word. The client returns only the keys that exist. */
  static String showFound(String prefix, List<String> words, Map<ByteString, ByteString> values) {
    StringJoiner text = new StringJoiner(" ");
    words.forEach(word -> text.add(word + "=" + show(values.get(key(prefix, word)))));
    return text.toString();
  }
}
