/** The packet that is being made in the form. */
import { signal } from "@preact/signals";
import type { PacketObject } from "./messages.ts";
import { family, sendPackets } from "./state.ts";

export interface Draft {
  readonly source: string;
  readonly destination: string;
  readonly protocol: string;
  readonly port: string;
  readonly sourcePort: string;
  readonly flags: string;
  readonly icmpType: string;
  readonly icmpCode: string;
}

export const draft = signal<Draft>({
  source: "",
  destination: "",
  protocol: "tcp",
  port: "80",
  sourcePort: "40000",
  flags: "S",
  icmpType: "8",
  icmpCode: "0",
});

export const WITH_PORTS: ReadonlySet<string> = new Set(["tcp", "udp", "sctp"]);
export const WITH_TYPES: ReadonlySet<string> = new Set(["icmp", "icmpv6"]);

/** As `trace --packets` reads it; numbers that are none stay texts, so that the reader says what it wants. */
export function packetOfDraft(each: Draft): PacketObject {
  const number = (text: string): number | string => (/^\d+$/.test(text) ? Number(text) : text);
  return {
    protocol: /^\d+$/.test(each.protocol) ? Number(each.protocol) : each.protocol,
    source: each.source,
    destination: each.destination,
    ...(WITH_PORTS.has(each.protocol) && {
      sourcePort: number(each.sourcePort),
      destinationPort: number(each.port),
    }),
    ...(each.protocol === "tcp" && { tcpFlags: each.flags }),
    ...(WITH_TYPES.has(each.protocol) && { icmpType: number(each.icmpType), icmpCode: number(each.icmpCode) }),
  };
}

/** The form shows the packet that is walked. */
export function draftOf(packet: PacketObject): Draft {
  // Objects leave out what is a packet's default.
  const text = (name: string, preset: string) => String(packet[name] ?? preset);
  const protocol = text("protocol", "tcp");
  return {
    source: text("source", ""),
    destination: text("destination", ""),
    protocol,
    port: text("destinationPort", "80"),
    sourcePort: text("sourcePort", "40000"),
    flags: text("tcpFlags", "S"),
    icmpType: text("icmpType", protocol === "icmpv6" ? "128" : "8"),
    icmpCode: text("icmpCode", "0"),
  };
}

/** A new conversation, of this packet alone. */
export function sendDraft(): Promise<void> {
  return sendPackets([packetOfDraft(draft.value)]);
}

export function chooseFamily(next: 4 | 6 | undefined): Promise<void> {
  family.value = next;
  return sendDraft();
}
