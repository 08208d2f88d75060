/** What a replay found, as data: flows, sums, groups of what is refused and of what a change changes. */
import { formatAddress } from "../dataplane/address.ts";
import { hasPorts, type Packet, PROTOCOL, protocolName } from "../dataplane/packet.ts";
import { CT_STATES, type CtState, VERDICTS, type Verdict } from "../dataplane/verdict.ts";
import { FLOW_STATE } from "./flowState.ts";
import type { FlowTable } from "./flowTable.ts";
import { openingPacket } from "./openingPacket.ts";
import type { AddressBook } from "./owners.ts";
import type { Met } from "./places.ts";
import { RefusingPolicies } from "./refusingPolicies.ts";
import type { Cause, Side } from "./side.ts";
import type { ReplayedStory } from "./story.ts";
import type { StepStarts } from "./storyTime.ts";
import { hasChanged, type Tally } from "./tally.ts";
import type { Timeline } from "./timeline.ts";

/** What one side did with a flow. */
export interface SideVerdict {
  readonly verdict: Verdict;
  readonly ctState: CtState;
  readonly cause: Cause;
  /** Packets of the flow that did not pass; more than none while `verdict` is accept: it was cut later. */
  readonly refusedPackets: number;
}

export interface FlowReport {
  readonly slot: number;
  readonly packet: Packet;
  /** Steps of the story taken when it began. */
  readonly step: number;
  /** `namespace/pod`, `node:NAME` or the address; as it was then. */
  readonly from: string;
  readonly to: string;
  readonly sourceWorkload: string;
  readonly destinationWorkload: string;
  readonly packets: number;
  readonly bytes: number;
  /** Seconds since the epoch. */
  readonly firstTime: number;
  readonly lastTime: number;
  /** Where its first packet stands in its file. */
  readonly offset: number;
  /** The recording began after the flow did: the first packet seen decided. */
  readonly isStartMissing: boolean;
  /** The log says that it was dropped. */
  readonly isRecordedDrop: boolean;
  /** What it had met where it was recorded; undefined: not known. */
  readonly met: Exclude<Met, "unknown"> | undefined;
  /** Sent to a Service address, judged as sent to the endpoint. */
  readonly isTranslated: boolean;
  readonly main: SideVerdict;
  /** In the order of the sides. */
  readonly sides: readonly SideVerdict[];
}

/** Flows refused by the same policies between the same workloads. */
export interface FlowGroup {
  /** Keys of the policies that refuse them: those that isolate and have no rule for them. */
  readonly policies: readonly string[];
  readonly source: string;
  readonly destination: string;
  /** `tcp/3306`, the most used first. */
  readonly ports: readonly string[];
  readonly flows: number;
  readonly packets: number;
  readonly bytes: number;
  /** The earliest. */
  readonly example: FlowReport;
}

/** Flows that two sides judge differently, in the same way. */
export interface ChangeGroup extends FlowGroup {
  /** Verdicts by side. */
  readonly verdicts: readonly Verdict[];
  readonly kind: "now refused" | "now accepted" | "differs";
}

export interface MatrixCell {
  readonly source: string;
  readonly destination: string;
  readonly accepted: number;
  readonly refused: number;
  readonly changed: number;
}

/** A step of the story, and the flows that began while so many steps were taken. */
export interface StepReport {
  /** 0: before the first one. */
  readonly number: number;
  /** Seconds since the epoch; undefined: it comes after the last packet, or is none. */
  readonly time: number | undefined;
  readonly what: string;
  readonly flows: number;
  /** Of these, by the main side. */
  readonly refused: number;
  /** Flows that passed until a packet of theirs was refused here. */
  readonly cut: number;
}

export interface ReplayReportOptions {
  readonly table: FlowTable;
  readonly sides: readonly Side[];
  /** By side; those of every worker. */
  readonly causes: readonly (readonly Cause[])[];
  readonly main: number;
  readonly book: AddressBook;
  readonly tally: Tally;
  readonly timeline: Timeline;
  readonly steps: StepStarts;
  /** What became of the cluster meanwhile; undefined: nothing. */
  readonly story?: ReplayedStory;
}

/** What is outside the cluster counts as one, so that a scan does not make a thousand groups. */
const OUTSIDE = "outside";

export class ReplayReport {
  readonly options: ReplayReportOptions;
  readonly #policies: readonly RefusingPolicies[];

  constructor(options: ReplayReportOptions) {
    this.options = options;
    this.#policies = options.sides.map((side) => new RefusingPolicies(side));
  }

  /** The wanted flows, in order of their first packets; made one by one. */
  *flows(): Generator<FlowReport> {
    const { table } = this.options;
    for (const slot of table.ordered()) if (isWanted(table, slot)) yield this.flow(slot);
  }

