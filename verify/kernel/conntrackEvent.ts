/** Connection-tracking events as the kernel reports them (linux/netfilter/nfnetlink_conntrack.h). */
import { attributesOf, messageAttributes, messageHeader, numberIn } from "./netlink.ts";
import { type Answer, ITEM } from "./oracle.ts";

export interface ConntrackEvent {
  readonly kind: "new" | "update" | "destroy";
  /** The kernel's number for the entry. */
  readonly id: number;
  /** IPS_* bits (nf_conntrack_common.h): 2 seen reply, 4 assured, 8 confirmed, 0x200 dying. */
  readonly status: number;
  /** Seconds left. */
  readonly timeoutSeconds: number | undefined;
  readonly mark: number;
  readonly zone: number;
  readonly protocol: number;
  /** State of the protocol's tracker, by the kernel's name. */
  readonly state: string | undefined;
}

/** Message types and attribute numbers. */
const MESSAGE_DELETE = 2;
const NLM_F_CREATE = 0x400;
const CTA = { tupleOriginal: 1, status: 3, protocolInfo: 4, timeout: 7, mark: 8, id: 12, zone: 18 } as const;
const CTA_TUPLE_PROTOCOL = 2;
const CTA_PROTOCOL_NUMBER = 1;
const CTA_PROTOCOLINFO = { tcp: 1, sctp: 3 } as const;
const CTA_PROTOCOLINFO_STATE = 1;

/** enum tcp_conntrack (nf_conntrack_tcp.h) and enum sctp_conntrack (nf_conntrack_sctp.h). */
const TCP_STATES = [
  "NONE",
  "SYN_SENT",
  "SYN_RECV",
  "ESTABLISHED",
  "FIN_WAIT",
  "CLOSE_WAIT",
  "LAST_ACK",
  "TIME_WAIT",
  "CLOSE",
  "SYN_SENT2",
] as const;
const SCTP_STATES = [
  "NONE",
  "CLOSED",
  "COOKIE_WAIT",
  "COOKIE_ECHOED",
  "ESTABLISHED",
  "SHUTDOWN_SENT",
  "SHUTDOWN_RECD",
  "SHUTDOWN_ACK_SENT",
  "HEARTBEAT_SENT",
] as const;

/** The events among what a packet caused, in order. */
export function conntrackEvents(answer: Answer): readonly ConntrackEvent[] {
  return answer.items.filter((item) => item.kind === ITEM.conntrack).map((item) => readEvent(item.bytes));
}

function readEvent(message: Uint8Array): ConntrackEvent {
  const { type, flags } = messageHeader(message);
  const attributes = messageAttributes(message);
  const original = nested(attributes.get(CTA.tupleOriginal));
  const info = nested(attributes.get(CTA.protocolInfo));
  const tcp = numberIn(nested(info.get(CTA_PROTOCOLINFO.tcp)).get(CTA_PROTOCOLINFO_STATE));
  const sctp = numberIn(nested(info.get(CTA_PROTOCOLINFO.sctp)).get(CTA_PROTOCOLINFO_STATE));
  return {
    kind: type === MESSAGE_DELETE ? "destroy" : flags & NLM_F_CREATE ? "new" : "update",
    id: numberIn(attributes.get(CTA.id)) ?? 0,
    status: numberIn(attributes.get(CTA.status)) ?? 0,
    timeoutSeconds: numberIn(attributes.get(CTA.timeout)),
    mark: numberIn(attributes.get(CTA.mark)) ?? 0,
    zone: numberIn(attributes.get(CTA.zone)) ?? 0,
    protocol: numberIn(nested(original.get(CTA_TUPLE_PROTOCOL)).get(CTA_PROTOCOL_NUMBER)) ?? 0,
    state: tcp !== undefined ? TCP_STATES[tcp] : sctp !== undefined ? SCTP_STATES[sctp] : undefined,
  };
}

function nested(value: Uint8Array | undefined): ReadonlyMap<number, Uint8Array> {
  return value === undefined ? new Map() : attributesOf(value);
}
