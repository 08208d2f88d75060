/** Where the parts of a document stand in its text. Kept only when asked for. */

/** A document's value, and where it starts. */
export interface PlacedValue {
  readonly value: unknown;
  readonly start: number;
}

/** By map and list of the document. */
export type Places = Map<object, Place>;

/** Offsets are in characters from the start of the text that was read. */
export interface Place {
  readonly start: number;
  /** In the order of the text; empty for a list. */
  readonly keys: string[];
  readonly keyStarts: number[];
  /** An absent value starts where its key does, or after its dash. */
  readonly valueStarts: number[];
}

/** A map or list that begins at `start`, when places are kept. */
export function openPlace(places: Places | undefined, start: number): Place | undefined {
  return places === undefined ? undefined : { start, keys: [], keyStarts: [], valueStarts: [] };
}

export function placeEntry(place: Place | undefined, key: string, keyStart: number, valueStart: number): void {
  place?.keys.push(key);
  place?.keyStarts.push(keyStart);
  place?.valueStarts.push(valueStart);
}

export function closePlace(places: Places | undefined, container: object, place: Place | undefined): void {
  if (place !== undefined) places?.set(container, place);
}

/** Where the value at the path starts, or the key of its last part; else its nearest ancestor that exists. */
export function startAt(
  root: unknown,
  places: Places,
  { path, want }: { readonly path: readonly (string | number)[]; readonly want: "key" | "value" },
): number {
  let container = root;
  let start = isObject(root) ? (places.get(root)?.start ?? 0) : 0;
  for (const [depth, part] of path.entries()) {
    const place = isObject(container) ? places.get(container) : undefined;
    if (place === undefined || !isObject(container)) return start;
    const isList = Array.isArray(container);
    const index = isList ? Number(part) : place.keys.indexOf(String(part));
    const wantsKey = want === "key" && depth === path.length - 1 && !isList;
    const found = (wantsKey ? place.keyStarts : place.valueStarts)[index];
    if (found === undefined) return start;
    start = found;
    container = Reflect.get(container, part);
  }
  return start;
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