  *changed(): Generator<FlowReport> {
    const { table } = this.options;
    if (table.sides.length < 2) return;
    for (const slot of table.ordered()) if (isWanted(table, slot) && hasChanged(table, slot)) yield this.flow(slot);
  }

  flow(slot: number): FlowReport {
    const { table, book, main } = this.options;
    const packet = openingPacket(table, slot);
    const state = table.state(slot);
    const step = this.options.steps.before(table.firstIndex[slot] ?? 0);
    const source = book.owner(book.numberOf(packet.source, step));
    const destination = book.owner(book.numberOf(packet.destination, step));
    const sides = this.options.sides.map((_, side) => this.#sideVerdict(slot, side));
    const mainSide = sides[main];
    if (mainSide === undefined) throw new RangeError(`side ${main} of ${sides.length}`);
    return {
      slot,
      packet,
      step,
      from: source?.name ?? formatAddress(packet.source),
      to: destination?.name ?? formatAddress(packet.destination),
      sourceWorkload: source?.workload ?? OUTSIDE,
      destinationWorkload: destination?.workload ?? OUTSIDE,
      packets: table.packets(slot),
      bytes: table.bytes(slot),
      firstTime: table.firstTime(slot),
      lastTime: table.lastTime(slot),
      offset: table.firstOffset[slot] ?? 0,
      isStartMissing: (state & FLOW_STATE.startMissing) !== 0,
      isRecordedDrop: (state & FLOW_STATE.recordedDrop) !== 0,
      met: metOf(state),
      isTranslated: (state & FLOW_STATE.translated) !== 0,
      main: mainSide,
      sides,
    };
  }

  /** The policies that refuse a flow on a side; empty when it passes there, or when no policy is the reason. */
  refusingPolicies(flow: FlowReport, side: number): readonly string[] {
    const verdict = flow.sides[side];
    if (verdict === undefined || !isRefused(verdict.verdict)) return [];
    return this.#policies[side]?.of(flow.packet, verdict.cause, flow.step) ?? [];
  }

  /** Refused flows of the main side, the most frequent first. */
  denied(): readonly FlowGroup[] {
    const { main } = this.options;
    const groups = new Groups<FlowGroup>();
    const { table } = this.options;
    const verdicts = table.sides[main]?.verdict;
    for (const slot of table.ordered()) {
      // Asked of the column first: most flows pass, and to make an object of each would be most of the work.
      if (!isRefused(VERDICTS[verdicts?.[slot] ?? 0] ?? "unknown") || !isWanted(table, slot)) continue;
      const flow = this.flow(slot);
      const policies = this.refusingPolicies(flow, main);
      groups.add(flow, { policies, key: policies.join(" ") });
    }
    return groups.sorted((group) => group);
  }

  /** What changes between the sides: what is refused now first, the most frequent first. */
  changes(): readonly ChangeGroup[] {
    const groups = new Groups<ChangeGroup>();
    const kinds = new Map<string, Pick<ChangeGroup, "kind" | "verdicts">>();
    const isTimeOrdered = this.options.main > 0;
    for (const flow of this.changed()) {
      const verdicts = flow.sides.map(({ verdict }) => verdict);
      const policies = [...new Set(flow.sides.flatMap((_, side) => this.refusingPolicies(flow, side)))];
      const key = `${verdicts.join(" ")} ${policies.join(" ")}`;
      kinds.set(key, { kind: isTimeOrdered ? kindOf(verdicts) : "differs", verdicts });
      groups.add(flow, { policies, key });
    }
    const list = groups.sorted((group, key) => {
      const kind = kinds.get(key);
      if (kind === undefined) throw new Error(`no kind for the group ${key}`);
      return { ...group, ...kind };
    });
    const order = (group: ChangeGroup): number => (group.kind === "now refused" ? 0 : 1);
    return [...list].sort((a, b) => order(a) - order(b));
  }

  /** The steps of the story with their flows; empty without one. */
  story(): readonly StepReport[] {
    const { story, steps, table, main } = this.options;
    if (story === undefined) return [];
    const sums = Array.from({ length: steps.taken + 1 }, () => ({ flows: 0, refused: 0 }));
    const verdicts = table.sides[main]?.verdict;
    for (const slot of table.ordered()) {
      if (!isWanted(table, slot)) continue;
      const sum = sums[steps.before(table.firstIndex[slot] ?? 0)];
      if (sum === undefined) continue;
      sum.flows++;
      if (isRefused(VERDICTS[verdicts?.[slot] ?? 0] ?? "unknown")) sum.refused++;
    }
    return ["the start", ...story.story.steps.map(({ what }) => what)].map((what, number) => ({
      number,
      time: number > 0 && number <= steps.taken ? story.clock.timeOf(number) : undefined,
      what,
      ...(sums[number] ?? { flows: 0, refused: 0 }),
      cut: story.cutIn(number),
    }));
  }

  /** Flows by workload of their source and destination. */
  matrix(): readonly MatrixCell[] {
    const cells = new Map<string, { -readonly [Key in keyof MatrixCell]: MatrixCell[Key] }>();
    for (const flow of this.flows()) {
      const { sourceWorkload: source, destinationWorkload: destination } = flow;
      const key = `${source} ${destination}`;
      const cell = cells.get(key) ?? { source, destination, accepted: 0, refused: 0, changed: 0 };
      cells.set(key, cell);
      if (isRefused(flow.main.verdict)) cell.refused++;
      else cell.accepted++;
      if (flow.sides.some(({ verdict }) => verdict !== flow.main.verdict)) cell.changed++;
    }
    return [...cells.values()];
  }

  #sideVerdict(slot: number, side: number): SideVerdict {
    const columns = this.options.table.sides[side];
    const cause = this.options.causes[side]?.[columns?.cause[slot] ?? 0];
    if (columns === undefined || cause === undefined) throw new RangeError(`flow ${slot} of side ${side} has no cause`);
    return {
      verdict: VERDICTS[columns.verdict[slot] ?? 0] ?? "unknown",
      ctState: CT_STATES[columns.ctState[slot] ?? 0] ?? "invalid",
      cause,
      refusedPackets: (columns.packets[slot * 4 + 1] ?? 0) + (columns.packets[slot * 4 + 2] ?? 0),
    };
  }
}

