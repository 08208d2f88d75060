/** What can stand after a key or a dash: scalars of every style, and flow collections on one line. */
import { CODE, type Cursor } from "./cursor.ts";
import { unescapeJson } from "./json.ts";
import { decline } from "./notPlain.ts";
import { closePlace, openPlace, placeEntry } from "./places.ts";
import { resolveScalar } from "./scalars.ts";

/** What may begin an unquoted scalar without a second thought. */
const PLAIN_START = /^[^\s\-?:,[\]{}#&*!|>'"%@`]/;
/** `-1`, `--flag`, `::1`. */
const SIGN_AND_WORD = /^(?:-[A-Za-z0-9.]|--[A-Za-z0-9]|:[A-Za-z0-9:])/;
const FLOW_PLAIN = /[A-Za-z0-9_./][A-Za-z0-9_./+-]*(?: +[A-Za-z0-9_./+-]+)*/y;
const LITERAL_HEADER = /\|([-+]?) *\n/y;

/** The parent of a quoted scalar that must end in its line: nothing is indented more. */
const ON_ONE_LINE = Number.POSITIVE_INFINITY;

/** A scalar or flow collection up to the next line; the block around it stands at column `parent`. */
export function readInline(cursor: Cursor, parent: number): unknown {
  switch (cursor.code) {
    case CODE.bar:
      return readLiteral(cursor, parent);
    case CODE.quote:
    case CODE.apostrophe: {
      const text = readQuoted(cursor, parent);
      cursor.endLine();
      return text;
    }
    case CODE.openMap:
    case CODE.openList: {
      const value = readFlow(cursor);
      cursor.endLine();
      return value;
    }
    default:
      return readPlainScalar(cursor, parent);
  }
}

export function mayStartPlain(text: string): boolean {
  return PLAIN_START.test(text);
}

/** An unquoted scalar, with the lines it continues on: a line break is a space, an empty line is a line break. */
function readPlainScalar(cursor: Cursor, parent: number): unknown {
  let text = readPlainLine(cursor);
  while (cursor.code === CODE.newline) {
    const lineEnd = cursor.at;
    const breaks = skipBlankLines(cursor);
    if (cursor.isAtLineEnd || cursor.at - cursor.lineStart <= parent) {
      cursor.at = lineEnd;
      break;
    }
    text += (breaks === 1 ? " " : "\n".repeat(breaks - 1)) + readPlainLine(cursor);
  }
  cursor.skipToLineEnd();
  cursor.nextLine();
  return resolveScalar(text);
}

/** The rest of the line without its comment; ends on the line break, or on the comment. */
function readPlainLine(cursor: Cursor): string {
  const { text } = cursor;
  const start = cursor.at;
  const opening = text.slice(start, start + 3);
  if (!PLAIN_START.test(opening) && !SIGN_AND_WORD.test(opening)) decline();
  let at = start;
  let end = start; // after the last character that is no space
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === CODE.newline || (code === CODE.hash && at > end)) break;
    if (code === CODE.colon && cursor.isBlankOrEnd(at + 1)) decline();
    if (code !== CODE.space) end = at + 1;
  }
  cursor.at = at;
  return text.slice(start, end);
}

/** From a line break to the next line with content; counts the breaks. */
function skipBlankLines(cursor: Cursor): number {
  let breaks = 0;
  while (cursor.code === CODE.newline) {
    breaks++;
    cursor.at++;
    cursor.lineStart = cursor.at;
    cursor.skipSpaces();
  }
  return breaks;
}

/** The offset of the quote that ends the scalar at the cursor; undefined when it is not in the same line. */
export function closingQuote(cursor: Cursor): number | undefined {
  const { text, code: quote } = cursor;
  for (let at = cursor.at + 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === CODE.newline) return undefined;
    if (code === CODE.backslash && quote === CODE.quote && text.charCodeAt(at + 1) !== CODE.newline) at++;
    else if (code === quote) {
      if (quote === CODE.quote || text.charCodeAt(at + 1) !== CODE.apostrophe) return at;
      at++;
    }
  }
  return undefined;
}

/** `"…"` or `'…'` on one line. */
export function readQuotedOnLine(cursor: Cursor): string {
  return readQuoted(cursor, ON_ONE_LINE);
}

/** `"…"` or `'…'`; further lines must be indented more than `parent`. */
function readQuoted(cursor: Cursor, parent: number): string {
  const { text, code: quote } = cursor;
  const start = cursor.at + 1;
  let isPlain = true;
  let at = start;
  for (; ; at++) {
    if (at >= text.length) decline();
    const code = text.charCodeAt(at);
    if (code === quote) {
      if (quote === CODE.quote || text.charCodeAt(at + 1) !== CODE.apostrophe) break;
      isPlain = false;
      at++;
    } else if (code === CODE.backslash && quote === CODE.quote) {
      isPlain = false;
      if (text.charCodeAt(at + 1) !== CODE.newline) at++;
    } else if (code === CODE.newline) {
      isPlain = false;
      checkContinuation(text, at + 1, parent);
    }
  }
  cursor.at = at + 1;
  const raw = text.slice(start, at);
  if (isPlain) return raw;
  return quote === CODE.apostrophe ? fold(raw).replaceAll("''", "'") : unescapeDouble(foldEscaped(raw));
}

