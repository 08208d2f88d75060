/** Colour, where a person looks; plain text everywhere else. */
import { COLOURED, type Paint, PLAIN } from "../format/paint.ts";
import type { Writer } from "./io.ts";

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
