/** `matrix`: what becomes of the first packet between every two pods. */
import { type Command, Option } from "commander";
import { resolvePolicies } from "../compiler/compile.ts";
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { Family } from "../dataplane/address.ts";
import { formatMatrix, type Matrix } from "../format/matrix.ts";
import type { Port } from "../traffic/generate/sessions.ts";
import type { Lane } from "../verify/lane.ts";
import { type MatrixPod, matrixFamily, matrixPods, matrixPorts, portText, TruthTables } from "../verify/matrix.ts";
import {
  addInputFlags,
  addOutputFlag,
  addStrategyFlags,
  type InputFlags,
  parsePorts,
  type StrategyFlags,
} from "./flags.ts";
import { loadModel } from "./input.ts";
import { EXIT, UsageError } from "./io.ts";
import { lanesOf } from "./lanes.ts";
import { addMomentFlag, type MomentFlags, momentOf } from "./moment.ts";
import { addOpenFlag, firstStrategy, type OpenFlags, openShown, requireShown } from "./open.ts";
import type { Progress, Session } from "./session.ts";

interface MatrixFlags extends InputFlags, StrategyFlags, MomentFlags, OpenFlags {
  readonly port?: string;
  readonly family?: "4" | "6";
  readonly output: "table" | "json" | "md";
}

export function define(command: Command, session: Session): void {
  addOpenFlag(addMomentFlag(addOutputFlag(addStrategyFlags(addInputFlags(command)), ["table", "json", "md"])))
    .option("--port <PROTO/PORT,…>", "which ports; when left out, those that pods declare and policies name")
    .addOption(new Option("--family <FAMILY>", "which addresses of the pods").choices(["4", "6"]))
    .action((flags: MatrixFlags) => matrix(flags, session));
}

async function matrix(flags: MatrixFlags, session: Session): Promise<void> {
  const { at } = flags;
  requireShown(flags, [
    ["--at", at !== undefined],
    ["--family", flags.family !== undefined],
    ["--namespace", flags.namespace !== undefined && flags.allNamespaces !== true],
    ["several ports", flags.port?.includes(",") === true],
  ]);
  const moment = at === undefined ? undefined : await momentOf({ ...flags, at }, { walk: false }, session);
  const cluster = moment?.cluster ?? resolvePolicies(await loadModel(session, flags.filename));
  const pods = await podsOf(flags, cluster, session);
  const ports = flags.port === undefined ? matrixPorts(cluster) : parsePorts(flags.port);
  const lanes = moment?.lanes ?? lanesOf(flags, cluster, {});
  const progress = session.progress("packets", lanes.length * ports.length * pods.length ** 2);
  for (const [index, lane] of lanes.entries()) {
    const answered = await fill(lane, cluster, { pods, ports }, progress);
    await progress.done();
    if (answered === undefined) return;
    if (answered.verdicts.some(({ rows }) => rows.some((row) => row.includes("?")))) session.end(EXIT.incomplete);
    if (index > 0 && flags.output !== "json") await session.out.line("");
    for (const line of formatMatrix(answered, flags.output, session.paint)) await session.out.line(line);
  }
  const [port] = ports;
  const state = { view: "matrix", strategy: firstStrategy(flags), ...(port && { port: portText(port) }) } as const;
  await openShown(flags, { state }, session);
}

/** The pods that can send and receive; `-n` restricts to one namespace, as in kubectl. */
async function podsOf(flags: MatrixFlags, cluster: ResolvedCluster, session: Session): Promise<readonly MatrixPod[]> {
  const { namespace } = flags;
  const family = familyOf(flags, cluster);
  const chosen =
    flags.allNamespaces === true || namespace === undefined
      ? cluster.pods
      : cluster.pods.filter((pod) => pod.namespace === namespace);
  const found = matrixPods(chosen, family);
  if (found.length === 0) throw new UsageError(`no pod with an IPv${family} address there: a matrix needs pods`);
  if (found.length < chosen.length) {
    await session.note(`${chosen.length - found.length} pods without IPv${family} address are left out`);
  }
  return found;
}

function familyOf({ family }: MatrixFlags, cluster: ResolvedCluster): Family {
  if (family !== undefined) return family === "4" ? 4 : 6;
  return matrixFamily(cluster);
}

interface Table {
  readonly pods: readonly MatrixPod[];
  readonly ports: readonly Port[];
}

/** The truth table of one lane; undefined: the user does not want to wait for it. */
async function fill(
  lane: Lane,
  cluster: ResolvedCluster,
  { pods, ports }: Table,
  progress: Progress,
): Promise<Matrix | undefined> {
  const tables = new TruthTables(lane, cluster, { pods, ports });
  const verdicts = ports.map((port) => ({ port: portText(port), rows: [] as string[] }));
  for (const index of pods.keys()) {
    for (const [port, row] of tables.rows(index).entries()) verdicts[port]?.rows.push(row);
    if (!(await progress.step(ports.length * pods.length))) return undefined;
  }
  return { strategy: lane.name, pods: pods.map(({ key }) => key), verdicts };
}
