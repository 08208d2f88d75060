/** A `List` as `kubectl get -o yaml` prints it, cut into its items without being read. */

export interface CutList {
  /** What stands around the items; `items:` has no value there. */
  readonly rest: string;
  /** Where each begins, with its dash, and last where the last one ends. */
  readonly bounds: readonly number[];
}

/** Undefined: there is no block of items below a key of that name at the left edge. */
export function cutList(text: string): CutList | undefined {
  const start = /^items: *\n( *)- /m.exec(text);
  if (start === null) return undefined;
  const [key, { length: indent } = ""] = start;
  const first = start.index + key.length - indent - "- ".length;
  const bounds: number[] = [];
  let end = first;
  for (; end < text.length; end = lineAfter(text, end)) {
    let at = end;
    while (text.charAt(at) === " ") at++;
    // What is indented more, and blank lines and comments, belong to the item at hand.
    if (at - end > indent || /[\n#]|^$/.test(text.charAt(at))) continue;
    if (at - end < indent || !/^-[ \n]/.test(text.slice(at, at + 2))) break;
    bounds.push(end);
  }
  return { rest: text.slice(0, first) + text.slice(end), bounds: [...bounds, end] };
}

function lineAfter(text: string, from: number): number {
  const newline = text.indexOf("\n", from);
  return newline < 0 ? text.length : newline + 1;
}
