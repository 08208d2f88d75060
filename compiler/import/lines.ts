/** Text of a save -> lines -> words, each with its place. Linear in the length of the text. */

/** A file as the importer takes it. */
export interface SaveFile {
  /** Shown in issues; `-` for standard input. */
  readonly name: string;
  readonly text: string;
}

export interface Line {
  readonly text: string;
  /** From 1. */
  readonly number: number;
}

/** One argument of a command line. */
export interface Word {
  /** Unquoted and unescaped. */
  readonly text: string;
  /** As it stood, quotes and all. */
  readonly raw: string;
  /** From 1. */
  readonly column: number;
}

/** How the restore command of the format reads quotes: only iptables knows a backslash inside them. */
export type Dialect = "iptables" | "ipset";

export type Words =
  | { readonly kind: "words"; readonly words: readonly Word[] }
  | { readonly kind: "wrong"; readonly column: number; readonly message: string };

/** MAX_ARGC of iptables' xshared.h; ipset's own limit is lower. No save has a longer line. */
const MAX_WORDS = 255;

export function* linesOf(text: string): Generator<Line> {
  // A byte order mark is what some editors put before a file; it is no part of the first line.
  let start = text.startsWith("\uFEFF") ? 1 : 0;
  for (let number = 1; start < text.length; number++) {
    const newline = text.indexOf("\n", start);
    const end = newline < 0 ? text.length : newline;
    yield { text: text.slice(start, end), number };
    start = end + 1;
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * Splits a line as `iptables-restore` (xshared.c `add_param_to_argv`) and `ipset restore` (ipset.c `build_argv`) do: at
 * white space outside double quotes, and where a quote closes. Inside quotes iptables takes the character after a
 * backslash as it is. `from` is where in the line to begin.
 */
export function splitWords(line: string, dialect: Dialect, from = 0): Words {
  const words: Word[] = [];
  let at = from;
  while (at < line.length) {
    if (isSpace(line.charCodeAt(at))) {
      at++;
      continue;
    }
    const start = at;
    let text = "";
    let plain = start;
    while (at < line.length && !isSpace(line.charCodeAt(at)) && line.charCodeAt(at) !== QUOTE) at++;
    if (line.charCodeAt(at) === QUOTE) {
      const opened = at;
      text = line.slice(plain, at);
      at++;
      plain = at;
      while (at < line.length && line.charCodeAt(at) !== QUOTE) {
        if (dialect === "iptables" && line.charCodeAt(at) === BACKSLASH && at + 1 < line.length) {
          text += line.slice(plain, at);
          plain = at + 1;
          at++;
        }
        at++;
      }
      if (at >= line.length) return { kind: "wrong", column: opened + 1, message: "a quote that is not closed" };
      text += line.slice(plain, at);
      at++;
    } else {
      text = line.slice(plain, at);
    }
    if (words.length === MAX_WORDS) {
      return { kind: "wrong", column: start + 1, message: `more than ${MAX_WORDS} words in one line` };
    }
    words.push({ text, raw: line.slice(start, at), column: start + 1 });
  }
  return { kind: "words", words };
}

/** Blank, tab, carriage return of files that went through Windows. */
function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09 || code === 0x0d;
}
