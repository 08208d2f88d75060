/** Boxes of packets in the user's words: `from shop/* and 10.2.0.0/16 except 10.2.5.0/24 to shop/db, tcp/80`. */
import type { Endpoint } from "../compiler/model.ts";
import {
  type Cidr,
  cidrContains,
  cidrKey,
  cidrOf,
  compareCidrs,
  formatAddress,
  formatCidr,
} from "../dataplane/address.ts";
import { type Box, boxesOf, type Tuple } from "./boxes.ts";
import { type AddressAtom, isOnTheWay, type PacketSpace, servicesText } from "./space.ts";

/**
 * Tuples as boxes in words, of each space the largest first: `from shop/* to shop/db, tcp/80`. `spaces`: all there are;
 * where there are two, what is about one family alone says so, and what is the same in both is said once.
 */
export function boxTexts(
  tuples: ReadonlyMap<PacketSpace, readonly Tuple[]>,
  spaces: readonly PacketSpace[],
): readonly string[] {
  return textsOf(new Map([...tuples].map(([space, list]) => [space, boxesOf(list)])), spaces);
}

/** The same of boxes that are there already. */
export function textsOf(
  boxes: ReadonlyMap<PacketSpace, readonly Box[]>,
  spaces: readonly PacketSpace[],
): readonly string[] {
  const found = new Map<string, Set<PacketSpace>>();
  for (const [space, list] of boxes) {
    for (const box of list) {
      const text = boxText(space, box);
      const own = found.get(text) ?? new Set();
      found.set(text, own.add(space));
    }
  }
  return [...found].map(([text, own]) => {
    const [space] = own;
    return own.size === spaces.length || space === undefined ? text : overFamily(text, space);
  });
}

function overFamily(text: string, { family }: PacketSpace): string {
  return `${text}, over IPv${family}`;
}

/** Where a walk through spaces ended: of this pair these services were not asked about, and of later pairs none. */
export interface WalkEnd {
  /** Index of the space. */
  readonly at: number;
  readonly source: number;
  readonly destination: number;
  readonly services: readonly number[];
}

/** What a walk through spaces left out; nothing left is no text. */
export function leftTexts(
  spaces: readonly PacketSpace[],
  { at, source, destination, services }: WalkEnd,
): readonly string[] {
  return spaces.slice(at).flatMap((space, index) => {
    const addresses = [...space.addresses.keys()];
    const everyService = [...space.services.keys()];
    const after = (number: number) => addresses.filter((other) => other > number);
    const boxes: readonly Box[] =
      index > 0
        ? [{ sources: addresses, destinations: addresses, services: everyService }]
        : [
            { sources: [source], destinations: [destination], services },
            { sources: [source], destinations: after(destination), services: everyService },
            { sources: after(source), destinations: addresses, services: everyService },
          ];
    return boxes
      .filter((box) => hasPackets(space, box))
      .map((box) => (spaces.length < 2 ? boxText(space, box) : overFamily(boxText(space, box), space)));
  });
}

function hasPackets({ addresses }: PacketSpace, { sources, destinations, services }: Box): boolean {
  const atoms = (numbers: readonly number[]) => numbers.flatMap((number) => addresses[number] ?? []);
  return services.length > 0 && atoms(sources).some((from) => atoms(destinations).some((to) => isOnTheWay(from, to)));
}

function boxText(space: PacketSpace, { sources, destinations, services }: Box): string {
  const served = services.flatMap((number) => space.services[number] ?? []);
  const what = served.length === space.services.length ? "every protocol and port" : joined(servicesText(served));
  return `from ${addressesText(space, sources)} to ${addressesText(space, destinations)}, ${what}`;
}

/** Whole namespaces as `shop/*`, then pods, nodes and prefixes. */
function addressesText({ addresses }: PacketSpace, numbers: readonly number[]): string {
  if (numbers.length === addresses.length) return "any address";
  const chosen = new Set(numbers.flatMap((number) => addresses[number] ?? []));
  const pods = addresses.flatMap(({ pod }) => pod ?? []);
  const own = new Set<Endpoint>([...chosen].flatMap(({ pod }) => pod ?? []));
  const whole = [...new Set([...own].map(({ namespace }) => namespace))].filter((namespace) =>
    pods.every((pod) => pod.namespace !== namespace || own.has(pod)),
  );
  const single = [...own].filter(({ namespace }) => !whole.includes(namespace));
  return joined([
    ...whole.map((namespace) => `${namespace}/*`),
    ...single.map(({ key }) => key),
    ...outsideTexts(addresses, chosen),
  ]);
}

/** A prefix that is meant, less what is taken out of it. */
interface Meant {
  readonly prefix: Cidr;
  readonly except: readonly Cidr[];
}

