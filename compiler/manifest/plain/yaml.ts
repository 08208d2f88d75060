/**
 * Reads the YAML that machines write and most people write: block maps and lists, scalars on one line or folded, literal
 * blocks, flow collections on one line.
 *
 * The problem: `kubectl get -o yaml` of a thousand pods is megabytes, and the `yaml` package, which builds a tree of every
 * token, reads about 2 MB a second and needs a hundred times the text in memory. The scheme: this reader makes the
 * objects directly, in one pass; whatever it is not sure of (anchors, tags, merge keys, folded blocks, tabs, duplicate
 * keys, anything wrong) it declines, and the `yaml` package reads that document instead. Invariant: what this reader
 * accepts, the package reads without an error, to the same value at the same places; a property test mutates manifests
 * to prove it. The price: YAML is read by two readers, and every odd document is read twice.
 *
 * Places are wanted for few documents, so they are kept only when asked for, in a second reading.
 */
import { CODE, Cursor } from "./cursor.ts";
import { closingQuote, mayStartPlain, readInline, readQuotedOnLine } from "./inline.ts";
import { decline, NOT_PLAIN, orNotPlain, type TooDeep } from "./notPlain.ts";
import { closePlace, openPlace, type Place, type PlacedValue, type Places, placeEntry } from "./places.ts";
import { resolveScalar } from "./scalars.ts";

/** The one value of a document; none when there is nothing but comments. */
export function readPlainYaml(text: string, places?: Places): readonly PlacedValue[] | typeof NOT_PLAIN | TooDeep {
  // A tab, a carriage return or a byte order mark means different things in different places; `...` ends a document.
  if (/[\t\r\ufeff]|^\.\.\.(?:\s|$)/m.test(text)) return NOT_PLAIN;
  return orNotPlain(() => {
    const cursor = new Cursor(text, places);
    cursor.nextLine();
    if (cursor.column < 0) return [];
    const start = cursor.at;
    const value = readBlock(cursor, -1);
    return cursor.column < 0 ? [{ value, start }] : decline();
  });
}

/** YAML allows 1,024 characters for a key on one line. */
const MAX_KEY_CHARACTERS = 1_000;

// A block is entered with the cursor on its first character; it ends with the next line's content in `cursor.column`.

/** A map, list or scalar whose parent stands at column `parent`. */
function readBlock(cursor: Cursor, parent: number): unknown {
  const column = cursor.at - cursor.lineStart;
  if (cursor.isAtDash) return readBlockList(cursor, column);
  const { code } = cursor;
  if (code === CODE.openMap || code === CODE.openList || code === CODE.bar) return readInline(cursor, parent);
  const start = cursor.at;
  const key = readKey(cursor);
  if (key !== undefined) return readBlockMap(cursor, column, { start, key });
  // The package refuses some scalars on a line of their own, below comments.
  return column === cursor.column ? decline() : readInline(cursor, parent);
}

function readBlockMap(
  cursor: Cursor,
  column: number,
  first: { readonly start: number; readonly key: string },
): unknown {
  cursor.enter();
  const map: Record<string, unknown> = {};
  const place = openPlace(cursor.places, first.start);
  let { start, key } = first;
  for (;;) {
    if (Object.hasOwn(map, key)) decline();
    map[key] = readValueOfKey(cursor, column, { place, start, key });
    if (cursor.column < column) break;
    if (cursor.column > column) decline();
    start = cursor.at;
    key = readKey(cursor) ?? decline();
  }
  closePlace(cursor.places, map, place);
  cursor.leave();
  return map;
}

interface Entry {
  readonly place: Place | undefined;
  readonly start: number;
  readonly key: string;
}

/** What stands after `key:`, here or on the lines below. A list may stand as far left as the key. */
function readValueOfKey(cursor: Cursor, column: number, { place, start, key }: Entry): unknown {
  cursor.skipSpaces();
  if (!cursor.isAtLineEnd) {
    placeEntry(place, key, start, cursor.at);
    return readInline(cursor, column);
  }
  cursor.skipToLineEnd();
  cursor.nextLine();
  const isList = cursor.column === column && cursor.isAtDash;
  const isFilled = cursor.column > column || isList;
  placeEntry(place, key, start, isFilled ? cursor.at : start);
  if (!isFilled) return null;
  return isList ? readBlockList(cursor, column) : readBlock(cursor, column);
}

function readBlockList(cursor: Cursor, column: number): unknown {
  cursor.enter();
  const list: unknown[] = [];
  const place = openPlace(cursor.places, cursor.at);
  do {
    cursor.at++;
    cursor.skipSpaces();
    const start = cursor.at;
    let isFilled = true;
    if (cursor.isAtLineEnd) {
      cursor.skipToLineEnd();
      cursor.nextLine();
      isFilled = cursor.column > column;
    }
    place?.valueStarts.push(isFilled ? cursor.at : start);
    list.push(isFilled ? readBlock(cursor, column) : null);
  } while (cursor.column === column && cursor.isAtDash);
  if (cursor.column > column) decline();
  closePlace(cursor.places, list, place);
  cursor.leave();
  return list;
}

/** A key and its colon; undefined, and nothing read, when the line does not begin with one. */
function readKey(cursor: Cursor): string | undefined {
  const start = cursor.at;
  const isQuoted = cursor.code === CODE.quote || cursor.code === CODE.apostrophe;
  const colon = isQuoted ? colonAfterQuote(cursor) : colonAfterWord(cursor);
  if (colon === undefined) return undefined;
  const key = isQuoted ? readQuotedOnLine(cursor) : cursor.text.slice(start, colon).replace(/ +$/, "");
  const isSound = isQuoted || (mayStartPlain(key) && key !== "<<" && typeof resolveScalar(key) === "string");
  if (!isSound || key === "__proto__" || colon - start > MAX_KEY_CHARACTERS) decline();
  cursor.at = colon + 1;
  return key;
}

function colonAfterQuote(cursor: Cursor): number | undefined {
  let at = closingQuote(cursor);
  if (at === undefined) return undefined;
  do at++;
  while (cursor.text.charCodeAt(at) === CODE.space);
  return cursor.isKeyEnd(at) ? at : undefined;
}

/** Where the colon of the line's key is, if the line has one before any comment. */
function colonAfterWord(cursor: Cursor): number | undefined {
  const { text } = cursor;
  for (let at = cursor.at; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === CODE.newline) return undefined;
    if (code === CODE.hash && text.charCodeAt(at - 1) === CODE.space) return undefined;
    if (code === CODE.colon && cursor.isKeyEnd(at)) return at;
  }
  return undefined;
}
