import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadObjects, resolvePolicies } from "../../compiler/compile.ts";
import { parseManifests } from "../../compiler/manifest/objects.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { appendPacket } from "../../dataplane/packet.ts";
import { VERDICTS } from "../../dataplane/verdict.ts";
import { type PushedRows, Replay } from "../../replay/replay.ts";
import { loadStorySetup } from "../../replay/setup.ts";
import { ReplayedStory } from "../../replay/story.ts";
import { createTrafficBatch } from "../../traffic/source.ts";
import { isProblem, packetOf } from "../../traffic/transcript.ts";
import { REFERENCE } from "../../verify/lane.ts";
import { absence, type PacketStep, parseScenario } from "../../verify/scenario.ts";
import { statesOfScenario, storyOf } from "../../verify/story.ts";
import { chainwalk, jsonLines, linesOf } from "../cli/commandLine.ts";

const INHERITED = "scenarios/address-inherited";
const NAMES = [...STRATEGIES.map(({ name }) => name), REFERENCE];

interface Line {
  readonly time: number;
  readonly source: string;
  readonly sourcePort: number;
  readonly destination?: string;
  readonly destinationPort?: number;
  readonly tcpFlags?: string;
}

/** TCP to the web server's port. */
function lines(packets: readonly Line[]): string {
  return packets
    .map((packet) =>
      JSON.stringify({ protocol: "tcp", destination: "10.10.1.10", destinationPort: 80, tcpFlags: "S", ...packet }),
    )
    .join("\n");
}

/** The address belongs to the client before second 30 of the story, to the stranger after it. */
const ADDRESS = "10.10.2.10";
const HANDED_OVER = lines([
  { time: 1000, source: ADDRESS, sourcePort: 40001 },
  { time: 1000, source: "10.10.1.10", sourcePort: 80, destination: ADDRESS, destinationPort: 40001, tcpFlags: "SA" },
  { time: 1000, source: ADDRESS, sourcePort: 40001, tcpFlags: "A" },
  { time: 1029.9, source: ADDRESS, sourcePort: 40002 },
  { time: 1030, source: ADDRESS, sourcePort: 40003 },
  { time: 1031, source: ADDRESS, sourcePort: 40001, tcpFlags: "A" },
  { time: 1032, source: "10.10.2.12", sourcePort: 40004 },
]);

async function replayed(traffic: string, flags: string, files: Readonly<Record<string, string>> = {}) {
  const { code, out, err } = await chainwalk(`replay t.jsonl ${flags}`, { files: { "t.jsonl": traffic, ...files } });
  return { code, out, err };
}

interface Flow {
  readonly from: string;
  readonly verdict: string;
  readonly step: number;
  readonly refusedLater?: number;
  readonly policies?: readonly string[];
}

