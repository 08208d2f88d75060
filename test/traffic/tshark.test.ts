/**
 * Wireshark reads what we read: captures that tcpdump makes and captures that we write, field by field, by tshark, capinfos
 * and editcap. Needs these (and root, for a network namespace); required in CI.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatAddress } from "../../dataplane/address.ts";
import { hasPorts, makePacket, PROTOCOL } from "../../dataplane/packet.ts";
import { capturedFrame } from "../../traffic/captureWriter.ts";
import { openTraffic } from "../../traffic/openTraffic.ts";
import { PcapngWriter } from "../../traffic/writePcapng.ts";
import { wirePacketArbitrary } from "../arbitraries/wirePacket.ts";
import {
  datagramOf,
  ethernet,
  interfaceBlock,
  joined,
  option,
  packetBlock,
  sectionBlock,
  uint16,
  uint32,
} from "./captureBytes.ts";
import { piecesOf, type ReadRow, readTraffic } from "./readTraffic.ts";

const TOOLS = ["tshark", "capinfos", "editcap", "mergecap", "tcpdump", "unshare"];
const missing = TOOLS.filter((tool) => spawnSync("sh", ["-c", `command -v ${tool}`]).status !== 0);
if (process.getuid?.() !== 0) missing.push("root");
if (missing.length > 0 && process.env.CI) throw new Error(`CI needs ${missing.join(", ")}`);
if (missing.length > 0) console.warn(`skipped: tests beside Wireshark, for want of ${missing.join(", ")}`);

/** Fields of tshark that say what our columns say. */
const FIELDS = [
  "frame.time_epoch",
  "frame.len",
  "frame.cap_len",
  "ip.src",
  "ip.dst",
  "ipv6.src",
  "ipv6.dst",
  "ip.proto",
  "tcp.srcport",
  "tcp.dstport",
  "tcp.flags",
  "tcp.seq_raw",
  "tcp.ack_raw",
  "tcp.window_size_value",
  "tcp.options.wscale.shift",
  "tcp.len",
  "udp.srcport",
  "udp.dstport",
  "udp.length",
  "sctp.srcport",
  "sctp.dstport",
  "sctp.verification_tag",
  "sctp.chunk_type",
  "icmp.type",
  "icmp.code",
  "icmp.ident",
  "icmpv6.type",
  "icmpv6.code",
  "icmpv6.echo.identifier",
  "frame.interface_id",
  "frame.comment",
] as const;

type Field = (typeof FIELDS)[number];
/** Every occurrence of a field in a frame, outermost first. */
type Seen = Readonly<Record<Field, readonly string[]>>;

const SEPARATOR = "|";
const AGGREGATOR = ";";

const DISSECTION = "-n -o ip.defragment:FALSE -o ipv6.defragment:FALSE -o tcp.desegment_tcp_streams:FALSE".split(" ");

/** The same frames as tshark writes them in JSON. */
function tsharkJson(file: string): readonly Seen[] {
  const text = execFileSync(
    "tshark",
    [...DISSECTION, "-T", "json", "-r", file, ...FIELDS.flatMap((field) => ["-e", field])],
    { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], maxBuffer: 1 << 26 },
  );
  const frames = JSON.parse(text) as readonly {
    readonly _source: { readonly layers: Partial<Record<Field, readonly string[]>> };
  }[];
  return frames.map(
    ({ _source: { layers } }) =>
      Object.fromEntries(FIELDS.map((field) => [field, layers[field] ?? []])) as unknown as Seen,
  );
}

function tshark(file: string): readonly Seen[] {
  const text = execFileSync(
    "tshark",
    [
      ...DISSECTION,
      ..."-T fields -E occurrence=a".split(" "),
      ...["-E", `separator=${SEPARATOR}`, "-E", `aggregator=${AGGREGATOR}`, "-r", file],
      ...FIELDS.flatMap((field) => ["-e", field]),
    ],
    { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], maxBuffer: 1 << 26 },
  );
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const values = line.split(SEPARATOR);
      return Object.fromEntries(
        FIELDS.map((field, index) => [field, (values[index] ?? "").split(AGGREGATOR).filter((value) => value !== "")]),
      ) as unknown as Seen;
    });
}

