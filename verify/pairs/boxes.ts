/** Sets of first packets as boxes: so many sources, so many destinations, so many ports, each with each. */
import type { AtomSet } from "../atomSet.ts";

export interface Box {
  readonly sources: AtomSet;
  readonly destinations: AtomSet;
  readonly ports: AtomSet;
}

/** A box as a condition: a side that is undefined says nothing. All sides are there, so that cubes have one shape to V8. */
export interface Cube {
  readonly sources: AtomSet | undefined;
  readonly destinations: AtomSet | undefined;
  readonly ports: AtomSet | undefined;
}

export const ANYTHING: Cube = { sources: undefined, destinations: undefined, ports: undefined };

/** What some cubes have of some boxes, and what they leave. Boxes of a list, and cubes of one, have nothing in common. */
export interface Split {
  readonly inside: readonly Box[];
  readonly outside: readonly Box[];
}

const NO_BOXES: readonly Box[] = [];

// Loops, where functions of lists would make a function for each call: most rules are looked at before anything is compiled.
export function split(boxes: readonly Box[], cubes: readonly Cube[]): Split {
  let inside: Box[] | undefined;
  let outside = boxes;
  for (let index = 0; index < cubes.length; index++) {
    const cube = cubes[index] as Cube;
    let left: Box[] | undefined;
    for (let at = 0; at < outside.length; at++) {
      const box = outside[at] as Box;
      if (!meets(box, cube)) {
        left?.push(box);
        continue;
      }
      inside ??= [];
      left ??= outside.slice(0, at);
      cut(box, cube, inside, left);
    }
    outside = left ?? outside;
  }
  return { inside: inside ?? NO_BOXES, outside };
}

/** What two conditions leave together; undefined: nothing. */
export function both(a: Cube, b: Cube): Cube | undefined {
  const sources = ofBoth(a.sources, b.sources);
  const destinations = ofBoth(a.destinations, b.destinations);
  const ports = ofBoth(a.ports, b.ports);
  if (sources?.isEmpty === true || destinations?.isEmpty === true || ports?.isEmpty === true) return undefined;
  return { sources, destinations, ports };
}

function ofBoth(a: AtomSet | undefined, b: AtomSet | undefined): AtomSet | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return a.and(b);
}

function meets({ sources, destinations, ports }: Box, cube: Cube): boolean {
  return (
    (cube.sources === undefined || cube.sources.meets(sources)) &&
    (cube.destinations === undefined || cube.destinations.meets(destinations)) &&
    (cube.ports === undefined || cube.ports.meets(ports))
  );
}

/** Cuts what the cube has out of a box, one side after the other. */
function cut({ sources, destinations, ports }: Box, cube: Cube, inside: Box[], outside: Box[]): void {
  let [ownSources, ownDestinations, ownPorts] = [sources, destinations, ports];
  if (cube.sources !== undefined && !sources.isWithin(cube.sources)) {
    outside.push({ sources: sources.minus(cube.sources), destinations, ports });
    ownSources = sources.and(cube.sources);
  }
  if (cube.destinations !== undefined && !destinations.isWithin(cube.destinations)) {
    outside.push({ sources: ownSources, destinations: destinations.minus(cube.destinations), ports });
    ownDestinations = destinations.and(cube.destinations);
  }
  if (cube.ports !== undefined && !ports.isWithin(cube.ports)) {
    outside.push({ sources: ownSources, destinations: ownDestinations, ports: ports.minus(cube.ports) });
    ownPorts = ports.and(cube.ports);
  }
  inside.push({ sources: ownSources, destinations: ownDestinations, ports: ownPorts });
}

/** How many of the latest boxes one is compared with: what it was cut from has mostly just been put there. */
const COMPARED = 6;

/** Adds a box to boxes that have nothing in common with it; two that differ on one side only may become one. */
export function addBox(boxes: Box[], box: Box): void {
  let added = box;
  for (let index = boxes.length - 1; index >= 0 && index >= boxes.length - COMPARED; ) {
    const joined = joinedBoxes(boxes[index] as Box, added);
    if (joined === undefined) {
      index--;
      continue;
    }
    // What it has become may fit another.
    added = joined;
    const last = boxes.pop() as Box;
    if (index < boxes.length) boxes[index] = last;
    index = boxes.length - 1;
  }
  boxes.push(added);
}

function joinedBoxes(a: Box, b: Box): Box | undefined {
  const sameSources = a.sources.equals(b.sources);
  const sameDestinations = a.destinations.equals(b.destinations);
  if (!sameSources && !sameDestinations) return undefined;
  if (sameSources && sameDestinations) return { ...a, ports: a.ports.or(b.ports) };
  if (!a.ports.equals(b.ports)) return undefined;
  if (sameSources) return { ...a, destinations: a.destinations.or(b.destinations) };
  return { ...a, sources: a.sources.or(b.sources) };
}
