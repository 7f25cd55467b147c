package interop;

import static interop.Text.parse;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import org.tikv.common.exception.RawCASConflictException;
import org.tikv.kvproto.Kvrpcpb.KvPair;
import org.tikv.raw.RawKVClient;
import org.tikv.shade.com.google.protobuf.ByteString;

/** The raw operations. */
final class Raw {
  private final RawKVClient client;
  private final RawKVClient atomic;
  private final String prefix;

  Raw(RawKVClient client, RawKVClient atomic, String prefix) {
    this.client = client;
    this.atomic = atomic;
    this.prefix = prefix;
  }

  void addTo(Map<String, Main.Operation> operations) {
    operations.put("raw_put", this::put);
    operations.put("raw_get", words -> Text.show(client.get(key(words.get(0))).orElse(null)));
    operations.put("raw_delete", this::delete);
    operations.put("raw_batch_put", this::batchPut);
    operations.put("raw_batch_get", this::batchGet);
    operations.put("raw_batch_delete", this::batchDelete);
    operations.put("raw_scan", this::scan);
    operations.put("raw_delete_range", this::deleteRange);
    operations.put("raw_cas", this::compareAndSwap);
  }

  private ByteString key(String word) {
    return Text.key(prefix, word);
  }

  private List<ByteString> keys(List<String> words) {
    return words.stream().map(this::key).collect(Collectors.toList());
  }

  /** Keeps the order in which the client returns the pairs. */
  private static Map<ByteString, ByteString> pairs(List<KvPair> list) {
    Map<ByteString, ByteString> pairs = new LinkedHashMap<>();
    list.forEach(pair -> pairs.put(pair.getKey(), pair.getValue()));
    return pairs;
  }

  private String put(List<String> words) {
    client.put(key(words.get(0)), parse(words.get(1)));
    return "ok";
  }

  private String delete(List<String> words) {
    client.delete(key(words.get(0)));
    return "ok";
  }

  private String batchPut(List<String> words) {
    Map<ByteString, ByteString> pairs = new LinkedHashMap<>();
    for (int i = 0; i + 1 < words.size(); i += 2) {
      pairs.put(key(words.get(i)), parse(words.get(i + 1)));
    }
    client.batchPut(pairs);
    return "ok";
  }

  private String batchGet(List<String> words) {
    return Text.showFound(prefix, words, pairs(client.batchGet(keys(words))));
  }

  private String batchDelete(List<String> words) {
    client.batchDelete(keys(words));
    return "ok";
  }

  private String scan(List<String> words) {
    int limit = Integer.parseInt(words.get(2));
    return Text.showPairs(prefix, pairs(client.scan(key(words.get(0)), key(words.get(1)), limit)));
  }

  private String deleteRange(List<String> words) {
    client.deleteRange(key(words.get(0)), key(words.get(1)));
    return "ok";
  }

  private String compareAndSwap(List<String> words) {
    String expected = words.get(1);
    try {
      atomic.compareAndSet(
          key(words.get(0)),
          expected.equals("none") ? Optional.empty() : Optional.of(parse(expected)),
          parse(words.get(2)));
      return "swapped";
    } catch (RawCASConflictException conflict) {
      return "found " + Text.show(conflict.getPrevValue().orElse(null));
    }
  }
}
