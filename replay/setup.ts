/**
 * What a replay runs, as plain data that can be sent to another thread, and the sides it makes. The manifests travel as
 * text: a compiled program is larger than what it is made from.
 */

import { compileNode, loadObjects } from "../compiler/compile.ts";
import { type ImportedProgram, importProgram, type NodeSaves } from "../compiler/import/importProgram.ts";
import { hasErrors, type Issue } from "../compiler/issue.ts";
import {
  type ParsedManifests,
  type ParsedObject,
  parseManifests,
  SERVICE_KINDS,
} from "../compiler/manifest/objects.ts";
import type { ManifestFile } from "../compiler/manifest/parse.ts";
import type { ClusterModel } from "../compiler/model.ts";
import { type ResolvedCluster, resolvePolicies } from "../compiler/resolve.ts";
import { STRATEGIES } from "../compiler/strategies/registry.ts";
import type { Strategy } from "../compiler/strategies/strategy.ts";
import { REFERENCE } from "../verify/lane.ts";
import { nameOf } from "../verify/scenarioCluster.ts";
import { AddressBook } from "./owners.ts";
import { isPlaceProblem, type Place, parsePlace } from "./places.ts";
import { serviceAddresses } from "./serviceObjects.ts";
import { type ServiceAddress, Services } from "./services.ts";
import { referenceSide, type Side, strategySide } from "./side.ts";
import type { ReplayedStory } from "./story.ts";

/** A set of manifests: the base, with what comes on top of it. */
export interface ClusterSetup {
  readonly files: readonly ManifestFile[];
  /**
   * Applied on top, as `kubectl apply` does: objects of the same name are replaced, others stay. When it has pods of its
   * own it is a whole cluster, and the base counts for nothing. Undefined: nothing on top.
   */
  readonly over?: readonly ManifestFile[];
  /** `kubectl apply --prune`: policies that `over` does not have go. */
  readonly prune?: boolean;
  /** Added in any case: policies that are tried out. */
  readonly added?: readonly ManifestFile[];
}

export interface SideSetup {
  readonly name: string;
  /** Index into `ReplaySetup.clusters`. */
  readonly cluster: number;
  /** Of the registry, or the reference. */
  readonly strategy: string;
  /** Options of the strategy, name and value. */
  readonly settings: readonly (readonly [string, string])[];
  /** Of `node`; "" stands for the only one there is. */
  readonly saves?: Omit<NodeSaves, "attachment" | "strategy">;
  /** Compile and ask this node alone, as an imported node is asked. "": the only one. */
  readonly only?: string;
}

export interface ReplaySetup {
  readonly clusters: readonly ClusterSetup[];
  readonly sides: readonly SideSetup[];
  /** Index of the side whose verdicts are the flows' own. */
  readonly main: number;
  /** Where the recording was made, in the user's words (`parsePlace`): packets meet these nodes only. Default: it does not matter. */
  readonly places?: readonly string[];
}

export interface LoadedSetup {
  readonly places: readonly Place[];
  readonly sides: readonly Side[];
  readonly book: AddressBook;
  readonly services: readonly ServiceAddress[];
  readonly story?: ReplayedStory;
}

export interface SetupProblems {
  readonly issues: readonly Issue[];
  /** For people: what was read beside the point, what was replaced. */
  readonly notes: readonly string[];
}

export interface Change {
  readonly files: readonly ManifestFile[];
  /** Undefined: `files` alone. */
  readonly before: readonly ManifestFile[] | undefined;
  readonly after: readonly ManifestFile[] | undefined;
  readonly prune: boolean;
}

/** The two states of the cluster that a change stands between: sides refer to the first as 0, to the second as 1. */
export function clustersOfChange({ files, before, after, prune }: Change): readonly [ClusterSetup, ClusterSetup] {
  return [
    { files, ...(before && { over: before }), prune },
    { files, ...(after && { over: after }), prune },
  ];
}

