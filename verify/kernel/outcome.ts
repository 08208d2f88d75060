/** What the kernel did with one packet, read from everything the packet caused. */
import type { RejectWith } from "../../dataplane/program.ts";
import type { Verdict } from "../../dataplane/verdict.ts";
import { type Answer, type AnswerItem, type Device, ITEM } from "./oracle.ts";
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

/**
 * Accepted: the packet itself came out, or INPUT let it in. Rejected: an answer came out. Dropped: nothing did. A packet
 * is known by its identification, protocol and length together: an answer of the kernel's own has another length.
 */
export function outcomeOf(answer: Answer, sent: SentPacket, devices: readonly Device[]): Outcome {
  let rejectedWith: RejectWith | undefined;
  let strays = 0;
  for (const item of answer.items) {
    if (item.kind === ITEM.input) return { verdict: "accept", rejectedWith: undefined, leftBy: undefined, strays };
    if (item.kind === ITEM.overflow) throw new Error("a netlink socket of the kernel judge lost messages");
    if (item.kind >= ITEM.log) continue;
    const device = devices[item.kind];
    const start = device?.kind === "tap" ? FRAME_BYTES : 0;
    if (isSent(item, start, sent)) {
      return { verdict: "accept", rejectedWith: undefined, leftBy: device?.name, strays };
    }
    const refusal = refusalIn(item.bytes, start);
    if (refusal === undefined) strays++;
    else rejectedWith = refusal;
  }
  const verdict = rejectedWith === undefined ? "drop" : "reject";
  return { verdict, rejectedWith, leftBy: undefined, strays };
}

function isSent({ bytes }: AnswerItem, at: number, sent: SentPacket): boolean {
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