/** The row as tshark would print it; `undefined`: it says nothing of the field. `depth` counts packets around it. */
function shownByUs(row: ReadRow): Partial<Record<Field, string>> {
  const { packet } = row;
  const { protocol, quoted } = packet;
  const text = (value: number) => String(value);
  const family = packet.source.family === 4 ? "ip" : "ipv6";
  const transport =
    protocol === PROTOCOL.tcp
      ? "tcp"
      : protocol === PROTOCOL.sctp
        ? "sctp"
        : protocol === PROTOCOL.udp
          ? "udp"
          : undefined;
  const shown: Partial<Record<Field, string>> = {
    "frame.time_epoch": `${row.seconds}.${String(row.nanoseconds).padStart(9, "0")}`,
    "frame.len": text(row.frameBytes),
    "frame.cap_len": text(row.frame.length),
    [`${family}.src`]: formatAddress(packet.source),
    [`${family}.dst`]: formatAddress(packet.destination),
    ...(family === "ip" ? { "ip.proto": text(protocol) } : {}),
  };
  if (packet.fragment || quoted !== undefined) return shown;
  if (transport !== undefined) {
    shown[`${transport}.srcport`] = text(packet.sourcePort);
    shown[`${transport}.dstport`] = text(packet.destinationPort);
  }
  switch (protocol) {
    case PROTOCOL.tcp:
      return {
        ...shown,
        "tcp.flags": `0x${packet.tcpFlags.toString(16).padStart(4, "0")}`,
        "tcp.seq_raw": text(packet.sequence),
        "tcp.ack_raw": text(packet.acknowledgment),
        "tcp.window_size_value": text(packet.window),
        ...(packet.windowScale === undefined ? {} : { "tcp.options.wscale.shift": text(packet.windowScale) }),
        "tcp.len": text(packet.payloadBytes),
      };
    case PROTOCOL.udp:
      return { ...shown, "udp.length": text(packet.payloadBytes + 8) };
    case PROTOCOL.sctp:
      return {
        ...shown,
        "sctp.verification_tag": `0x${packet.verificationTag.toString(16).padStart(8, "0")}`,
        "sctp.chunk_type": text(packet.sctpChunk),
      };
    case PROTOCOL.icmp:
    case PROTOCOL.icmpv6: {
      const name = protocol === PROTOCOL.icmp ? "icmp" : "icmpv6";
      shown[`${name}.type`] = text(packet.icmpType);
      shown[`${name}.code`] = text(packet.icmpCode);
      if (packet.icmpType === 8 || packet.icmpType === 0) shown["icmp.ident"] = text(packet.icmpId);
      if (packet.icmpType === 128 || packet.icmpType === 129) {
        shown["icmpv6.echo.identifier"] = `0x${packet.icmpId.toString(16).padStart(4, "0")}`;
      }
      return shown;
    }
    default:
      return shown;
  }
}

