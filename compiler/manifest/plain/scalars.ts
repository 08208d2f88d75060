/**
 * What an unquoted scalar means to kubectl: go-yaml v2 under sigs.k8s.io/yaml, which is YAML 1.1 with exceptions. `no` and
 * `on` are booleans, `0777` is octal, `1e3` and `12345e7` are numbers; timestamps and base-60 numbers stay text, and so
 * do the single letters `y` and `n`: manifests with namespaces of these names, unquoted, were read by real solutions.
 *
 * Source: go-yaml v2 resolve.go.
 */

export type Scalar = string | number | boolean | null;

const WORDS: ReadonlyMap<string, Scalar> = new Map<string, Scalar>([
  ...["", "~", "null", "Null", "NULL"].map((word) => [word, null] as const),
  ...["yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"].map((word) => [word, true] as const),
  ...["no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"].map((word) => [word, false] as const),
  ...[".nan", ".NaN", ".NAN"].map((word) => [word, Number.NaN] as const),
  ...[".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"].map((word) => [word, Number.POSITIVE_INFINITY] as const),
  ...["-.inf", "-.Inf", "-.INF"].map((word) => [word, Number.NEGATIVE_INFINITY] as const),
]);
const LONGEST_WORD = 5;

/** Go's strconv.ParseInt with base 0: the prefix says the base. */
const INTEGERS: readonly { readonly form: RegExp; readonly base: number; readonly prefix: number }[] = [
  { form: /^(?:0|[1-9]\d*)$/, base: 10, prefix: 0 },
  { form: /^0[xX][0-9a-fA-F]+$/, base: 16, prefix: 2 },
  { form: /^0[bB][01]+$/, base: 2, prefix: 2 },
  { form: /^0[oO][0-7]+$/, base: 8, prefix: 2 },
  { form: /^0[0-7]+$/, base: 8, prefix: 1 },
];
const FLOAT = /^(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?$/;

/** The value of an unquoted scalar, without blanks around it. */
export function resolveScalar(text: string): Scalar {
  if (text.length <= LONGEST_WORD) {
    const word = WORDS.get(text);
    if (word !== undefined) return word;
  }
  return isNumberish(text) ? (numberOf(text) ?? text) : text;
}

/** Cheap, for nearly all scalars are words: only a digit, or one after a sign or point, can begin a number. */
function isNumberish(text: string): boolean {
  const first = text.charCodeAt(0);
  return isDigit(first) || ((first === 0x2b || first === 0x2d || first === 0x2e) && /^[-+]?\.?\d/.test(text));
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

function numberOf(text: string): number | undefined {
  const plain = text.replaceAll("_", "");
  const negative = plain.startsWith("-");
  const digits = negative || plain.startsWith("+") ? plain.slice(1) : plain;
  const integer = INTEGERS.find(({ form }) => form.test(digits));
  let size: number;
  if (integer !== undefined) size = Number.parseInt(digits.slice(integer.prefix), integer.base);
  else if (FLOAT.test(digits)) size = Number(digits);
  else return undefined;
  return negative ? -size : size;
}
