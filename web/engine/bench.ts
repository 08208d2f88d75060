/** The table the engine works on: what is loaded, and the lanes made of it, which are kept until the next load. */
import { loadObjects, resolvePolicies } from "../../compiler/compile.ts";
import { importProgram, type NodeSaves } from "../../compiler/import/importProgram.ts";
import { formatIssue, type Issue } from "../../compiler/issue.ts";
import { ManifestMemory, type ParsedObject, parseManifests } from "../../compiler/manifest/objects.ts";
import type { ManifestFile } from "../../compiler/manifest/parse.ts";
import type { ClusterModel } from "../../compiler/model.ts";
import type { ResolvedCluster } from "../../compiler/resolve.ts";
import { resolveAgain } from "../../compiler/resolveAgain.ts";
import { STRATEGIES, strategyNamed } from "../../compiler/strategies/registry.ts";
import type { IpAddress } from "../../dataplane/address.ts";
import { hasPorts, makePacket, protocolName } from "../../dataplane/packet.ts";
import type { TableProgram } from "../../dataplane/program.ts";
import { formatDetail, type PacketText } from "../../traffic/transcript.ts";
import {
  importedLane,
  type Lane,
  nodeReferenceLane,
  REFERENCE,
  referenceLane,
  strategyLane,
} from "../../verify/lane.ts";
import { parseScenario, type Scenario } from "../../verify/scenario.ts";
import { describeChange } from "../../verify/scenarioCluster.ts";
import { STEP_TEXTS, type Story, type StoryState, statesOfScenario, stepTexts, storyOf } from "../../verify/story.ts";
import type { LoadAsk, Loaded, SavedNode, StepView, WalkTarget } from "../messages.ts";
import { clusterPicture } from "./clusterPicture.ts";
import type { Pushed } from "./push.ts";
import { Refusal } from "./refusal.ts";

/** Every name that stands for answers. */
export const STRATEGY_NAMES: readonly string[] = [...STRATEGIES.map(({ name }) => name), REFERENCE];

type InBetween = (bench: Bench, strategy: string, target: Extract<WalkTarget, { kind: "moment" }>) => Pushed;

interface KeptLane {
  readonly lane: Lane;
  /** It was compiled for. */
  readonly cluster: ResolvedCluster;
}

/** Lanes kept; the one not asked for longest goes first. A lane of 1,000 pods holds some ten megabytes. */
const MOST_LANES = 12;

export class Bench {
  /** How packets of a moment are pushed; undefined: the worker has no moments. */
  readonly inBetween: InBetween | undefined;
  #cluster: ResolvedCluster | undefined;
  #objects: readonly ParsedObject[] = [];
  #scenario: Scenario | undefined;
  #saved: SavedNode | undefined;
  #imported: TableProgram | undefined;
  /** Whole clusters, one a step. */
  #snapshots: readonly ManifestFile[] = [];
  #files: readonly ManifestFile[] = [];
  #story: Story | undefined;
  readonly #lanes = new Map<string, KeptLane>();
  /** Of the load before, which the next one is a change of: what it leaves alone is not made again. */
  readonly #memory = new ManifestMemory();
  #before: ResolvedCluster | undefined;

  constructor(inBetween?: InBetween) {
    this.inBetween = inBetween;
  }

  get cluster(): ResolvedCluster {
    if (this.#cluster === undefined) throw new Refusal("the manifests have errors");
    return this.#cluster;
  }

  get objects(): readonly ParsedObject[] {
    return this.#objects;
  }

  get scenario(): Scenario {
    if (this.#scenario === undefined) throw new Refusal("no scenario is loaded");
    return this.#scenario;
  }

  get files(): readonly ManifestFile[] {
    return this.#files;
  }

  /** The cluster and what becomes of it; made when first asked for. */
  get story(): Story {
    this.#story ??= storyOf(this.#snapshots.length > 0 ? this.#snapshotStates() : this.#scenarioStates());
    return this.#story;
  }

  #snapshotStates(): readonly StoryState[] {
    const texts = stepTexts(this.#files.find(isStepTexts)?.text ?? "");
    return this.#snapshots.map((file, number) => {
      const { model, issues } = loadObjects(parseManifests([file]));
      if (model === undefined) throw new Refusal(issues.map(formatIssue).join("\n"));
      return { what: texts.get(number), cluster: resolvePolicies(model) };
    });
  }

