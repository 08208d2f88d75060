/** When a REJECT says nothing: the rule matched and the packet is gone, but the sender hears no more than of a DROP. */
import { type Packet, PROTOCOL, TCP_FLAG } from "../../dataplane/packet.ts";
import type { RejectWith } from "../../dataplane/program.ts";

/**
 * The ICMP types that the kernel answers: echo and the other questions, with their answers. Everything else in its table is
 * marked as an error, unassigned types too (icmp_pointers of net/ipv4/icmp.c).
 */
const ANSWERED_TYPES: ReadonlySet<number> = new Set([0, 8, 13, 14, 15, 16, 17, 18]);

/** ICMPv6 types below are errors (RFC 4443 section 2.1). */
const FIRST_INFORMATION = 128;

/**
 * Whether the kernel may send nothing for this packet: no RST for a RST (RFC 9293 section 3.10.7.1), no ICMP error for an
 * ICMP error (RFC 1122 section 3.2.2, RFC 4443 section 2.4) nor for ICMP it does not know, neither for a later fragment.
 *
 * Before it answers, REJECT looks whether the packet is intact. A packet that arrived is taken for intact (oracle.c); in
 * one that the node sends, it reads every protocol it has no idea of as if it carried an Internet checksum
 * (nf_reject_verify_csum), so there anything may follow. Sources: nf_reject_ipv4.c, nf_reject_ipv6.c, icmp_send, icmp6_send.
 */
export function rejectIsSilent(packet: Packet, how: RejectWith, origin: "arrived" | "sent"): boolean {
  if (packet.fragment) return true;
  if (how === "tcp-reset") return (packet.tcpFlags & TCP_FLAG.R) !== 0;
  const isIpv4 = packet.source.family === 4;
  switch (packet.protocol) {
    case PROTOCOL.tcp:
    case PROTOCOL.udp:
      return false;
    case isIpv4 ? PROTOCOL.icmp : PROTOCOL.icmpv6:
      if (!isIpv4) return packet.icmpType < FIRST_INFORMATION;
      return !ANSWERED_TYPES.has(packet.icmpType);
    default:
      return origin === "sent";
  }
}
