// Runs the real adapter without an editor: `TIKV_TUI=PATH npm test`.
import * as assert from "node:assert";
import { test } from "node:test";
import { DebugClient } from "@vscode/debugadapter-testsupport";
import { Adapter } from "../adapter";
import { groups, PathBody } from "../rows";

const program = process.env.TIKV_TUI ?? "tikv-tui";

async function session(work: (client: DebugClient) => Promise<void>): Promise<void> {
  const client = new DebugClient(program, "dap", "tikv-step");
  client.defaultTimeout = 60_000;
  await client.start();
  try {
    await work(client);
  } finally {
    await client.stop();
  }
}

test("a point get stops at a function of TiKV", () =>
  session(async (client) => {
    await Promise.all([
      client
        .waitForEvent("initialized")
        .then(() => client.setFunctionBreakpointsRequest({ breakpoints: [{ name: "PointGetter::load_data" }] }))
        .then((set) => assert.ok(set.body.breakpoints[0].verified))
        .then(() => client.configurationDoneRequest()),
      client.launch({ operation: "get k1", setup: ["put k1 v1"], stopOnEntry: false } as never),
      client.waitForEvent("stopped"),
    ]);
    const threads = await client.threadsRequest();
    assert.ok(threads.body.threads.some((thread) => thread.name.includes("unified-read-pool")));
    const thread = threads.body.threads.find((found) => found.name.includes("unified-read-pool"));
    const stack = await client.stackTraceRequest({ threadId: thread?.id ?? 0 });
    assert.match(stack.body.stackFrames[0].name, /PointGetter/);
    const scopes = await client.scopesRequest({ frameId: stack.body.stackFrames[0].id });
    const rows = scopes.body.scopes.find((scope) => scope.name === "Rows");
    const variables = await client.variablesRequest({ variablesReference: rows?.variablesReference ?? 0 });
    assert.equal(variables.body.variables.find((variable) => variable.name === "key")?.value, "k1");
    const path = (await client.customRequest("tikv/path")) as { body: PathBody };
    const labels = groups(path.body).map((group) => group.label);
    assert.ok(labels.some((label) => label.startsWith("kv_get on store")), labels.join());
    const [stopped] = await Promise.all([
      client.waitForEvent("stopped"),
      client.stepBackRequest({ threadId: thread?.id ?? 0 }),
    ]);
    assert.equal(stopped.body.reason, "step");
  }));

test("stages and mistakes are known without a session", async () => {
  const adapter = new Adapter(() => program);
  try {
    const sites = await adapter.sites();
    assert.ok(sites.some((site) => site.stage === "mvcc_get" && site.file.endsWith("point_getter.rs")));
    const good = await adapter.check("a.txt", "put k1 v1\n----\nok\n\nstep get k1\n----\n");
    assert.deepEqual(good, { mistakes: [], steps: [{ line: 5, text: "step get k1" }] });
    const bad = await adapter.check("a.txt", "put k1 v1\n----\nok\n\nstpe get k1\n----\n");
    assert.equal(bad.mistakes[0].line, 5);
    assert.match(bad.mistakes[0].message, /such as `step \[inside\] OP`/);
  } finally {
    adapter.dispose();
  }
});

test("a program that is missing is an error", async () => {
  const adapter = new Adapter(() => "/no/such/program");
  await assert.rejects(adapter.sites());
});

test("steps are grouped by request and replica", () => {
  const row = (step: number, request: number, store: number, replica: boolean) => ({
    step,
    stage: "s",
    kind: request === 1 ? "client" : "kv_get",
    request,
    store,
    thread: "t",
    replica,
    at: "",
    took: "",
    held: false,
    meaning: "",
  });
  const steps = [row(0, 1, 0, false), row(1, 2, 1, false), row(2, 2, 3, true), row(3, 2, 1, false), row(4, 1, 0, false)];
  const found = groups({ operation: "get", steps, cursor: 3 });
  assert.deepEqual(
    found.map((group) => [group.label, group.rows.map((each) => each.step)]),
    [
      ["client", [0]],
      ["kv_get on store 1", [1, 3]],
      ["replica of kv_get on store 3", [2]],
      ["client", [4]],
    ],
  );
  assert.ok(found[1].rows[1].current);
});
