import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { resolvePolicies } from "../../compiler/compile.ts";
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import { bpfHash } from "../../compiler/strategies/bpf-hash.ts";
import { kubeRouter } from "../../compiler/strategies/kube-router.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { addressBits, addressesEqual, type Cidr, cidrContains, type IpAddress } from "../../dataplane/address.ts";
import { makePacket, type Packet } from "../../dataplane/packet.ts";
import type { Match, Program } from "../../dataplane/program.ts";
import { referenceSide } from "../../verify/exhaustive.ts";
import {
  address,
  blockPeer,
  cidr,
  cluster,
  EVERYTHING,
  node,
  pod,
  policy,
  policyPort,
  rule,
} from "../../verify/fuzz/builders.ts";
import { clusterArbitrary } from "../../verify/fuzz/cluster.ts";
import { compileNodes, strategyLane } from "../../verify/lane.ts";
import {
  type AddressAtom,
  isOnTheWay,
  packetOf,
  packetSpaces,
  type ServiceAtom,
  spaceSize,
} from "../../verify/space.ts";
import { blindSpots } from "../../verify/spaceReads.ts";
import { runsOf } from "../extent.ts";

/** Bits of an address, filled from random words. */
const wordsArbitrary = fc.array(fc.integer(), { minLength: 4, maxLength: 4 });

function randomIn({ family, words, prefixLength }: Cidr, random: readonly number[]): IpAddress {
  return {
    family,
    words: words.map((word, index) => {
      const fixed = Math.min(32, Math.max(0, prefixLength - 32 * index));
      const mask = fixed === 0 ? 0 : -1 << (32 - fixed);
      return (word & mask) | ((random[index] ?? 0) & ~mask);
    }),
  };
}

function inAtom({ prefix, holes }: AddressAtom, candidate: IpAddress): boolean {
  return cidrContains(prefix, candidate) && !holes.some((hole) => cidrContains(hole, candidate));
}

/** An address of the atom: `random` where that is one, pushed out of holes by taking other bits of it. */
function someAddress(atom: AddressAtom, random: readonly number[]): IpAddress {
  for (let turn = 0; turn < 32; turn++) {
    const turned = random.map((word) => (word << turn) | (word >>> (32 - turn)));
    const candidate = randomIn(atom.prefix, turned);
    if (inAtom(atom, candidate)) return candidate;
  }
  return atom.representative;
}

/** A packet of the same tuple that shares as little as possible with the representative. */
function somePacket(
  ends: readonly [AddressAtom, AddressAtom],
  service: ServiceAtom,
  random: { readonly words: readonly number[]; readonly part: number },
): Packet {
  const [source, destination] = ends;
  const { words, part } = random;
  const plain = packetOf(source, destination, service);
  const { ports, icmpTypes } = service;
  const type = icmpTypes?.[Math.floor(part * icmpTypes.length)];
  return makePacket({
    protocol: service.representative,
    source: someAddress(source, words),
    destination: someAddress(destination, [...words].reverse()),
    destinationPort:
      ports === undefined ? plain.destinationPort : ports.first + Math.floor(part * (ports.last - ports.first + 1)),
    ...(type !== undefined && { icmpType: type }),
  });
}

function spacesOf(resolved: ResolvedCluster) {
  return packetSpaces(
    resolved,
    STRATEGIES.flatMap((strategy) => compileNodes(resolved, strategy, {})),
  );
}

