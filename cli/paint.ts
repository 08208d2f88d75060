/** Colour, where a person looks; plain text everywhere else. */
import type { Writer } from "./io.ts";

/** What a text means, not how it looks: one place decides the colours. */
export interface Paint {
  /** Accepted, passed. */
  good(text: string): string;
  /** Refused, failed. */
  bad(text: string): string;
  warn(text: string): string;
  /** What the eye may skip. */
  faint(text: string): string;
  /** What the eye should find first. */
  strong(text: string): string;
}

const unchanged = (text: string): string => text;

export const PLAIN: Paint = {
  good: unchanged,
  bad: unchanged,
  warn: unchanged,
  faint: unchanged,
  strong: unchanged,
};

/** ECMA-48 SGR: the parameter that sets the look, the one that ends it. */
function sgr(on: number, off: number): (text: string) => string {
  return (text) => (text === "" ? "" : `\u001b[${on}m${text}\u001b[${off}m`);
}

export const COLOURED: Paint = {
  good: sgr(32, 39),
  bad: sgr(31, 39),
  warn: sgr(33, 39),
  faint: sgr(2, 22),
  strong: sgr(1, 22),
};

export type ColorChoice = "auto" | "always" | "never";

/** `auto`: on terminals, unless NO_COLOR (no-color.org) is set and not empty or the terminal is dumb. */
export function paintFor(
  writer: Writer,
  env: Readonly<Record<string, string | undefined>>,
  choice: ColorChoice,
): Paint {
  switch (choice) {
    case "always":
      return COLOURED;
    case "never":
      return PLAIN;
    case "auto":
      return writer.isTerminal && (env.NO_COLOR ?? "") === "" && env.TERM !== "dumb" ? COLOURED : PLAIN;
  }
}
