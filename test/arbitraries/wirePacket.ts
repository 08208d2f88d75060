/** Random packets with a value in every field that their protocol has on the wire. */
import fc from "fast-check";
import { parseAddress } from "../../dataplane/address.ts";
import { type FiveTuple, hasPorts, makePacket, type Packet, PROTOCOL, SCTP_CHUNK } from "../../dataplane/packet.ts";

const address = (text: string) => {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(`not an address: ${text}`);
  return parsed;
};
export const wireAddresses = {
  4: ["10.1.0.2", "203.0.113.255", "128.0.0.1", "255.255.255.254"].map(address),
  6: ["fd00::1", "2001:db8:ffff::", "::1:0:0:1"].map(address),
};
const port = fc.nat(65_535);
const uint32 = fc.nat(0xffffffff);

const tupleArbitrary: fc.Arbitrary<FiveTuple> = fc
  .record({ family: fc.constantFrom(4 as const, 6 as const), sourcePort: port, destinationPort: port })
  .chain(({ family, sourcePort, destinationPort }) =>
    fc
      .tuple(
        fc.constantFrom(...wireAddresses[family]),
        fc.constantFrom(...wireAddresses[family]),
        fc.constantFrom(
          ...Object.values(PROTOCOL).filter((number) => number !== 1 && number !== 58),
          family === 4 ? 1 : 58,
        ),
      )
      .map(([source, destination, protocol]) => ({
        protocol,
        source,
        destination,
        sourcePort: hasPorts(protocol) ? sourcePort : 0,
        destinationPort: hasPorts(protocol) ? destinationPort : 0,
      })),
  );

/** Packets with a value in every field that their protocol has, and the defaults in the others. */
export const wirePacketArbitrary: fc.Arbitrary<Packet> = tupleArbitrary.chain((tuple) => {
  const payloadBytes = fc.nat(40);
  switch (tuple.protocol) {
    case PROTOCOL.tcp:
      return fc
        .record(
          {
            tcpFlags: fc.nat(255),
            sequence: uint32,
            acknowledgment: uint32,
            window: port,
            windowScale: fc.nat(14),
            payloadBytes,
          },
          { requiredKeys: ["tcpFlags", "sequence", "acknowledgment", "window", "payloadBytes"] },
        )
        .map((fields) => makePacket({ ...tuple, ...fields }));
    case PROTOCOL.sctp:
      return fc
        .record({ sctpChunk: fc.constantFrom(...Object.values(SCTP_CHUNK)), verificationTag: uint32, payloadBytes })
        .map((fields) => makePacket({ ...tuple, ...fields }));
    case PROTOCOL.icmp:
    case PROTOCOL.icmpv6:
      return icmpArbitrary(tuple);
    default:
      return payloadBytes.map((bytes) => makePacket({ ...tuple, payloadBytes: bytes }));
  }
});

function icmpArbitrary(tuple: FiveTuple): fc.Arbitrary<Packet> {
  const v4 = tuple.source.family === 4;
  const echo = fc
    .record({ icmpType: fc.constantFrom(...(v4 ? [0, 8, 13] : [128, 129])), icmpId: port, payloadBytes: fc.nat(40) })
    .map((fields) => makePacket({ ...tuple, ...fields }));
  const error = fc
    .record({
      icmpType: fc.constantFrom(...(v4 ? [3, 11, 12] : [1, 2, 3])),
      icmpCode: fc.nat(15),
      quoted: tupleArbitrary,
    })
    .map((fields) => makePacket({ ...tuple, ...fields }));
  return fc.oneof(echo, error);
}
