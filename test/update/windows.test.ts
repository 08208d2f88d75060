/** What packets meet between weave-npc's commands, as recorded: the same windows between ours. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { controllerOf, runOperation } from "../../compiler/update/controller.ts";
import { burstsBetween } from "../../compiler/update/events.ts";
import { NodeState } from "../../compiler/update/nodeState.ts";
import { formatAddress, type IpAddress, parseAddress } from "../../dataplane/address.ts";
import { makePacket, type Packet, parseProtocol } from "../../dataplane/packet.ts";
import type { Rule, TableProgram } from "../../dataplane/program.ts";
import { NodeVerdicts } from "../../verify/timeline/verdicts.ts";
import { hasShared } from "../shared.ts";
import { hasTime, STORIES, stateOf, storyClusters, strategyCalled, updatesPath } from "./recordings.ts";

interface RecordedWindow {
  readonly source: string;
  readonly destination: string;
  readonly protocol: string;
  readonly port: number;
  readonly direction: "egress" | "ingress";
  readonly inBetween: string;
}

const DIRECTIONS = ["egress", "ingress"] as const;

/** Asked in each step beside the ports of the recorded windows: those of the policies, and some that nobody names. */
const PORTS = ["tcp/7", "tcp/80", "tcp/443", "tcp/5432", "tcp/6784", "udp/7", "udp/53"];

/** The recording asks each direction alone: here FORWARD leads to that direction's chain only, and all pods are here. */
function directionAlone(
  program: TableProgram,
  direction: "egress" | "ingress",
  addresses: readonly IpAddress[],
): TableProgram {
  const chain = direction === "egress" ? "WEAVE-NPC-EGRESS" : "WEAVE-NPC";
  const rules: readonly Rule[] = [
    { matches: [], target: { kind: "jump", chain } },
    { matches: [], target: { kind: direction === "egress" ? "accept" : "drop" } },
  ];
  return {
    ...program,
    families: program.families.map(({ family, tables }) => ({
      family,
      tables: tables.map((table) => ({
        ...table,
        chains: table.chains.map((each) => (each.name === "FORWARD" ? { ...each, rules } : each)),
      })),
    })),
    attachment: {
      ...program.attachment,
      pods: addresses.map((address, index) => ({
        endpoint: `x/${index}`,
        addresses: [address],
        interface: `vethwepl${index}`,
      })),
      remotePodAddresses: [],
    },
  };
}

const known = (text: string): IpAddress => {
  const address = parseAddress(text);
  if (address === undefined) throw new Error(text);
  return address;
};

describe.skipIf(!hasShared || !hasTime)("windows of weave-npc", () => {
  it.each(STORIES)("%s: the packets with another verdict in between are the recorded ones", (story) => {
    const strategy = strategyCalled("weave-net");
    const clusters = storyClusters(story);
    const [first] = clusters;
    if (first === undefined) throw new Error("no clusters");
    const controller = controllerOf(strategy, first, { node: "node-a" });
    let windows = 0;
    for (const [step, cluster] of clusters.entries()) {
      const before = clusters[step - 1];
      if (before === undefined) continue;
      const folder = ["weave-net", story, "node-a"] as const;
      const { transients } = JSON.parse(
        readFileSync(updatesPath(...folder, `step-${step}`, "windows.json"), "utf8"),
      ) as {
        transients: readonly RecordedWindow[];
      };
      const operations = burstsBetween(before, cluster).flatMap((burst) => controller.react(burst));
      const held = stateOf(strategy, cluster, "node-a", ...folder, `step-${step - 1}`);
      const addresses = [
        ...new Set([before, cluster].flatMap(({ pods }) => pods.flatMap((pod) => pod.addresses.map(formatAddress)))),
      ];
      const ports = [...new Set([...PORTS, ...transients.map(({ protocol, port }) => `${protocol}/${port}`)])];
      const names: string[] = [];
      const packets: Packet[] = [];
      for (const source of addresses) {
        for (const destination of addresses) {
          if (source === destination) continue;
          for (const port of ports) {
            const [protocol = "", number] = port.split("/");
            names.push(`${source} > ${destination} ${port}`);
            const ends = { source: known(source), destination: known(destination) };
            packets.push(
              makePacket({ protocol: parseProtocol(protocol) ?? 0, ...ends, destinationPort: Number(number) }),
            );
          }
        }
      }
      const found: string[] = [];
      for (const direction of DIRECTIONS) {
        const state = new NodeState(held);
        const verdicts = () => {
          const program = state.program;
          if (program.kind !== "tables") throw new Error("tables");
          return new NodeVerdicts(directionAlone(program, direction, addresses.map(known))).of(packets);
        };
        const met = [verdicts()];
        for (const operation of operations) {
          runOperation(state, operation);
          met.push(verdicts());
        }
        for (const [index, name] of names.entries()) {
          const [start, end] = [met[0]?.[index], met.at(-1)?.[index]];
          const other = met.find((each) => each[index] !== start)?.[index];
          if (start === end && other !== undefined) found.push(`${direction} ${name} ${other}`);
        }
      }
      const recorded = transients.map(
        ({ direction, source, destination, protocol, port, inBetween }) =>
          `${direction} ${source} > ${destination} ${protocol}/${port} ${inBetween}`,
      );
      windows += recorded.length;
      const asked = new Set(recorded.map((line) => line.split(" ").at(-2)));
      const ours = recorded.length === 0 ? found : found.filter((line) => asked.has(line.split(" ").at(-2)));
      expect([step, ...ours.toSorted()]).toEqual([step, ...recorded.toSorted()]);
    }
    expect(windows).toBeGreaterThan(10);
  });
});
