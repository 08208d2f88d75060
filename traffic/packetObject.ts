/** A packet as the JSON object that `trace --packets` reads (transcript.ts): the way back of `packetFromObject`. */
import { formatAddress, type IpAddress } from "../dataplane/address.ts";
import { type FiveTuple, hasPorts, makePacket, type Packet, protocolName } from "../dataplane/packet.ts";
import { formatTcpFlags } from "./transcript.ts";

export type PacketObject = Readonly<Record<string, string | number | boolean | PacketTuple>>;
type PacketTuple = Readonly<Record<string, string | number>>;

/** Every field that is not at its default; addresses as text, or as `name` shows them. */
export function packetToObject(packet: Packet, name: (address: IpAddress) => string = formatAddress): PacketObject {
  const plain = makePacket({
    protocol: packet.protocol,
    source: packet.source,
    destination: packet.destination,
    sourcePort: packet.sourcePort,
  });
  const details: Record<string, string | number | boolean | PacketTuple> = {};
  for (const field of NUMBERS) if (packet[field] !== plain[field]) details[field] = packet[field];
  if (packet.tcpFlags !== plain.tcpFlags) details.tcpFlags = formatTcpFlags(packet.tcpFlags);
  if (packet.quoted !== undefined) details.quoted = tupleToObject(packet.quoted, name);
  if (packet.fragment) details.fragment = true;
  return { ...tupleToObject(packet, name), ...details };
}

const NUMBERS = [
  "time",
  "icmpType",
  "icmpCode",
  "icmpId",
  "sequence",
  "acknowledgment",
  "window",
  "payloadBytes",
  "sctpChunk",
  "verificationTag",
] as const satisfies readonly (keyof Packet)[];

function tupleToObject(tuple: FiveTuple, name: (address: IpAddress) => string): PacketTuple {
  const { protocol, source, destination, sourcePort, destinationPort } = tuple;
  return {
    protocol: protocolName(protocol),
    source: name(source),
    ...(hasPorts(protocol) ? { sourcePort } : {}),
    destination: name(destination),
    ...(hasPorts(protocol) ? { destinationPort } : {}),
  };
}
