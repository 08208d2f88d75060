/** Rows of truth tables, fetched as they come into sight and kept until the manifests change. */
import { type Signal, signal } from "@preact/signals";
import { client, generation, loaded, report } from "./state.ts";

/** Cells asked for at once: some hundredths of a second of the worker. */
const CELLS = 20_000;

export class MatrixTable {
  readonly #strategy: string;
  readonly #port: string;
  readonly #generation: number;
  readonly #rows = new Map<number, string>();
  #asking = false;
  #wanted = { first: 0, last: 0 };
  /** Grows with every row that is known. */
  readonly version: Signal<number> = signal(0);

  constructor(strategy: string, port: string) {
    this.#strategy = strategy;
    this.#port = port;
    this.#generation = generation.peek();
  }

  row(index: number): string | undefined {
    return this.#rows.get(index);
  }

  /** What is in sight; what was in sight before is no longer waited for. */
  want(first: number, count: number, pods: number): void {
    this.#wanted = { first, last: Math.min(pods, first + count) };
    if (!this.#asking) void this.#ask(pods);
  }

  /** Whether there is nothing more to ask for. */
  hasAll(first: number, count: number, pods: number): boolean {
    for (let row = first; row < Math.min(pods, first + count); row++) if (!this.#rows.has(row)) return false;
    return true;
  }

  async #ask(pods: number): Promise<void> {
    this.#asking = true;
    try {
      for (;;) {
        const first = this.#missing();
        // Manifests that changed have tables of their own.
        if (first === undefined || this.#generation !== generation.peek()) return;
        const count = Math.max(1, Math.min(this.#wanted.last - first, Math.floor(CELLS / Math.max(1, pods))));
        const { rows } = await client.ask(
          "matrix",
          { strategy: this.#strategy, port: this.#port, first, count },
          `matrix ${this.#strategy}`,
        );
        for (const [index, row] of rows.entries()) this.#rows.set(first + index, row);
        this.version.value++;
      }
    } catch (error) {
      report(error);
    } finally {
      this.#asking = false;
    }
  }

  #missing(): number | undefined {
    for (let row = this.#wanted.first; row < this.#wanted.last; row++) if (!this.#rows.has(row)) return row;
    return undefined;
  }
}

let kept = { generation: -1, tables: new Map<string, MatrixTable>() };

/** The table of these manifests. */
export function matrixTable(strategy: string, port: string): MatrixTable {
  const now = loaded.value === undefined ? -1 : generation.value;
  if (kept.generation !== now) kept = { generation: now, tables: new Map() };
  const key = `${strategy} ${port}`;
  const found = kept.tables.get(key) ?? new MatrixTable(strategy, port);
  kept.tables.set(key, found);
  return found;
}
