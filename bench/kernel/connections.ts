/**
 * What connection tracking costs a packet of an established connection, by how many connections there are: packets of
 * connections drawn at random, less the same packets on a node that tracks nothing.
 */
import { makePacket, type Packet, PROTOCOL } from "../../dataplane/packet.ts";
import type { Variant } from "../../verify/kernel/rules.ts";
import { quietCost, quietValue } from "../model/fit.ts";
import type { Curve } from "../model/profile.ts";
import { Random } from "../workloads/random.ts";
import { nextOf } from "../workloads/traffic.ts";
import { ATTACHMENT, BARE, OUTSIDE, POD, UNTRACKED } from "./experiments.ts";
import { PacedNode } from "./pacedNode.ts";

/** The kernel's table has room for 262,144 of all namespaces (nf_conntrack_max). */
const SIZES = [1, 1_000, 10_000, 100_000] as const;
export const CONNECTION_MEASUREMENTS = SIZES.length;

/** Packets of a round: enough that those of a large table are of connections the processor's caches do not hold. */
const ASKED = 8_192;
const TIMES = 8;
const PORTS = 50_000;
const FIRST_PORT = 1_024;

/** The name of the curve in a profile. */
export const CONNECTIONS_CURVE = "conntrack established, any of";

/** `proceed` is called after each size; false: what is there is the answer. */
export async function measureConnections(variant: Variant, proceed: () => Promise<boolean>): Promise<Curve> {
  const curve: Curve = [];
  const node = await PacedNode.start(ATTACHMENT, variant);
  try {
    for (const entries of SIZES) {
      const openings = Array.from({ length: entries }, (_, index) => openingNumber(index));
      const random = new Random(1);
      const asked = Array.from({ length: ASKED }, () => nextOf(random.pick(openings)));
      await node.load(UNTRACKED);
      const way = [...(await node.measureInTurn(asked, TIMES))];
      await node.load(BARE);
      await node.establish(openings);
      const tracked = await node.measureInTurn(asked, 2 * TIMES);
      // Others of the machine may have filled the table: then the packets were not of what they were thought to be of.
      if (node.connections() < entries) throw new Error(`the kernel tracks fewer than ${entries} connections`);
      // Before and after, so that a machine that slows down slows both alike.
      await node.load(UNTRACKED);
      way.push(...(await node.measureInTurn(asked, TIMES)));
      const added = tracked.map((ns) => Math.max(0, ns - quietValue(way)));
      curve.push({ entries, ...quietCost(added, { seed: 1 }) });
      if (!(await proceed())) break;
    }
    return curve;
  } finally {
    await node.close();
  }
}

function openingNumber(index: number): Packet {
  return makePacket({
    protocol: PROTOCOL.tcp,
    source: { family: 4, words: [OUTSIDE + Math.floor(index / PORTS)] },
    sourcePort: FIRST_PORT + (index % PORTS),
    destination: { family: 4, words: [POD] },
    destinationPort: 8080,
  });
}
