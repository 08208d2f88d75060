/**
 * Comments that are made when somebody reads them. Felix's are hashes of their chain, by the thousand: most programs are walked
 * and few are printed.
 */
import type { Match } from "../dataplane/program.ts";

type Comment = Extract<Match, { kind: "comment" }>;

/** What the comments of a chain say. Its fields tell it from others, so that programs are compared by them. */
export interface LateTexts {
  /** Printable ASCII that fits a comment: who verifies programs takes its word for it, and does not read. */
  textOf(rule: number): string;
}

export class LateComment implements Comment {
  readonly kind = "comment";
  readonly texts: LateTexts;
  /** From 0. */
  readonly rule: number;

  constructor(texts: LateTexts, rule: number) {
    this.texts = texts;
    this.rule = rule;
  }

  get text(): string {
    return this.texts.textOf(this.rule);
  }

  /** As any other comment. */
  toJSON(): Comment {
    return { kind: "comment", text: this.text };
  }
}
