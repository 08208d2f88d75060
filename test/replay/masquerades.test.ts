/** Connections to the world that a node sends on under its own address, recorded on both sides of the translation. */
import { describe, expect, it } from "vitest";
import { parseAddress } from "../../dataplane/address.ts";
import { makePacket, PROTOCOL, TCP_FLAG } from "../../dataplane/packet.ts";
import { PACKET_LINK_TYPE, packetFrame } from "../../traffic/captureWriter.ts";
import { PcapngWriter } from "../../traffic/writePcapng.ts";
import { chainwalk } from "../cli/commandLine.ts";

const CLUSTER = "scenarios/address-inherited/cluster.yaml";
/** shop/client and shop/stranger on node-b, and that node; the other node, and its shop/web. */
const [CLIENT, STRANGER, NODE, OTHER_NODE, WEB] = [
  "10.10.2.10",
  "10.10.2.11",
  "192.168.0.12",
  "192.168.0.11",
  "10.10.1.10",
] as const;
const WORLD = "198.51.100.7";

interface Seen {
  readonly from: string;
  readonly to?: string;
  readonly port?: number;
  readonly sequence: number;
  /** Default: a whole exchange of six packets. */
  readonly packets?: number;
  readonly time?: number;
}

function address(text: string) {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
}

/** A TCP exchange as one interface has it; packet n of each is 10 ms after packet n - 1. */
function exchange({ from, to = WORLD, port = 40_000, sequence, packets = 6, time = 1000 }: Seen) {
  return Array.from({ length: packets }, (_, turn) => {
    const isBack = turn % 2 === 1;
    return makePacket({
      time: time + turn / 100,
      protocol: PROTOCOL.tcp,
      source: address(isBack ? to : from),
      destination: address(isBack ? from : to),
      sourcePort: isBack ? 443 : port,
      destinationPort: isBack ? port : 443,
      tcpFlags: [TCP_FLAG.S, TCP_FLAG.S | TCP_FLAG.A][turn] ?? TCP_FLAG.A,
      sequence: isBack ? sequence + 5000 : sequence + (turn > 0 ? 1 : 0) + Math.max(0, turn - 2) * 100,
      acknowledgment: turn === 0 ? 0 : isBack ? sequence + 1 + turn * 100 : sequence + 5001,
      payloadBytes: turn > 2 ? 100 : 0,
    });
  });
}

/** Each list on an interface of its own, the first of them nearer to the pods. */
async function replayed(
  onInterfaces: readonly (readonly ReturnType<typeof makePacket>[])[],
  ...flags: readonly string[]
) {
  const writer = new PcapngWriter({});
  const frames = onInterfaces.flatMap((packets, number) => {
    const interfaceId = writer.addInterface({ linkType: PACKET_LINK_TYPE });
    return packets.map((packet) => {
      // Outwards a moment later, inwards a moment earlier.
      const isBack = packet.sourcePort === 443;
      return { packet: { ...packet, time: packet.time + (isBack ? -1 : 1) * number * 1e-4 }, interfaceId };
    });
  });
  for (const { packet, interfaceId } of frames.toSorted((a, b) => a.packet.time - b.packet.time)) {
    writer.frame({ ...packetFrame(packet), interfaceId });
  }
  const { out } = await chainwalk(["replay", "-f", CLUSTER, "t.pcapng", "-o", "json", ...flags], {
    files: { "t.pcapng": writer.take() },
  });
  const { flows, notes } = JSON.parse(out);
  return {
    flows: flows.map(({ source, packets }: { source: string; packets: number }) => `${source} ${packets}`).sort(),
    notes: notes.join("\n"),
  };
}

describe("a connection that the node translates", () => {
  it("is one flow, the pod's, with either port behind the translation and answers recorded there first", async () => {
    const { flows, notes } = await replayed([
      [...exchange({ from: CLIENT, sequence: 1 }), ...exchange({ from: STRANGER, sequence: 7000 })],
      // The first keeps its port; for the second it is taken.
      [...exchange({ from: NODE, sequence: 1 }), ...exchange({ from: NODE, sequence: 7000, port: 61_001 })],
    ]);
    expect(flows).toEqual([`${CLIENT} 6`, `${STRANGER} 6`]);
    expect(notes).toContain(
      "2 connections were sent on under the node's own address and are counted once, as the pod's",
    );
  });

  it("and whose port the node uses itself later, is the node's then", async () => {
    const { flows } = await replayed([
      exchange({ from: CLIENT, sequence: 1 }),
      [...exchange({ from: NODE, sequence: 1 }), ...exchange({ from: NODE, sequence: 90_000, time: 1100 })],
    ]);
    expect(flows).toEqual([`${CLIENT} 6`, `${NODE} 6`]);
  });

  it.each([
    [
      "the node's own, with other numbers",
      [exchange({ from: CLIENT, sequence: 1 }), exchange({ from: NODE, sequence: 2 })],
      NODE,
    ],
    [
      "another node's",
      [exchange({ from: CLIENT, sequence: 1 }), exchange({ from: OTHER_NODE, sequence: 1 })],
      OTHER_NODE,
    ],
    [
      "too much later",
      [exchange({ from: CLIENT, sequence: 1 }), exchange({ from: NODE, sequence: 1, time: 1000.025 })],
      NODE,
    ],
  ])("is not seen in %s", async (_, onInterfaces, other) => {
    expect((await replayed(onInterfaces)).flows).toEqual([`${CLIENT} 6`, `${other} 6`]);
  });

  it("on its way to a pod stays two: there, policies see the node's address", async () => {
    const { flows, notes } = await replayed([
      exchange({ from: CLIENT, to: WEB, sequence: 1 }),
      exchange({ from: NODE, to: WEB, sequence: 1 }),
    ]);
    expect(flows).toEqual([`${CLIENT} 6`, `${NODE} 6`]);
    expect(notes).not.toContain("own address");
  });

  it("is replayed as recorded with --keep-duplicates", async () => {
    const seen = [exchange({ from: CLIENT, sequence: 1 }), exchange({ from: NODE, sequence: 1 })];
    expect((await replayed(seen, "--keep-duplicates")).flows).toEqual([`${CLIENT} 6`, `${NODE} 6`]);
  });
});
