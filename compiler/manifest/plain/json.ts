/**
 * JSON (RFC 8259) with places. `JSON.parse` would do but for two things: it cannot say where a value stands, and it takes
 * the last of two equal keys without a word.
 */
import { checkDepth, decline, type NOT_PLAIN, orNotPlain, type TooDeep } from "./notPlain.ts";
import { closePlace, openPlace, type PlacedValue, type Places, placeEntry } from "./places.ts";

/** The values of a text of JSON values, one after the other, as `kubectl` takes them. */
export function readJson(text: string, places?: Places): readonly PlacedValue[] | typeof NOT_PLAIN | TooDeep {
  return orNotPlain(() => new JsonReader(text, places).readAll());
}

const TAB = 0x09;
const NEWLINE = 0x0a;
const RETURN = 0x0d;
const SPACE = 0x20;
const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const OPEN_MAP = 0x7b;
const CLOSE_MAP = 0x7d;

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?/y;
const WORDS: readonly (readonly [string, unknown])[] = [
  ["true", true],
  ["false", false],
  ["null", null],
];

class JsonReader {
  readonly #text: string;
  readonly #places: Places | undefined;
  /** The next character to read. */
  #at = 0;
  #depth = 0;

  constructor(text: string, places: Places | undefined) {
    this.#text = text;
    this.#places = places;
  }

  readAll(): PlacedValue[] {
    const values: PlacedValue[] = [];
    this.#skipBlanks();
    while (this.#at < this.#text.length) {
      const start = this.#at;
      values.push({ value: this.#value(), start });
      this.#skipBlanks();
    }
    return values;
  }

  #value(): unknown {
    switch (this.#peek()) {
      case OPEN_MAP:
        return this.#map();
      case OPEN_LIST:
        return this.#list();
      case QUOTE:
        return this.#string();
    }
    for (const [word, value] of WORDS) {
      if (this.#text.startsWith(word, this.#at)) {
        this.#at += word.length;
        return value;
      }
    }
    NUMBER.lastIndex = this.#at;
    const number = NUMBER.exec(this.#text)?.[0] ?? decline();
    this.#at += number.length;
    return Number(number);
  }

  #map(): unknown {
    const map: Record<string, unknown> = {};
    const place = openPlace(this.#places, this.#at);
    this.#items(CLOSE_MAP, () => {
      const start = this.#at;
      if (this.#peek() !== QUOTE) decline();
      const key = this.#string();
      if (key === "__proto__" || Object.hasOwn(map, key)) decline();
      this.#skipBlanks();
      if (this.#peek() !== COLON) decline();
      this.#at++;
      this.#skipBlanks();
      placeEntry(place, key, start, this.#at);
      map[key] = this.#value();
    });
    closePlace(this.#places, map, place);
    return map;
  }

  #list(): unknown {
    const list: unknown[] = [];
    const place = openPlace(this.#places, this.#at);
    this.#items(CLOSE_LIST, () => {
      place?.valueStarts.push(this.#at);
      list.push(this.#value());
    });
    closePlace(this.#places, list, place);
    return list;
  }

  #items(close: number, readItem: () => void): void {
    checkDepth(++this.#depth, this.#at);
    this.#at++;
    this.#skipBlanks();
    if (this.#peek() === close) this.#at++;
    else this.#itemsUntil(close, readItem);
    this.#depth--;
  }

  #itemsUntil(close: number, readItem: () => void): void {
    for (;;) {
      readItem();
      this.#skipBlanks();
      const code = this.#peek();
      this.#at++;
      if (code === close) return;
      if (code !== COMMA) decline();
      this.#skipBlanks();
    }
  }

  #string(): string {
    const text = this.#text;
    const start = this.#at;
    let isPlain = true;
    for (this.#at++; text.charCodeAt(this.#at) !== QUOTE; this.#at++) {
      const code = text.charCodeAt(this.#at);
      if (code === BACKSLASH) {
        isPlain = false;
        this.#at++;
      } else if (!(code >= SPACE)) decline(); // a control character, or the end
    }
    this.#at++;
    return isPlain ? text.slice(start + 1, this.#at - 1) : unescapeJson(text.slice(start, this.#at));
  }

  #skipBlanks(): void {
    for (;;) {
      const code = this.#peek();
      if (code !== SPACE && code !== NEWLINE && code !== RETURN && code !== TAB) return;
      this.#at++;
    }
  }

  /** NaN at the end. */
  #peek(): number {
    return this.#text.charCodeAt(this.#at);
  }
}

/** A string with its quotes and escapes; declines when it is not one of JSON. */
export function unescapeJson(quoted: string): string {
  try {
    const value: unknown = JSON.parse(quoted);
    return typeof value === "string" ? value : decline();
  } catch {
    return decline();
  }
}
