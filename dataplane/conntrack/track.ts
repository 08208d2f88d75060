/** The tracker of each protocol. */
import { type PacketBatch, PROTOCOL } from "../packet.ts";
import { type Flow, invalid, type Outcome } from "./flow.ts";
import { trackGeneric, trackGre } from "./generic.ts";
import { trackIcmp, trackIcmpv6 } from "./icmp.ts";
import { trackSctp } from "./sctp.ts";
import { trackTcp } from "./tcp.ts";
import { trackUdp, trackUdpLite } from "./udp.ts";

/** Lets the packet move the entry. */
export function track(flow: Flow, batch: PacketBatch, row: number): Outcome {
  switch (batch.protocol[row]) {
    case PROTOCOL.tcp:
      return trackTcp(flow, batch, row);
    case PROTOCOL.udp:
      return trackUdp(flow);
    case PROTOCOL.udplite:
      return trackUdpLite(flow);
    case PROTOCOL.sctp:
      return trackSctp(flow, batch, row);
    case PROTOCOL.icmp:
      return batch.family[row] === 4 ? trackIcmp(flow) : invalid(flow, "ICMP in an IPv6 packet");
    case PROTOCOL.icmpv6:
      return batch.family[row] === 6 ? trackIcmpv6(flow) : invalid(flow, "ICMPv6 in an IPv4 packet");
    case PROTOCOL.gre:
      return trackGre(flow);
    default:
      return trackGeneric(flow);
  }
}
