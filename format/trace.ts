/**
 * The picture of a walk: one block a node, one line a rule, the deciding line marked, where it comes from on the right,
 * and why in words at the end. Command line, tests and docs all print it from here.
 */
import type { Direction } from "../compiler/model.ts";
import { formatAddress, type IpAddress } from "../dataplane/address.ts";
import { hasPorts, type Packet, protocolName } from "../dataplane/packet.ts";
import type { Program } from "../dataplane/program.ts";
import type { Decision, PacketResult } from "../dataplane/result.ts";
import type { TraceStep } from "../dataplane/trace.ts";
import type { Verdict, Work } from "../dataplane/verdict.ts";
import { formatDetail } from "../traffic/transcript.ts";
import { formatColumns } from "./columns.ts";
import { type Paint, PLAIN } from "./paint.ts";
import { ELASTIC_COLUMNS, rowsOfHop, type TraceLevel } from "./traceRows.ts";

export interface TraceView {
  readonly strategy: string;
  readonly packet: Packet;
  readonly result: PacketResult;
  readonly steps: readonly TraceStep[];
  readonly programs: readonly Program[];
  /** `namespace/pod` or `node:NAME`, or the address itself. */
  readonly nameOf: (address: IpAddress) => string;
  /** Why, in words (verify/explain.ts). */
  readonly because: readonly string[];
  /** What stands on the right: where a rule comes from in the policies, or the comments that an imported node has instead. */
  readonly origins: "policies" | "comments";
  /** The directions in which policies refuse the packet. */
  readonly refused: readonly Direction[];
}

export interface TraceStyle {
  /**
   * `detailed`: every rule evaluated. `summary`: rules that matched, and the policy rules whose failing decided. `shortest`: of a
   * summary what explains the verdict, on the node that refused or, if none did, on all.
   */
  readonly level: TraceLevel;
  readonly paint?: Paint;
  /** Width of the terminal; undefined: no limit. */
  readonly columns?: number | undefined;
}

/** The whole picture, line by line. */
export function formatTrace(view: TraceView, style: TraceStyle): readonly string[] {
  const paint = style.paint ?? PLAIN;
  const { hops, verdict } = view.result;
  const shown = style.level === "shortest" && verdict !== "accept" ? hops.slice(-1) : hops;
  const blocks = shown.map((hop) => ({ hop, rows: rowsOfHop(view, hop, style.level) }));
  // One table for all nodes, so that columns stand under each other; then cut into blocks again.
  const lines = formatColumns(
    blocks.flatMap(({ rows }) => rows),
    { paint, columns: style.columns, elastic: ELASTIC_COLUMNS },
  );
  const text: string[] = [paint.strong(formatHead(view.packet, view.nameOf))];
  let start = 0;
  for (const { hop, rows } of blocks) {
    text.push("", `${paint.strong(hop.node)}  ${paint.faint(`conntrack: ${hop.ctState}`)}`);
    text.push(...lines.slice(start, start + rows.length));
    start += rows.length;
  }
  return [...text, "", ...formatConclusion(view, paint)];
}

/** `tcp 10.10.2.11:40000 (default/intruder) > 10.10.1.10:3306 (default/db) S` */
export function formatHead(packet: Packet, nameOf: (address: IpAddress) => string): string {
  const end = (address: IpAddress, port: number): string => {
    const text = formatAddress(address);
    const bracketed = address.family === 6 ? `[${text}]` : text;
    const name = nameOf(address);
    return `${hasPorts(packet.protocol) ? `${bracketed}:${port}` : text}${name === text ? "" : ` (${name})`}`;
  };
  const detail = formatDetail(packet);
  return `${protocolName(packet.protocol)} ${end(packet.source, packet.sourcePort)} > ${end(packet.destination, packet.destinationPort)}${detail === "" ? "" : ` ${detail}`}`;
}

/** `[kube-router] Rejected (default/db is isolated …)`, one line a packet. */
export function formatMinimal(view: Pick<TraceView, "strategy" | "because"> & { readonly verdict: Verdict }): string {
  return `[${view.strategy}] ${VERDICT_WORD[view.verdict]} (${view.because[0] ?? ""})`;
}

const VERDICT_WORD = {
  accept: "Allowed",
  drop: "Dropped",
  reject: "Rejected",
  unknown: "Unknown",
} as const satisfies Record<Verdict, string>;

function formatConclusion(view: TraceView, paint: Paint): readonly string[] {
  const { result, because } = view;
  const look = result.verdict === "accept" ? paint.good : paint.bad;
  const [first = "", ...rest] = because;
  const indent = " ".repeat(result.verdict.length + 2);
  const place = result.decidedBy === undefined ? [] : [paint.faint(`${indent}${formatDecision(result.decidedBy)}`)];
  return [
    `${look(paint.strong(`${result.verdict}:`))} ${first}`,
    ...rest.map((line) => `${indent}${line}`),
    ...place,
    paint.faint(`${indent}${formatWork(result.work)}`),
  ];
}

/** `on node-a by filter KUBE-POD-FW-XXCKKAXTM7SDEHTM rule 5` */
export function formatDecision(decision: Decision): string {
  switch (decision.kind) {
    case "rule":
      return `on ${decision.node} by ${decision.table} ${decision.chain} rule ${decision.rule}`;
    case "map":
      return decision.key === ""
        ? `on ${decision.node} by ${decision.map}, which has no entry for it`
        : `on ${decision.node} by ${decision.map} key ${decision.key}`;
  }
}

/** `rules 24 · chains 9 · set look-ups 3`; what is 0 is left out. */
export function formatWork(work: Work): string {
  const parts: readonly (readonly [string, number])[] = [
    ["rules", work.rules],
    ["chains", work.chains],
    ["set look-ups", work.setLookups],
    ["map look-ups", work.mapLookups],
    ["trie look-ups", work.trieLookups],
    ["conntrack look-ups", work.conntrackLookups],
  ];
  const shown = parts.filter(([, count]) => count > 0);
  return shown.length === 0 ? "no rule, no look-up" : shown.map(([what, count]) => `${what} ${count}`).join(" · ");
}
