/** Random packets of the tiny world, and all of them. */
import fc from "fast-check";
import type { ClusterModel } from "../../compiler/model.ts";
import { formatAddress } from "../../dataplane/address.ts";
import type { Packet } from "../../dataplane/packet.ts";
import { packet } from "./builders.ts";
import { podAddresses } from "./cluster.ts";
import { NODES, OUTSIDE, PLACES, PORTS } from "./domain.ts";

type FamilyName = "ipv4" | "ipv6";

const ENDS: Readonly<Record<FamilyName, readonly string[]>> = {
  ipv4: [...PLACES.map((place) => place.ipv4), ...NODES.map((node) => node.ipv4), ...OUTSIDE.ipv4],
  ipv6: [...PLACES.map((place) => place.ipv6), ...NODES.map((node) => node.ipv6), ...OUTSIDE.ipv6],
};

/** Protocol and destination port of every kind of packet: TCP, UDP and SCTP to each port, a ping, and GRE. */
function kinds(family: FamilyName): readonly { readonly protocol: string; readonly port: number }[] {
  return [
    ...PORTS.flatMap((port) => ["tcp", "udp", "sctp"].map((protocol) => ({ protocol, port }))),
    { protocol: family === "ipv4" ? "icmp" : "icmpv6", port: 0 },
    { protocol: "gre", port: 0 },
  ];
}

function firstPacket(ends: { readonly source: string; readonly destination: string }, kind: Kind): Packet {
  const sourcePort = kind.port === 0 ? 0 : 40_000;
  return packet(kind.protocol, ends.source, ends.destination, { sourcePort, destinationPort: kind.port });
}

type Kind = ReturnType<typeof kinds>[number];

/** TCP for the most part, as policies are. */
function kindArbitrary(family: FamilyName): fc.Arbitrary<Kind> {
  const all = kinds(family);
  const tcp = all.filter(({ protocol }) => protocol === "tcp");
  return fc.oneof({ weight: 1, arbitrary: fc.constantFrom(...tcp) }, { weight: 1, arbitrary: fc.constantFrom(...all) });
}

/**
 * Random first packets of connections, IPv4 for the most part. Both ends are addresses of the domain and differ; neither
 * needs to belong to a pod of the cluster (`concerns` tells).
 */
export const packetArbitrary: fc.Arbitrary<Packet> = fc
  .oneof(
    { weight: 4, arbitrary: fc.constant<FamilyName>("ipv4") },
    { weight: 1, arbitrary: fc.constant<FamilyName>("ipv6") },
  )
  .chain((family) =>
    fc
      .record({
        kind: kindArbitrary(family),
        ends: fc.uniqueArray(fc.constantFrom(...ENDS[family]), { minLength: 2, maxLength: 2 }),
      })
      .map(({ kind, ends: [source = "", destination = ""] }) => firstPacket({ source, destination }, kind)),
  );

/** Whether an end of the packet is a pod on the pod network; policy has no say about others. */
export function concerns(model: ClusterModel, candidate: Packet): boolean {
  const pods = podAddresses(model);
  return pods.has(formatAddress(candidate.source)) || pods.has(formatAddress(candidate.destination));
}

/**
 * Every first packet of the domain that concerns the cluster, in a fixed order: about 1,700 for IPv4 when all six places
 * are taken, twice that with both families. A pod to its own address is left out.
 */
export function allPackets(model: ClusterModel): readonly Packet[] {
  const pods = podAddresses(model);
  const packets: Packet[] = [];
  for (const family of ["ipv4", "ipv6"] as const) {
    for (const source of ENDS[family]) {
      for (const destination of ENDS[family]) {
        if (source === destination || !(pods.has(source) || pods.has(destination))) continue;
        for (const kind of kinds(family)) packets.push(firstPacket({ source, destination }, kind));
      }
    }
  }
  return packets;
}
