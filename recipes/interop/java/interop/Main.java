package interop;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.tikv.common.TiConfiguration;
import org.tikv.common.TiSession;
import org.tikv.common.exception.KeyException;

/** Runs the operations on standard input with tikv-client-java: {@code Main PD PREFIX < operations}. */
public final class Main {
  /** Does one operation and returns its result. */
  interface Operation {
    String run(List<String> words) throws Exception;
  }

  public static void main(String[] args) throws Exception {
    String pd = args[0];
    TiConfiguration rawConf = TiConfiguration.createRawDefault(pd);
    TiConfiguration atomicConf = TiConfiguration.createRawDefault(pd);
    atomicConf.setEnableAtomicForCAS(true);
    TiSession raw = TiSession.create(rawConf);
    TiSession atomic = TiSession.create(atomicConf);
    TiSession txn = TiSession.create(TiConfiguration.createDefault(pd));
    Map<String, Operation> operations = new HashMap<>();
    new Raw(raw.createRawClient(), atomic.createRawClient(), args[1] + "/r/").addTo(operations);
    new Transactions(txn, args[1] + "/t/").addTo(operations);
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      System.out.println(line + " => " + run(operations, Arrays.asList(line.split(" "))));
    }
    // The client's threads would keep the program alive.
    System.exit(0);
  }

  private static String run(Map<String, Operation> operations, List<String> words) {
    Operation operation = operations.get(words.get(0));
    if (operation == null) {
      return "error: unknown operation";
    }
    try {
      return operation.run(words.subList(1, words.size()));
    } catch (Exception error) {
      return "error: " + describe(error);
    }
  }

  /** Names the errors that every client has in the same words. */
  private static String describe(Throwable error) {
    for (Throwable cause = error; cause != null; cause = cause.getCause()) {
      // The client keeps the server's error as its text.
      if (cause instanceof KeyException && cause.getMessage().contains("conflict {")) {
        return "write conflict";
      }
    }
    return error.toString().replace('\n', ' ');
  }
}
