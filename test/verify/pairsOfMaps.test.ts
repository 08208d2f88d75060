/** Maps of which every entry is read once say what look-ups say; so do the programs of all strategies. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { resolvePolicies } from "../../compiler/resolve.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { type Cidr, hostCidr } from "../../dataplane/address.ts";
import { Fabric } from "../../dataplane/fabric.ts";
import {
  BLOCK_KEY_BYTES,
  encodeBlockKey,
  encodeIpcacheKey,
  encodeIpcacheValue,
  encodePolicyAllow,
  encodePolicyKey,
  encodeTupleKey,
  encodeTupleValue,
  IPCACHE_KEY_BYTES,
  POLICY_KEY_BYTES,
  TUPLE_KEY_BYTES,
  type TupleMapKey,
} from "../../dataplane/maps/layout.ts";
import { PROTOCOL } from "../../dataplane/packet.ts";
import type { AttachPoint, LookupPlan, MapEntry, MapProgram, MapSpec, MapType } from "../../dataplane/program.ts";
import { address } from "../../verify/fuzz/builders.ts";
import { clusterArbitrary } from "../../verify/fuzz/cluster.ts";
import { NODES, OUTSIDE, PLACES, PORTS } from "../../verify/fuzz/domain.ts";
import { strategyLane } from "../../verify/lane.ts";
import { matrixFamily, matrixPods, matrixPorts, matrixRow, TruthTables } from "../../verify/matrix.ts";
import { PairQuestion } from "../../verify/pairs/question.ts";
import { hostArbitrary, prefixArbitrary } from "../arbitraries/programMatches.ts";
import { runsOf } from "../extent.ts";
import { attachmentOf, decided, pushed } from "./pairsAsked.ts";

const ENDS = [...PLACES, ...NODES]
  .map(({ ipv4 }) => ipv4)
  .concat(OUTSIDE.ipv4)
  .map(address);
const ASKED = [
  ...[PROTOCOL.tcp, PROTOCOL.udp].flatMap((protocol) => [0, ...PORTS].map((port) => ({ protocol, port }))),
  { protocol: PROTOCOL.icmp, port: 0 },
];

const protocol = fc.constantFrom(0, PROTOCOL.tcp, PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.icmp);
const port = fc.constantFrom(0, ...PORTS);
const identity = fc.constantFrom(0, 2, 300, 301, 302);

const ipcache = fc
  .array(fc.tuple(prefixArbitrary(4), identity), { maxLength: 12 })
  .map((prefixes) =>
    prefixes.map(([prefix, number]) => ({ key: encodeIpcacheKey(prefix), value: encodeIpcacheValue(number) })),
  );
const policy = fc.array(
  fc
    .record({
      direction: fc.constantFrom("ingress" as const, "egress" as const),
      identity,
      protocol,
      port,
      portBits: fc.constantFrom(0, 8, 12, 15, 16),
      deny: fc.boolean(),
      precedence: fc.constantFrom(1, 2, 0xffff_ff01, 0xffff_ffff),
    })
    .map(({ deny, precedence, ...drawn }): MapEntry => {
      const portBits = drawn.protocol === 0 ? 0 : drawn.portBits;
      const key = { ...drawn, portBits, port: portBits === 0 ? 0 : drawn.port & (0xffff << (16 - portBits)) & 0xffff };
      const value = encodePolicyAllow(key);
      const view = new DataView(value.buffer);
      view.setUint8(2, view.getUint8(2) | (deny ? 1 : 0));
      view.setUint32(4, precedence, true);
      return { key: encodePolicyKey(key), value };
    }),
  { maxLength: 16, size: "max" },
);
const value = fc.constantFrom("accept" as const, "accept" as const, "hole" as const).map(encodeTupleValue);
const scope = fc.record({ protocol, port }).map((drawn) => (drawn.protocol === 0 ? { protocol: 0, port: 0 } : drawn));
const entriesOf = (peers: fc.Arbitrary<Cidr>, encode: (key: TupleMapKey) => Uint8Array) =>
  fc.array(
    fc
      .tuple(peers, scope, value)
      .map(([peer, ports, meaning]): MapEntry => ({ key: encode({ peer, ...ports }), value: meaning })),
    { maxLength: 16, size: "max" },
  );
const exact = entriesOf(hostArbitrary(4), encodeTupleKey);
const blocks = entriesOf(
  fc.oneof(prefixArbitrary(4), fc.constantFrom(...ENDS.map((end) => hostCidr(end)))),
  encodeBlockKey,
);

/** Of several entries with one key the last. */
function mapOf(name: string, type: MapType, keyBytes: number, entries: readonly MapEntry[]): MapSpec {
  const distinct = new Map(entries.map((entry) => [entry.key.join(), entry]));
  return {
    name,
    type,
    keyBytes,
    valueBytes: entries[0]?.value.length ?? 4,
    maxEntries: 100,
    entries: [...distinct.values()],
  };
}

