/** `replay --suggest` over every bundled scenario: whatever is taken out of what it suggests, some flow is refused again. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { type ClusterModel, isOnPodNetwork } from "../../compiler/model.ts";
import { parseAddress } from "../../dataplane/address.ts";
import { appendPacket, createBatch, makePacket, type Packet, PROTOCOL } from "../../dataplane/packet.ts";
import { VERDICT_CODE } from "../../dataplane/verdict.ts";
import { loadSetup } from "../../replay/setup.ts";
import type { RuleObject } from "../../replay/suggest/prune.ts";
import type { PolicyObject } from "../../replay/suggest/suggest.ts";
import { packetToObject } from "../../traffic/packetObject.ts";
import { chainwalk } from "../cli/commandLine.ts";
import { sampled } from "../extent.ts";

const SCENARIOS = join(import.meta.dirname, "..", "..", "scenarios");
const NAMES = readdirSync(SCENARIOS).filter((name) => existsSync(join(SCENARIOS, name, "cluster.yaml")));
const MOST_PODS = 6;
const OUTSIDE = ["203.0.113.8", "203.0.113.9", "203.0.113.200"];
const SERVICES = [
  [PROTOCOL.tcp, 80],
  [PROTOCOL.tcp, 3306],
  [PROTOCOL.udp, 53],
] as const;

/** First packets between most pods, and from and to outside: not all of them, so that no rule is that everything is allowed. */
function packetsOf({ endpoints }: ClusterModel): readonly Packet[] {
  const pods = endpoints.filter(isOnPodNetwork).slice(0, MOST_PODS);
  const addresses = pods.flatMap((pod) => pod.addresses.filter(({ family }) => family === 4));
  const all = [...addresses, ...OUTSIDE.flatMap((text) => parseAddress(text) ?? [])];
  const packets: Packet[] = [];
  for (const [from, source] of all.entries()) {
    for (const [to, destination] of all.entries()) {
      if (from === to || (from >= addresses.length && to >= addresses.length)) continue;
      for (const [number, [protocol, destinationPort]] of SERVICES.entries()) {
        if ((from * 5 + to * 3 + number * 7) % 4 < 2) continue;
        const sourcePort = 40_000 + packets.length;
        packets.push(makePacket({ source, destination, protocol, sourcePort, destinationPort, time: packets.length }));
      }
    }
  }
  return packets;
}

/** Which of the packets pass, as the API text has it, with these policies beside those of the scenario. */
function passing(name: string, policies: readonly PolicyObject[], packets: readonly Packet[]): readonly boolean[] {
  const text = readFileSync(join(SCENARIOS, name, "cluster.yaml"), "utf8");
  const added = policies.map((object, at) => ({ name: `${at}.json`, text: JSON.stringify(object) }));
  const { loaded, issues } = loadSetup(
    {
      clusters: [{ files: [{ name: "cluster.yaml", text }], ...(added.length > 0 && { added }) }],
      sides: [{ name: "reference", cluster: 0, strategy: "reference", settings: [] }],
      main: 0,
    },
    packets.length,
  );
  const [side] = loaded?.sides ?? [];
  if (side === undefined) throw new Error(issues.map(({ message }) => message).join("\n"));
  const batch = createBatch(packets.length);
  for (const packet of packets) appendPacket(batch, packet);
  side.push(batch);
  return packets.map((_, row) => side.verdict[row] === VERDICT_CODE.accept);
}

/** Every way to take one rule, one peer or one port away, and what it was. */
function* without(
  policies: readonly PolicyObject[],
): Generator<readonly [what: string, policies: readonly PolicyObject[]]> {
  for (const [at, policy] of policies.entries()) {
    for (const direction of ["ingress", "egress"] as const) {
      const rules = policy.spec[direction] ?? [];
      const put = (changed: readonly RuleObject[]): readonly PolicyObject[] =>
        policies.with(at, { ...policy, spec: { ...policy.spec, [direction]: changed } });
      for (const [number, rule] of rules.entries()) {
        const place = `${policy.metadata.name} ${direction}[${number}]`;
        yield [place, put(rules.toSpliced(number, 1))];
        for (const [list, items] of Object.entries<readonly object[]>({ ...rule })) {
          // Of one there is nothing to take: an empty list is everything.
          for (let item = 0; items.length > 1 && item < items.length; item++) {
            yield [`${place}.${list}[${item}]`, put(rules.with(number, { ...rule, [list]: items.toSpliced(item, 1) }))];
          }
        }
      }
    }
  }
}

it.each(sampled(NAMES, 6))("%s", async (name) => {
  const cluster = `scenarios/${name}/cluster.yaml`;
  const text = readFileSync(join(SCENARIOS, name, "cluster.yaml"), "utf8");
  const setup = {
    clusters: [{ files: [{ name: cluster, text }] }],
    sides: [{ name: "reference", cluster: 0, strategy: "reference", settings: [] }],
    main: 0,
  };
  const model = loadSetup(setup, 1).loaded?.sides[0]?.cluster.model;
  if (model === undefined) throw new Error(`${name} does not load`);
  const packets = packetsOf(model);
  if (packets.length === 0) return;
  const files = { "t.jsonl": packets.map((packet) => JSON.stringify(packetToObject(packet))).join("\n") };
  const { out, code } = await chainwalk(`replay -f ${cluster} t.jsonl -s reference --suggest -o json -q`, { files });
  expect(code).toBe(0);
  const { policies, verified } = JSON.parse(out) as {
    policies: readonly PolicyObject[];
    verified: { stillRefused: number };
  };
  expect(verified.stillRefused).toBe(0);
  const whole = passing(name, policies, packets);
  const idle: string[] = [];
  for (const [what, fewer] of without(policies)) {
    const passes = passing(name, fewer, packets);
    if (!whole.some((passed, at) => passed && passes[at] === false)) idle.push(what);
  }
  expect(idle).toEqual([]);
});
