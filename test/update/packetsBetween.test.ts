/** Real packets recorded between kube-router's commands: the same verdicts from our states, turn by turn. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { carriedOut, controllerOf } from "../../compiler/update/controller.ts";
import { burstsBetween } from "../../compiler/update/events.ts";
import { NodeState } from "../../compiler/update/nodeState.ts";
import type { Operation, Part } from "../../compiler/update/operation.ts";
import { formatAddress, parseAddress } from "../../dataplane/address.ts";
import { makePacket, type Packet, parseProtocol } from "../../dataplane/packet.ts";
import type { Attachment, Program } from "../../dataplane/program.ts";
import { NodeVerdicts } from "../../verify/timeline/verdicts.ts";
import { differenceOf } from "../../verify/timeline/written.ts";
import { ourText } from "../realDumps/nodeText.ts";
import { ordersOf } from "../realDumps/normaliseKubeRouter.ts";
import { hasShared } from "../shared.ts";
import { NODES, STORIES, stateOf, storyClusters, strategyCalled, updatesPath } from "./recordings.ts";

/** `reject->accept at sync 1 iptables-restore`, one after the other. */
type Turns = readonly string[];

interface RecordedStep {
  /** By `SOURCE DESTINATION tcp/80`. A line names some of its connections, and says how many there are. */
  readonly turns: ReadonlyMap<string, Turns>;
  readonly isWhole: boolean;
}

const PLACE = /'(sync \d+ (?:ipset \S+|iptables-restore))[^']*'/;

