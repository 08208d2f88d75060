/**
 * The textual formats of the API: names, labels, port names. Each check returns what is wrong, in the API server's words,
 * or undefined.
 *
 * Source: k8s.io/apimachinery pkg/util/validation/validation.go, pkg/api/validation.
 */

const LABEL_MAX = 63;
const SUBDOMAIN_MAX = 253;
const PORT_NAME_MAX = 15;

const DNS_LABEL = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/;
const DNS_SUBDOMAIN = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/;
const QUALIFIED_NAME = /^(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const LABEL_VALUE = /^(?:(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;

const tooLong = (max: number) => `must be no more than ${max} bytes`;

/** Names of namespaces. */
export function dnsLabelProblem(text: string): string | undefined {
  if (text.length > LABEL_MAX) return tooLong(LABEL_MAX);
  if (DNS_LABEL.test(text)) return undefined;
  if (DNS_SUBDOMAIN.test(text)) return "must not contain dots";
  return "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
}

/** Names of pods, nodes and policies. */
export function dnsSubdomainProblem(text: string): string | undefined {
  if (text.length > SUBDOMAIN_MAX) return tooLong(SUBDOMAIN_MAX);
  if (DNS_SUBDOMAIN.test(text)) return undefined;
  return "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
}

/** Keys of labels: a name of up to 63 characters, with an optional DNS prefix and `/`. */
export function labelKeyProblem(key: string): string | undefined {
  const parts = key.length > SUBDOMAIN_MAX + 1 + LABEL_MAX ? [] : key.split("/");
  const name = parts.at(-1) ?? "";
  const prefix = parts.length === 2 ? parts[0] : undefined;
  if (parts.length > 2) {
    return "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
  }
  if (parts.length === 0) return `name part ${tooLong(LABEL_MAX)}`;
  if (prefix === "") return "prefix part must be non-empty";
  const wrongPrefix = prefix === undefined ? undefined : dnsSubdomainProblem(prefix);
  if (wrongPrefix !== undefined) return `prefix part ${wrongPrefix}`;
  if (name === "") return "name part must be non-empty";
  if (name.length > LABEL_MAX) return `name part ${tooLong(LABEL_MAX)}`;
  if (QUALIFIED_NAME.test(name)) return undefined;
  return "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
}

export function labelValueProblem(value: string): string | undefined {
  if (value.length > LABEL_MAX) return tooLong(LABEL_MAX);
  if (LABEL_VALUE.test(value)) return undefined;
  return "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
}

export function portNumberProblem(port: number): string | undefined {
  return Number.isInteger(port) && port >= 1 && port <= 65_535 ? undefined : "must be between 1 and 65535, inclusive";
}

/** IANA service names (RFC 6335), as container ports and policies use them. */
export function portNameProblem(name: string): string | undefined {
  if (name.length > PORT_NAME_MAX) return tooLong(PORT_NAME_MAX);
  if (!/^[-a-z0-9]+$/.test(name)) return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
  if (!/[a-z]/.test(name)) return "must contain at least one letter (a-z)";
  if (name.includes("--")) return "must not contain consecutive hyphens";
  if (name.startsWith("-") || name.endsWith("-")) return "must not begin or end with a hyphen";
  return undefined;
}

/** An instant as the API server stores it: RFC 3339, in UTC, of whole seconds. Undefined when it is none. */
export function apiTime(text: string): string | undefined {
  const isTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[-+]\d\d:\d\d)$/.test(text);
  const time = isTime ? Date.parse(text.replace(",", ".")) : Number.NaN;
  return Number.isNaN(time) ? undefined : `${new Date(time).toISOString().slice(0, 19)}Z`;
}

/** Whether the text looks like a host name or URL and not like an address: what people put where only addresses can stand. */
export function looksLikeHostName(text: string): boolean {
  const host = text.replace(/^[a-z][-+.a-z0-9]*:\/\//i, "").replace(/[:/].*$/, "");
  const isIpv6 = text.indexOf(":") !== text.lastIndexOf(":") && !text.includes("://");
  return !isIpv6 && /[A-Za-z]/.test(host) && /^(?:\*\.)?[A-Za-z0-9](?:[-A-Za-z0-9.]*[A-Za-z0-9])?\.?$/.test(host);
}

/** Why there is no place for host names, and what to write instead (semantics.md row 24). */
export const NO_HOST_NAMES =
  "a NetworkPolicy has no host names: it is enforced at layers 3 and 4, where packets carry addresses, and a name stands for many addresses that change. Write the address ranges behind the name as ipBlock.cidr, or select the pods behind it with podSelector and namespaceSelector";

/** The candidate that was probably meant: one or two letters off, or a different ending. */
export function didYouMean(text: string, candidates: readonly string[]): string | undefined {
  const lower = text.toLowerCase();
  const distances = candidates
    .map((candidate) => ({ candidate, distance: editDistance(lower, candidate.toLowerCase()) }))
    .filter(({ candidate, distance }) => distance <= Math.max(1, Math.floor(candidate.length / 3)))
    .sort((a, b) => a.distance - b.distance);
  return distances[0]?.candidate;
}

/** Levenshtein's, over short words only. */
function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 8 || a.length > 64) return Number.POSITIVE_INFINITY;
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitution, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
