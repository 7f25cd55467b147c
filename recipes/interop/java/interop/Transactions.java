package interop;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.tikv.common.BytePairWrapper;
import org.tikv.common.ByteWrapper;
import org.tikv.common.TiSession;
import org.tikv.common.util.BackOffer;
import org.tikv.common.util.ConcreteBackOffer;
import org.tikv.shade.com.google.protobuf.ByteString;
import org.tikv.txn.KVClient;
import org.tikv.txn.TwoPhaseCommitter;

/**
 * The operations of transactions and snapshots. The client has reads at a timestamp and the two phases of a commit; the
 * buffer of a transaction is ours.
 */
final class Transactions {
  /** The client repeats a prewrite even after a write conflict, up to this time. */
  private static final int RETRY_MS = 2000;

  private static final int LOCK_TTL_MS = 20000;

  private static final class Transaction {
    final long startTs;
    /** The primary is the first key. An empty value is a deletion, as in the client. */
    final Map<ByteString, ByteString> buffer = new LinkedHashMap<>();

    Transaction(long startTs) {
      this.startTs = startTs;
    }
  }

  private final TiSession session;
  private final KVClient client;
  private final String prefix;
  private final Map<String, Transaction> open = new HashMap<>();

  Transactions(TiSession session, String prefix) {
    this.session = session;
    this.client = session.createKVClient();
    this.prefix = prefix;
  }

  void addTo(Map<String, Main.Operation> operations) {
    operations.put("begin", this::begin);
    operations.put("snapshot", words -> start(words.get(0)));
    operations.put("get", this::get);
    operations.put("batch_get", this::batchGet);
    operations.put("scan", this::scan);
    operations.put("set", words -> buffer(words, Text.parse(words.get(2))));
    operations.put("delete", words -> buffer(words, ByteString.EMPTY));
    operations.put("commit", words -> commit(find(words)));
    operations.put("rollback", this::rollback);
  }

  private ByteString key(String word) {
    return Text.key(prefix, word);
  }

  private Transaction find(List<String> words) {
    Transaction found = open.get(words.get(0));
    if (found == null) {
      throw new IllegalArgumentException("no transaction " + words.get(0));
    }
    return found;
  }

  private String begin(List<String> words) {
    if (!words.get(1).equals("optimistic")) {
      throw new IllegalArgumentException("unknown kind of transaction " + words.get(1));
    }
    return start(words.get(0));
  }

  private String start(String name) {
    open.put(name, new Transaction(session.getTimestamp().getVersion()));
    return "ok";
  }

  private String buffer(List<String> words, ByteString value) {
    find(words).buffer.put(key(words.get(1)), value);
    return "ok";
  }

  private static ByteString presentOrNull(ByteString value) {
    return value == null || value.isEmpty() ? null : value;
  }

  private String get(List<String> words) {
    Transaction t = find(words);
    ByteString key = key(words.get(1));
    ByteString value = t.buffer.containsKey(key) ? t.buffer.get(key) : client.get(key, t.startTs);
    return Text.show(presentOrNull(value));
  }

  private String batchGet(List<String> words) {
    Transaction t = find(words);
    List<String> names = words.subList(1, words.size());
    List<ByteString> keys = names.stream().map(this::key).collect(Collectors.toList());
    Map<ByteString, ByteString> values = new HashMap<>();
    client.batchGet(backOffer(), keys, t.startTs).forEach(pair -> values.put(pair.getKey(), pair.getValue()));
    values.putAll(t.buffer);
    values.values().removeIf(ByteString::isEmpty);
    return Text.showFound(prefix, names, values);
  }

  private String scan(List<String> words) {
    Transaction t = find(words);
    ByteString from = key(words.get(1));
    ByteString to = key(words.get(2));
    Comparator<ByteString> order = ByteString.unsignedLexicographicalComparator();
    TreeMap<ByteString, ByteString> rows = new TreeMap<>(order);
    client.scan(from, to, t.startTs).forEach(pair -> rows.put(pair.getKey(), pair.getValue()));
    rows.putAll(t.buffer);
    rows.values().removeIf(ByteString::isEmpty);
    Map<ByteString, ByteString> limited = new LinkedHashMap<>();
    rows.subMap(from, to).entrySet().stream()
        .limit(Integer.parseInt(words.get(3)))
        .forEach(row -> limited.put(row.getKey(), row.getValue()));
    return Text.showPairs(prefix, limited);
  }

  private String commit(Transaction t) throws Exception {
    List<ByteString> keys = new ArrayList<>(t.buffer.keySet());
    byte[] primary = keys.get(0).toByteArray();
    List<ByteString> secondaries = keys.subList(1, keys.size());
    TwoPhaseCommitter committer = new TwoPhaseCommitter(session, t.startTs, LOCK_TTL_MS);
    try {
      committer.prewritePrimaryKey(backOffer(), primary, t.buffer.get(keys.get(0)).toByteArray());
      List<BytePairWrapper> pairs = new ArrayList<>();
      secondaries.forEach(key -> pairs.add(new BytePairWrapper(key.toByteArray(), t.buffer.get(key).toByteArray())));
      committer.prewriteSecondaryKeys(primary, pairs.iterator(), RETRY_MS);
      long commitTs = session.getTimestamp().getVersion();
      committer.commitPrimaryKey(backOffer(), primary, commitTs);
      List<ByteWrapper> written = new ArrayList<>();
      secondaries.forEach(key -> written.add(new ByteWrapper(key.toByteArray())));
      committer.commitSecondaryKeys(written.iterator(), commitTs, RETRY_MS);
    } finally {
      committer.close();
    }
    return "ok";
  }

  /** Nothing is on the server before the commit. */
  private String rollback(List<String> words) {
    find(words).buffer.clear();
    return "ok";
  }

  private BackOffer backOffer() {
    return ConcreteBackOffer.newCustomBackOff(RETRY_MS);
  }
}
