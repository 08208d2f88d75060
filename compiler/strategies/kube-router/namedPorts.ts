/**
 * Named ports: which numbers a name stands for, and the pods that are in the set of each (policy.go
 * `grabNamedPortFromPod`).
 *
 * The original indexes pods one after the other and lets all ports of a pod share one list of addresses, which starts
 * with its own. The first pod with an entry (name, protocol, number) owns it; a later pod with that entry is appended to
 * the owner's list, and with it lands in the sets of *all* the owner's ports. So a set can hold pods without the port,
 * and which ones depends on the order of the visits, which is random there and an option here.
 */
import type { Endpoint, PolicyPort, PortProtocol } from "../../model.ts";

/** One number that a name stands for. */
export interface NamedPort {
  readonly protocol: PortProtocol;
  readonly port: number;
  /** Who is in its set. */
  readonly pods: ReadonlySet<Endpoint>;
}

export interface NamedPortIndex {
  /** The numbers of a name under a protocol, in the order asked for (random in the original). */
  resolve(name: string, protocol: PortProtocol): readonly NamedPort[];
}

/** Which number of a name gets the first set. */
export type NumberOrder = "ascending" | "descending";

/** `visits`: pods in the order they are visited; a pod may come twice. Only plain containers are looked at. */
export function indexNamedPorts(visits: readonly Endpoint[], order: NumberOrder = "ascending"): NamedPortIndex {
  if (visits.length === 0) return NO_NAMED_PORTS;
  const entries = new Map<string, Map<number, Set<Endpoint>>>();
  for (const pod of visits) {
    const own = new Set([pod]);
    for (const { name, protocol, port, container } of pod.ports) {
      if (container !== "container") continue;
      const numbers = entries.get(`${protocol} ${name}`) ?? new Map<number, Set<Endpoint>>();
      entries.set(`${protocol} ${name}`, numbers);
      const shared = numbers.get(port);
      if (shared === undefined) numbers.set(port, own);
      else shared.add(pod);
    }
  }
  return {
    resolve: (name, protocol) =>
      [...(entries.get(`${protocol} ${name}`) ?? [])]
        .sort(([a], [b]) => (order === "ascending" ? a - b : b - a))
        .map(([port, pods]) => ({ protocol, port, pods })),
  };
}

const NO_NAMED_PORTS: NamedPortIndex = { resolve: () => [] };

/** A rule's ports, sorted into what they resolve to. */
export interface ResolvedPorts {
  readonly numeric: readonly PolicyPort[];
  readonly named: readonly NamedPort[];
}

export function resolvePorts(ports: readonly PolicyPort[], index: NamedPortIndex): ResolvedPorts {
  return {
    numeric: ports.filter(({ port }) => typeof port !== "string"),
    named: ports.flatMap(({ port, protocol }) => (typeof port === "string" ? index.resolve(port, protocol) : [])),
  };
}
