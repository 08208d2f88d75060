/** Values of any document, and how messages speak of them. */

/** Keys and indices from the root of an object to a value in it. */
export type Path = readonly (string | number)[];

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What a value is, for messages: `a list`, `the number 5`, `the text "…"` (shortened). */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a map";
  if (typeof value === "string") return `the text ${quote(value)}`;
  return `the ${typeof value} ${String(value)}`;
}

/** Longest value a message repeats. */
const SHOWN_CHARACTERS = 100;

/** The value in double quotes, shortened when long. */
export function quote(text: string): string {
  return JSON.stringify(shorten(text));
}

/** The text, or its beginning when it is long. */
export function shorten(text: string): string {
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
}

/** `spec.ingress[0].from`, `metadata.labels[example.com/role]`: as the API server writes paths. */
export function formatPath(path: Path): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else if (!/^[A-Za-z][A-Za-z0-9]*$/.test(part)) text += `[${shorten(part)}]`;
    else text += text === "" ? shorten(part) : `.${shorten(part)}`;
  }
  return text;
}
