/** What comes back for a packet. */
import { icmpAnswer, icmpv6Answer, NO_ANSWER } from "../dataplane/conntrack/icmp.ts";
import { makePacket, type Packet, PROTOCOL, SCTP_CHUNK, TCP_FLAG } from "../dataplane/packet.ts";

/**
 * The answer of whoever got `sent`: both ends turned round, a SYN acknowledged, an INIT answered under the tag it asked
 * for, a question of ICMP answered by its own kind of answer.
 */
export function answerTo(sent: Packet): Packet {
  const { protocol, icmpType } = sent;
  const turned = {
    ...sent,
    source: sent.destination,
    destination: sent.source,
    sourcePort: sent.destinationPort,
    destinationPort: sent.sourcePort,
  };
  switch (protocol) {
    case PROTOCOL.tcp: {
      const acknowledgment = (sent.sequence + sent.payloadBytes + (sent.tcpFlags & TCP_FLAG.S ? 1 : 0)) >>> 0;
      return { ...turned, tcpFlags: sent.tcpFlags | TCP_FLAG.A, sequence: sent.acknowledgment, acknowledgment };
    }
    case PROTOCOL.icmp:
    case PROTOCOL.icmpv6: {
      const answer = protocol === PROTOCOL.icmp ? icmpAnswer(icmpType) : icmpv6Answer(icmpType);
      return { ...turned, icmpType: answer === NO_ANSWER ? icmpType : answer };
    }
    case PROTOCOL.sctp:
      return { ...turned, sctpChunk: SCTP_CHUNK.INIT_ACK, verificationTag: sent.sequence };
    default:
      return turned;
  }
}

/** "Port unreachable", from the receiver (RFC 792; RFC 4443 section 3.1): it quotes the packet it is about. */
export function errorAbout({ protocol, source, destination, sourcePort, destinationPort, time }: Packet): Packet {
  const isIpv4 = source.family === 4;
  return makePacket({
    protocol: isIpv4 ? PROTOCOL.icmp : PROTOCOL.icmpv6,
    source: destination,
    destination: source,
    icmpType: isIpv4 ? 3 : 1,
    icmpCode: isIpv4 ? 3 : 4,
    quoted: { protocol, source, destination, sourcePort, destinationPort },
    time,
  });
}
