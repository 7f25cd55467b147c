// Scenario files: mistakes as the recipes' own parser finds them, and "Step" above each operation that is stepped.
import * as vscode from "vscode";
import { Adapter, Check } from "./adapter";

const LANGUAGE = "tikv-scenario";

export class Scenarios implements vscode.CodeLensProvider, vscode.Disposable {
  private readonly mistakes = vscode.languages.createDiagnosticCollection(LANGUAGE);
  private readonly subscriptions: vscode.Disposable[];

  constructor(private readonly adapter: Adapter) {
    this.subscriptions = [
      this.mistakes,
      vscode.languages.registerCodeLensProvider({ language: LANGUAGE }, this),
      vscode.workspace.onDidCloseTextDocument((document) => this.mistakes.delete(document.uri)),
      vscode.commands.registerCommand("tikv-step.stepScenario", step),
    ];
  }

  async provideCodeLenses(document: vscode.TextDocument): Promise<vscode.CodeLens[]> {
    const check = await this.check(document);
    return check.steps.map((found) => {
      const range = document.lineAt(found.line - 1).range;
      const args = [document.uri.fsPath, found.line, found.text];
      return new vscode.CodeLens(range, { command: "tikv-step.stepScenario", title: "$(debug-start) Step", arguments: args });
    });
  }

  dispose(): void {
    this.subscriptions.forEach((subscription) => subscription.dispose());
  }

  private async check(document: vscode.TextDocument): Promise<Check> {
    let check: Check;
    try {
      check = await this.adapter.check(document.uri.fsPath, document.getText());
    } catch (error) {
      const first = new vscode.Range(0, 0, 0, 0);
      const text = `cannot check this scenario: ${String(error)}; set tikv-step.adapter to the path of tikv-tui`;
      this.mistakes.set(document.uri, [new vscode.Diagnostic(first, text, vscode.DiagnosticSeverity.Information)]);
      return { mistakes: [], steps: [] };
    }
    this.mistakes.set(
      document.uri,
      check.mistakes.map((mistake) => {
        const line = Math.min(Math.max(mistake.line, 1), document.lineCount) - 1;
        return new vscode.Diagnostic(document.lineAt(line).range, mistake.message, vscode.DiagnosticSeverity.Error);
      }),
    );
    return check;
  }
}

async function step(path: string, line: number, text: string): Promise<void> {
  const document = vscode.workspace.textDocuments.find((open) => open.uri.fsPath === path);
  if (document?.isDirty) await document.save();
  await vscode.debug.startDebugging(undefined, {
    type: "tikv-step",
    request: "launch",
    name: text,
    scenario: path,
    line,
  });
}
