/** A timeline in the public JSON form. */

import type { Operation } from "../compiler/update/operation.ts";
import { formatAddress, formatCidr } from "../dataplane/address.ts";
import { packetToObject } from "../traffic/packetObject.ts";
import { servicesText } from "../verify/space.ts";
import { type Transient, walkIn } from "../verify/timeline/transients.ts";
import type { TimelineStep } from "../verify/timeline.ts";
import type { Clock, Lived } from "./timeline.ts";

/** Walks are long; of a step's transients the first ones have theirs. */
const WALKS = 50;

export function timelineObject({ strategy, node, steps, clock }: Lived) {
  return {
    strategy,
    node,
    ...(clock !== undefined && { profile: clock.name }),
    steps: steps.map((step) => stepObject(step, clock)),
  };
}

function stepObject(step: TimelineStep, clock: Clock | undefined) {
  const { transients, connections } = step;
  // Flushes change connections, not the program, and are listed apart: operations are numbered without them.
  const visible = numberedOperations(step.operations);
  const place = ({ operation, part }: Transient["from"]) => ({ operation: visible.numbers[operation] ?? 0, part });
  return {
    step: step.step.number,
    what: step.step.what,
    operations: visible.operations.map(({ tool, args, stdin }) => ({
      tool,
      args,
      ...(stdin !== undefined && { stdin }),
    })),
    written: step.written,
    differed: step.differed,
    transient: transients.found.map((transient, index) => ({
      kind: transient.kind,
      packet: packetToObject(transient.packet),
      from: place(transient.from).operation,
      to: place(transient.to).operation,
      fromPart: transient.from.part,
      toPart: transient.to.part,
      source: endText(transient.source),
      destination: endText(transient.destination),
      service: servicesText([transient.service])[0],
      usual: transient.usual,
      between: transient.between,
      ...(clock !== undefined && { milliseconds: clock.milliseconds(step, transient) ?? null }),
      ...(index < WALKS && { walks: walksOf(step, transient) }),
    })),
    turned: transients.turned,
    coverage: transients.concerned === 0 ? 1 : transients.followed / transients.concerned,
    notCovered: transients.left,
    connections: connectionCounts(connections),
    flushes: visible.flushes,
    lapses: step.lapses.map(({ lapse: { name, summary, setting }, isMade }) => ({ name, isMade, setting, summary })),
  };
}

function connectionCounts({ survive, cut, inherited, stalled, isSampled }: TimelineStep["connections"]) {
  return { survive, cut, inherited, stalled, ...(isSampled && { isSampled }) };
}

export function endText({ pod, node, prefix, representative }: Transient["source"]): string {
  return pod?.key ?? (node === undefined ? formatCidr(prefix) : `node:${node}`) ?? formatAddress(representative);
}

/** The packet's walk while the window is open, and once the step is over. */
function walksOf({ after, states }: TimelineStep, { packet, from }: Transient) {
  const between = states.findLast(
    ({ operation, part }) => operation < from.operation || (operation === from.operation && part <= from.part),
  );
  const walk = (program: TimelineStep["after"]) => walkIn(program, packet).hops[0]?.walk ?? [];
  return { between: walk(between?.program ?? after), after: walk(after) };
}

interface Numbered {
  readonly operations: readonly Operation[];
  /** By the place among all operations, from 0 (before the first): the place among those shown. */
  readonly numbers: readonly number[];
  readonly flushes: readonly { readonly after: number; readonly args: readonly string[] }[];
}

export function numberedOperations(all: readonly Operation[]): Numbered {
  const operations: Operation[] = [];
  const numbers = [0];
  const flushes: { after: number; args: readonly string[] }[] = [];
  for (const operation of all) {
    if (operation.tool === "conntrack") flushes.push({ after: operations.length, args: operation.args });
    else operations.push(operation);
    numbers.push(operations.length);
  }
  return { operations, numbers, flushes };
}