function turnsOf(line: string): Turns {
  const between = /^IN BETWEEN (\w+) -> (\w+) -> (\w+) from ('[^']*') to before ('[^']*')/.exec(line);
  if (between !== null) {
    const [, first, then, last, from = "", to = ""] = between;
    return [`${first}->${then} at ${PLACE.exec(from)?.[1]}`, `${then}->${last} at ${PLACE.exec(to)?.[1]}`];
  }
  return [...line.matchAll(/(\w+->\w+) at ('[^']*')/g)].map(
    ([, turn, place = ""]) => `${turn} at ${PLACE.exec(place)?.[1]}`,
  );
}

function recordedSteps(story: string, node: string): readonly RecordedStep[] {
  const text = readFileSync(updatesPath("kube-router", `packets-${story}-${node}.txt`), "utf8");
  return text
    .split(/^## step \d+: /m)
    .slice(1)
    .map((part) => {
      const turns = new Map<string, Turns>();
      for (const line of part.split("\n").slice(1)) {
        for (const [, source, destination, service] of line.matchAll(/\(([\d.]+)\) -> [^(]*\(([\d.]+)\) (\w+\/\d+)/g)) {
          turns.set(`${source} ${destination} ${service}`, turnsOf(line.trim()));
        }
      }
      return { turns, isWhole: !part.includes(" ...") };
    });
}

function packetOf(connection: string): Packet {
  const [source = "", destination = "", service = ""] = connection.split(" ");
  const [protocol = "", port] = service.split("/");
  const [from, to] = [parseAddress(source), parseAddress(destination)];
  if (from === undefined || to === undefined) throw new Error(connection);
  return makePacket({
    protocol: parseProtocol(protocol) ?? 0,
    source: from,
    destination: to,
    destinationPort: Number(port),
  });
}

function placeOf(sync: number, { tool }: Operation, part: Part): string | undefined {
  if (tool === "iptables-restore") return `sync ${sync} iptables-restore`;
  if (part.kind !== "set" || part.command.verb !== "swap") return undefined;
  return `sync ${sync} ipset ${part.command.to.replace("KUBE-", "").slice(0, 8)}..`;
}

function ourTurns(
  held: Program,
  operations: readonly Operation[],
  connections: readonly string[],
): ReadonlyMap<string, Turns> {
  const packets = connections.map(packetOf);
  const node = new NodeVerdicts(held);
  const state = new NodeState(held);
  let met = node.of(packets);
  const turns = new Map<string, string[]>(connections.map((connection) => [connection, []]));
  let sync = 0;
  for (const operation of operations) {
    if (operation.tool === "ipset" && operation.args[0] === "restore") sync++;
    for (const part of operation.parts) {
      state.run(part);
      const place = placeOf(sync, operation, part);
      if (place === undefined) continue;
      node.load(state.program);
      const now = node.of(packets);
      for (const [index, verdict] of now.entries()) {
        if (verdict !== met[index]) turns.get(connections[index] ?? "")?.push(`${met[index]}->${verdict} at ${place}`);
      }
      met = now;
    }
  }
  return turns;
}

/** Set entries in which the operations end elsewhere. */
function beside(wanted: Program, held: Program, operations: readonly Operation[]): number {
  return differenceOf(carriedOut(held, operations), wanted).setEntries;
}

/** Devices of pods that come and of pods that go, as in the recording. */
function bothAttached(before: Attachment, after: Attachment): Attachment {
  const taken = new Set(after.pods.flatMap(({ addresses }) => addresses.map(formatAddress)));
  const leaving = before.pods.filter(({ addresses }) => !addresses.some((each) => taken.has(formatAddress(each))));
  return { ...after, pods: [...after.pods, ...leaving] };
}

/** Of four syncs, three draw numbers of named ports of which no state was recorded. */
const drawn = (story: string, step: number, connection: string) =>
  story === "pod-churn" && step === 7 && /808[01]$/.test(connection);

describe.skipIf(!hasShared)("packets between kube-router's commands", () => {
  const strategy = strategyCalled("kube-router");
  for (const story of STORIES) {
    for (const node of NODES) {
      it(`${story} on ${node}: turn where they were recorded to turn`, () => {
        const clusters = storyClusters(story);
        const recorded = recordedSteps(story, node);
        expect(recorded.length).toBe(clusters.length - 1);
        let compared = 0;
        for (const [index, { turns, isWhole }] of recorded.entries()) {
          const step = index + 1;
          const [before, cluster] = [clusters[index], clusters[step]];
          if (before === undefined || cluster === undefined) throw new Error("no clusters");
          const folder = ["kube-router", story, node] as const;
          const wanted = stateOf(strategy, cluster, node, ...folder, `step-${step}`);
          const held = stateOf(strategy, before, node, ...folder, `step-${index}`);
          // Which number of a port's name is the first was drawn: the one that leads to the recorded sets.
          const [operations = []] = ["ascending", "descending"]
            .map((order) => {
              const settings = new Map([...ordersOf(ourText(wanted)), ["named-port-order", order]]);
              const controller = controllerOf(strategy, before, { node, settings });
              return burstsBetween(before, cluster).flatMap((burst) => controller.react(burst));
            })
            .toSorted((one, other) => beside(wanted, held, one) - beside(wanted, held, other));
          const attachment = bothAttached(held.attachment, strategy.attach(cluster, { node }));
          const named = [...turns.keys()].filter((connection) => !drawn(story, step, connection));
          const others = isWhole ? unnamed(turns) : [];
          const ours = ourTurns({ ...held, attachment }, operations, [...named, ...others]);
          compared += named.length;
          for (const connection of named)
            expect([step, connection, ours.get(connection)]).toEqual([step, connection, turns.get(connection)]);
          for (const connection of others)
            expect([step, connection, ours.get(connection)]).toEqual([step, connection, []]);
        }
        // No policy selects a pod of node-b in pod-churn, and nothing turned there.
        expect(compared > 15).toBe(recorded.some(({ turns }) => turns.size > 0));
      });
    }
  }
});

/** Where all turning connections of a step are named: the same ends on other ports, which did not turn. */
function unnamed(turns: ReadonlyMap<string, Turns>): readonly string[] {
  const known = [...turns.keys()];
  const services = new Set(known.map((connection) => connection.split(" ")[2]));
  const pairs = new Set(known.map((connection) => connection.split(" ").slice(0, 2).join(" ")));
  return [...pairs].flatMap((pair) =>
    [...services].map((service) => `${pair} ${service}`).filter((connection) => !turns.has(connection)),
  );
}