/**
 * Nodes and prefixes. A prefix that lies in another one which is meant as well is part of it and not said again, and two
 * halves are one: what people know is the outer one, less what is really taken out of it.
 */
function outsideTexts(addresses: readonly AddressAtom[], chosen: ReadonlySet<AddressAtom>): readonly string[] {
  const said = new Set<AddressAtom>();
  const inOrder = [...addresses].sort((a, b) => compareCidrs(a.prefix, b.prefix));
  /** What of the prefix is not meant; what is meant goes with it. */
  const exceptions = ({ holes }: AddressAtom): readonly Cidr[] =>
    holes.flatMap((hole): readonly Cidr[] => {
      const inside = atomsIn(inOrder, hole);
      const isWhole = inside.every((atom) => chosen.has(atom));
      const [exact] = inside.filter(({ prefix }) => prefix.prefixLength === hole.prefixLength);
      if (isWhole) for (const atom of inside) said.add(atom);
      if (isWhole) return [];
      if (exact === undefined || !chosen.has(exact)) return [hole];
      said.add(exact);
      return exceptions(exact);
    });
  const nodes: string[] = [];
  const meant: Meant[] = [];
  // A prefix comes before those inside it.
  for (const atom of chosen) {
    if (atom.node !== undefined) nodes.push(`node ${atom.node} (${formatAddress(atom.representative)})`);
    else if (atom.pod === undefined && !said.has(atom)) meant.push({ prefix: atom.prefix, except: exceptions(atom) });
  }
  const ends = addresses.filter(({ pod, node }) => pod !== undefined || node !== undefined);
  const endKeys = new Set(ends.map(({ prefix }) => cidrKey(prefix)));
  return [
    ...nodes,
    ...halvesJoined(meant).map(({ prefix, except }) =>
      prefix.prefixLength > 0
        ? `${formatCidr(prefix)}${exceptText(except)}`
        : // Pods and nodes are never meant by it: those that are have been named.
          `everywhere else${exceptText(except.filter((cidr) => !endKeys.has(cidrKey(cidr))))}`,
    ),
  ];
}

function liesIn(inner: Cidr, outer: Cidr): boolean {
  return inner.prefixLength >= outer.prefixLength && cidrContains(outer, inner);
}

/** The atoms of a prefix, of all atoms in the order of their prefixes: they stand together, the prefix itself first. */
function atomsIn(inOrder: readonly AddressAtom[], outer: Cidr): readonly AddressAtom[] {
  let low = 0;
  let high = inOrder.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const atom = inOrder[middle];
    if (atom !== undefined && compareCidrs(atom.prefix, outer) < 0) low = middle + 1;
    else high = middle;
  }
  let end = low;
  for (let atom = inOrder[end]; atom !== undefined && liesIn(atom.prefix, outer); atom = inOrder[end]) end++;
  return inOrder.slice(low, end);
}

/** Two halves of a prefix become it, the smallest first, so that what they make may be a half again. */
function halvesJoined(list: readonly Meant[]): readonly Meant[] {
  const left = new Map(list.map((one) => [cidrKey(one.prefix), one]));
  const bySize = [...list].sort((a, b) => b.prefix.prefixLength - a.prefix.prefixLength);
  for (const { prefix } of bySize) {
    let half = left.get(cidrKey(prefix));
    while (half !== undefined && half.prefix.prefixLength > 0) {
      const other = left.get(cidrKey(otherHalf(half.prefix)));
      if (other === undefined) break;
      left.delete(cidrKey(half.prefix));
      left.delete(cidrKey(other.prefix));
      const except = [...half.except, ...other.except].sort(compareCidrs);
      half = { prefix: cidrOf(half.prefix, half.prefix.prefixLength - 1), except };
      left.set(cidrKey(half.prefix), half);
    }
  }
  return [...left.values()].sort((a, b) => compareCidrs(a.prefix, b.prefix));
}

/** The prefix that differs in the last bit. */
function otherHalf({ family, words, prefixLength }: Cidr): Cidr {
  const bit = prefixLength - 1;
  const flipped = words.map((word, index) => (index === bit >>> 5 ? word ^ (1 << (31 - (bit & 31))) : word));
  return { family, words: flipped, prefixLength };
}

function exceptText(cidrs: readonly Cidr[]): string {
  return cidrs.length === 0 ? "" : ` except ${joined(cidrs.map(formatCidr))}`;
}

/** Enough to say what it is about. */
const SHOWN = 6;

function joined(texts: readonly string[]): string {
  const shown = texts.slice(0, SHOWN).join(", ");
  return texts.length > SHOWN ? `${shown} and ${texts.length - SHOWN} more` : shown;
}
