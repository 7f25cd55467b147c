// Groups the steps of a path by request and by replica.

/** A step, as the adapter's `tikv/path` returns it. */
export interface Row {
  step: number;
  stage: string;
  kind: string;
  request: number;
  store: number;
  thread: string;
  replica: boolean;
  at: string;
  took: string;
  held: boolean;
  meaning: string;
  current?: boolean;
}

export interface PathBody {
  operation: string;
  steps: Row[];
  cursor?: number | null;
  outcome?: string | null;
}

/** The steps of one request in a row, or of one replica. */
export interface Group {
  id: string;
  label: string;
  rows: Row[];
}

/** Steps of a request that follow each other are one group; those of a replica are one per request and store. */
export function groups(body: PathBody): Group[] {
  const out: Group[] = [];
  const replicas = new Map<string, Group>();
  for (const step of body.steps) {
    const row = { ...step, current: step.step === body.cursor };
    if (step.replica) {
      const key = `${step.request} ${step.store}`;
      let group = replicas.get(key);
      if (!group) {
        group = { id: `replica ${key}`, label: `replica of ${step.kind} on store ${step.store}`, rows: [] };
        replicas.set(key, group);
        out.push(group);
      }
      group.rows.push(row);
      continue;
    }
    const last = out.filter((group) => !group.id.startsWith("replica")).at(-1);
    if (last && last.rows[0].request === step.request) {
      last.rows.push(row);
      continue;
    }
    const place = step.store === 0 ? "" : ` on store ${step.store}`;
    out.push({ id: `request ${step.request} from ${step.step}`, label: `${step.kind}${place}`, rows: [row] });
  }
  return out;
}

/** The icon of a step: where the request is held, where the editor looks, or a passed step. */
export function rowIcon(row: Row): string {
  if (row.current) return "debug-stackframe";
  return row.held ? "debug-pause" : "circle-small-filled";
}
