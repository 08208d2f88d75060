/**
 * The flows of Cilium's cilium_ct4_global and its sisters once more, as plainly as it can be said: a map of texts, a record
 * for each entry, and what bpf/lib/conntrack.h of v1.19.7 does with them. The dataplane's own is packed into words; this one
 * shares nothing with it, so that one mistake cannot be in both.
 *
 * Not here: full maps, and the collector of dead entries, which is taken to be on time.
 */
import type { IpAddress } from "../../dataplane/address.ts";
import type { Packet } from "../../dataplane/packet.ts";

const [ICMP, TCP, ICMPV6] = [1, 6, 58];
/** bpf-ct-timeout-*, in seconds. */
const [SYN_SECONDS, TCP_SECONDS, CLOSING_SECONDS, OTHER_SECONDS] = [60, 8_000, 10, 60];
const [FIN, SYN, RST] = [1, 2, 4];
/** Destination unreachable, time exceeded, parameter problem; and all errors of ICMPv6 (CT_RELATED). */
const ERRORS: ReadonlyMap<number, readonly number[]> = new Map([
  [ICMP, [3, 11, 12]],
  [ICMPV6, [1, 2, 3, 4]],
]);

export type FlowDirection = "egress" | "ingress";

/** Policy is asked about what is new or established; what belongs to another's flow passes without. */
export type FlowSighting = "new" | "established" | "reply" | "related";

interface Flow {
  deadFrom: number;
  /** Something but a SYN has passed. */
  isUnderWay: boolean;
  /** By who sent it, seen from the endpoint that asks: `egress` what it sent, `ingress` what it got. */
  readonly hasSyn: Record<FlowDirection, boolean>;
  readonly isClosing: Record<FlowDirection, boolean>;
}

export class PlainFlows {
  /** By who opened (`egress`: the endpoint itself), tuple of the packet that did, and whether it is for errors about it. */
  readonly #flows = new Map<string, Flow>();

  /** What a packet is to the endpoint at one of its ends, which leaves its traces in the flow. */
  see(packet: Packet, direction: FlowDirection): FlowSighting {
    const isError = isErrorMessage(packet);
    const other = direction === "egress" ? "ingress" : "egress";
    if (this.#touch(keyOf(other, turned(packet), isError), packet, direction)) return isError ? "related" : "reply";
    return this.#touch(keyOf(direction, packet, isError), packet, direction) ? "established" : "new";
  }

  /** Policy lets a new packet pass: its flow begins, and errors about it will be related. */
  begin(packet: Packet, direction: FlowDirection): void {
    const deadFrom = Math.floor(packet.time) + (packet.protocol === TCP ? SYN_SECONDS : OTHER_SECONDS);
    const flow = (): Flow => ({
      deadFrom,
      isUnderWay: false,
      hasSyn: { egress: direction === "egress", ingress: direction === "ingress" },
      isClosing: { egress: false, ingress: false },
    });
    this.#flows.set(keyOf(direction, packet, isErrorMessage(packet)), flow());
    this.#flows.set(keyOf(direction, packet, true), flow());
  }

  #touch(key: string, { protocol, tcpFlags, time }: Packet, direction: FlowDirection): boolean {
    const flow = this.#flows.get(key);
    const now = Math.floor(time);
    if (flow === undefined || flow.deadFrom <= now) return false;
    if (protocol !== TCP) {
      flow.deadFrom = now + OTHER_SECONDS;
      return true;
    }
    const [isSyn, isFin, isReset] = [SYN, FIN, RST].map((flag) => (tcpFlags & flag) !== 0);
    const closes = isFin || isReset;
    const wasClosed = isClosed(flow);
    if (isSyn && !closes) flow.isClosing.egress = flow.isClosing.ingress = false; // the ports are used again
    if (!isClosed(flow)) {
      if (isSyn) flow.hasSyn[direction] = true;
      else flow.isUnderWay = true;
    }
    if (isReset && !(flow.hasSyn.egress && flow.hasSyn.ingress)) {
      flow.isClosing.egress = flow.isClosing.ingress = true; // refused before it was open
    } else if (closes) flow.isClosing[direction] = true;
    if (!isClosed(flow)) flow.deadFrom = now + (flow.isUnderWay ? TCP_SECONDS : SYN_SECONDS);
    else if (!wasClosed || closes) flow.deadFrom = now + CLOSING_SECONDS;
    return true;
  }
}

function isClosed({ isClosing }: Flow): boolean {
  return isClosing.egress && isClosing.ingress;
}

function isErrorMessage({ protocol, icmpType }: Packet): boolean {
  return ERRORS.get(protocol)?.includes(icmpType) ?? false;
}

type Ends = Pick<
  Packet,
  "protocol" | "source" | "destination" | "sourcePort" | "destinationPort" | "icmpType" | "icmpId"
>;

/** The packet that this one answers: of an echo, the request. */
function turned({ protocol, source, destination, sourcePort, destinationPort, icmpType, icmpId }: Packet): Ends {
  const question = new Map([
    [`${ICMP} 0`, 8],
    [`${ICMP} 8`, 0],
    [`${ICMPV6} 129`, 128],
    [`${ICMPV6} 128`, 129],
  ]).get(`${protocol} ${icmpType}`);
  return {
    protocol,
    source: destination,
    destination: source,
    sourcePort: destinationPort,
    destinationPort: sourcePort,
    icmpType: question ?? icmpType,
    icmpId,
  };
}

/** Flows of one tuple in both families' ICMP are told apart by the addresses. */
function keyOf(opener: FlowDirection, ends: Ends, isForErrors: boolean): string {
  const addresses = `${addressText(ends.source)} > ${addressText(ends.destination)}`;
  if (isForErrors) return `${opener} errors ${addresses}`;
  const { protocol, icmpType, icmpId } = ends;
  if (protocol !== ICMP && protocol !== ICMPV6) {
    return `${opener} ${protocol} ${addresses} ${ends.sourcePort} ${ends.destinationPort}`;
  }
  const [request, answer] = protocol === ICMP ? [8, 0] : [128, 129];
  const kind = icmpType === request ? `request ${icmpId}` : icmpType === answer ? `answer ${icmpId}` : "message";
  return `${opener} ${protocol} ${addresses} ${kind}`;
}

function addressText({ family, words }: IpAddress): string {
  return `${family}/${words.join(".")}`;
}
