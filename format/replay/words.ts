/** Numbers and names of a replay as people read them: the same words in every format. */
import { formatAddress } from "../../dataplane/address.ts";
import { hasPorts, protocolName } from "../../dataplane/packet.ts";
import type { ChangeGroup, FlowGroup, FlowReport, ReplayReport } from "../../replay/report.ts";
import type { Comparison, ReportNumbers } from "./flowObject.ts";

/** `1 flow`, `12 flows`. */
export function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

/** The whole report in a line or two. */
export function headline(report: ReplayReport, comparison: Comparison, { skipped }: ReportNumbers): readonly string[] {
  const { tally, sides, main } = report.options;
  const [accept, drop, reject, unknown] = tally.flowVerdicts;
  const refused = drop + reject;
  const skippedCount = [...skipped.values()].reduce((sum, count) => sum + count, 0);
  const side = sides[main];
  const parts = [`${accept} pass`, `${refused} ${refused === 1 ? "is" : "are"} refused`];
  if (unknown > 0) parts.push(`${unknown} cannot be told`);
  const lines = [
    `${counted(tally.packets, "packet")} in ${counted(tally.flows, "flow")}: ${parts.join(", ")} (${side?.strategyName}${comparison === "change" ? ", after the change" : ""})`,
  ];
  if (comparison === "change") {
    const accepted = tally.changed - tally.nowRefused;
    lines.push(
      tally.changed === 0
        ? "the change changes no flow seen"
        : `the change refuses ${counted(tally.nowRefused, "flow")} that passed${accepted > 0 ? `, and changes ${accepted} more` : ""}`,
    );
  }
  if (comparison === "strategies") {
    const names = sides.map(({ name }) => name).join(", ");
    lines.push(
      tally.changed === 0 ? `${names} agree on every flow` : `${names} differ on ${counted(tally.changed, "flow")}`,
    );
  }
  const beside: string[] = [];
  if (skippedCount > 0) {
    beside.push(
      `${counted(skippedCount, "record")} skipped: ${[...skipped].map(([why, count]) => `${why} ${count}`).join(", ")}`,
    );
  }
  if (tally.filteredFlows > 0) beside.push(`${counted(tally.filteredFlows, "flow")} left out by the filter`);
  if (tally.unknownAddressCount > 0)
    beside.push(`${counted(tally.unknownAddressCount, "address").replace("addresss", "addresses")} of no pod or node`);
  return [...lines, ...beside];
}

/** `policy default/db-policy`, `default/a and default/b`, or why there is none. */
export function policiesText({ policies, example }: FlowGroup): string {
  if (policies.length > 0) return policies.join(" and ");
  const { cause } = example.main;
  return cause.decision?.origin ?? cause.reason ?? "no policy";
}

/** `accept → reject`. */
export function verdictsText({ verdicts }: ChangeGroup): string {
  return verdicts.join(" → ");
}

const SHOWN_PORTS = 4;

/** `tcp/80 tcp/443 and 3 more`. */
export function portsText({ ports }: FlowGroup): string {
  const more = ports.length - SHOWN_PORTS;
  return `${ports.slice(0, SHOWN_PORTS).join(" ")}${more > 0 ? ` and ${more} more` : ""}`;
}

/** `tcp prod/api-pod:40002 > default/db:3306`. */
export function flowText({ packet, from, to }: FlowReport): string {
  const end = (name: string, port: number): string => {
    if (!hasPorts(packet.protocol)) return name;
    return name.includes("::") || /^[0-9a-f]*:[0-9a-f:]*:/.test(name) ? `[${name}]:${port}` : `${name}:${port}`;
  };
  return `${protocolName(packet.protocol)} ${end(from, packet.sourcePort)} > ${end(to, packet.destinationPort)}`;
}

/** Where a flow's first packet stands: its time, and the addresses when names hide them. */
export function firstText({ packet, from, to, firstTime }: FlowReport): string {
  const [source, destination] = [formatAddress(packet.source), formatAddress(packet.destination)];
  const addresses = source === from && destination === to ? "" : `, ${source} > ${destination}`;
  return `${timeText(firstTime)}${addresses}`;
}

/** Seconds that are no time of day: transcripts count from 0. */
const EARLIEST_DATE = 100_000_000;
/** The last second that has one (ECMA-262, time values): steps far apart may lie behind it. */
const LATEST_DATE = 8_640_000_000_000;

/** `2026-11-20 14:03:07.125` in UTC, or `0.5 s`. */
export function timeText(seconds: number): string {
  if (seconds < EARLIEST_DATE || seconds > LATEST_DATE) return `${Math.round(seconds * 1e6) / 1e6} s`;
  return new Date(seconds * 1000).toISOString().replace("T", " ").replace("Z", "");
}