export function isRefused(verdict: Verdict): boolean {
  return verdict === "drop" || verdict === "reject";
}

function metOf(state: number): FlowReport["met"] {
  if ((state & FLOW_STATE.metAll) !== 0) return "every policy";
  return (state & FLOW_STATE.metEgress) !== 0 ? "egress policy" : undefined;
}

export function isWanted(table: FlowTable, slot: number): boolean {
  return (table.state(slot) & (FLOW_STATE.filtered | FLOW_STATE.hidden)) === 0;
}

function kindOf(verdicts: readonly Verdict[]): ChangeGroup["kind"] {
  const [before, after] = [verdicts[0], verdicts.at(-1)];
  if (before === "accept" && after !== undefined && isRefused(after)) return "now refused";
  if (before !== undefined && isRefused(before) && after === "accept") return "now accepted";
  return "differs";
}

/** `tcp/3306`, `icmp/8`, `gre`: where a flow goes. */
export function portText({ protocol, destinationPort, icmpType }: Packet): string {
  const name = protocolName(protocol);
  if (hasPorts(protocol)) return `${name}/${destinationPort}`;
  return protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6 ? `${name}/${icmpType}` : name;
}

interface Sum {
  readonly key: string;
  readonly policies: readonly string[];
  readonly ports: Map<string, number>;
  readonly example: FlowReport;
  flows: number;
  packets: number;
  bytes: number;
}

/** Sums flows by their workloads and a key. */
class Groups<T extends FlowGroup> {
  readonly #sums = new Map<string, Sum>();

  add(flow: FlowReport, { policies, key }: { readonly policies: readonly string[]; readonly key: string }): void {
    const place = `${flow.sourceWorkload} ${flow.destinationWorkload} ${key}`;
    let sum = this.#sums.get(place);
    if (sum === undefined) {
      sum = { key, policies, ports: new Map(), example: flow, flows: 0, packets: 0, bytes: 0 };
      this.#sums.set(place, sum);
    }
    sum.flows++;
    sum.packets += flow.packets;
    sum.bytes += flow.bytes;
    const port = portText(flow.packet);
    // A port scan would make a list as long as itself.
    if (sum.ports.has(port) || sum.ports.size < MAX_PORTS) sum.ports.set(port, (sum.ports.get(port) ?? 0) + 1);
  }

  sorted(finish: (group: FlowGroup, key: string) => T): readonly T[] {
    return [...this.#sums.values()]
      .sort((a, b) => b.flows - a.flows || b.packets - a.packets)
      .map(({ key, policies, ports, example, flows, packets, bytes }) =>
        finish(
          {
            policies,
            source: example.sourceWorkload,
            destination: example.destinationWorkload,
            ports: [...ports].sort(([, a], [, b]) => b - a).map(([port]) => port),
            flows,
            packets,
            bytes,
            example,
          },
          key,
        ),
      );
  }
}

const MAX_PORTS = 1000;
