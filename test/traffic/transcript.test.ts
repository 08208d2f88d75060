import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatAddress, type IpAddress, parseAddress } from "../../dataplane/address.ts";
import { hasPorts, makePacket, type Packet, PROTOCOL, SCTP_CHUNK, TCP_FLAG } from "../../dataplane/packet.ts";
import {
  formatPacket,
  formatTcpFlags,
  isProblem,
  packetOf,
  parsePacketLine,
  parsePacketText,
  parseTcpFlags,
  type Resolve,
} from "../../traffic/transcript.ts";

const ADDRESSES = ["10.0.0.1", "192.168.5.10", "fd00::1", "2001:db8:0:1::9"] as const;
const NAMES: ReadonlyMap<string, readonly string[]> = new Map([
  ["shop/web", ["10.0.0.1", "fd00::1"]],
  ["shop/six", ["fd00::6"]],
  ["node:a", ["192.168.0.11"]],
]);

function address(text: string): IpAddress {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
}

const resolve: Resolve = (name, family) => {
  const written = parseAddress(name);
  if (written !== undefined) return written;
  const addresses = (NAMES.get(name) ?? []).map((text) => parseAddress(text));
  const found = addresses.find((one) => one !== undefined && (family === undefined || one.family === family));
  return found ?? { problem: `unknown ${name}` };
};

/** The packet a text stands for, or its problem as text. */
function packet(text: string): Packet | string {
  const parsed = text.startsWith("{") ? parsePacketLine(text) : parsePacketText(text);
  if (isProblem(parsed)) return parsed.problem;
  const resolved = packetOf(parsed, resolve);
  return isProblem(resolved) ? resolved.problem : resolved;
}

const anyPacket = fc
  .record({
    protocol: fc.constantFrom(PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.sctp, PROTOCOL.gre, 200),
    ends: fc.constantFrom([ADDRESSES[0], ADDRESSES[1]] as const, [ADDRESSES[2], ADDRESSES[3]] as const),
    ports: fc.tuple(fc.nat(65_535), fc.nat(65_535)),
    tcpFlags: fc.integer({ min: 1, max: 255 }),
    sctpChunk: fc.constantFrom(...Object.values(SCTP_CHUNK)),
  })
  .map(({ protocol, ends, ports: [sourcePort, destinationPort], tcpFlags, sctpChunk }) =>
    makePacket({
      protocol,
      source: address(ends[0]),
      destination: address(ends[1]),
      ...(hasPorts(protocol) && { sourcePort, destinationPort }),
      ...(protocol === PROTOCOL.tcp && { tcpFlags }),
      ...(protocol === PROTOCOL.sctp && { sctpChunk }),
    }),
  );

