/** Policies as YAML, in the layout of kubectl: block style, strings quoted where YAML would read something else. */

type Value = string | number | boolean | readonly unknown[] | Readonly<Record<string, unknown>>;

export function yamlLines(value: unknown): readonly string[] {
  return isMap(value) ? mapLines(value) : [scalar(value)];
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function mapLines(map: Readonly<Record<string, unknown>>): readonly string[] {
  return Object.entries(map).flatMap(([key, value]) => {
    const name = scalar(key);
    const inner = blockLines(value as Value);
    return inner === undefined ? [`${name}: ${scalar(value)}`] : [`${name}:`, ...inner.map((line) => `  ${line}`)];
  });
}

/** Undefined: the value stands on the line of its key. */
function blockLines(value: Value): readonly string[] | undefined {
  if (Array.isArray(value)) {
    if (value.length === 0) return undefined;
    return value.flatMap((item: unknown) => {
      const [first = "", ...rest] = yamlLines(item);
      return [`- ${first}`, ...rest.map((line) => `  ${line}`)];
    });
  }
  return isMap(value) && Object.keys(value).length > 0 ? mapLines(value) : undefined;
}

/** What is neither a number, a word of YAML nor anything with an indicator may stand as it is. */
const PLAIN = /^[A-Za-z_][A-Za-z0-9_./-]*$/;
const WORDS = /^(?:true|false|yes|no|on|off|null|y|n)$/i;

function scalar(value: unknown): string {
  if (Array.isArray(value)) return "[]";
  if (isMap(value)) return "{}";
  if (typeof value !== "string") return String(value);
  return PLAIN.test(value) && !WORDS.test(value) ? value : JSON.stringify(value);
}
