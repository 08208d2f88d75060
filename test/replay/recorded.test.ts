/**
 * A real recording: processes in network namespaces talk, tcpdump writes it down, and a replay says what policies would
 * refuse. Then the same processes talk on a node that has loaded our rules, and the kernel must refuse exactly that.
 */
import { spawnSync } from "node:child_process";
import { createReadStream, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { compileNode, loadCluster, resolvePolicies } from "../../compiler/compile.ts";
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { TableProgram } from "../../dataplane/program.ts";
import { VERDICTS } from "../../dataplane/verdict.ts";
import { strategySide } from "../../replay/side.ts";
import { openTraffic } from "../../traffic/openTraffic.ts";
import { packetAt } from "../../traffic/packetRow.ts";
import { BATCH_ROWS } from "../../traffic/source.ts";
import { KernelJudge, subjectOf } from "../../verify/kernel/judge.ts";
import { chainwalk } from "../cli/commandLine.ts";
import { hasKernel } from "../kernel/kernel.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const SHOP = "scenarios/recorded-shop";
const inShop = (name: string) => join(ROOT, SHOP, name);

interface Flow {
  readonly from: string;
  readonly to: string;
  readonly protocol: string;
  readonly destinationPort: number;
  readonly verdict: string;
}

/** What a replay of a recording says is refused: `shop/web > shop/mysql tcp/3306`. */
async function refused(recording: string): Promise<readonly string[]> {
  const argv = ["replay", "-f", `${SHOP}/cluster.yaml`, "--after", `${SHOP}/policies.yaml`, recording, "-o", "jsonl"];
  const { out, err, code } = await chainwalk(argv);
  expect({ code, err: err.replace(/^note: \d+ packets were recorded on more than one interface.*\n/, "") }).toEqual({
    code: 1,
    err: "",
  });
  const flows = out
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Flow);
  return named(
    flows
      .filter(({ verdict }) => verdict !== "accept")
      .map(({ from, to, protocol, destinationPort }) => `${from} > ${to} ${protocol}/${destinationPort}`),
  );
}

const named = (texts: readonly string[]): readonly string[] => [...new Set(texts)].sort();

const REFUSED = [
  "default/intruder > shop/mysql tcp/3306",
  "default/intruder > shop/web tcp/80",
  "shop/api > shop/web tcp/80",
  "shop/client > shop/api tcp/3000",
  "shop/client > shop/mysql tcp/3306",
  "shop/web > shop/mysql tcp/3306",
];

describe("the bundled recording", () => {
  it("a replay finds what the policies refuse, each packet once though tcpdump saw it on three interfaces", async () => {
    expect(await refused(`${SHOP}/shop.pcap`)).toEqual(REFUSED);
  });
});

function shopCluster(): ResolvedCluster {
  const files = ["cluster.yaml", "policies.yaml"].map((name) => ({ name, text: readFileSync(inShop(name), "utf8") }));
  const { model } = loadCluster(files);
  if (model === undefined) throw new Error("the shop is no valid cluster");
  return resolvePolicies(model);
}

async function recordedPackets(file: string): Promise<readonly Packet[]> {
  const source = await openTraffic(createReadStream(file));
  const packets: Packet[] = [];
  for await (const { packets: batch } of source.batches()) {
    for (let row = 0; row < batch.length; row++) packets.push(packetAt(batch, row));
  }
  return packets;
}

describe.runIf(process.env.CI !== undefined && hasKernel("bridge"))("the kernel on the recording", () => {
  const cluster = shopCluster();
  const chained = STRATEGIES.filter((strategy) => compileNode(cluster, strategy, { node: "node-a" }).kind === "tables");

  it.each(chained.map((strategy) => [strategy.name, strategy] as const))(
    "gives every packet the verdict that the replay gives it, connections included: %s",
    { timeout: 60_000 },
    async (_, strategy) => {
      // Every copy of a packet on every interface too: a connection table must bear repetitions.
      const packets = await recordedPackets(inShop("shop.pcap"));
      const program = compileNode(cluster, strategy, { node: "node-a" }) as TableProgram;
      const judge = await KernelJudge.start([subjectOf(program)], { variant: "legacy", walks: false });
      try {
        const { results } = await judge.record(packets);
        const side = strategySide({ name: "side", cluster, capacity: BATCH_ROWS, strategy });
        const source = await openTraffic(createReadStream(inShop("shop.pcap")));
        const ours: string[] = [];
        for await (const { packets: batch } of source.batches()) {
          side.push(batch);
          for (let row = 0; row < batch.length; row++) ours.push(VERDICTS[side.verdict[row] ?? 0] ?? "unknown");
        }
        expect(results.length).toBe(packets.length);
        expect(ours).toEqual(results.map(({ kernel }) => kernel.verdict));
        expect(new Set(ours).size).toBeGreaterThan(strategy.name === "romana" ? 0 : 1);
      } finally {
        await judge.close();
      }
    },
  );
});

describe.runIf(process.env.CI !== undefined && hasKernel("bridge"))("a shop that is recorded now", () => {
  // Below the checkout, where commands of tests find their files.
  mkdirSync(join(ROOT, ".cache"), { recursive: true });
  const folder = mkdtempSync(join(ROOT, ".cache", "shop-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("is refused by the kernel, with our rules loaded, exactly what the replay of the open shop says", {
    timeout: 120_000,
  }, async () => {
    const [open, rules, closed] = ["open", "rules", "closed"].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    record(open);
    expect(attempts(open).filter(({ ok }) => !ok)).toEqual([]);
    const denied = await refused(relative(ROOT, join(open, "shop.pcap")));
    expect(denied).toEqual(REFUSED);
    mkdirSync(rules);
    for (const [format, name] of [
      ["iptables-save", "iptables.save"],
      ["ipset-save", "ipset.save"],
    ] as const) {
      const { out } = await chainwalk(
        `compile -f ${SHOP}/cluster.yaml -f ${SHOP}/policies.yaml --node node-a -o ${format}`,
      );
      writeFileSync(join(rules, name), out);
    }
    record(closed, rules);
    const made = attempts(closed);
    const text = ({ from, to, protocol, port }: Attempt) => `${from} > ${to} ${protocol}/${port}`;
    expect(named(made.filter(({ ok }) => !ok).map(text))).toEqual(denied);
    // What was refused once was refused always, and everything else passed.
    expect(made.filter((attempt) => attempt.ok && denied.includes(text(attempt)))).toEqual([]);
  });
});

interface Attempt {
  readonly from: string;
  readonly to: string;
  readonly port: number;
  readonly protocol: string;
  readonly ok: boolean;
}

function record(out: string, ...rules: readonly string[]): void {
  const { status, stderr } = spawnSync("bash", [inShop("record.sh"), out, ...rules], {
    encoding: "utf8",
    timeout: 60_000,
  });
  if (status !== 0) throw new Error(`record.sh ended with ${status}: ${stderr}`);
}

function attempts(folder: string): readonly Attempt[] {
  return readFileSync(join(folder, "attempts.jsonl"), "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Attempt)
    .filter(({ to }) => to !== undefined);
}
