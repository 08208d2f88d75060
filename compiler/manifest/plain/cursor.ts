/** A place in a text that is read line by line. */
import { checkDepth, decline } from "./notPlain.ts";
import type { Places } from "./places.ts";

export const CODE = {
  newline: 0x0a,
  space: 0x20,
  quote: 0x22,
  hash: 0x23,
  apostrophe: 0x27,
  comma: 0x2c,
  dash: 0x2d,
  colon: 0x3a,
  openList: 0x5b,
  backslash: 0x5c,
  closeList: 0x5d,
  openMap: 0x7b,
  bar: 0x7c,
  closeMap: 0x7d,
} as const;

export class Cursor {
  readonly text: string;
  readonly places: Places | undefined;
  /** The next character to read. */
  at = 0;
  lineStart = 0;
  /** Between two entries of a block: the column of the next line's content, which is at `at`; -1 at the end. */
  column = -1;
  #depth = 0;

  constructor(text: string, places: Places | undefined) {
    this.text = text;
    this.places = places;
  }

  /** NaN at the end. */
  get code(): number {
    return this.text.charCodeAt(this.at);
  }

  get isAtEnd(): boolean {
    return this.at >= this.text.length;
  }

  /** At a line break, a comment or the end of all. */
  get isAtLineEnd(): boolean {
    const code = this.code;
    return code === CODE.newline || code === CODE.hash || this.isAtEnd;
  }

  isBlankOrEnd(at: number): boolean {
    const code = this.text.charCodeAt(at);
    return at >= this.text.length || code === CODE.space || code === CODE.newline;
  }

  /** At the `-` of an item of a block list. */
  get isAtDash(): boolean {
    return this.code === CODE.dash && this.isBlankOrEnd(this.at + 1);
  }

  /** Whether the colon of a block map's entry is at `at`. */
  isKeyEnd(at: number): boolean {
    return this.text.charCodeAt(at) === CODE.colon && this.isBlankOrEnd(at + 1);
  }

  skipSpaces(): void {
    while (this.text.charCodeAt(this.at) === CODE.space) this.at++;
  }

  skipToLineEnd(): void {
    const end = this.text.indexOf("\n", this.at);
    this.at = end < 0 ? this.text.length : end;
  }

  /** From anywhere in a line, or the start of all, to the next line that is neither blank nor a comment. */
  nextLine(): void {
    while (!this.isAtEnd) {
      if (this.code === CODE.newline) this.at++;
      this.lineStart = this.at;
      this.skipSpaces();
      if (!this.isAtLineEnd) {
        this.column = this.at - this.lineStart;
        return;
      }
      this.skipToLineEnd();
    }
    this.column = -1;
  }

  /** What is left of the line must be blank or a comment. */
  endLine(): void {
    const end = this.at;
    this.skipSpaces();
    if (!this.isAtLineEnd || (this.code === CODE.hash && this.at === end)) decline();
    this.skipToLineEnd();
    this.nextLine();
  }

  /** Into a map or list. */
  enter(): void {
    checkDepth(++this.#depth, this.at);
  }

  leave(): void {
    this.#depth--;
  }
}
