/** What a campaign draws its runs from, and what comes of them. */
import type { Disagreement, FuzzCase } from "./case.ts";
import type { LeastConnection } from "./connectionTarget.ts";
import type { Contest } from "./contest.ts";
import type { CorpusFile } from "./corpus.ts";
import type { InputFinding } from "./inputTarget.ts";

export interface FuzzTarget {
  readonly name: string;
  /** The next input, and what came of it. */
  step(): readonly FuzzEvent[] | Promise<readonly FuzzEvent[]>;
}

export type FuzzEvent =
  | { readonly kind: "ran"; readonly runs: number }
  /** Something nobody had shown before: the files are for the corpus. */
  | { readonly kind: "kept"; readonly files: readonly CorpusFile[] }
  | { readonly kind: "suspect"; readonly suspect: Suspect }
  /** A reader did what it must not, with these bytes. */
  | { readonly kind: "input"; readonly format: string; readonly bytes: Uint8Array; readonly finding: InputFinding }
  /** Connection tracking and its model part. */
  | ({ readonly kind: "connection" } & LeastConnection);

/** A case in which two disagree, as it was found. */
export interface Suspect {
  readonly case: FuzzCase;
  readonly contest: Contest;
  readonly disagreement: Disagreement;
  /** Equal for suspects that most likely have one cause. */
  readonly rough: string;
}