function checkContinuation(text: string, lineStart: number, parent: number): void {
  let at = lineStart;
  while (text.charCodeAt(at) === CODE.space) at++;
  if (text.charCodeAt(at) !== CODE.newline && at - lineStart <= parent) decline();
}

/** Line breaks, with the spaces around them, as spaces and line breaks. */
function fold(raw: string): string {
  return raw.replace(/ *\n(?: *\n)* */g, (gap: string) => {
    const breaks = gap.split("\n").length - 1;
    return breaks === 1 ? " " : "\n".repeat(breaks - 1);
  });
}

/** As `fold`; an escaped line break is nothing, and spaces before it stay. */
function foldEscaped(raw: string): string {
  return raw.replace(/(\\*)( *\n(?: *\n)* *)/g, (_all: string, escapes: string, gap: string) => {
    if (escapes.length % 2 === 0) return escapes + fold(gap);
    return /^\n *$/.test(gap) ? escapes.slice(1) : decline();
  });
}

/** The escapes that JSON has, which are nearly all that machines write; and an escaped space. */
function unescapeDouble(text: string): string {
  const lines = text.replaceAll("\n", "\\n");
  if (!lines.includes("\\ ")) return unescapeJson(`"${lines}"`);
  const asJson = lines.replace(/\\(.)/gs, (pair: string, escaped: string) => (escaped === " " ? " " : pair));
  return unescapeJson(`"${asJson}"`);
}

/** `|`, `|-`, `|+`: the lines below, without the indentation of the first. */
function readLiteral(cursor: Cursor, parent: number): string {
  const { text } = cursor;
  LITERAL_HEADER.lastIndex = cursor.at;
  const chomping = LITERAL_HEADER.exec(text)?.[1] ?? decline();
  cursor.at = LITERAL_HEADER.lastIndex;
  let indent = -1;
  const lines: string[] = [];
  while (!cursor.isAtEnd) {
    cursor.lineStart = cursor.at;
    cursor.skipSpaces();
    const column = cursor.at - cursor.lineStart;
    const isBlank = cursor.code === CODE.newline;
    if (!isBlank) {
      if (indent < 0 && column > parent) indent = column;
      if (indent < 0 || column < indent) {
        cursor.at = cursor.lineStart - 1;
        break;
      }
    } else if (indent < 0 && column > 0) decline();
    cursor.skipToLineEnd();
    if (cursor.isAtEnd) decline(); // a last line without a break has rules of its own
    lines.push(isBlank && column <= indent ? "" : text.slice(cursor.lineStart + Math.max(indent, 0), cursor.at));
    cursor.at++;
  }
  const content = lines.join("\n");
  const stripped = content.replace(/\n+$/, "");
  if (indent < 0 || stripped === "") decline();
  cursor.nextLine();
  return chomping === "-" ? stripped : chomping === "" ? `${stripped}\n` : `${content}\n`;
}

/** `{…}` or `[…]` on one line, of simple parts. */
function readFlow(cursor: Cursor): unknown {
  cursor.enter();
  const value = cursor.code === CODE.openMap ? readFlowMap(cursor) : readFlowList(cursor);
  cursor.leave();
  return value;
}

function readFlowMap(cursor: Cursor): unknown {
  const map: Record<string, unknown> = {};
  const place = openPlace(cursor.places, cursor.at);
  readFlowItems(cursor, CODE.closeMap, () => {
    const start = cursor.at;
    const isQuoted = cursor.code === CODE.quote || cursor.code === CODE.apostrophe;
    const key = readFlowScalar(cursor);
    if (typeof key !== "string" || key === "<<" || key === "__proto__" || Object.hasOwn(map, key)) decline();
    cursor.skipSpaces();
    const isSpaced = cursor.text.charCodeAt(cursor.at + 1) === CODE.space;
    if (cursor.code !== CODE.colon || !(isQuoted || isSpaced)) decline();
    cursor.at++;
    cursor.skipSpaces();
    placeEntry(place, key, start, cursor.at);
    map[key] = readFlowValue(cursor);
  });
  closePlace(cursor.places, map, place);
  return map;
}

function readFlowList(cursor: Cursor): unknown {
  const list: unknown[] = [];
  const place = openPlace(cursor.places, cursor.at);
  readFlowItems(cursor, CODE.closeList, () => {
    place?.valueStarts.push(cursor.at);
    list.push(readFlowValue(cursor));
  });
  closePlace(cursor.places, list, place);
  return list;
}

function readFlowItems(cursor: Cursor, close: number, readItem: () => void): void {
  cursor.at++;
  cursor.skipSpaces();
  if (cursor.code === close) {
    cursor.at++;
    return;
  }
  for (;;) {
    readItem();
    cursor.skipSpaces();
    const { code } = cursor;
    cursor.at++;
    if (code === close) return;
    if (code !== CODE.comma) decline();
    cursor.skipSpaces();
  }
}

function readFlowValue(cursor: Cursor): unknown {
  const { code } = cursor;
  return code === CODE.openMap || code === CODE.openList ? readFlow(cursor) : readFlowScalar(cursor);
}

function readFlowScalar(cursor: Cursor): unknown {
  const { code } = cursor;
  if (code === CODE.quote || code === CODE.apostrophe) return readQuotedOnLine(cursor);
  FLOW_PLAIN.lastIndex = cursor.at;
  const plain = FLOW_PLAIN.exec(cursor.text)?.[0] ?? decline();
  cursor.at += plain.length;
  return resolveScalar(plain);
}
