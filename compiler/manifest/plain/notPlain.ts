/** How the fast readers say that a document is not for them, or for nobody. */

/** The document has something that only the `yaml` package reads. */
export const NOT_PLAIN = Symbol("not plain");

/** Maps and lists in maps and lists to a depth that no API object has, and that may be made to exhaust a stack. */
export interface TooDeep {
  readonly tooDeepAt: number;
}

/** As deep as an object may be; the deepest of the API, custom resource definitions, do not come near. */
const MAX_DEPTH = 200;

class NotPlain extends Error {}

class Deep extends Error implements TooDeep {
  readonly tooDeepAt: number;

  constructor(offset: number) {
    super();
    this.tooDeepAt = offset;
  }
}

/** Gives up the reading that `orNotPlain` began. */
export function decline(): never {
  throw new NotPlain();
}

/** Gives up a reading that has come to a depth beyond all reason. */
export function checkDepth(depth: number, offset: number): void {
  if (depth > MAX_DEPTH) throw new Deep(offset);
}

export function orNotPlain<T>(read: () => T): T | typeof NOT_PLAIN | TooDeep {
  try {
    return read();
  } catch (error) {
    if (error instanceof NotPlain) return NOT_PLAIN;
    if (error instanceof Deep) return error;
    throw error;
  }
}
