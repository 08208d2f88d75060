import { Dataplane, type Engine } from "../../dataplane/dataplane.ts";
import {
  encodeIpcacheKey,
  encodeIpcacheValue,
  encodePolicyAllow,
  encodePolicyKey,
  IPCACHE_KEY_BYTES,
  IPCACHE_VALUE_BYTES,
  POLICY_KEY_BYTES,
  POLICY_VALUE_BYTES,
} from "../../dataplane/maps/layout.ts";
import { createBatch, PROTOCOL, TCP_FLAG } from "../../dataplane/packet.ts";
import type { MapProgram, MapSpec } from "../../dataplane/program.ts";
import { createResults } from "../../dataplane/result.ts";
import { VERDICT_CODE } from "../../dataplane/verdict.ts";
import { missingCapabilities, reasonAgainst } from "../../verify/kernel/capabilities.ts";
import { quickNs } from "../engine.ts";
import { BATCH_ROWS, routeRows, writeSegment } from "../engineTraffic.ts";
import { kernelMapPath, peerWord } from "../kernel/mapPath.ts";
import { Random } from "../workloads/random.ts";
import type { Target } from "./target.ts";

export const POD = (172 << 24) | 5;
export const ADMITTED = 80;
export const REFUSED = 81;
/** Cilium's limit for the policy map of an endpoint. */
const MOST_POLICY_ENTRIES = 16_384;
const FIRST_IDENTITY = 256;

/** A pod whose policy admits all peers to one port. */
export function ingressProgram(peers: number): { program: MapProgram; ipcache: MapSpec; policy: MapSpec } {
  const identities = Math.min(peers, MOST_POLICY_ENTRIES);
  const port = { protocol: PROTOCOL.tcp, portBits: 16 };
  const ipcache: MapSpec = {
    name: "ipcache",
    type: "lpm-trie",
    keyBytes: IPCACHE_KEY_BYTES,
    valueBytes: IPCACHE_VALUE_BYTES,
    maxEntries: peers,
    entries: Array.from({ length: peers }, (_, number) => ({
      key: encodeIpcacheKey({ family: 4, words: [peerWord(number)], prefixLength: 32 }),
      value: encodeIpcacheValue(FIRST_IDENTITY + (number % identities)),
    })),
  };
  const policy: MapSpec = {
    name: "policy",
    type: "lpm-trie",
    keyBytes: POLICY_KEY_BYTES,
    valueBytes: POLICY_VALUE_BYTES,
    maxEntries: identities,
    entries: Array.from({ length: identities }, (_, number) => ({
      key: encodePolicyKey({ ...port, direction: "ingress", identity: FIRST_IDENTITY + number, port: ADMITTED }),
      value: encodePolicyAllow(port),
    })),
  };
  const program: MapProgram = {
    kind: "maps",
    strategy: "target",
    node: "node",
    maps: [ipcache, policy],
    attachPoints: [
      { endpoint: "ns/pod", direction: "ingress", plan: { kind: "identity", ipcache: "ipcache", policy: "policy" } },
    ],
    attachment: {
      uplink: "eth0",
      pods: [{ endpoint: "ns/pod", addresses: [{ family: 4, words: [POD] }], interface: "lxc1" }],
      remotePodAddresses: [],
      localAddresses: [],
    },
  };
  return { program, ipcache, policy };
}

/** Packets of random peers to a port that is refused: all look-ups of a new packet, whole path, and nothing is entered. */
function emulated(program: MapProgram, peers: number, engine: Engine): number {
  const node = new Dataplane(program, { engine });
  const random = new Random(19);
  const batch = createBatch(BATCH_ROWS);
  const results = createResults(BATCH_ROWS);
  batch.length = BATCH_ROWS;
  const fill = (destinationPort: number, peerOf: (row: number) => number) => {
    for (let row = 0; row < BATCH_ROWS; row++) {
      const segment = { destination: POD, destinationPort, flags: TCP_FLAG.S, sequence: 1, acknowledgment: 0 };
      writeSegment(batch, row, {
        ...segment,
        source: peerWord(peerOf(row)),
        sourcePort: 1024 + random.below(60_000),
        payloadBytes: 0,
      });
    }
    routeRows(batch, node);
  };
  const push = () => node.push(batch, results, 0, BATCH_ROWS);
  const all = (verdict: number) => {
    if (results.verdict.some((code) => code !== verdict)) throw new Error(`not all packets have verdict ${verdict}`);
  };
  for (let flow = 0; flow < peers; flow += BATCH_ROWS) {
    fill(ADMITTED, (row) => (flow + row) % peers);
    push();
    all(VERDICT_CODE.accept);
  }
  const time = quickNs(200, BATCH_ROWS, { prepare: () => fill(REFUSED, () => random.below(peers)), measured: push });
  all(VERDICT_CODE.drop);
  return time;
}

function lookupTarget(name: string, peers: number): Target {
  return {
    name: `map look-up path, ${name} entries`,
    unit: "× kernel",
    goal: 1,
    stretch: 0.5,
    better: "lower",
    limitMs: 120_000,
    async measure() {
      const { program, ipcache, policy } = ingressProgram(peers);
      const ours = emulated(program, peers, "memo");
      const walked = emulated(program, peers, "walk");
      const told = `${Math.round(ours)} ns a packet, the whole path (${Math.round(walked)} where nothing is remembered)`;
      const reason = reasonAgainst(await missingCapabilities(), "bpf");
      if (reason !== undefined) return { measured: undefined, note: `${told}; no kernel to compare with: ${reason}` };
      const theirs = await kernelMapPath({ ipcache, policy, peers, flows: peers, port: REFUSED });
      return {
        measured: ours / theirs,
        note: `${told} against ${Math.round(theirs)} ns for two hash and three trie look-ups of the kernel's maps alone; a random one of ${peers} peers, ${peers} connections, ${policy.entries.length} policy entries`,
      };
    },
  };
}

export const mapLookupTargets: readonly Target[] = [
  lookupTarget("10", 16),
  lookupTarget("1,000", 1_024),
  lookupTarget("100,000", 131_072),
];
