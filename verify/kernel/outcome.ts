/** What the kernel did with one packet, read from everything the packet caused. */
import type { RejectWith } from "../../dataplane/program.ts";
import type { Verdict } from "../../dataplane/verdict.ts";
import { messageAttributes } from "./netlink.ts";
import { type Answer, type Device, ITEM } from "./oracle.ts";
import { FRAME_BYTES } from "./topology.ts";

export interface Outcome {
  readonly verdict: Exclude<Verdict, "unknown">;
  /** What the sender was told; only with `reject`. */
  readonly rejectedWith: RejectWith | undefined;
  /** Name of the device by which an accepted packet left; undefined when the node itself took it. */
  readonly leftBy: string | undefined;
  /** Packets that came out and were neither this one nor an answer to it. */
  readonly strays: number;
}

/** The packet as it was sent: what forwarding leaves alone, and what address translation leaves alone too. */
export interface SentPacket {
  /** `identification` of `encodePacket`, not 0. */
  readonly identification: number;
  readonly protocol: number;
  readonly length: number;
}

/** `--reject-with` by ICMP code of "destination unreachable" (RFC 792, 1812), then ICMPv6 (RFC 4443 section 3.1). */
const REJECT_CODES: ReadonlyMap<number, RejectWith> = new Map([
  [0, "icmp-net-unreachable"],
  [1, "icmp-host-unreachable"],
  [2, "icmp-proto-unreachable"],
  [3, "icmp-port-unreachable"],
  [9, "icmp-net-prohibited"],
  [10, "icmp-host-prohibited"],
  [13, "icmp-admin-prohibited"],
]);
const REJECT6_CODES: ReadonlyMap<number, RejectWith> = new Map([
  [0, "icmp6-no-route"],
  [1, "icmp6-adm-prohibited"],
  [3, "icmp6-addr-unreachable"],
  [4, "icmp6-port-unreachable"],
  [5, "icmp6-policy-fail"],
  [6, "icmp6-reject-route"],
]);

const RST = 0x04;

/** Attribute of an nflog message that holds the packet (linux/netfilter/nfnetlink_log.h). */
const NFULA_PAYLOAD = 9;

const NO_BYTES = new Uint8Array(0);

/**
 * Accepted: the packet itself came out of a device, or INPUT let it in. Rejected: the node had something to say about it.
 * Dropped: neither. A packet is known by its identification, protocol and length together: forwarding leaves these
 * alone, address translation does too, and an answer of the kernel's own has another length.
 */
export function outcomeOf(answer: Answer, sent: SentPacket, devices: readonly Device[]): Outcome {
  let rejectedWith: RejectWith | undefined;
  let strays = 0;
  for (const { kind, bytes } of answer.items) {
    if (kind === ITEM.overflow) throw new Error("a netlink socket of the kernel judge lost messages");
    const logged = kind === ITEM.input || kind === ITEM.answer;
    if (kind >= ITEM.log && !logged) continue;
    const device = devices[kind];
    const packet = logged ? (messageAttributes(bytes).get(NFULA_PAYLOAD) ?? NO_BYTES) : bytes;
    const start = device?.kind === "tap" ? FRAME_BYTES : 0;
    if (kind !== ITEM.answer && isSent(packet, start, sent)) {
      return { verdict: "accept", rejectedWith: undefined, leftBy: device?.name, strays };
    }
    const refusal = refusalIn(packet, start);
    if (refusal === undefined) strays++;
    else rejectedWith = refusal;
  }
  const verdict = rejectedWith === undefined ? "drop" : "reject";
  return { verdict, rejectedWith, leftBy: undefined, strays };
}

function isSent(bytes: Uint8Array, at: number, sent: SentPacket): boolean {
  const byte = (index: number) => bytes[at + index] ?? 0;
  if (byte(0) >>> 4 === 4) {
    return (
      ((byte(4) << 8) | byte(5)) === sent.identification &&
      byte(9) === sent.protocol &&
      ((byte(2) << 8) | byte(3)) === sent.length
    );
  }
  const label = ((byte(1) & 15) << 16) | (byte(2) << 8) | byte(3);
  return label === sent.identification && ((byte(4) << 8) | byte(5)) + 40 === sent.length;
}

/** What a RST or "destination unreachable" tells its receiver. */
function refusalIn(bytes: Uint8Array, at: number): RejectWith | undefined {
  const version = (bytes[at] ?? 0) >>> 4;
  const protocol = bytes[at + (version === 4 ? 9 : 6)];
  const header = at + (version === 4 ? ((bytes[at] ?? 0) & 15) * 4 : 40);
  const type = bytes[header] ?? 0;
  const code = bytes[header + 1] ?? 0;
  if (protocol === 6 && ((bytes[header + 13] ?? 0) & RST) !== 0) return "tcp-reset";
  if (protocol === 1 && type === 3) return REJECT_CODES.get(code);
  if (protocol === 58 && type === 1) return REJECT6_CODES.get(code);
  return undefined;
}
