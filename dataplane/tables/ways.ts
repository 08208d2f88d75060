/** Which tables a packet meets on its way through a node, and which of its devices it shows there. */
import { assertNever } from "../assertNever.ts";
import type { CurrentPacket } from "../currentPacket.ts";
import { NO_DEVICE } from "../devices.ts";
import type { Hook, TableName } from "../program.ts";

/**
 * Which table a packet meets where, by `PATH`, in the order of the hooks' priorities (linux/netfilter_ipv4.h: raw -300,
 * conntrack -200, mangle -150, destination NAT -100, filter 0, security 50, source NAT 100):
 *
 *     forward   PREROUTING raw | conntrack | mangle nat    FORWARD mangle filter security       POSTROUTING mangle nat
 *     input     PREROUTING raw | conntrack | mangle nat    INPUT   mangle filter security nat
 *     output    OUTPUT     raw | conntrack | mangle nat filter security                         POSTROUTING mangle nat
 */
export const WAYS: readonly (readonly (readonly [Hook, readonly TableName[]])[])[] = [
  [
    ["PREROUTING", ["raw", "mangle", "nat"]],
    ["FORWARD", ["mangle", "filter", "security"]],
    ["POSTROUTING", ["mangle", "nat"]],
  ],
  [
    ["PREROUTING", ["raw", "mangle", "nat"]],
    ["INPUT", ["mangle", "filter", "security", "nat"]],
  ],
  [
    ["OUTPUT", ["raw", "mangle", "nat", "filter", "security"]],
    ["POSTROUTING", ["mangle", "nat"]],
  ],
];

/** Leaves the packet the devices that netfilter shows at a hook, of those it comes and goes by. */
export function hideDevices(packet: CurrentPacket, hook: Hook): void {
  switch (hook) {
    case "PREROUTING":
    case "INPUT":
      // Where it goes is not known yet, or is here.
      packet.outDevice = NO_DEVICE;
      packet.physOutDevice = NO_DEVICE;
      return;
    case "OUTPUT":
      packet.inDevice = NO_DEVICE;
      packet.physInDevice = NO_DEVICE;
      packet.physOutDevice = NO_DEVICE;
      return;
    case "POSTROUTING":
      // ip_output passes the device a forwarded packet came by; br_nf_post_routing passes none.
      if (packet.physOutDevice !== NO_DEVICE) packet.inDevice = NO_DEVICE;
      return;
    case "FORWARD":
      return;
    default:
      assertNever(hook);
  }
}
