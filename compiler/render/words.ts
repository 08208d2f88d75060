/** Foreign text in a line of a save: as one word, in quotes, or not at all. */
import { hasControls, unsafeName } from "../names.ts";

/** The name as it is; throws on one that the restore commands would not read back as one word. */
export function word(what: string, name: string, maximumBytes: number): string {
  const unsafe = unsafeName(name, maximumBytes);
  if (unsafe !== undefined) throw new Error(`${what} ${JSON.stringify(name)} ${unsafe}`);
  return name;
}

/**
 * As xtables_save_string of libxtables: bare when it is letters, digits, `_` and `-` only, else in double quotes with
 * quotes and backslashes escaped. A line end has no escape; throws on one.
 */
export function quotedWhenNeeded(what: string, text: string): string {
  oneLine(what, text);
  return /^[-_0-9a-zA-Z]+$/.test(text) ? text : `"${text.replace(/["'\\]/g, "\\$&")}"`;
}

/** The text as it is; throws when it has a control character and so could be more than one line. */
export function oneLine(what: string, text: string): string {
  if (hasControls(text)) throw new Error(`${what} ${JSON.stringify(text)} has a control character`);
  return text;
}
