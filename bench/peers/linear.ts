/** Peers that scan an ordered list of rules: a plain loop over objects, C, and the Linux kernel itself. */
import { createFabricResults } from "../../dataplane/fabric.ts";
import { missingCapabilities, reasonAgainst } from "../../verify/kernel/capabilities.ts";
import { BARE } from "../kernel/experiments.ts";
import { PacedNode } from "../kernel/pacedNode.ts";
import type { Clock } from "../measure.ts";
import { linearProgram } from "../workloads/linearProgram.ts";
import { batchesOf, fabricOf } from "../workloads/nodeUnderLoad.ts";
import { ruleSetPacket } from "../workloads/ruleSet.ts";
import type { Comparison, Peer } from "./peer.ts";
import { PACKETS, REPEATS, RULES, scanNs, withoutCompiler } from "./scan.ts";

const PAIRS = 7;

/** Our node, packet by packet as new connections; `repeats` passes of which the first are there to warm up. */
function ourNs(clock: Clock): () => number {
  const fabric = fabricOf(linearProgram(RULES));
  const [batch] = batchesOf(PACKETS, RULES);
  if (batch === undefined) throw new Error("no packets");
  const results = createFabricResults(RULES);
  return () => {
    let ns = 0;
    for (let repeat = 0; repeat < REPEATS; repeat++) {
      fabric.flushConntrack();
      const start = clock();
      fabric.pushBatch(batch, results);
      ns += (clock() - start) * 1e6;
    }
    return ns / REPEATS / RULES;
  };
}

interface ObjectRule {
  readonly source: string;
  readonly destination: string | undefined;
  readonly protocol: string;
  readonly port: number;
  readonly verdict: string;
}

/** How one would write it first: objects, strings, a loop. */
function firstMatch(rules: readonly ObjectRule[], packet: ObjectRule): number {
  for (const [index, rule] of rules.entries()) {
    if (rule.source !== packet.source) continue;
    if (rule.destination !== undefined && rule.destination !== packet.destination) continue;
    if (rule.protocol !== packet.protocol || rule.port !== packet.port) continue;
    return index;
  }
  return rules.length;
}

function objectsNs(clock: Clock): () => number {
  const textOf = (word: number | undefined = 0) => [24, 16, 8, 0].map((shift) => (word >>> shift) & 255).join(".");
  const rules = PACKETS.map(({ source }): ObjectRule => {
    return { source: textOf(source.words[0]), destination: undefined, protocol: "tcp", port: 8080, verdict: "accept" };
  });
  // Texts of their own, as a packet's are: equal to a rule's, not the same.
  const packets = rules.map((rule) => ({ ...rule, source: `${rule.source} `.slice(0, -1), destination: "10.0.0.2" }));
  return () => {
    const start = clock();
    let sum = 0;
    for (const packet of packets) sum += firstMatch(rules, packet);
    if (sum !== (RULES * (RULES - 1)) / 2) throw new Error(`the loop over objects found ${sum}`);
    return ((clock() - start) * 1e6) / RULES;
  };
}

function paired(ours: () => number, theirs: () => number, note: string): Comparison {
  // Once aside, so that both are warm.
  ours();
  theirs();
  const pairs = Array.from({ length: PAIRS }, () => [ours(), theirs()] as const);
  return { ours: pairs.map(([own]) => own), theirs: pairs.map(([, other]) => other), note };
}

const WHAT = `first match of ${RULES} ordered rules, one packet for each`;

export const objectsPeer: Peer = {
  name: "a loop over objects",
  what: WHAT,
  unit: "ns/packet",
  reasonAgainst: async () => undefined,
  compare: async ({ clock }) =>
    paired(
      ourNs(clock),
      objectsNs(clock),
      "ours routes and tracks connections as well; what it remembers of a packet's kind counts",
    ),
};

export const scanPeer: Peer = {
  name: "a scan in C",
  what: WHAT,
  unit: "ns/packet",
  reasonAgainst: async () => withoutCompiler(),
  compare: async ({ clock }) =>
    paired(
      ourNs(clock),
      scanNs,
      "gcc -O2, compiled on the spot, the scan alone; ours routes and tracks connections as well",
    ),
};

/** Each new packet of the kernel is the one that the last rule admits, and ours the same. */
export const kernelPeer: Peer = {
  name: "the Linux kernel, iptables-legacy",
  what: `the last of ${RULES} ordered rules admits, first packet of a connection`,
  unit: "ns/packet",
  reasonAgainst: async () => reasonAgainst(await missingCapabilities(), "judge"),
  async compare({ clock }) {
    const program = linearProgram(RULES);
    const packet = ruleSetPacket(RULES - 1, 1);
    const node = await PacedNode.start(program.attachment, "legacy");
    const fabric = fabricOf(program);
    const [batch] = batchesOf(
      Array.from({ length: RULES }, (_, index) => ruleSetPacket(RULES - 1, index)),
      RULES,
    );
    if (batch === undefined) throw new Error("no packets");
    const results = createFabricResults(RULES);
    const ourPass = () => {
      fabric.flushConntrack();
      const start = clock();
      fabric.pushBatch(batch, results);
      return ((clock() - start) * 1e6) / RULES;
    };
    try {
      const ours: number[] = [];
      const theirs: number[] = [];
      for (let pair = 0; pair < PAIRS; pair++) {
        await node.load({ ...BARE, attachment: program.attachment });
        const [bare = 0] = await node.measure(packet, "new", 1);
        await node.load(program);
        const [ruled = 0] = await node.measure(packet, "new", 1);
        theirs.push(ruled - bare);
        ours.push(ourPass());
      }
      return {
        ours,
        theirs,
        note: "the kernel's is what the rules add to forwarding, ours the whole way: a difference beside a total",
      };
    } finally {
      await node.close();
    }
  },
};