/** What differs between our reading and tshark's; of fields that stand several times, the innermost is ours. */
function differences(rows: readonly ReadRow[], seen: readonly Seen[]): readonly string[] {
  const found: string[] = [];
  if (rows.length !== seen.length) found.push(`${rows.length} packets, tshark has ${seen.length}`);
  for (const [index, row] of rows.entries()) {
    const theirs = seen[index];
    if (theirs === undefined) break;
    const { quoted } = row.packet;
    for (const [field, ours] of Object.entries(shownByUs(row)) as [Field, string][]) {
      const values = theirs[field];
      const isQuotedToo = quoted !== undefined && /^ip/.test(field) && addressField(quoted.source.family, field);
      // Chunks after the first, too, have a type.
      const value = field === "sctp.chunk_type" ? values[0] : values.at(isQuotedToo ? -2 : -1);
      if (!isSame(field, ours, value))
        found.push(`packet ${index + 1}: ${field} is ${ours}, tshark has ${values.join()}`);
    }
    if (quoted === undefined) continue;
    const family = quoted.source.family === 4 ? "ip" : "ipv6";
    const ends = {
      [`${family}.src`]: formatAddress(quoted.source),
      [`${family}.dst`]: formatAddress(quoted.destination),
    };
    const name = quoted.protocol === PROTOCOL.tcp ? "tcp" : quoted.protocol === PROTOCOL.udp ? "udp" : undefined;
    const ports =
      name === undefined || !hasPorts(quoted.protocol)
        ? {}
        : { [`${name}.srcport`]: String(quoted.sourcePort), [`${name}.dstport`]: String(quoted.destinationPort) };
    for (const [field, ours] of Object.entries({ ...ends, ...ports }) as [Field, string][]) {
      const value = theirs[field].at(-1);
      if (value !== ours)
        found.push(`packet ${index + 1}: quoted ${field} is ${ours}, tshark has ${theirs[field].join()}`);
    }
  }
  return found;
}

function addressField(family: 4 | 6, field: Field): boolean {
  return family === 4 ? field.startsWith("ip.") : field.startsWith("ipv6.");
}

function isSame(field: Field, ours: string, theirs: string | undefined): boolean {
  if (theirs === undefined) return false;
  if (field === "tcp.flags") return (Number(theirs) & 0xff) === Number(ours);
  return field === "frame.time_epoch" ? theirs.padEnd(ours.length, "0") === ours : theirs === ours;
}

/** Talks TCP, UDP and to closed ports over both families. */
const TALK = `
const net = require("node:net"), dgram = require("node:dgram");
const once = (emitter, event) => new Promise((done) => { emitter.once(event, done); emitter.once("error", done); });
(async () => {
  for (const host of ["127.0.0.1", "::1"]) {
    const server = net.createServer((socket) => socket.on("data", () => socket.end("x".repeat(5000))));
    server.listen(3306, host); await once(server, "listening");
    const client = net.connect(3306, host); client.on("data", () => {}); client.write("hello"); await once(client, "close");
    server.close();
    const refused = net.connect(81, host); await once(refused, "close");
    const socket = dgram.createSocket(host === "::1" ? "udp6" : "udp4");
    await new Promise((done) => socket.send("query", 9, host, done));
    await new Promise((done) => socket.send("z".repeat(70), 9, host, done));
    await new Promise((done) => setTimeout(done, 30));
    socket.close();
  }
})();`;

const CAPTURES = {
  "loopback, microseconds": "-i lo",
  "any device, cooked v2, nanoseconds": "-i any --time-stamp-precision=nano",
  "any device, cooked v1, cut short": "-i any -y LINUX_SLL -s 96",
} as const;

