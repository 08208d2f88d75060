/**
 * What Go's encoding/json makes of the annotation for isolation, which Romana decodes into a struct of one string inside
 * another. It is laxer than JSON.parse: what stands behind the first value is not read, keys match without regard to
 * case, and of a key that comes twice both values are read into the same place. null changes nothing; any other value
 * of a wrong type is an error, but only where the struct has a field.
 *
 * Source: romana/core 6139692f listener/resources.go HandleDefaultPolicy; Go's json.NewDecoder(…).Decode, run.
 */

/** A string, or what opens and closes a value. Where a string is not closed, JSON.parse has the last word. */
const STRING_OR_BRACKET = /"(?:[^"\\]|\\.)*"|[{}[\]]/gs;
/** A string, and whether it is a key. */
const STRING_AS_KEY = /"(?:[^"\\]|\\.)*"([ \t\r\n]*:)?/gs;
/** Case folding as Unicode has it, with the long s among the letters, is what Go matches names by. */
const INGRESS = /^ingress$/iu;
const ISOLATION = /^isolation$/iu;

/** Undefined where the decoder ends with an error. */
export function isolationOf(annotation: string): string | undefined {
  const text = annotation.replace(/^[ \t\r\n]+/, "");
  if (text.startsWith("null")) return "";
  if (!text.startsWith("{")) return undefined;
  const isolations = fields(parsed(firstValue(text)), INGRESS)?.map((ingress) => fields(ingress, ISOLATION));
  if (isolations === undefined || isolations.includes(undefined)) return undefined;
  const values = isolations.flatMap((each) => each ?? []).filter((value) => value !== null);
  return values.every((value) => typeof value === "string") ? (values.at(-1) ?? "") : undefined;
}

/** The object at the beginning of a text. */
function firstValue(text: string): string {
  let depth = 0;
  for (const { 0: token, index } of text.matchAll(STRING_OR_BRACKET)) {
    if (token === "{" || token === "[") depth++;
    else if (token === "}" || token === "]") depth--;
    if (depth === 0) return text.slice(0, index + 1);
  }
  return text;
}

/** With a number and a blank before each key, so that none of them replaces another; undefined when it is not JSON. */
function parsed(text: string): unknown {
  let count = 0;
  const distinct = text.replace(STRING_AS_KEY, (string: string, colon: string | undefined) =>
    colon === undefined ? string : `"${count++} ${string.slice(1)}`,
  );
  try {
    return JSON.parse(distinct);
  } catch {
    return undefined;
  }
}

/** The values of a struct's field in their order; undefined when the value is none for a struct. */
function fields(value: unknown, name: RegExp): readonly unknown[] | undefined {
  if (value === null) return [];
  if (typeof value !== "object" || Array.isArray(value)) return undefined;
  return Object.entries(value).flatMap(([key, each]) => (name.test(key.slice(key.indexOf(" ") + 1)) ? [each] : []));
}