describe("the atoms of addresses", () => {
  it("have every address exactly once", () => {
    fc.assert(
      fc.property(clusterArbitrary(), fc.array(wordsArbitrary, { minLength: 20 }), (model, random) => {
        for (const { family, addresses } of spacesOf(resolvePolicies(model))) {
          const everything: Cidr = {
            family,
            words: new Array<number>(addressBits(family) / 32).fill(0),
            prefixLength: 0,
          };
          // Anywhere, and near what people wrote: inside the prefix of some atom.
          const prefixes = [everything, ...addresses.map(({ prefix }) => prefix)];
          for (const [index, words] of random.entries()) {
            const candidate = randomIn(prefixes[index % prefixes.length] ?? everything, words);
            const isLoopback = [cidr("127.0.0.0/8"), cidr("::1/128")].some((block) => cidrContains(block, candidate));
            const holding = addresses.filter((atom) => inAtom(atom, candidate));
            expect(holding).toHaveLength(isLoopback ? 0 : 1);
          }
        }
      }),
      { numRuns: runsOf(15) },
    );
  });

  it("hold their representative, and together every address but the loopback's", () => {
    fc.assert(
      fc.property(clusterArbitrary(), (model) => {
        for (const { family, addresses } of spacesOf(resolvePolicies(model))) {
          for (const atom of addresses) expect(inAtom(atom, atom.representative)).toBe(true);
          const loopback = family === 4 ? 1n << 24n : 1n;
          expect(addresses.reduce((sum, { size }) => sum + size, loopback)).toBe(1n << BigInt(addressBits(family)));
        }
      }),
      { numRuns: runsOf(15) },
    );
  });

  it("know whose addresses are a node's, also when only a pod on its host network lists them", () => {
    const resolved = resolvePolicies(
      cluster({
        nodes: [node("node-a", ["192.168.0.11"])],
        endpoints: [
          pod("default/a", ["10.1.0.2"], { node: "node-a" }),
          pod("default/agent", ["192.168.7.7"], { node: "node-a", hostNetwork: true }),
        ],
      }),
    );
    const [space] = packetSpaces(resolved, []);
    const nodes = space?.addresses.filter((atom) => atom.node === "node-a").map((atom) => atom.representative.words);
    expect(nodes).toEqual([address("192.168.0.11").words, address("192.168.7.7").words]);
  });
});

describe("the atoms of services", () => {
  it("have every protocol and port exactly once", () => {
    fc.assert(
      fc.property(clusterArbitrary(), fc.nat(255), fc.nat(65_535), (model, protocol, port) => {
        for (const { family, services } of spacesOf(resolvePolicies(model))) {
          if (protocol === (family === 4 ? 1 : 58)) continue; // by types, below
          const holding = services.filter(
            (atom) =>
              atom.protocol === protocol &&
              (atom.ports === undefined || (atom.ports.first <= port && port <= atom.ports.last)),
          );
          const named = services.some((atom) => atom.protocol === protocol);
          expect(holding).toHaveLength(named ? 1 : 0);
          expect(services.filter((atom) => atom.protocol === undefined)).toHaveLength(1);
        }
      }),
      { numRuns: runsOf(25) },
    );
  });

  it("have every ICMP question once, the echo request alone", () => {
    const resolved = resolvePolicies(
      cluster({ endpoints: [pod("default/a", ["10.1.0.2", "fd00::2"], { node: "node-a" })] }),
    );
    const types = spacesOf(resolved).map(({ services }) => services.flatMap(({ icmpTypes }) => [icmpTypes ?? []]));
    const [four = [], six = []] = types.map((lists) => lists.filter((list) => list.length > 0));
    expect(four).toContainEqual([8]);
    expect(four.flat().sort((a, b) => a - b)).toEqual([8, 13, 15, 17]);
    expect(six).toContainEqual([128]);
    expect(six.flat().sort((a, b) => a - b)).toEqual([128, 139]);
  });

  it("a range that a map spells out port by port is one atom, but for its first port, which is all that some read of it", () => {
    const resolved = resolvePolicies(
      cluster({
        nodes: [node("node-a", ["192.168.0.11"])],
        endpoints: [pod("default/a", ["10.1.0.2"], { node: "node-a" })],
        policies: [
          policy("default/p", EVERYTHING, {
            ingress: [rule([blockPeer("172.16.0.0/16")], [policyPort("TCP", 8000, 8099)])],
          }),
        ],
      }),
    );
    const [space] = packetSpaces(resolved, compileNodes(resolved, bpfHash, {}));
    const tcp = space?.services.filter(({ protocol }) => protocol === 6).map(({ ports }) => ports);
    expect(tcp).toEqual([
      { first: 0, last: 7999 },
      { first: 8000, last: 8000 },
      { first: 8001, last: 8099 },
      { first: 8100, last: 65_535 },
    ]);
  });

  it("add up to the size of the space", () => {
    const resolved = resolvePolicies(
      cluster({
        nodes: [node("node-a", ["192.168.0.11"])],
        endpoints: [pod("default/a", ["10.1.0.2"], { node: "node-a" })],
      }),
    );
    const [space] = packetSpaces(resolved, []);
    if (space === undefined) throw new Error("no space");
    // Protocols other than the three with ports and ICMP; every port of the three; four ICMP questions.
    const services = 256n - 4n + 3n * 65_536n + 4n;
    const outside = (1n << 32n) - (1n << 24n) - 2n;
    expect(spaceSize(space)).toBe(services * (outside * 4n + 2n));
  });
});

