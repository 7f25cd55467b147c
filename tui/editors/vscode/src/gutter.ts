// A mark in the gutter on each line that is a stage, with its meaning on hover.
import * as vscode from "vscode";
import { Adapter, Site } from "./adapter";

const MARK =
  "data:image/svg+xml," +
  encodeURIComponent(
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><path d='M8 3l5 5-5 5-5-5z' fill='none' stroke='#3794ff' stroke-width='1.5'/></svg>",
  );

export class Gutter implements vscode.Disposable {
  private readonly mark = vscode.window.createTextEditorDecorationType({
    gutterIconPath: vscode.Uri.parse(MARK),
    gutterIconSize: "70%",
    overviewRulerColor: "#3794ff",
    overviewRulerLane: vscode.OverviewRulerLane.Left,
  });
  private readonly subscriptions: vscode.Disposable[];
  private sites: Promise<Site[]> | undefined;

  constructor(private readonly adapter: Adapter) {
    this.subscriptions = [
      this.mark,
      vscode.window.onDidChangeVisibleTextEditors((editors) => this.drawAll(editors)),
      vscode.workspace.onDidChangeConfiguration((change) => {
        if (!change.affectsConfiguration("tikv-step.adapter")) return;
        // Another program has other lines.
        adapter.dispose();
        this.sites = undefined;
        this.drawAll(vscode.window.visibleTextEditors);
      }),
    ];
    this.drawAll(vscode.window.visibleTextEditors);
  }

  private drawAll(editors: readonly vscode.TextEditor[]): void {
    editors.forEach((editor) => void this.draw(editor));
  }

  dispose(): void {
    this.subscriptions.forEach((subscription) => subscription.dispose());
  }

  private async draw(editor: vscode.TextEditor): Promise<void> {
    const path = editor.document.uri.path;
    if (!path.endsWith(".rs")) return;
    // Asked until it answers, then no more: the lines are those of the program's own sources.
    this.sites ??= this.adapter.sites().catch(() => {
      this.sites = undefined;
      return [];
    });
    const here = (await this.sites).filter((site) => path === site.file || path.endsWith(`/${site.file}`));
    const marks = here.filter((site) => site.line <= editor.document.lineCount);
    editor.setDecorations(
      this.mark,
      marks.map((site) => ({
        range: editor.document.lineAt(site.line - 1).range,
        hoverMessage: new vscode.MarkdownString(`**${site.stage}**: ${site.meaning}\n\nTiKV: \`${site.tikv}\``),
      })),
    );
  }
}
