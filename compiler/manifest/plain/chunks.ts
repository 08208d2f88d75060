/** A text of many documents, cut without being read. */

/** A document, or more when it has directives. */
export interface Chunk {
  /** From the `---` line, when it has one. */
  readonly start: number;
  /** After the `---` line, when nothing else stands on it. */
  readonly contentStart: number;
  readonly end: number;
}

/**
 * Cuts a text at the lines that begin with `---`, which end a document wherever they stand. Directives stand before such
 * a line and belong to what follows it: a text that may have some is left whole.
 */
export function chunksOf(text: string): readonly Chunk[] {
  if (text.startsWith("%") || text.includes("\n%")) return [{ start: 0, contentStart: 0, end: text.length }];
  const chunks: Chunk[] = [];
  let start = 0;
  for (;;) {
    const contentStart = afterMarker(text, start);
    const end = nextMarker(text, contentStart);
    chunks.push({ start, contentStart, end });
    if (end === text.length) return chunks;
    start = end;
  }
}

function isMarker(text: string, at: number): boolean {
  return text.startsWith("---", at) && (at + 3 >= text.length || /\s/.test(text.charAt(at + 3)));
}

function afterMarker(text: string, start: number): number {
  if (!isMarker(text, start)) return start;
  const newline = text.indexOf("\n", start);
  const end = newline < 0 ? text.length : newline;
  return /^---[ \r]*(?: #|$)/.test(text.slice(start, end)) ? end : start;
}

function nextMarker(text: string, from: number): number {
  for (let at = text.indexOf("\n---", from); at >= 0; at = text.indexOf("\n---", at + 1)) {
    if (isMarker(text, at + 1)) return at + 1;
  }
  return text.length;
}
