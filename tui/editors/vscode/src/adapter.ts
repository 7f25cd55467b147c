// Asks `tikv-tui dap` outside of a debug session: the lines of the stages, and mistakes of scenarios.
import { ChildProcess, spawn } from "child_process";

/** A line that is a stage. */
export interface Site {
  file: string;
  line: number;
  stage: string;
  function: string;
  meaning: string;
  tikv: string;
}

/** The check of a scenario file. */
export interface Check {
  mistakes: { line: number; message: string }[];
  steps: { line: number; text: string }[];
}

interface Response {
  type: string;
  request_seq?: number;
  success?: boolean;
  message?: string;
  body?: unknown;
}

interface Waiting {
  resolve: (body: unknown) => void;
  reject: (error: Error) => void;
}

/** One running adapter, which answers requests that need no session. */
export class Adapter {
  private process: ChildProcess | undefined;
  private received = Buffer.alloc(0);
  private waiting = new Map<number, Waiting>();
  private seq = 0;

  constructor(private readonly program: () => string) {}

  async sites(): Promise<Site[]> {
    const body = (await this.ask("tikv/sites", {})) as { sites: Site[] };
    return body.sites;
  }

  async check(path: string, text: string): Promise<Check> {
    return (await this.ask("tikv/check", { path, text })) as Check;
  }

  dispose(): void {
    this.process?.kill();
    this.end(new Error("the adapter was stopped"));
  }

  private async ask(command: string, args: object): Promise<unknown> {
    if (!this.process) {
      this.start();
      await this.send("initialize", { adapterID: "tikv-step" });
    }
    return this.send(command, args);
  }

  private start(): void {
    const child = spawn(this.program(), ["dap"], { stdio: ["pipe", "pipe", "ignore"] });
    this.process = child;
    this.received = Buffer.alloc(0);
    child.stdout?.on("data", (data: Buffer) => this.take(data));
    // An earlier adapter can end after the next one has started.
    const end = (error: Error): void => {
      if (this.process === child) this.end(error);
    };
    child.stdin?.on("error", end);
    child.on("error", end);
    child.on("exit", () => end(new Error(`${this.program()} dap has ended`)));
  }

  private send(command: string, args: object): Promise<unknown> {
    const seq = ++this.seq;
    const body = JSON.stringify({ type: "request", seq, command, arguments: args });
    return new Promise((resolve, reject) => {
      this.waiting.set(seq, { resolve, reject });
      this.process?.stdin?.write(`Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
    });
  }

  private take(data: Buffer): void {
    this.received = Buffer.concat([this.received, data]);
    for (;;) {
      const header = this.received.indexOf("\r\n\r\n");
      if (header < 0) return;
      const length = /Content-Length: (\d+)/.exec(this.received.toString("utf8", 0, header));
      const start = header + 4;
      const end = start + Number(length?.[1] ?? 0);
      if (this.received.length < end) return;
      const message = JSON.parse(this.received.toString("utf8", start, end)) as Response;
      this.received = this.received.subarray(end);
      this.answer(message);
    }
  }

  private answer(message: Response): void {
    const waiting = this.waiting.get(message.request_seq ?? -1);
    if (message.type !== "response" || !waiting) return;
    this.waiting.delete(message.request_seq ?? -1);
    if (message.success) waiting.resolve(message.body);
    else waiting.reject(new Error(message.message));
  }

  private end(error: Error): void {
    this.process = undefined;
    this.waiting.forEach((waiting) => waiting.reject(error));
    this.waiting.clear();
  }
}