  #scenarioStates(): readonly StoryState[] {
    const read = statesOfScenario(this.scenario, { objects: this.objects, services: [] }, this.cluster);
    if (read.kind === "invalid") throw new Refusal(read.issues.map(formatIssue).join("\n"));
    return read.states;
  }

  /** A node's saves, as they were pasted. */
  get saved(): SavedNode | undefined {
    return this.#saved;
  }

  /** The node whose saves stand in the place of a compiled program. */
  get importedNode(): string | undefined {
    return this.#imported?.node;
  }

  load({ files, scenario, saved }: LoadAsk, now: () => number): Loaded {
    const start = now();
    this.#files = files;
    this.#saved = saved;
    // Saves of a node stand in the place of what is compiled.
    if (saved !== undefined || this.#imported !== undefined) this.#lanes.clear();
    this.#snapshots = snapshotsAmong(files);
    this.#story = undefined;
    const parsed = parseManifests(this.#snapshots.length > 0 ? this.#snapshots.slice(0, 1) : files, this.#memory);
    const loaded = loadObjects(parsed);
    const issues: Issue[] = [...loaded.issues];
    this.#objects = parsed.objects;
    this.#cluster = loaded.model === undefined ? undefined : this.#resolve(loaded.model);
    this.#before = this.#cluster ?? this.#before;
    this.#scenario = scenario === undefined ? undefined : this.#readScenario(scenario, issues);
    this.#imported = saved === undefined || this.#cluster === undefined ? undefined : this.#import(saved, issues);
    return {
      issues,
      skipped: [...loaded.skipped],
      cluster: this.#cluster === undefined ? undefined : clusterPicture(this.#cluster),
      story: this.#scenario?.description,
      steps: (this.#scenario?.steps ?? []).map(stepView),
      changes:
        this.#snapshots.length > 0
          ? this.#snapshots.length - 1
          : (this.#scenario?.steps ?? []).filter(({ kind }) => kind === "change").length,
      strategies: [
        ...STRATEGIES.map(({ name, summary }) => ({ name, summary })),
        { name: REFERENCE, summary: "the API text itself" },
      ],
      tookMs: now() - start,
    };
  }

  /** A lane with no memory; `nodes`: only these are compiled. */
  lane(name: string, nodes?: readonly string[]): Lane {
    const key = `${name} ${nodes === undefined ? "*" : [...nodes].sort().join(" ")}`;
    const { cluster } = this;
    const kept = this.#lanes.get(key);
    // Only once it is what the cluster makes of it: a strategy may have no room for it.
    this.#lanes.delete(key);
    if (kept !== undefined && kept.cluster !== cluster) kept.lane.change(cluster);
    const lane = kept?.lane ?? this.freshLane(name, nodes);
    lane.flush();
    this.#lanes.set(key, { lane, cluster });
    const [oldest] = this.#lanes.keys();
    if (this.#lanes.size > MOST_LANES && oldest !== undefined) this.#lanes.delete(oldest);
    return lane;
  }

  #resolve(model: ClusterModel): ResolvedCluster {
    return this.#before === undefined ? resolvePolicies(model) : resolveAgain(this.#before, model);
  }

  /** A lane of one's own, for who changes its cluster. */
  freshLane(name: string, nodes?: readonly string[]): Lane {
    const { cluster } = this;
    const imported = this.#imported;
    if (name === REFERENCE)
      return imported === undefined ? referenceLane(cluster) : nodeReferenceLane(cluster, imported.node);
    const strategy = strategyNamed(name);
    if (strategy === undefined) throw new Refusal(`unknown strategy "${name}"; there are ${STRATEGY_NAMES.join(", ")}`);
    if (imported?.strategy === name) return importedLane(imported, strategy, { walk: true });
    return strategyLane(cluster, strategy, { walk: true, ...(nodes && { nodes }) });
  }

  #readScenario(file: ManifestFile, issues: Issue[]): Scenario | undefined {
    const read = parseScenario(file, STRATEGY_NAMES);
    issues.push(...read.issues);
    return read.scenario;
  }

  #import(saved: SavedNode, issues: Issue[]): TableProgram | undefined {
    const strategy = strategyNamed(saved.strategy);
    if (strategy === undefined) return undefined;
    const { node } = saved;
    if (!this.cluster.model.nodes.some(({ name }) => name === node)) {
      const names = this.cluster.model.nodes.map(({ name }) => name).join(", ");
      issues.push(issueOf(`the saves are said to come from node "${node}"; there are ${names || "no nodes"}`));
      return undefined;
    }
    const attachment = strategy.attach(this.cluster, { node });
    const read = importProgram({ ...savesOf(saved), strategy: saved.strategy, attachment });
    issues.push(...read.issues);
    return read.program;
  }
}

/** As the command line reads them from files. */
export function savesOf(saved: SavedNode): Omit<NodeSaves, "attachment" | "strategy"> {
  const file = (name: string, text: string) => (text.trim() === "" ? undefined : { name, text });
  const iptablesSave = file("iptables-save", saved.iptablesSave);
  const ip6tablesSave = file("ip6tables-save", saved.ip6tablesSave);
  const ipsetSave = file("ipset save", saved.ipsetSave);
  const interfaces = file("interfaces", saved.interfaces ?? "");
  return {
    ...(iptablesSave && { iptablesSave }),
    ...(ip6tablesSave && { ip6tablesSave }),
    ...(ipsetSave && { ipsetSave }),
    ...(interfaces && { interfaces }),
    node: saved.node,
  };
}

const SNAPSHOT = /^(?:.*\/)?step-(\d+)\.(?:ya?ml|json)$/;

/** Files that are each a whole cluster, in their order; empty: the files are one cluster. */
function snapshotsAmong(all: readonly ManifestFile[]): readonly ManifestFile[] {
  const files = all.filter((file) => !isStepTexts(file));
  if (files.length < 2 || !files.every(({ name }) => SNAPSHOT.test(name))) return [];
  const numberOf = ({ name }: ManifestFile) => Number(SNAPSHOT.exec(name)?.[1]);
  return files.toSorted((a, b) => numberOf(a) - numberOf(b));
}

function isStepTexts({ name }: ManifestFile): boolean {
  return name === STEP_TEXTS || name.endsWith(`/${STEP_TEXTS}`);
}

function issueOf(message: string): Issue {
  return { code: "import", severity: "error", message, file: "node saves", line: 0, column: 0, path: "" };
}

function stepView(step: Scenario["steps"][number]): StepView {
  if (step.kind === "change")
    return { kind: "change", number: step.number, text: step.changes.map(describeChange).join(", ") };
  return { kind: "packet", number: step.number, text: packetText(step.packet), expect: step.expect };
}

const NO_ADDRESS: IpAddress = { family: 4, words: [0] };

/** As the scenario writes it, with the defaults said. */
function packetText({ protocol, source, destination, sourcePort, destinationPort, details }: PacketText): string {
  const end = (name: string, port: number) => (hasPorts(protocol) ? `${name}:${port}` : name);
  const detail = formatDetail(makePacket({ protocol, source: NO_ADDRESS, destination: NO_ADDRESS, ...details }));
  const ends = `${end(source, sourcePort)} > ${end(destination, destinationPort)}`;
  return `${protocolName(protocol)} ${ends} ${detail}`.trim();
}