interface Maps {
  readonly plan: LookupPlan;
  readonly maps: readonly MapSpec[];
}

const identityMaps = fc.record({ ipcache, policy }).map(
  (drawn): Maps => ({
    plan: { kind: "identity", ipcache: "ipcache", policy: "policy" },
    maps: [
      mapOf("ipcache", "lpm-trie", IPCACHE_KEY_BYTES, drawn.ipcache),
      mapOf("policy", "lpm-trie", POLICY_KEY_BYTES, drawn.policy),
    ],
  }),
);
const tupleMaps = fc.record({ exact, blocks }).map(
  (drawn): Maps => ({
    plan: { kind: "tuple", exact: "exact", blocks: "blocks" },
    maps: [
      mapOf("exact", "hash", TUPLE_KEY_BYTES, drawn.exact),
      mapOf("blocks", "lpm-trie", BLOCK_KEY_BYTES, drawn.blocks),
    ],
  }),
);

/** Some of the pods have attach points, all with the same maps. */
const programs = (maps: fc.Arbitrary<Maps>): fc.Arbitrary<readonly MapProgram[]> =>
  fc.tuple(
    ...NODES.map(({ name: node }) =>
      fc
        .record({ drawn: maps, points: fc.subarray([0, 1, 2, 3, 4, 5], { minLength: 2 }) })
        .map(({ drawn, points }): MapProgram => {
          const attachment = attachmentOf(node, false);
          return {
            kind: "maps",
            strategy: "random",
            node,
            maps: drawn.maps,
            attachPoints: points.map(
              (point): AttachPoint => ({
                endpoint: attachment.pods[point >> 1]?.endpoint ?? "",
                direction: point % 2 === 0 ? "ingress" : "egress",
                plan: drawn.plan,
              }),
            ),
            attachment,
          };
        }),
    ),
  );

it.each([
  ["identities", identityMaps],
  ["tuples", tupleMaps],
] as const)("random maps of %s", (_what, maps) => {
  const question = new PairQuestion(ENDS, ASKED);
  const verdicts = new Set<string>();
  fc.assert(
    fc.property(programs(maps), (all) => {
      const found = decided(question, all, question.allEnds);
      expect(found).toEqual(pushed(new Fabric(all), question.ends, ASKED));
      for (const verdict of found ?? []) verdicts.add(verdict);
    }),
    { numRuns: runsOf(100) },
  );
  expect([...verdicts].sort()).toEqual(["accept", "drop"]);
});

it("random clusters under every strategy", () => {
  fc.assert(
    fc.property(clusterArbitrary(), (model) => {
      const cluster = resolvePolicies(model);
      const pods = matrixPods(cluster.pods, matrixFamily(cluster));
      if (pods.length === 0) return;
      const ports = matrixPorts(cluster);
      for (const strategy of STRATEGIES) {
        const lane = strategyLane(cluster, strategy, {});
        const tables = new TruthTables(lane, cluster, { pods, ports });
        const found = pods.map((_, index) => tables.rows(index));
        const rows = pods.map((_, index) => ports.map((one) => matrixRow(lane, pods, index, one)));
        expect(found, strategy.name).toEqual(rows);
      }
    }),
    { numRuns: runsOf(100) },
  );
});
