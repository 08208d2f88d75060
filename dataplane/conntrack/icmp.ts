/**
 * ICMP and ICMPv6: questions make entries, answers belong to them, errors belong to the entry of the packet they quote.
 *
 * Sources: nf_conntrack_proto_icmp.c, nf_conntrack_proto_icmpv6.c, nf_conntrack_inet_error.
 */
import { type Flow, invalid, isConfirmed, OUTCOME, type Outcome, refresh, WORD } from "./flow.ts";
import { TIMEOUT_SLOT } from "./options.ts";

/** No answer exists to a message of this type. */
export const NO_ANSWER = -1;

/** Types of ICMP messages and what answers them, both ways: echo, timestamp, information, address mask. */
const ICMP_ANSWERS = pairs([
  [8, 0],
  [13, 14],
  [15, 16],
  [17, 18],
]);

/** The same of ICMPv6: echo, node information. */
const ICMPV6_ANSWERS = pairs([
  [128, 129],
  [139, 140],
]);

/** The types that may start a conversation. */
export const ICMP_QUESTIONS: ReadonlySet<number> = new Set([8, 13, 15, 17]);
/** The same of ICMPv6. */
export const ICMPV6_QUESTIONS: ReadonlySet<number> = new Set([128, 139]);

/** Highest type that the kernel knows (NR_ICMP_TYPES). */
const HIGHEST_ICMP_TYPE = 18;

/** Destination unreachable, source quench, redirect, time exceeded, parameter problem. */
const ICMP_ERRORS: ReadonlySet<number> = new Set([3, 4, 5, 11, 12]);

/** Below are errors (RFC 4443 section 2.1). */
const FIRST_ICMPV6_INFORMATION = 128;

/** Multicast listener query, report, done, version 2 report; router and neighbour discovery (RFC 4890 section 4.4). */
const ICMPV6_UNTRACKED: ReadonlySet<number> = new Set([130, 131, 132, 133, 134, 135, 136, 143]);

function pairs(list: readonly (readonly [number, number])[]): Int16Array {
  const answers = new Int16Array(256).fill(NO_ANSWER);
  for (const [question, answer] of list) {
    answers[question] = answer;
    answers[answer] = question;
  }
  return answers;
}

/** The ICMP type on the other side of the conversation, `NO_ANSWER` when there is none. */
export function icmpAnswer(type: number): number {
  return ICMP_ANSWERS[type] ?? NO_ANSWER;
}

/** `icmpAnswer` for ICMPv6. */
export function icmpv6Answer(type: number): number {
  return ICMPV6_ANSWERS[type] ?? NO_ANSWER;
}

/** What conntrack does with an ICMP message before it looks for an entry. */
export type IcmpClass = "conversation" | "error" | "untracked" | "unknown";

export function icmpClass(type: number): IcmpClass {
  if (type > HIGHEST_ICMP_TYPE) return "unknown";
  return ICMP_ERRORS.has(type) ? "error" : "conversation";
}

export function icmpv6Class(type: number): IcmpClass {
  if (ICMPV6_UNTRACKED.has(type)) return "untracked";
  return type < FIRST_ICMPV6_INFORMATION ? "error" : "conversation";
}

export function trackIcmp(flow: Flow): Outcome {
  if (!ICMP_QUESTIONS.has(originalType(flow))) return invalid(flow, "ICMP answer that nobody asked for");
  refresh(flow, TIMEOUT_SLOT.icmp);
  return OUTCOME.accept;
}

export function trackIcmpv6(flow: Flow): Outcome {
  if (!isConfirmed(flow) && !ICMPV6_QUESTIONS.has(originalType(flow))) {
    return invalid(flow, "ICMPv6 answer that nobody asked for");
  }
  refresh(flow, TIMEOUT_SLOT.icmpv6);
  return OUTCOME.accept;
}

/** The type of the message that made the entry. */
function originalType(flow: Flow): number {
  return ((flow.words[flow.at + WORD.ports] ?? 0) >>> 8) & 0xff;
}