describe.runIf(missing.length === 0)("beside Wireshark", () => {
  let folder = "";
  const path = (name: string) => join(folder, name);
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "chainwalk-captures-"));
    writeFileSync(path("talk.js"), TALK);
    const flags = Object.values(CAPTURES);
    const script = `
      ip link set lo up
      ${flags.map((each, index) => `tcpdump -Z root -q ${each} -U --immediate-mode -w ${index}.pcap 2>/dev/null & p${index}=$!`).join("\n")}
      for tries in $(seq 100); do [ -s 0.pcap ] && [ -s 1.pcap ] && [ -s 2.pcap ] && break; sleep 0.05; done
      sleep 0.2
      "$NODE" talk.js
      sleep 0.5
      kill ${flags.map((_, index) => `$p${index}`).join(" ")}; wait`;
    execFileSync("unshare", ["-n", "sh", "-c", script], {
      cwd: folder,
      stdio: "ignore",
      env: { ...process.env, NODE: process.execPath },
    });
  }, 60_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  // The pcapng of all three is compared below; each by itself costs a start of tshark.
  const alone = Object.keys(CAPTURES).slice(0, process.env.CI ? undefined : 1);
  it.each(alone.map((name, index) => [name, index] as const))("tcpdump, %s", async (_, index) => {
    const { source, rows } = await readTraffic(readFileSync(path(`${index}.pcap`)));
    expect(source.issues).toEqual([]);
    expect(source.skipped.size).toBe(0);
    expect(rows.filter(({ packet }) => packet.protocol === PROTOCOL.tcp).length).toBeGreaterThan(15);
    expect(rows.some(({ packet }) => packet.quoted !== undefined)).toBe(true);
    expect(differences(rows, tshark(path(`${index}.pcap`)))).toEqual([]);
  });

  it("mergecap's pcapng of all three: interfaces of their own link types", async () => {
    execFileSync("mergecap", ["-w", path("merged.pcapng"), path("0.pcap"), path("1.pcap"), path("2.pcap")]);
    const { source, rows } = await readTraffic(readFileSync(path("merged.pcapng")));
    expect(source.format).toBe("pcapng");
    expect(source.interfaces.map(({ linkType }) => linkType).sort()).toEqual([1, 113, 276]);
    const seen = tshark(path("merged.pcapng"));
    expect(differences(rows, seen)).toEqual([]);
    expect(rows.map(({ interfaceId }) => String(interfaceId))).toEqual(
      seen.map((each) => each["frame.interface_id"][0]),
    );
  });

  it("frames that were passed on are those of tcpdump, byte for byte, with our comments", async () => {
    const original = readFileSync(path("1.pcap"));
    const source = await openTraffic(piecesOf(original, 1000));
    const writer = new PcapngWriter({ application: "chainwalk", comment: "annotated" });
    const interfaceId = writer.addInterface({ linkType: 276, name: "any", description: "all of them" });
    let count = 0;
    for await (const batch of source.batches()) {
      for (let row = 0; row < batch.packets.length; row++) {
        const frame = capturedFrame(batch, row);
        if (frame !== undefined) writer.frame({ ...frame, interfaceId, comments: [`accept by rule ${++count}`] });
      }
    }
    writeFileSync(path("annotated.pcapng"), writer.take());
    const seen = tshark(path("annotated.pcapng"));
    expect(seen.map((each) => each["frame.comment"][0])).toEqual(seen.map((_, index) => `accept by rule ${index + 1}`));
    execFileSync("editcap", ["-F", "nsecpcap", path("annotated.pcapng"), path("back.pcap")]);
    // After the header, whose snap length is editcap's own.
    expect(readFileSync(path("back.pcap")).subarray(24).equals(original.subarray(24))).toBe(true);
    const info = execFileSync("capinfos", [path("annotated.pcapng")], { encoding: "utf8" });
    expect(info).toMatch(/File type:\s+Wireshark\/\.\.\. - pcapng/);
    expect(info).toContain(`Number of packets:   ${count}`);
    expect(info).toContain("Capture comment:     annotated");
    expect(info).toContain("Name = any");
    expect(info).toContain("Description = all of them");
  });

  it("random packets behind every link-layer header and in tunnels", async () => {
    // tshark takes some ports for protocols that it then reads on in; the high ones are nobody's.
    const packets = fc
      .sample(wirePacketArbitrary, { numRuns: 300, seed: 7 })
      .filter(({ protocol }) =>
        ([PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.sctp, PROTOCOL.icmp, PROTOCOL.icmpv6] as number[]).includes(protocol),
      );
    // Nobody quotes a packet of the other family, and tshark does not look for one.
    const usual = packets.filter(({ source, quoted }) => (quoted?.source.family ?? source.family) === source.family);
    expect(usual.length).toBeGreaterThan(100);
    const outer = makePacket({
      protocol: PROTOCOL.udp,
      source: { family: 4, words: [0x0a00_0001] },
      destination: { family: 4, words: [0x0a00_0002] },
      sourcePort: 50_000,
    });
    const carried = (destinationPort: number, header: readonly number[], inner: Uint8Array) => {
      const bytes = datagramOf({ ...outer, destinationPort, payloadBytes: header.length + inner.length });
      bytes.set(header, 28);
      bytes.set(inner, 28 + header.length);
      return ethernet(bytes);
    };
    const cooked = (datagram: Uint8Array) =>
      joined(new Uint8Array(14), uint16((datagram[0] ?? 0) >>> 4 === 6 ? 0x86dd : 0x0800, "big"), datagram);
    const shapes: readonly (readonly [name: string, linkType: number, (datagram: Uint8Array) => Uint8Array])[] = [
      ["ethernet", 1, (datagram) => ethernet(datagram)],
      [
        "qinq",
        1,
        (datagram) =>
          ethernet(datagram, [
            [0x88a8, 5],
            [0x8100, 6],
          ]),
      ],
      ["raw", 101, (datagram) => datagram],
      ["cooked", 113, cooked],
      ["null", 0, (datagram) => joined(uint32((datagram[0] ?? 0) >>> 4 === 6 ? 30 : 2, "little"), datagram)],
      ["vxlan", 1, (datagram) => carried(4789, [8, 0, 0, 0, 0, 0, 7, 0], ethernet(datagram))],
      ["geneve", 1, (datagram) => carried(6081, [1, 0, 0x65, 0x58, 0, 0, 9, 0, 0, 1, 0, 0], ethernet(datagram))],
    ];
    // One file with an interface for each: starting tshark costs more than what it does then.
    const writer = new PcapngWriter({});
    for (const [name, linkType, frameOf] of shapes) {
      const interfaceId = writer.addInterface({ linkType, name });
      for (const [index, packet] of usual.entries()) {
        const bytes = frameOf(datagramOf(packet));
        writer.frame({ bytes, wireBytes: bytes.length, seconds: 1_700_000_000, nanoseconds: index, interfaceId });
      }
    }
    const file = writer.take();
    writeFileSync(path("shapes.pcapng"), file);
    const { rows } = await readTraffic(file);
    expect(rows).toHaveLength(shapes.length * usual.length);
    expect(differences(rows, tshark(path("shapes.pcapng")))).toEqual([]);
    expect(differences(rows, tsharkJson(path("shapes.pcapng")))).toEqual([]);
  }, 60_000);

  it("times of every resolution and offset, in sections of either byte order", async () => {
    const frame = ethernet(datagramOf(makePacket({ ...wireTcp(), destinationPort: 3306 })));
    const parts = (["little", "big"] as const).flatMap((order) => [
      sectionBlock(order),
      ...[0, 3, 6, 9, 0x80 | 1, 0x80 | 10, 0x80 | 30].flatMap((resolution, interfaceId) => [
        interfaceBlock(order, 1, option(9, order, Uint8Array.of(resolution))),
        packetBlock(order, { interfaceId, high: resolution === 9 ? 0x17a1b2c3 : 3, low: 0xfedcba98 }, frame),
      ]),
    ]);
    writeFileSync(path("times.pcapng"), joined(...parts));
    const { source, rows } = await readTraffic(joined(...parts));
    expect(source.issues).toEqual([]);
    expect(differences(rows, tshark(path("times.pcapng")))).toEqual([]);
  });
});

function wireTcp() {
  const [packet] = fc.sample(
    wirePacketArbitrary.filter(({ protocol }) => protocol === PROTOCOL.tcp),
    { numRuns: 1, seed: 1 },
  );
  if (packet === undefined) throw new Error("no packet");
  return packet;
}
