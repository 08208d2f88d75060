/** What a text means, not how it looks: one place decides the colours. */

export interface Paint {
  /** Accepted, passed. */
  good(text: string): string;
  /** Refused, failed. */
  bad(text: string): string;
  warn(text: string): string;
  /** What the eye may skip. */
  faint(text: string): string;
  /** What the eye should find first. */
  strong(text: string): string;
}

const unchanged = (text: string): string => text;

export const PLAIN: Paint = {
  good: unchanged,
  bad: unchanged,
  warn: unchanged,
  faint: unchanged,
  strong: unchanged,
};

/** ECMA-48 SGR: the parameter that sets the look, the one that ends it. */
function sgr(on: number, off: number): (text: string) => string {
  return (text) => (text === "" ? "" : `\u001b[${on}m${text}\u001b[${off}m`);
}

export const COLOURED: Paint = {
  good: sgr(32, 39),
  bad: sgr(31, 39),
  warn: sgr(33, 39),
  faint: sgr(2, 22),
  strong: sgr(1, 22),
};