/** The sides, or undefined when some issue is an error. Throws only on a broken invariant. */
export function loadSetup(
  setup: ReplaySetup,
  capacity: number,
): SetupProblems & { readonly loaded: LoadedSetup | undefined } {
  const issues: Issue[] = [];
  const notes: string[] = [];
  const clusters = setup.clusters.map((cluster) => loadClusterSetup(cluster, issues, notes));
  const read = clusters.flatMap(({ cluster }) => (cluster === undefined ? [] : [cluster.model]));
  const places = loadPlaces(setup.places ?? [], read, issues);
  const sides: Side[] = [];
  for (const side of setup.sides) {
    const cluster = clusters[side.cluster]?.cluster;
    if (cluster === undefined) continue;
    const made = makeSide(side, cluster, { capacity, places });
    issues.push(...made.issues);
    if (made.side !== undefined) sides.push(made.side);
  }
  if (hasErrors(issues) || sides.length < setup.sides.length) return { issues, notes, loaded: undefined };
  const [main, ...others] = [setup.main, ...setup.sides.keys()].map((index) => sides[index]);
  const models = [main, ...others].flatMap((side) => (side === undefined ? [] : [side.cluster.model]));
  const services = clusters.flatMap(({ objects, cluster }) =>
    cluster === undefined ? [] : serviceAddresses(objects, cluster.model),
  );
  return { issues, notes, loaded: { places, sides, book: new AddressBook([...new Set(models)]), services } };
}

interface ClusterRead {
  readonly cluster: ResolvedCluster | undefined;
  readonly objects: readonly ParsedObject[];
}

function loadClusterSetup({ files, over, prune, added }: ClusterSetup, issues: Issue[], notes: string[]): ClusterRead {
  const base = files.length === 0 ? NOTHING : parseManifests(files);
  const top = over === undefined ? NOTHING : parseManifests(over);
  const isWhole = top.objects.some(({ kind }) => kind === "Pod");
  const chosen = isWhole ? top : merged(base, top, prune === true);
  const parsed = added === undefined ? chosen : merged(chosen, parseManifests(added), false);
  const { model, issues: found } = loadObjects(parsed);
  // What both clusters have wrong is said once.
  const said = new Set(issues.map((issue) => JSON.stringify(issue)));
  issues.push(...found.filter((issue) => !said.has(JSON.stringify(issue))));
  const skipped = [...parsed.skipped].filter(([kind]) => !SERVICE_KINDS.has(kind));
  if (skipped.length > 0) {
    const count = skipped.reduce((sum, [, each]) => sum + each, 0);
    notes.push(
      `skipped ${count} ${count === 1 ? "object" : "objects"} of other kinds: ${skipped.map(([kind, each]) => `${kind} ${each}`).join(", ")}`,
    );
  }
  return { cluster: model === undefined ? undefined : resolvePolicies(model), objects: parsed.services };
}

function loadPlaces(texts: readonly string[], models: readonly ClusterModel[], issues: Issue[]): readonly Place[] {
  if (models.length === 0) return [];
  return texts.flatMap((text) => {
    const place = parsePlace(text, models);
    if (!isPlaceProblem(place)) return [place];
    issues.push(issueOf("--captured-on", place.problem));
    return [];
  });
}

/** Undefined: all of them. */
function nodesOf(places: readonly Place[]): readonly string[] | undefined {
  return places.length === 0 ? undefined : [...new Set(places.map(({ node }) => node))];
}

function issueOf(file: string, message: string): Issue {
  return { code: "unknown-node", severity: "error", message, file, line: 0, column: 0, path: "" };
}

const CLUSTER_WIDE: ReadonlySet<string> = new Set(["Node", "Namespace"]);
const NOTHING: ParsedManifests = { objects: [], issues: [], skipped: new Map(), services: [] };

function merged(base: ParsedManifests, top: ParsedManifests, prune: boolean): ParsedManifests {
  const key = ({ kind, value }: ParsedObject): string => {
    const { namespace, name } = nameOf({ kind: CLUSTER_WIDE.has(kind) ? kind : "Pod", value });
    return `${kind} ${namespace} ${name}`;
  };
  const replaced = new Set([...top.objects, ...top.services].map(key));
  const kept = (object: ParsedObject): boolean =>
    !replaced.has(key(object)) && !(prune && object.kind === "NetworkPolicy" && top.objects.length > 0);
  const skipped = new Map(base.skipped);
  for (const [kind, count] of top.skipped) skipped.set(kind, (skipped.get(kind) ?? 0) + count);
  return {
    objects: [...base.objects.filter(kept), ...top.objects],
    issues: [...base.issues, ...top.issues],
    skipped,
    services: [...base.services.filter(kept), ...top.services],
  };
}