describe("replay --story", () => {
  it("an address is the pod's that has it at the moment, for verdict, name, policy and filter alike", async () => {
    const { code, out } = await replayed(HANDED_OVER, `--story ${INHERITED} -o json -q`);
    expect(code).toBe(0);
    const { flows, story, denied } = JSON.parse(out) as { flows: Flow[]; story: object[]; denied: object[] };
    expect(flows.map(({ from, verdict, step }) => `${step} ${from} ${verdict}`)).toEqual([
      "0 shop/client accept",
      "0 shop/client accept",
      "1 shop/stranger reject",
      "1 shop/client accept",
    ]);
    expect(story).toEqual([
      { step: 0, what: "the start", flows: 2, refused: 0, cut: 0 },
      { step: 1, time: 1030, what: expect.stringContaining("10.10.2.12"), flows: 2, refused: 1, cut: 0 },
    ]);
    expect(denied).toMatchObject([{ source: "shop/stranger", policies: ["shop/web"], flows: 1 }]);
    for (const filter of ["--filter|src host shop/client", "--from-pod|shop/client"]) {
      const world = { files: { "t.jsonl": HANDED_OVER } };
      const asked = ["replay", "t.jsonl", "--story", INHERITED, "-o", "jsonl", "-q", ...filter.split("|")];
      const named = jsonLines((await chainwalk(asked, world)).out) as Flow[];
      expect(named.map(({ step, from }) => `${step} ${from}`)).toEqual([
        "0 shop/client",
        "0 shop/client",
        "1 shop/client",
      ]);
    }
  });

  it("names in the traffic stand for the pods of their time", async () => {
    const names = lines(
      [29, 30].map((time) => ({ time, source: "shop/client", sourcePort: 40000 + time, destination: "shop/web" })),
    );
    const { out } = await replayed(names, `--story ${INHERITED} --story-start 0 -o csv -q`);
    const rows = linesOf(out).map((row) => row.trim().split(","));
    expect(rows.slice(1).map((row) => [row[1], row.at(-1)])).toEqual([
      ["10.10.2.10", "0"],
      ["10.10.2.12", "1"],
    ]);
  });

  it("connections live on across an update, and a solution that asks again cuts them", async () => {
    const { out } = await replayed(HANDED_OVER, `--story ${INHERITED} -s kube-router,cilium-ebpf -o json -q`);
    const { flows } = JSON.parse(out) as { flows: Flow[] };
    expect(flows.map(({ refusedLater }) => refusedLater)).toEqual([undefined, undefined, undefined, undefined]);
    const alone = await replayed(HANDED_OVER, `--story ${INHERITED} -s cilium-ebpf -o json -q`);
    const cilium = JSON.parse(alone.out) as { flows: Flow[]; story: { cut: number }[] };
    expect(cilium.flows.map(({ refusedLater }) => refusedLater)).toEqual([1, undefined, undefined, undefined]);
    expect(cilium.story.map(({ cut }) => cut)).toEqual([0, 1]);
  });

  it("a solution that flushes the connections of a pod that ends hands none of them on", async () => {
    const cluster = readFileSync(`${INHERITED}/cluster.yaml`, "utf8");
    const closed = `---
apiVersion: v1
kind: Pod
metadata: { name: closed, namespace: shop, labels: { app: closed } }
spec: { nodeName: node-a }
status: { phase: Running, podIP: 10.10.1.10 }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: closed, namespace: shop }
spec: { podSelector: { matchLabels: { app: closed } } }
`;
    const files = {
      "story/step-0.yaml": cluster,
      "story/step-1.yaml": cluster.replace("10.10.1.10", "10.10.1.12") + closed,
    };
    const cut = async (strategy: string) => {
      const { out } = await replayed(HANDED_OVER, `--story story --step-every 30 -s ${strategy} -o json -q`, files);
      return (JSON.parse(out) as { flows: Flow[] }).flows[0]?.refusedLater;
    };
    expect([await cut("kube-router"), await cut("calico-iptables")]).toEqual([undefined, 1]);
  });

  it("says the same in a table, Markdown and HTML, and what comes after the last packet", async () => {
    const late = lines([{ time: 5, source: ADDRESS, sourcePort: 40001 }]);
    const { out, err } = await replayed(HANDED_OVER, `--story ${INHERITED}`);
    expect(err).toBe("");
    const at = linesOf(out).indexOf("Story");
    expect(linesOf(out).slice(at + 1, at + 4)).toEqual([
      "step  at      flows  refused  cut  what",
      "   0              2        0    0  the start",
      expect.stringMatching(/^ {3}1 {2}1030 s {6}2 {8}1 {4}0 {2}Pod shop\/client now has 10\.10\.2\.12, /),
    ]);
    const markdown = await replayed(HANDED_OVER, `--story ${INHERITED} -o md`);
    expect(markdown.out).toContain("| 1 | 1030 s | 2 | 1 | 0 | Pod shop/client");
    const html = await replayed(late, `--story ${INHERITED} -o html -q`);
    expect(html.out).toContain("<td>1</td><td>never</td><td>0</td>");
    const told = await replayed(late, `--story ${INHERITED} -o json`);
    expect(told.err).toContain("1 step of the story comes after the last packet, the last one at 35 s");
  });

  it("snapshots are as far apart as it is told, and their Services lead to the endpoints of the time", async () => {
    const cluster = readFileSync(`${INHERITED}/cluster.yaml`, "utf8");
    const service = `---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { clusterIP: 10.96.0.1, selector: { app: web }, ports: [{ port: 80 }] }
`;
    const moved = cluster.replace("10.10.1.10", "10.10.1.11");
    const files = { "story/step-0.yaml": cluster + service, "story/step-1.yaml": moved + service };
    const packets = [
      { time: 0, source: ADDRESS, sourcePort: 40001 },
      { time: 2.4, source: ADDRESS, sourcePort: 40002 },
      { time: 2.5, source: ADDRESS, sourcePort: 40003 },
      { time: 3, source: ADDRESS, sourcePort: 40001, tcpFlags: "A" },
    ].map((packet) => ({ ...packet, destination: "10.96.0.1" }));
    const { out, err } = await replayed(lines(packets), "--story story --step-every 2.5 -o jsonl", files);
    expect(err).toBe("");
    const flows = jsonLines(out) as { destination: string; to: string; packets: number; step: number }[];
    expect(flows.map(({ destination, to, packets: count, step }) => [step, destination, to, count])).toEqual([
      [0, "10.10.1.10", "shop/web", 2],
      [0, "10.10.1.10", "shop/web", 1],
      [1, "10.10.1.11", "shop/web", 1],
    ]);
  });

  it("watch events are taken at the times that they carry", async () => {
    const { objects } = parseManifests([{ name: "c", text: readFileSync(`${INHERITED}/cluster.yaml`, "utf8") }]);
    const start = objects.map(({ value }) => JSON.stringify({ type: "ADDED", object: value }));
    const policy = objects.find(({ kind }) => kind === "NetworkPolicy")?.value;
    const gone = (time: unknown) => JSON.stringify({ type: "DELETED", object: policy, time });
    const packets = [0, 9, 10].map((second) => ({
      time: 1_700_000_000 + second,
      source: "10.10.2.11",
      sourcePort: 40000 + second,
    }));
    const watched = (...events: readonly string[]) =>
      replayed(lines(packets), "--story watch.json -o jsonl -q", { "watch.json": [...start, ...events].join("\n") });
    const closed = JSON.stringify({
      type: "ADDED",
      time: "2023-11-14T22:13:30Z",
      object: {
        kind: "NetworkPolicy",
        apiVersion: "networking.k8s.io/v1",
        metadata: { name: "closed", namespace: "shop" },
        spec: { podSelector: {} },
      },
    });
    const { out } = await watched(gone(1_700_000_005), closed);
    expect((jsonLines(out) as Flow[]).map(({ verdict, policies }) => [verdict, policies])).toEqual([
      ["reject", ["shop/web"]],
      ["accept", undefined],
      ["reject", ["shop/closed"]],
    ]);
    const odd = await watched(gone("noon"));
    expect([odd.code, odd.err]).toEqual([
      2,
      `watch.json:${start.length + 1}:1: error: time "noon": want 2024-05-01T12:00:00Z, or seconds since the epoch\n`,
    ]);
    const back = await watched(gone(1_700_000_000), gone(1_600_000_000));
    expect(back.err).toContain("time never decreases");
    const half = await watched(gone(1_700_000_000), gone(undefined));
    expect(half.err).toContain("no time, which the events before have");
    const none = await watched(gone(undefined));
    expect([none.code, none.err]).toEqual([2, expect.stringContaining("--step-every SECONDS sets them apart")]);
  });

  it("watch events without times are taken at those written in their objects, Services among them", async () => {
    const { objects } = parseManifests([{ name: "c", text: readFileSync(`${INHERITED}/cluster.yaml`, "utf8") }]);
    const start = objects.map(({ value }) => ({ type: "ADDED", object: value }));
    const base = 1_700_000_000;
    const at = (second: number) => new Date((base + second) * 1000).toISOString();
    const event = (type: string, kind: string, metadata: object, rest: object) => ({
      type,
      object: {
        kind,
        apiVersion: kind === "Service" ? "v1" : "networking.k8s.io/v1",
        metadata: { namespace: "shop", ...metadata },
        ...rest,
      },
    });
    const web = { spec: { clusterIP: "10.96.0.9", ports: [{ port: 8000, targetPort: 80 }], selector: { app: "web" } } };
    const policy = objects.find(({ kind }) => kind === "NetworkPolicy")?.value ?? {};
    const touched = { ...policy, metadata: { ...(policy.metadata as object), managedFields: [{ time: at(2) }] } };
    const written = [
      { type: "MODIFIED", object: touched },
      // Whatever its object says, no event is before the one ahead of it.
      event("ADDED", "Service", { name: "web", creationTimestamp: at(5) }, web),
      event(
        "ADDED",
        "NetworkPolicy",
        { name: "open", creationTimestamp: at(3) },
        { spec: { podSelector: {}, ingress: [{}] } },
      ),
      event(
        "MODIFIED",
        "NetworkPolicy",
        { name: "open", creationTimestamp: at(3), managedFields: [{ time: at(8) }, { time: at(4) }] },
        { spec: { podSelector: {}, policyTypes: ["Egress"], egress: [{}] } },
      ),
    ];
    const going = (metadata: object) => event("DELETED", "NetworkPolicy", { name: "web", ...metadata }, { spec: {} });
    const packets = [4, 6, 8, 20, 22].map((second) => ({
      time: base + second,
      source: "10.10.2.11",
      sourcePort: 40000 + second,
    }));
    const watched = (flags: string, ...events: readonly object[]) =>
      replayed(lines(packets), `--story watch.json -o jsonl ${flags}`, {
        "watch.json": [...start, ...events].map((each) => JSON.stringify(each)).join("\n"),
      });
    const stepsOf = (out: string) =>
      (jsonLines(out) as { step: number; verdict: string }[]).map(({ step, verdict }) => `${step} ${verdict}`);
    const ends = { deletionTimestamp: at(30), deletionGracePeriodSeconds: 10 };
    const { out, err } = await watched("", ...written, going({ ...ends, managedFields: [{ time: at(21) }] }));
    expect(stepsOf(out)).toEqual(["1 reject", "3 accept", "4 reject", "4 reject", "5 accept"]);
    expect(err).toContain("events carry no time");
    // Written before it was told to go: its grace runs out first.
    const late = await watched("", ...written, going({ ...ends, managedFields: [{ time: at(19) }] }));
    expect(stepsOf(late.out).at(-1)).toBe("4 reject");
    const unsaid = await watched("", ...written, going({}));
    expect([unsaid.code, unsaid.err]).toEqual([2, expect.stringContaining("--show-managed-fields")]);
    // Whoever says how far they are apart is believed.
    expect(stepsOf((await watched("-q --step-every 100", ...written)).out)).toEqual(Array(5).fill("0 reject"));
    const service = {
      time: base + 7,
      source: "10.10.2.11",
      sourcePort: 41000,
      destination: "10.96.0.9",
      destinationPort: 8000,
    };
    const story = { "watch.json": [...start, ...written].map((each) => JSON.stringify(each)).join("\n") };
    const balanced = await replayed(
      lines([{ ...service, time: base + 4 }, service]),
      "--story watch.json -o jsonl -q",
      story,
    );
    expect((jsonLines(balanced.out) as { to?: string }[]).map(({ to }) => to)).toEqual(["10.96.0.9", "shop/web"]);
  });

  it("refuses what does not go together", async () => {
    const refused = async (flags: string) => {
      const { code, err } = await replayed(HANDED_OVER, flags);
      expect(code).toBe(2);
      return err;
    };
    for (const flags of [
      `-f ${INHERITED}`,
      `--before ${INHERITED}`,
      `--after ${INHERITED}`,
      "--prune",
      "--iptables-save x",
      "--suggest",
      "--jobs 2",
      "--resume x",
    ]) {
      expect(await refused(`--story ${INHERITED} ${flags}`)).toMatch(/^error: --story does not go with .+: .+/);
    }
    expect(await refused(`-f ${INHERITED} --story-start 3`)).toContain("--story-start goes with --story");
    expect(await refused(`-f ${INHERITED} --step-every 3`)).toContain("--step-every goes with --story");
    expect(await refused(`--story ${INHERITED} --step-every 3`)).toContain("says itself when its steps are taken");
    expect(await refused(`--story ${INHERITED} --step-every x`)).toContain("Allowed are seconds");
    expect(await refused(`--story ${INHERITED} --story-start noon`)).toContain("Allowed is a time as");
    expect(await refused(`--story ${INHERITED} --captured-on node-c`)).toContain("there are node-a, node-b");
    expect(await refused("--story -  -")).toContain("standard input (-) can be named once");
  });

  // What a scenario says of its packets a replay says of them as traffic: its updates end where a compilation does.
  const folders = readdirSync("scenarios").filter((folder) => {
    const path = join("scenarios", folder, "scenario.yaml");
    return (
      !folder.includes(".") && /^\s*- ?(?:time: \d+\n\s+)?(?:\{ )?(?:apply|delete|setAddress):/m.test(readText(path))
    );
  });
  it(`the scenarios with changes (${folders.length}) come out as they say`, async () => {
    let asked = 0;
    for (const folder of folders) asked += await checkScenario(folder);
    expect(folders.length).toBeGreaterThan(8);
    expect(asked).toBeGreaterThan(100);
  });
});

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** How many packets were asked about. */
async function checkScenario(folder: string): Promise<number> {
  const path = join("scenarios", folder, "scenario.yaml");
  const { scenario } = parseScenario({ name: path, text: readText(path) }, NAMES);
  const parsed = parseManifests([{ name: "c", text: readText(join("scenarios", folder, "cluster.yaml")) }]);
  const { model } = loadObjects(parsed);
  if (scenario === undefined || model === undefined) throw new Error(folder);
  let asked = 0;
  for (const strategy of NAMES) {
    if (absence(scenario, strategy) !== undefined) continue;
    // Steps of one time stand in an order: each has a time of its own here.
    const steps = scenario.steps
      .filter((step) => absence(step, strategy) === undefined)
      .map((step, index) => ({ ...step, time: step.time + index / 1000 }));
    const read = statesOfScenario({ ...scenario, steps }, parsed, resolvePolicies(model));
    if (read.kind === "invalid") throw new Error(folder);
    const story = new ReplayedStory(storyOf(read.states), 0);
    const packets = steps.filter((step): step is PacketStep & { time: number } => step.kind === "packet");
    const verdicts = await verdictsOf(story, strategy, packets);
    const { denyVerdict } = STRATEGIES.find(({ name }) => name === strategy) ?? { denyVerdict: "drop" };
    for (const [index, { expect: expected, number }] of packets.entries()) {
      const place = `${folder} step ${number} ${strategy}`;
      const verdict = verdicts[index] === denyVerdict && expected !== "accept" ? expected : verdicts[index];
      expect(`${place} ${verdict}`).toBe(`${place} ${expected}`);
      asked++;
    }
  }
  return asked;
}

async function verdictsOf(
  story: ReplayedStory,
  strategy: string,
  packets: readonly (PacketStep & { time: number })[],
): Promise<readonly (string | undefined)[]> {
  const setup = { clusters: [], sides: [{ name: strategy, cluster: 0, strategy, settings: [] }], main: 0 };
  const { loaded } = loadStorySetup(setup, story, 256);
  if (loaded === undefined) throw new Error("no sides");
  const { sides, book } = loaded;
  const verdicts: (string | undefined)[] = [];
  const onPushed = ({ length }: PushedRows) => {
    for (let row = 0; row < length; row++) verdicts.push(VERDICTS[sides[0]?.verdict[row] ?? 0]);
  };
  const replay = new Replay({ sides, book, story, main: 0, onPushed }, 256);
  const batch = createTrafficBatch(256);
  const resolve = story.resolver("default");
  for (const { packet, time } of packets) {
    const made = packetOf({ ...packet, details: { ...packet.details, time } }, resolve);
    if (isProblem(made)) throw new Error(made.problem);
    appendPacket(batch.packets, made);
  }
  replay.consume(batch);
  return verdicts;
}
