/** What the kernel looks at before it tracks: that a datagram is whole, and that its checksum is right. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ConntrackTable } from "../../dataplane/conntrack.ts";
import { appendPacket, createBatch, makePacket, type Packet, PROTOCOL } from "../../dataplane/packet.ts";
import { ENDS } from "../../verify/fuzz/conversations.ts";
import { ConnectionKernel, packetBytes } from "./connectionKernel.ts";
import { hasKernel } from "./kernel.ts";

/** Where the datagrams here are cut: after so many bytes of their UDP datagram. A fragment ends at a multiple of 8. */
const CUT = 24;

/** Number of the IPv6 fragment header (RFC 8200 section 4.5). */
const FRAGMENT_HEADER = 44;

/** The first CUT bytes behind the IP header, and the rest, as two fragments. */
function fragmentsOf(packet: Packet, identification: number): readonly [first: Uint8Array, last: Uint8Array] {
  const whole = packetBytes(packet, identification);
  const cut = packet.source.family === 4 ? fragment4 : fragment6;
  return [
    cut(whole, { from: 0, to: CUT, identification }),
    cut(whole, { from: CUT, to: Number.POSITIVE_INFINITY, identification }),
  ];
}

interface Part {
  readonly from: number;
  readonly to: number;
  readonly identification: number;
}

function fragment4(whole: Uint8Array, { from, to }: Part): Uint8Array {
  const header = whole.slice(0, 20);
  const view = new DataView(header.buffer);
  const part = whole.slice(20 + from, 20 + Math.min(to, whole.length - 20));
  view.setUint16(2, 20 + part.length);
  view.setUint16(6, (from / 8) | (20 + from + part.length < whole.length ? 0x2000 : 0)); // more fragments
  view.setUint16(10, 0);
  view.setUint16(10, internetChecksum(header));
  return Uint8Array.from([...header, ...part]);
}

function fragment6(whole: Uint8Array, { from, to, identification }: Part): Uint8Array {
  const header = whole.slice(0, 48);
  const view = new DataView(header.buffer);
  const part = whole.slice(40 + from, 40 + Math.min(to, whole.length - 40));
  view.setUint16(4, 8 + part.length);
  view.setUint8(40, whole[6] ?? 0);
  view.setUint8(6, FRAGMENT_HEADER);
  view.setUint8(41, 0);
  view.setUint16(42, from | Number(40 + from + part.length < whole.length));
  view.setUint32(44, identification);
  return Uint8Array.from([...header, ...part]);
}

/** RFC 1071. */
function internetChecksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

const datagram = (family: 4 | 6, sourcePort: number): Packet =>
  makePacket({
    protocol: PROTOCOL.udp,
    source: ENDS[family].client,
    destination: ENDS[family].server,
    sourcePort,
    destinationPort: 53,
    payloadBytes: 64,
  });

const answerTo = ({ source, destination, sourcePort, destinationPort, ...rest }: Packet): Packet => ({
  ...rest,
  source: destination,
  destination: source,
  sourcePort: destinationPort,
  destinationPort: sourcePort,
});

/** What our table says of packets in order. */
function ours(packets: readonly Packet[]): readonly string[] {
  const table = new ConntrackTable();
  const batch = createBatch(1);
  return packets.map((packet) => {
    batch.length = 0;
    const state = table.lookup(batch, appendPacket(batch, packet));
    table.confirm();
    return state;
  });
}

describe.runIf(hasKernel("judge"))("before it tracks, the kernel", () => {
  let kernel: ConnectionKernel;

  beforeAll(async () => {
    kernel = await ConnectionKernel.start("verify");
  });

  afterAll(async () => {
    await kernel.close();
  });

  it.each([4, 6] as const)(
    "puts datagrams of IPv%d together, in whatever order their fragments come",
    async (family) => {
      const { client, server } = ENDS[family];
      const question = datagram(family, 4000 + family);
      const [first, last] = fragmentsOf(question, 1);
      const [nextFirst, nextLast] = fragmentsOf(question, 2);
      const [lone] = fragmentsOf(datagram(family, 5000 + family), 3);
      const answers = await kernel.send([
        { source: client, bytes: first },
        { source: client, bytes: last },
        { source: server, bytes: packetBytes(answerTo(question), 4) },
        { source: client, bytes: nextLast },
        { source: client, bytes: nextFirst },
        { source: client, bytes: lone },
      ]);
      const told = answers.map(({ left, events }) => [
        [...new Set(left.map(({ state }) => state))].join(),
        events.map(({ kind }) => kind).join(),
      ]);
      // Held, then the whole datagram, which leaves in fragments again; we have its first fragment stand for it.
      const [asked, answered, askedAgain] = ours([question, answerTo(question), question]);
      expect(told).toEqual([
        ["", ""],
        [asked, "new"],
        [answered, "update"],
        ["", ""],
        [askedAgain, ""],
        ["", ""],
      ]);
      expect(answers[1]?.left.reduce((sum, { bytes }) => sum + bytes.length, 0)).toBe(first.length + last.length);
      expect(kernel.entries().filter(({ source }) => source.family === family)).toHaveLength(1);
    },
  );

  it.each([
    ["calls a wrong TCP checksum invalid", 1, "invalid"],
    ["unless it is told not to look", 0, "new"],
  ] as const)("%s (nf_conntrack_checksum = %d)", async (_, setting, state) => {
    kernel.run(`echo ${setting} > /proc/sys/net/netfilter/nf_conntrack_checksum`);
    const { client, server } = ENDS[4];
    const syn = makePacket({ protocol: PROTOCOL.tcp, source: client, destination: server, destinationPort: 80 });
    const right = packetBytes({ ...syn, sourcePort: 6000 + setting }, 5);
    const wrong = packetBytes({ ...syn, sourcePort: 6010 + setting }, 6);
    wrong[36] = (wrong[36] ?? 0) ^ 1;
    const answers = await kernel.send([right, wrong].map((bytes) => ({ source: client, bytes })));
    // Ours has no checksums: what a transcript or a capture holds is taken for what was sent.
    expect(ours([syn])).toEqual(["new"]);
    expect(answers.map(({ left }) => left.map((one) => one.state))).toEqual([["new"], [state]]);
  });
});
