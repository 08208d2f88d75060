/** How the fast readers say that a document is not for them. */

/** The document has something that only the `yaml` package reads. */
export const NOT_PLAIN = Symbol("not plain");

class NotPlain extends Error {}

/** Gives up the reading that `orNotPlain` began. */
export function decline(): never {
  throw new NotPlain();
}

export function orNotPlain<T>(read: () => T): T | typeof NOT_PLAIN {
  try {
    return read();
  } catch (error) {
    if (error instanceof NotPlain) return NOT_PLAIN;
    throw error;
  }
}

/** Far deeper than any API object; what is deeper may be made to exhaust the stack. */
export const MAX_DEPTH = 200;
