/** Flows and reports as the JSON objects of interface.md. */
import { formatAddress } from "../../dataplane/address.ts";
import { hasPorts, PROTOCOL, protocolName } from "../../dataplane/packet.ts";
import type { ChangeGroup, FlowGroup, FlowReport, ReplayReport, SideVerdict } from "../../replay/report.ts";
import { decisionObject } from "../result.ts";

/** What the sides are to each other. */
export type Comparison = "none" | "change" | "strategies";

/** A flow of the contract; what has no value is left out. */
export function flowObject(report: ReplayReport, flow: FlowReport, comparison: Comparison): object {
  const { packet, main } = flow;
  const isIcmp = packet.protocol === PROTOCOL.icmp || packet.protocol === PROTOCOL.icmpv6;
  return {
    protocol: protocolName(packet.protocol),
    source: formatAddress(packet.source),
    sourcePort: hasPorts(packet.protocol) ? packet.sourcePort : 0,
    destination: formatAddress(packet.destination),
    destinationPort: hasPorts(packet.protocol) ? packet.destinationPort : 0,
    ...(isIcmp && { icmpType: packet.icmpType, icmpCode: packet.icmpCode, icmpId: packet.icmpId }),
    from: flow.from,
    to: flow.to,
    packets: flow.packets,
    bytes: flow.bytes,
    firstTime: flow.firstTime,
    lastTime: flow.lastTime,
    ...sideObject(main),
    ...refusers(report, flow, report.options.main),
    ...(main.refusedPackets > 0 && main.verdict === "accept" && { refusedLater: main.refusedPackets }),
    ...(report.options.story !== undefined && { step: flow.step }),
    ...(flow.isStartMissing && { startMissing: true }),
    ...(flow.isTranslated && { translated: true }),
    ...(flow.met !== undefined && { metWhereRecorded: flow.met }),
    ...sidesObject(report, flow, comparison),
  };
}

function sidesObject(report: ReplayReport, flow: FlowReport, comparison: Comparison): object {
  if (comparison === "none") return {};
  const sides = Object.fromEntries(
    report.options.sides.map(({ name }, side) => {
      const verdict = flow.sides[side];
      return [name, verdict === undefined ? undefined : { ...sideObject(verdict), ...refusers(report, flow, side) }];
    }),
  );
  return comparison === "change" ? sides : { strategies: sides };
}

function sideObject({ verdict, ctState, cause }: SideVerdict): object {
  return {
    verdict,
    reason: cause.reason,
    ctState,
    decidedBy: cause.decision === undefined ? undefined : decisionObject(cause.decision),
    because: cause.because,
  };
}

function refusers(report: ReplayReport, flow: FlowReport, side: number): object {
  const policies = report.refusingPolicies(flow, side);
  return policies.length === 0 ? {} : { policies };
}

export function groupObject(report: ReplayReport, group: FlowGroup | ChangeGroup, comparison: Comparison): object {
  const { example, ...rest } = group;
  return { ...rest, example: flowObject(report, example, comparison) };
}

export interface ReportNumbers {
  /** Records that were not replayed, by reason. */
  readonly skipped: ReadonlyMap<string, number>;
}

export function totalsObject(report: ReplayReport, { skipped }: ReportNumbers): object {
  const { tally } = report.options;
  const [accept, drop, reject, unknown] = tally.packetVerdicts;
  const skippedCount = [...skipped.values()].reduce((sum, count) => sum + count, 0);
  const [acceptedFlows, droppedFlows, rejectedFlows, unknownFlows] = tally.flowVerdicts;
  return {
    packets: tally.packets,
    flows: tally.flows,
    accept,
    drop,
    reject,
    ...(unknown > 0 && { unknown }),
    skipped: skippedCount,
    unknownAddresses: tally.unknownAddressCount,
    bytes: tally.bytes,
    flowVerdicts: {
      accept: acceptedFlows,
      drop: droppedFlows,
      reject: rejectedFlows,
      ...(unknownFlows > 0 && { unknown: unknownFlows }),
    },
    startMissing: tally.startMissing,
    translated: tally.translated,
    filteredFlows: tally.filteredFlows,
    filteredPackets: tally.filteredPackets,
    skippedReasons: Object.fromEntries(skipped),
  };
}
