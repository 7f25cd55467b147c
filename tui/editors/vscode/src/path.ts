// The view of the path: the steps of the operation with their times; a click goes there.
import * as vscode from "vscode";
import { Group, PathBody, Row, groups, rowIcon } from "./rows";

type Item = Group | Row;

export class PathView implements vscode.TreeDataProvider<Item>, vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<void>();
  readonly onDidChangeTreeData = this.changed.event;
  private readonly subscriptions: vscode.Disposable[];
  private readonly view: vscode.TreeView<Item>;
  private roots: Group[] = [];
  private reading = false;

  constructor() {
    this.view = vscode.window.createTreeView("tikv-step.path", { treeDataProvider: this });
    this.subscriptions = [
      this.view,
      vscode.debug.onDidReceiveDebugSessionCustomEvent((event) => {
        if (event.event === "tikv/moved") void this.read(event.session);
      }),
      vscode.debug.onDidTerminateDebugSession((session) => {
        if (session.type === "tikv-step") this.show({ operation: "", steps: [] });
      }),
      vscode.commands.registerCommand("tikv-step.goTo", (row: Row) =>
        vscode.debug.activeDebugSession?.customRequest("tikv/goTo", { step: row.step }),
      ),
    ];
  }

  getTreeItem(item: Item): vscode.TreeItem {
    if ("rows" in item) {
      const group = new vscode.TreeItem(item.label, vscode.TreeItemCollapsibleState.Expanded);
      group.id = item.id;
      return group;
    }
    const row = new vscode.TreeItem(item.stage);
    row.description = item.took;
    row.tooltip = `${item.meaning}\n${item.at} after the start, thread ${item.thread}`;
    row.iconPath = new vscode.ThemeIcon(rowIcon(item));
    row.command = { command: "tikv-step.goTo", title: "Go to this step", arguments: [item] };
    row.id = `step ${item.step}`;
    return row;
  }

  getChildren(item?: Item): Item[] {
    if (!item) return this.roots;
    return "rows" in item ? item.rows : [];
  }

  getParent(item: Item): Item | undefined {
    return "rows" in item ? undefined : this.roots.find((group) => group.rows.includes(item));
  }

  dispose(): void {
    this.subscriptions.forEach((subscription) => subscription.dispose());
  }

  private async read(session: vscode.DebugSession): Promise<void> {
    if (this.reading) return;
    this.reading = true;
    try {
      this.show((await session.customRequest("tikv/path")) as PathBody);
    } catch {
      // The session ended while it was asked; its end clears the view.
    } finally {
      this.reading = false;
    }
  }

  private show(body: PathBody): void {
    this.roots = groups(body);
    this.view.message = body.operation ? `${body.operation}${body.outcome ? ` → ${body.outcome}` : ""}` : undefined;
    this.changed.fire();
    const current = this.roots.flatMap((group) => group.rows).find((row) => row.current);
    if (current && this.view.visible) void this.view.reveal(current, { select: true, focus: false });
  }
}
