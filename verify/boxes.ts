/**
 * Boxes: a set of tuples (source, destination, service) as few products of sets, for people to read. "From pods of shop
 * to db, tcp/80 and tcp/443" instead of forty packets.
 *
 * Finding the fewest boxes is set cover; here tuples with equal rests are merged, axis by axis, which is exact (every
 * tuple in exactly one box) and small in practice, since policies speak of products themselves.
 */

export interface Tuple {
  readonly source: number;
  readonly destination: number;
  readonly service: number;
}

export interface Box {
  readonly sources: readonly number[];
  readonly destinations: readonly number[];
  readonly services: readonly number[];
}

/** The tuples as disjoint boxes, the largest first. Numbers are whatever the caller counts atoms with. */
export function boxesOf(tuples: readonly Tuple[]): readonly Box[] {
  const bySources = merge(
    tuples,
    ({ destination, service }) => `${destination} ${service}`,
    ({ source }) => source,
  ).map(({ first, merged }) => ({ sources: merged, destination: first.destination, service: first.service }));
  const byDestinations = merge(
    bySources,
    ({ sources, service }) => `${sources.join()} ${service}`,
    ({ destination }) => destination,
  ).map(({ first, merged }) => ({ sources: first.sources, destinations: merged, service: first.service }));
  return merge(
    byDestinations,
    ({ sources, destinations }) => `${sources.join()} ${destinations.join()}`,
    ({ service }) => service,
  )
    .map(({ first, merged }) => ({ sources: first.sources, destinations: first.destinations, services: merged }))
    .sort((a, b) => tupleCount(b) - tupleCount(a));
}

function tupleCount({ sources, destinations, services }: Box): number {
  return sources.length * destinations.length * services.length;
}

/** Things with equal keys become one, with what `axis` reads of each in order. */
function merge<T>(
  things: readonly T[],
  key: (thing: T) => string,
  axis: (thing: T) => number,
): readonly { readonly first: T; readonly merged: readonly number[] }[] {
  const groups = new Map<string, { readonly first: T; readonly merged: number[] }>();
  for (const thing of things) {
    const group = groups.get(key(thing));
    if (group === undefined) groups.set(key(thing), { first: thing, merged: [axis(thing)] });
    else group.merged.push(axis(thing));
  }
  for (const { merged } of groups.values()) merged.sort((a, b) => a - b);
  return [...groups.values()];
}
