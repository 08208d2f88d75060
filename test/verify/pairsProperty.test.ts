/** Random programs over all of the instruction set: boxes of openings end as a walk of each opening does. */
import fc from "fast-check";
import { expect, it } from "vitest";
import type { Family, IpAddress } from "../../dataplane/address.ts";
import { Fabric } from "../../dataplane/fabric.ts";
import { PROTOCOL } from "../../dataplane/packet.ts";
import {
  BUILT_IN_CHAINS,
  type Chain,
  type IPSet,
  type Match,
  type Side,
  type Table,
  type TableProgram,
} from "../../dataplane/program.ts";
import type { Port } from "../../traffic/generate/sessions.ts";
import { AtomSet } from "../../verify/atomSet.ts";
import { address } from "../../verify/fuzz/builders.ts";
import { NODES, OUTSIDE, PLACES, PORTS } from "../../verify/fuzz/domain.ts";
import { PairQuestion } from "../../verify/pairs/question.ts";
import { deepProgramArbitrary } from "../arbitraries/deepProgram.ts";
import { programArbitrary } from "../arbitraries/program.ts";
import { prefixArbitrary } from "../arbitraries/programMatches.ts";
import { setsArbitrary } from "../arbitraries/programSets.ts";
import { runsOf } from "../extent.ts";
import { attachmentOf, decided, pushed } from "./pairsAsked.ts";

const ENDS = {
  ipv4: [...PLACES, ...NODES].map(({ ipv4 }) => ipv4).concat(OUTSIDE.ipv4, "0.0.0.7", "224.0.0.1", "127.0.0.1"),
  ipv6: [...PLACES, ...NODES].map(({ ipv6 }) => ipv6).concat(OUTSIDE.ipv6, "::", "::1", "ff02::1"),
};

function portsOf(icmp: number): readonly Port[] {
  const numbers = [0, ...PORTS, 65_535];
  const named = [PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.sctp].flatMap((protocol) =>
    numbers.map((port) => ({ protocol, port })),
  );
  return [...named, { protocol: icmp, port: 0 }];
}

const programs = (bridge: boolean): fc.Arbitrary<readonly TableProgram[]> =>
  fc.tuple(
    ...NODES.map(({ name }) => {
      const attachment = attachmentOf(name, bridge);
      return fc
        .oneof(programArbitrary({ attachment, families: [4, 6] }), deepProgramArbitrary)
        .map((program) => ({ ...program, node: name, attachment }));
    }),
  );

/** What a rule can ask of addresses, devices and sets: one match each, which random programs hide among others. */
function matchArbitrary(sets: readonly IPSet[], family: "ipv4" | "ipv6"): fc.Arbitrary<Match> {
  const negate = fc.boolean();
  const side = fc.constantFrom<Side>("source", "destination");
  const name = fc.constantFrom("eth0", "eth+", "cali+", "cali0", "cali1", "weave", "vethwe-bridge", "+");
  const device = fc.option(fc.record({ name, negate }), { nil: undefined });
  const flag = fc.constantFrom(undefined, undefined, true, false);
  const types = ["LOCAL", "UNICAST", "BROADCAST", "MULTICAST", "ANYCAST", "BLACKHOLE"] as const;
  return fc.oneof(
    fc.record({ kind: fc.constant("interface"), side: fc.constantFrom("in", "out"), name, negate }),
    fc.record({ in: device, out: device, isBridged: flag, isIn: flag, isOut: flag }).map((tests) => ({
      kind: "physdev" as const,
      ...Object.fromEntries(Object.entries(tests).filter(([, test]) => test !== undefined)),
    })),
    fc.record({ kind: fc.constant("rpfilter"), validMark: negate, loose: negate, invert: negate }),
    fc.record({ kind: fc.constant("addressType"), side, type: fc.constantFrom(...types), negate }),
    fc.record({ kind: fc.constant("address"), side, cidr: prefixArbitrary(family === "ipv4" ? 4 : 6), negate }),
    ...(sets.length === 0
      ? []
      : [
          fc.record({
            kind: fc.constant("set"),
            set: fc.constantFrom(...sets.map((set) => set.name)),
            sides: fc.array(side, { minLength: 1, maxLength: 2 }),
            negate,
          }),
        ]),
  );
}

