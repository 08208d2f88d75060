/**
 * Port ranges as prefixes: a trie can leave bits out from the right only, so a range becomes the fewest aligned blocks.
 * 1–65535 takes 16, 1000–2000 takes 8; the worst range, 1–65534, takes 30.
 */

export interface PortPrefix {
  readonly port: number;
  /** Leading bits that count: 16 is one port. */
  readonly bits: number;
}

const PORT_BITS = 16;

/** The aligned blocks that cover `first` to `last` exactly, in order. */
export function portPrefixes(first: number, last: number): readonly PortPrefix[] {
  const prefixes: PortPrefix[] = [];
  let port = first;
  while (port <= last) {
    // The largest block that starts here and does not reach past the end.
    let size = port === 0 ? 1 << PORT_BITS : port & -port;
    while (port + size - 1 > last) size >>= 1;
    prefixes.push({ port, bits: PORT_BITS - Math.log2(size) });
    port += size;
  }
  return prefixes;
}