describe("one-line packets", () => {
  it("what is written reads back as the same packet", () => {
    fc.assert(
      fc.property(anyPacket, (given) => {
        expect(packet(formatPacket(given, formatAddress))).toEqual(given);
      }),
    );
  });

  it("flags are written as people say them and read in any order", () => {
    for (let bits = 0; bits < 256; bits++) expect(parseTcpFlags(formatTcpFlags(bits))).toBe(bits);
    expect(formatTcpFlags(TCP_FLAG.A | TCP_FLAG.S)).toBe("SA");
    expect(formatTcpFlags(TCP_FLAG.A | TCP_FLAG.F)).toBe("FA");
    expect(parseTcpFlags("as")).toBe(TCP_FLAG.A | TCP_FLAG.S);
  });

  it("what is left out is at the defaults: source port 40000, SYN, INIT, echo request", () => {
    expect(packet("tcp 10.0.0.1 > shop/web:80")).toMatchObject({
      sourcePort: 40_000,
      destinationPort: 80,
      tcpFlags: TCP_FLAG.S,
    });
    expect(packet("sctp 10.0.0.1 > shop/web:80")).toMatchObject({ sctpChunk: SCTP_CHUNK.INIT });
    expect(packet("icmp 10.0.0.1 > shop/web")).toMatchObject({ icmpType: 8, icmpCode: 0 });
    expect(packet("icmp 10.0.0.1 > shop/web 3/1")).toMatchObject({ icmpType: 3, icmpCode: 1 });
    expect(packet("gre 10.0.0.1 > shop/web")).toMatchObject({ protocol: 47, sourcePort: 0, destinationPort: 0 });
  });

  it("both ends are of one family: of the address, of the protocol, else of the source's first address", () => {
    expect(packet("tcp shop/web > shop/web:80")).toMatchObject({ source: address("10.0.0.1") });
    expect(packet("tcp shop/web > [fd00::9]:80")).toMatchObject({ source: address("fd00::1") });
    expect(packet("icmpv6 shop/web > shop/six")).toMatchObject({ source: address("fd00::1"), icmpType: 128 });
    expect(packet("tcp shop/six > shop/web:80")).toMatchObject({ destination: address("fd00::1") });
    expect(packet("tcp node:a:5 > shop/web:80")).toMatchObject({ sourcePort: 5, destination: address("10.0.0.1") });
    expect(packet("tcp shop/six > 10.0.0.1:80")).toBe("unknown shop/six");
    expect(packet("tcp fd00::9 > 10.0.0.1:80")).toBe("fd00::9 is IPv6 and 10.0.0.1 is IPv4");
  });

  it.each([
    ["", "expected"],
    ["tcp a b:80", "expected"],
    ["tcp a > b:80 S more", "expected"],
    ["quic a > b:80", "protocol is"],
    ["tcp a > b", "needs one"],
    ["tcp a:99999 > b:80", "0-65535"],
    ["tcp a > b:80 X", "FSRPAUEC"],
    ["sctp a > b:80 HELLO", "COOKIE_ACK"],
    ["icmp a:1 > b", "no ports"],
    ["icmp a > b 256", "0-255"],
    ["udp a > b:80 S", "nothing can follow"],
    ["tcp [] > b:80", "ADDRESS[:PORT]"],
  ])("%j says what is wrong", (text, problem) => {
    expect(packet(text)).toContain(problem);
  });
});

describe("packets as JSON lines", () => {
  it("every field arrives where it belongs", () => {
    const line = {
      id: "x",
      time: 0.5,
      protocol: "tcp",
      source: "shop/web",
      sourcePort: 1,
      destination: "10.0.0.9",
      destinationPort: 2,
      tcpFlags: "SA",
      sequence: 4_294_967_295,
      acknowledgment: 3,
      window: 4,
      payloadBytes: 5,
      fragment: true,
    };
    expect(packet(JSON.stringify(line))).toMatchObject({
      time: 0.5,
      protocol: 6,
      source: address("10.0.0.1"),
      sourcePort: 1,
      destinationPort: 2,
      tcpFlags: TCP_FLAG.S | TCP_FLAG.A,
      sequence: 4_294_967_295,
      acknowledgment: 3,
      window: 4,
      payloadBytes: 5,
      fragment: true,
    });
    expect(parsePacketLine(JSON.stringify(line))).toMatchObject({ id: "x" });
    const sctp = {
      protocol: 132,
      source: "a",
      destination: "b",
      destinationPort: 1,
      sctpChunk: "ABORT",
      verificationTag: 7,
    };
    expect(parsePacketLine(JSON.stringify(sctp))).toMatchObject({ details: { sctpChunk: 6, verificationTag: 7 } });
  });

  it("an ICMP error carries the tuple it is about, names resolved in the same family", () => {
    const quoted = { protocol: "udp", source: "shop/web", destination: "10.0.0.9", destinationPort: 53 };
    expect(
      packet(JSON.stringify({ protocol: "icmp", source: "10.0.0.9", destination: "shop/web", icmpType: 3, quoted })),
    ).toMatchObject({
      icmpType: 3,
      quoted: { protocol: 17, source: address("10.0.0.1"), sourcePort: 40_000, destinationPort: 53 },
    });
  });

  it("reading never throws, whatever the text", () => {
    const fields = fc.dictionary(
      fc.constantFrom(
        "protocol",
        "source",
        "destination",
        "sourcePort",
        "destinationPort",
        "tcpFlags",
        "time",
        "quoted",
        "id",
      ),
      fc.jsonValue(),
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fields.map((one) => JSON.stringify(one)),
        ),
        (text) => {
          expect(["string", "object"]).toContain(typeof packet(text));
        },
      ),
    );
  });
});
