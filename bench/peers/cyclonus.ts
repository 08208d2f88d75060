/** cyclonus' simulator on the same truth table, both as whole processes. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ClusterModel } from "../../compiler/model.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import { formatAddress } from "../../dataplane/address.ts";
import { cacheFolder } from "../../verify/kernel/helper.ts";
import type { MeasureOptions } from "../targets/target.ts";
import { clusterOf, clusterText, type WorkloadSize } from "../workloads.ts";
import type { Comparison, Peer } from "./peer.ts";

const MODULE = "github.com/mattfenwick/cyclonus/cmd/cyclonus@v0.5.6";
const SIZE: Omit<WorkloadSize, "seed"> = { pods: 120, policies: 60, namespaces: 6, nodes: 3, shape: "mixed" };
/** 21 ports: what policies name, and what none does. */
const PORTS = [
  80, 443, 5432, 8080, 9090, 22, 25, 110, 143, 993, 3306, 5000, 6379, 8000, 8443, 9000, 9200, 30_000, 30_100, 30_500,
  30_999,
];
const PAIRS = 3;

/** Built by `installCyclonus`, or the one of the PATH. */
function binary(): string | undefined {
  const own = join(cacheFolder(), "cyclonus");
  if (existsSync(own)) return own;
  return spawnSync("cyclonus", ["version"], { stdio: "ignore" }).error === undefined ? "cyclonus" : undefined;
}

/** Fetches and builds cyclonus with `go install` into the cache; throws with the words of go. Takes minutes. */
export function installCyclonus(): void {
  const folder = mkdtempSync(join(tmpdir(), "chainwalk-go-"));
  try {
    const env = { ...process.env, GOPATH: folder, GOBIN: cacheFolder(), GOFLAGS: "-modcacherw" };
    const { status, error, stderr } = spawnSync("go", ["install", MODULE], { env, encoding: "utf8" });
    if (error !== undefined || status !== 0) throw new Error(error?.message ?? stderr.trim());
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What `cyclonus analyze --mode probe` reads: pods, labels, addresses, and the ports to ask for. */
function probeModel({ namespaces, endpoints }: ClusterModel): object {
  return {
    Resources: {
      Namespaces: Object.fromEntries(namespaces.map(({ name, labels }) => [name, Object.fromEntries(labels)])),
      Pods: endpoints.map(({ namespace, name, labels, addresses, ports }) => ({
        Namespace: namespace,
        Name: name,
        Labels: Object.fromEntries(labels),
        IP: addresses.map(formatAddress)[0],
        Containers: ports.map((port) => ({
          Name: port.name,
          Port: port.port,
          Protocol: port.protocol,
          PortName: port.name,
        })),
      })),
    },
    Probes: PORTS.map((port) => ({ Protocol: "TCP", Port: port })),
  };
}

/** Seconds of whole processes: cyclonus and each of our strategies in turn. */
async function compare({ seed, clock, runSelf }: MeasureOptions): Promise<Comparison> {
  const cyclonus = binary();
  if (cyclonus === undefined) throw new Error("no cyclonus");
  const folder = mkdtempSync(join(tmpdir(), "chainwalk-cyclonus-"));
  try {
    const model = clusterOf({ ...SIZE, seed });
    const [policies, probe, manifests] = ["policies.yaml", "probe.json", "cluster.yaml"].map((name) =>
      join(folder, name),
    );
    if (policies === undefined || probe === undefined || manifests === undefined) throw new Error("no files");
    writeFileSync(manifests, clusterText(model, "yaml"));
    writeFileSync(policies, clusterText({ ...model, nodes: [], namespaces: [], endpoints: [] }, "yaml"));
    writeFileSync(probe, JSON.stringify(probeModel(model)));
    const theirs: number[] = [];
    const ours = new Map<string, number[]>(STRATEGIES.map(({ name }) => [name, []]));
    for (let pair = 0; pair < PAIRS; pair++) {
      const start = clock();
      const args = ["analyze", "--mode", "probe", "--policy-path", policies, "--probe-path", probe];
      const { status, stderr } = spawnSync(cyclonus, args, { encoding: "utf8", maxBuffer: 1 << 28 });
      if (status !== 0) throw new Error(`cyclonus: ${stderr.trim()}`);
      theirs.push((clock() - start) / 1_000);
      for (const [strategy, times] of ours) times.push(await ourSeconds({ strategy, manifests, clock, runSelf }));
    }
    const slowest = [...ours].sort(([, a], [, b]) => Math.min(...b) - Math.min(...a))[0];
    const note = `${SIZE.pods} pods, ${SIZE.policies} policies, ${PORTS.length} ports; ours is the slowest strategy; ${[...ours].map(([name, times]) => `${name} ${Math.min(...times).toFixed(2)}`).join(", ")}`;
    return { ours: slowest?.[1] ?? [], theirs, note };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface OurRun extends Pick<MeasureOptions, "clock" | "runSelf"> {
  readonly strategy: string;
  readonly manifests: string;
}

async function ourSeconds({ strategy, manifests, clock, runSelf }: OurRun): Promise<number> {
  const start = clock();
  const code = await runSelf({
    argv: [
      "matrix",
      "-f",
      manifests,
      "-s",
      strategy,
      "--port",
      PORTS.map((port) => `tcp/${port}`).join(","),
      "--quiet",
    ],
    signal: new AbortController().signal,
    onLine: () => {},
  });
  if (code !== 0) throw new Error(`matrix -s ${strategy} ended with ${code}`);
  return (clock() - start) / 1_000;
}

export const cyclonusPeer: Peer = {
  name: "cyclonus 0.5.6, simulator",
  what: "the truth table of a cluster, whole process, tables printed",
  unit: "s",
  reasonAgainst: async () =>
    binary() === undefined ? "no cyclonus here: `chainwalk bench peers --install` builds it with go" : undefined,
  compare,
};
