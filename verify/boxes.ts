/**
 * Boxes: a set of tuples (source, destination, service) as few products of sets, for people to read. "From pods of shop
 * to db, tcp/80 and tcp/443" instead of forty packets.
 *
 * Finding the fewest boxes is set cover. Here boxes that differ in one axis only are merged, axis by axis, until no two
 * can be: that is exact (every tuple in exactly one box), a box is as large as it can be without taking from another one
 * piecemeal, and there are few in practice, since policies speak of products themselves.
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

const AXES = ["sources", "destinations", "services"] as const satisfies readonly (keyof Box)[];

/** Distinct tuples as disjoint boxes, the largest first. Numbers are whatever the caller counts atoms with. */
export function boxesOf(tuples: readonly Tuple[]): readonly Box[] {
  return joinedBoxes(
    tuples.map(({ source, destination, service }) => ({
      sources: [source],
      destinations: [destination],
      services: [service],
    })),
  );
}

/** Disjoint boxes as larger ones, the largest first. */
export function joinedBoxes(disjoint: readonly Box[]): readonly Box[] {
  let boxes = disjoint;
  let before: number;
  do {
    before = boxes.length;
    for (const axis of AXES) boxes = mergeAlong(axis, boxes);
  } while (boxes.length < before);
  return [...boxes].sort((a, b) => tupleCount(b) - tupleCount(a));
}

function tupleCount({ sources, destinations, services }: Box): number {
  return sources.length * destinations.length * services.length;
}

/** Boxes that are equal in the other two axes become one. Disjoint boxes stay disjoint. */
function mergeAlong(axis: keyof Box, boxes: readonly Box[]): readonly Box[] {
  const others = AXES.filter((one) => one !== axis);
  const groups = new Map<string, Box[]>();
  for (const box of boxes) {
    const key = others.map((one) => box[one].join()).join(" ");
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [box]);
    else group.push(box);
  }
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined || group.length === 1) return group;
    return [{ ...first, [axis]: group.flatMap((box) => box[axis]).sort((a, b) => a - b) }];
  });
}