function makeSide(
  setup: SideSetup,
  cluster: ResolvedCluster,
  { capacity, places }: { readonly capacity: number; readonly places: readonly Place[] },
): { readonly side: Side | undefined; readonly issues: readonly Issue[] } {
  const { name, strategy: strategyName, saves } = setup;
  const nodes = nodesOf(places);
  const only = setup.only ?? (nodes?.length === 1 ? nodes[0] : undefined);
  if (strategyName === REFERENCE) return { side: referenceSide({ name, cluster, capacity }), issues: [] };
  const strategy = strategyNamed(strategyName);
  const settings = new Map(setup.settings);
  if (saves === undefined) {
    if (only === undefined) {
      return {
        side: strategySide({ name, cluster, capacity, strategy, settings, ...(nodes && { nodes }) }),
        issues: [],
      };
    }
    const node = nodeFor(only, cluster, only === "");
    if (typeof node !== "string") return { side: undefined, issues: [node] };
    const alone = compileNode(cluster, strategy, { node, settings });
    return { side: strategySide({ name, cluster, capacity, strategy, settings, alone }), issues: [] };
  }
  const node = nodeFor(saves.node, cluster, true);
  if (typeof node !== "string") return { side: undefined, issues: [node] };
  const attachment = strategy.attach(cluster, { node, settings });
  const { program, issues }: ImportedProgram = importProgram({ ...saves, node, strategy: strategyName, attachment });
  if (program === undefined) return { side: undefined, issues };
  return { side: strategySide({ name, cluster, capacity, strategy, settings, alone: program }), issues };
}

/** The node of that name, or the only one when none is named. */
function nodeFor(name: string, { model }: ResolvedCluster, isOfSaves: boolean): string | Issue {
  const names = model.nodes.map((node) => node.name);
  const [first] = names;
  if (name === "" && first !== undefined && names.length === 1) return first;
  if (names.includes(name)) return name;
  const known = names.join(", ") || "no nodes";
  const message =
    name === ""
      ? `--node is needed: which of ${known} do the saves come from?`
      : `unknown node "${name}"; there are ${known}`;
  return issueOf(isOfSaves ? "--node" : "--captured-on", message);
}

/** Sides that live through a story. */
export function loadStorySetup(
  setup: ReplaySetup,
  story: ReplayedStory,
  capacity: number,
): Pick<SetupProblems, "issues"> & { readonly loaded: LoadedSetup | undefined } {
  const { start: cluster } = story;
  const issues: Issue[] = [];
  const models = [cluster, ...story.story.steps.map((step) => step.cluster)].map(({ model }) => model);
  const places = loadPlaces(setup.places ?? [], [...new Set(models)], issues);
  if (issues.length > 0) return { issues, loaded: undefined };
  const nodes = nodesOf(places);
  const sides = setup.sides.map(({ name, strategy: strategyName, settings }) => {
    const common = { name, cluster, capacity, story: story.story };
    if (strategyName === REFERENCE) return referenceSide(common);
    const strategy = strategyNamed(strategyName);
    return strategySide({ ...common, strategy, settings: new Map(settings), ...(nodes && { nodes }) });
  });
  const book = new AddressBook([cluster.model]);
  return { issues, loaded: { places, sides, book, services: story.servicesAt(0), story } };
}

function strategyNamed(name: string): Strategy {
  const strategy = STRATEGIES.find((candidate) => candidate.name === name);
  if (strategy === undefined) throw new Error(`unknown strategy ${name}`);
  return strategy;
}

/** The Services of a setup, as one run of a replay needs them; undefined: there are none. */
export function servicesOf({ services, story }: LoadedSetup): Services | undefined {
  if (story?.hasServices === true) return new Services(services, "changing");
  return services.length === 0 ? undefined : new Services(services);
}
