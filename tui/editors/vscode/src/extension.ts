// Registers the debugger `tikv-step`, its command and its views.
import * as vscode from "vscode";
import { Adapter } from "./adapter";
import { Gutter } from "./gutter";
import { PathView } from "./path";
import { Scenarios } from "./scenario";

function program(): string {
  return vscode.workspace.getConfiguration("tikv-step").get<string>("adapter") || "tikv-tui";
}

/** Fills in the settings; an empty configuration steps a point get. */
const configurations: vscode.DebugConfigurationProvider = {
  resolveDebugConfiguration(_folder, config) {
    if (!config.type) {
      Object.assign(config, { type: "tikv-step", request: "launch", name: "Step a point get", recipe: "point_get" });
    }
    const checkout = vscode.workspace.getConfiguration("tikv-step").get<string>("tikvSrc");
    if (checkout && !config.tikvSrc) config.tikvSrc = checkout;
    return config;
  },
};

async function stepOperation(): Promise<void> {
  const operation = await vscode.window.showInputBox({
    prompt: "The operation to step on an embedded cluster; k1 has the value v1",
    value: "get k1",
  });
  if (!operation) return;
  await vscode.debug.startDebugging(undefined, {
    type: "tikv-step",
    request: "launch",
    name: operation,
    operation,
    setup: ["put k1 v1"],
  });
}

export function activate(context: vscode.ExtensionContext): void {
  const adapter = new Adapter(program);
  context.subscriptions.push(
    { dispose: () => adapter.dispose() },
    vscode.debug.registerDebugAdapterDescriptorFactory("tikv-step", {
      createDebugAdapterDescriptor: () => new vscode.DebugAdapterExecutable(program(), ["dap"]),
    }),
    vscode.debug.registerDebugConfigurationProvider("tikv-step", configurations),
    vscode.commands.registerCommand("tikv-step.stepOperation", stepOperation),
    new PathView(),
    new Gutter(adapter),
    new Scenarios(adapter),
  );
}

export function deactivate(): void {
  // The subscriptions stop the adapter.
}
