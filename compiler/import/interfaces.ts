/** The JSON of a node's interfaces: pod (`namespace/name`) -> the interface or bridge port behind which it is. */
import type { Attachment } from "../../dataplane/program.ts";
import { type ImportIssues, shorten } from "./importIssues.ts";
import type { SaveFile } from "./lines.ts";

export interface PodInterface {
  readonly endpoint: string;
  readonly interface: string;
  readonly line: number;
  readonly column: number;
}

/**
 * Reads one flat object of strings. Written out, because JSON.parse says neither where a mistake is nor where a name
 * stands. Empty when there is an error.
 */
export function parseInterfaces(file: SaveFile, issues: ImportIssues): readonly PodInterface[] {
  const reader = new TokenReader(file.text);
  const found = new Map<string, PodInterface>();
  const fail = (message: string): readonly PodInterface[] => {
    issues.error({ code: "bad-interfaces", ...reader.place(), message });
    return [];
  };
  if (reader.next() !== "{") return fail('want {"namespace/pod": "interface", ...}');
  let token = reader.next();
  while (token !== "}" || found.size > 0) {
    const endpoint = stringOf(token);
    if (endpoint === undefined) return fail(`want "namespace/pod"${found.size === 0 ? " or }" : ""}`);
    const place = reader.place();
    if (reader.next() !== ":") return fail("want :");
    const name = stringOf(reader.next());
    if (name === undefined || !/^[^\s/]{1,15}$/.test(name))
      return fail("want an interface's name, up to 15 characters");
    if (found.has(endpoint)) return fail(`${shorten(endpoint)}: named twice`);
    found.set(endpoint, { endpoint, interface: name, ...place });
    const after = reader.next();
    if (after === "}") break;
    if (after !== ",") return fail("want , or }");
    token = reader.next();
  }
  return reader.atEnd() ? [...found.values()] : fail("want nothing after }");
}

/** The attachment with the interfaces that the node really has. */
export function withInterfaces(
  attachment: Attachment,
  interfaces: readonly PodInterface[],
  issues: ImportIssues,
): Attachment {
  const names = new Map(interfaces.map((each) => [each.endpoint, each.interface]));
  const known = new Set(attachment.pods.map(({ endpoint }) => endpoint));
  for (const { endpoint, line, column } of interfaces) {
    if (known.has(endpoint)) continue;
    const message = `${shorten(endpoint)}: no pod with an address on this node, so that no packet uses its interface`;
    issues.warning({ code: "unknown-pod", line, column, message });
  }
  const pods = attachment.pods.map((pod) => ({ ...pod, interface: names.get(pod.endpoint) ?? pod.interface }));
  return { ...attachment, pods };
}

function stringOf(token: string | undefined): string | undefined {
  if (token === undefined || !token.startsWith('"')) return undefined;
  try {
    const value: unknown = JSON.parse(token);
    return typeof value === "string" ? value : undefined;
  } catch {
    return undefined; // an escape that JSON does not have
  }
}

const BLANK = /[ \t\r\n]*/y;
const TOKEN = /"(?:[^"\\\n]|\\.)*"|[{}:,]/y;

/** Tokens one after the other; `place` is that of the last. */
class TokenReader {
  readonly #text: string;
  #end = 0;
  #line = 1;
  #lineStart = 0;
  #start = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** A string with its quotes, a sign, or undefined for anything else and at the end. */
  next(): string | undefined {
    this.#skipBlanks();
    TOKEN.lastIndex = this.#end;
    const token = TOKEN.exec(this.#text)?.[0];
    this.#end += token?.length ?? 0;
    return token;
  }

  atEnd(): boolean {
    this.#skipBlanks();
    return this.#end >= this.#text.length;
  }

  place(): { readonly line: number; readonly column: number } {
    return { line: this.#line, column: this.#start - this.#lineStart + 1 };
  }

  /** Tokens hold no line ends, so that lines are counted here alone. */
  #skipBlanks(): void {
    BLANK.lastIndex = this.#end;
    const blank = BLANK.exec(this.#text)?.[0] ?? "";
    for (let at = blank.indexOf("\n"); at >= 0; at = blank.indexOf("\n", at + 1)) {
      this.#line++;
      this.#lineStart = this.#end + at + 1;
    }
    this.#end += blank.length;
    this.#start = this.#end;
  }
}
