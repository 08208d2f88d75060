/** Packets for a cluster's pods: who talks to whom, and in what order. */
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import { makePacket, type Packet, PROTOCOL, TCP_FLAG } from "../../dataplane/packet.ts";
import type { Random } from "./random.ts";

/** - `single`: one flow again and again. - `zipf`: flow k appears in proportion to 1/k. - `uniform`: all alike. */
export type Locality = "uniform" | "zipf" | "single";
export const LOCALITIES = ["uniform", "zipf", "single"] as const satisfies readonly Locality[];

/** Destination ports that the workloads' policies speak of. */
const PORTS = [80, 443, 5432, 8080, 9090];

/** SYNs of distinct connections between two pods each, of which the destination is on the node. */
export function openingPackets(
  cluster: ResolvedCluster,
  node: string,
  { count, random }: { readonly count: number; readonly random: Random },
): readonly Packet[] {
  const near = cluster.podsOn(node);
  if (near.length < 1 || cluster.pods.length < 2) throw new Error(`no pods to talk to on ${node}`);
  return Array.from({ length: count }, (_, index) => {
    const destination = random.pick(near);
    let source = random.pick(cluster.pods);
    while (source === destination) source = random.pick(cluster.pods);
    const [from] = source.addresses;
    const [to] = destination.addresses;
    if (from === undefined || to === undefined) throw new Error("a pod of the workload has no address");
    return makePacket({
      protocol: PROTOCOL.tcp,
      source: from,
      destination: to,
      sourcePort: 1024 + (index % 60_000),
      destinationPort: random.pick(PORTS),
    });
  });
}

/** What the opener sends once it was answered. */
export function nextOf(syn: Packet): Packet {
  return makePacket({ ...syn, tcpFlags: TCP_FLAG.A, sequence: syn.sequence + 1, acknowledgment: 1 });
}

/** `count` of the packets, drawn as the locality says. */
export function inOrder(
  packets: readonly Packet[],
  locality: Locality,
  { count, random }: { readonly count: number; readonly random: Random },
): readonly Packet[] {
  switch (locality) {
    case "single": {
      const packet = random.pick(packets);
      return Array.from({ length: count }, () => packet);
    }
    case "uniform":
      return Array.from({ length: count }, () => random.pick(packets));
    case "zipf": {
      const draw = zipf(packets.length, random);
      return Array.from({ length: count }, () => packets[draw()] ?? random.pick(packets));
    }
  }
}

/** Fine enough for draws from as many flows as there are. */
const GRAIN = 2 ** 30;

function zipf(count: number, random: Random): () => number {
  const cumulative = new Float64Array(count);
  let sum = 0;
  for (let index = 0; index < count; index++) {
    sum += 1 / (index + 1);
    cumulative[index] = sum;
  }
  return () => {
    const wanted = (random.below(GRAIN) / GRAIN) * sum;
    let low = 0;
    let high = count - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((cumulative[middle] ?? 0) > wanted) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}