/** At one hook of each node a chain is called that drops what one match holds for. */
const ofOneMatch = (bridge: boolean, family: "ipv4" | "ipv6"): fc.Arbitrary<readonly TableProgram[]> =>
  fc.tuple(setsArbitrary(4), setsArbitrary(6)).chain(([four, six]) => {
    const sets = [...four, ...six];
    return fc
      .record({
        match: matchArbitrary(sets, family),
        table: fc.constantFrom<Table["name"]>("raw", "mangle", "filter", "security"),
        hook: fc.nat(4),
      })
      .map(({ match, table, hook }) => {
        const hooks = BUILT_IN_CHAINS[table];
        const asked = hooks[hook % hooks.length];
        const chains: readonly Chain[] = [
          ...hooks.map((name) => ({
            name,
            policy: "accept" as const,
            rules: name === asked ? [{ matches: [], target: { kind: "jump" as const, chain: "CHAIN-A" } }] : [],
          })),
          { name: "CHAIN-A", rules: [{ matches: [match], target: { kind: "drop" } }] },
        ];
        const families = [4, 6].map((of) => ({ family: of as Family, tables: [{ name: table, chains }] }));
        return NODES.map(({ name }) => ({
          kind: "tables" as const,
          strategy: "one match",
          node: name,
          sets,
          families,
          attachment: attachmentOf(name, bridge),
        }));
      });
  });

const usual = (end: string) => !["0.0.0.7", "::"].includes(end);

it.each([
  ["routed", "ipv4", false],
  ["bridged", "ipv4", true],
  ["routed", "ipv6", false],
  ["bridged", "ipv6", true],
] as const)("one match at a time, %s pods with %s addresses", (_how, family, bridge) => {
  const ports = portsOf(family === "ipv4" ? PROTOCOL.icmp : PROTOCOL.icmpv6).filter(({ port }) =>
    [0, 80].includes(port),
  );
  // Where nothing is routed back, sources without an address are not decided.
  const question = new PairQuestion(ENDS[family].filter(usual).map(address), ports);
  const verdicts = new Set<string>();
  fc.assert(
    fc.property(ofOneMatch(bridge, family), (all) => {
      const found = decided(question, all, question.allEnds);
      expect(found).toEqual(pushed(new Fabric(all), question.ends, ports));
      for (const verdict of found ?? []) verdicts.add(verdict);
    }),
    { numRuns: runsOf(150) },
  );
  expect([...verdicts].sort()).toEqual(["accept", "drop"]);
});

it.each([
  ["routed", "ipv4", false],
  ["bridged", "ipv4", true],
  ["routed", "ipv6", false],
] as const)("%s pods with %s addresses", (_how, family, bridge) => {
  let told = 0;
  let refused = 0;
  const runs = runsOf(100);
  const ports = portsOf(family === "ipv4" ? PROTOCOL.icmp : PROTOCOL.icmpv6);
  const ends = ENDS[family].map(address);
  fc.assert(
    fc.property(programs(bridge), fc.subarray([...ends.keys()], { minLength: 3 }), (all, chosen) => {
      const question = new PairQuestion(
        chosen.map((index) => ends[index] as IpAddress),
        ports,
      );
      const found = decided(question, all, question.allEnds);
      if (found === undefined) return;
      told++;
      const verdicts = pushed(new Fabric(all), question.ends, ports);
      if (verdicts.some((verdict) => verdict !== "accept")) refused++;
      expect(found).toEqual(verdicts);
      // Of some sources alone the same is said.
      const some = AtomSet.of(question.ends.map((_, end) => end % 2 === 1));
      const size = ports.length * question.ends.length;
      expect(decided(question, all, some)).toEqual(
        [...some].flatMap((end) => verdicts.slice(end * size, (end + 1) * size)),
      );
    }),
    { numRuns: runs },
  );
  expect(told).toBeGreaterThan(0);
  expect(refused).toBeGreaterThan(0);
});
