/** Flows as comma-separated values (RFC 4180), one line each, for spreadsheets and databases. */
import { formatAddress } from "../../dataplane/address.ts";
import { hasPorts, protocolName } from "../../dataplane/packet.ts";
import type { FlowReport, ReplayReport } from "../../replay/report.ts";
import { formatDecision } from "../trace.ts";
import type { Comparison } from "./flowObject.ts";

export function* formatCsv(report: ReplayReport, comparison: Comparison): Generator<string> {
  const sides = comparison === "none" ? [] : report.options.sides.map(({ name }) => name);
  const head = [
    ...["protocol", "source", "sourcePort", "destination", "destinationPort", "from", "to", "packets", "bytes"],
    ...["firstTime", "lastTime", "verdict", "reason", "ctState", "decidedBy", "policies", "startMissing"],
    ...sides,
    ...(report.options.story === undefined ? [] : ["step"]),
  ];
  yield `${head.join(",")}\r\n`;
  for (const flow of report.flows())
    yield `${cells(report, flow, sides.length > 0)
      .map(quoted)
      .join(",")}\r\n`;
}

function cells(report: ReplayReport, flow: FlowReport, withSides: boolean): readonly (string | number)[] {
  const { packet, main } = flow;
  const ports = hasPorts(packet.protocol);
  const { cause } = main;
  return [
    protocolName(packet.protocol),
    formatAddress(packet.source),
    ports ? packet.sourcePort : "",
    formatAddress(packet.destination),
    ports ? packet.destinationPort : "",
    flow.from,
    flow.to,
    flow.packets,
    flow.bytes,
    flow.firstTime,
    flow.lastTime,
    main.verdict,
    cause.reason ?? "",
    main.ctState,
    cause.decision === undefined ? (cause.because ?? []).join("; ") : formatDecision(cause.decision),
    report.refusingPolicies(flow, report.options.main).join(" "),
    flow.isStartMissing ? "true" : "",
    ...(withSides ? flow.sides.map(({ verdict }) => verdict) : []),
    ...(report.options.story === undefined ? [] : [flow.step]),
  ];
}

/** A cell that a spreadsheet would take for a formula is kept from it (OWASP, CSV injection). */
function quoted(cell: string | number): string {
  const text = typeof cell === "string" && /^[=+\-@\t\r]/.test(cell) ? `'${cell}` : String(cell);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