describe("a tuple of atoms", () => {
  it.each(STRATEGIES)("is one packet to $name, and to the API text", (strategy) => {
    let asked = 0;
    const runs = runsOf(25);
    fc.assert(
      fc.property(
        clusterArbitrary(),
        fc.array(
          fc.record({
            at: fc.tuple(fc.nat(), fc.nat(), fc.nat()),
            words: wordsArbitrary,
            part: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
          }),
          { minLength: 60, maxLength: 60 },
        ),
        (model, draws) => {
          const resolved = resolvePolicies(model);
          const lane = strategyLane(resolved, strategy, {});
          const sides = [lane, referenceSide(resolved)];
          const spaces = packetSpaces(resolved, lane.programs);
          for (const { at, ...random } of draws) {
            const space = spaces[(at[0] >>> 8) % Math.max(1, spaces.length)];
            const from = space?.addresses[at[0] % space.addresses.length];
            const to = space?.addresses[at[1] % space.addresses.length];
            const service = space?.services[at[2] % space.services.length];
            if (from === undefined || to === undefined || service === undefined || !isOnTheWay(from, to)) continue;
            const representative = packetOf(from, to, service);
            const other = somePacket([from, to], service, random);
            if (addressesEqual(other.source, other.destination)) continue;
            for (const side of sides) {
              expect({ other, openings: side.open([other]) }).toEqual({ other, openings: side.open([representative]) });
            }
            asked++;
          }
        },
      ),
      { numRuns: runs },
    );
    expect(asked).toBeGreaterThan(8 * runs);
  });
});

describe("blind spots", () => {
  const [program] = compileNodes(
    resolvePolicies(
      cluster({ nodes: [node("node-a", [])], endpoints: [pod("default/a", ["10.1.0.2"], { node: "node-a" })] }),
    ),
    kubeRouter,
    {},
  );

  function withMatch(match: Match, targetKind: "accept" | "log"): Program {
    if (program?.kind !== "tables") throw new Error("no tables");
    const target =
      targetKind === "accept" ? ({ kind: "accept" } as const) : ({ kind: "log", target: "NFLOG", text: "" } as const);
    const rules = [{ matches: [match], target }];
    return { ...program, families: [{ family: 4, tables: [{ name: "filter", chains: [{ name: "X", rules }] }] }] };
  }

  it.each<readonly [Match, string]>([
    [{ kind: "ports", side: "source", ranges: [], extension: "tcp", negate: false }, "source ports"],
    [{ kind: "ports", side: "either", ranges: [], extension: "multiport", negate: false }, "source ports"],
    [{ kind: "set", set: "s", sides: ["destination", "source"], negate: false }, "source ports"],
    [{ kind: "tcpFlags", mask: 2, compare: 2, negate: false }, "TCP flags"],
    [{ kind: "icmp", family: 4, type: 8, code: 1, negate: false }, "ICMP codes"],
    [{ kind: "fragment", negate: false }, "fragments"],
    [{ kind: "limit", rate: "1/second", burst: 5 }, "rates of packets"],
    [{ kind: "opaque", text: "-m nobody" }, "what chainwalk cannot represent: -m nobody"],
  ])("%j is one", (match, spot) => {
    expect(blindSpots([withMatch(match, "accept")])).toEqual([spot]);
  });

  it("a limit on what is logged is none", () => {
    expect(blindSpots([withMatch({ kind: "limit", rate: "1/second", burst: 5 }, "log")])).toEqual([]);
  });
});
