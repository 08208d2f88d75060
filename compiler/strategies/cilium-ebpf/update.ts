/**
 * How Cilium's agent takes a node along with a cluster: single keys of maps, event by event, in this order:
 *
 *   a new identity        its entries in the maps of all endpoints whose rules select it
 *   the event itself      the maps of the endpoints it is about, what comes before what goes; a new endpoint's map, then
 *                         its program; a pod's address in the ipcache last, a block's before the rules that name it
 *   prefixes nobody names out of the ipcache, then their entries
 *   an identity released  its entries, once the step is over (the operator's garbage collector; nobody has it meanwhile)
 *
 * So between two keys a map allows what it allowed before or will allow, and no connection of both is cut; but policy is
 * asked for each packet of the original direction, so an entry that goes cuts what runs through it at once.
 *
 * Left to chance: the order of endpoints (parallel workers) and of keys. Differs from a fresh agent: the numbers of
 * identities and endpoints, which go on counting. Source: cilium v1.19.7 pkg/policy, pkg/endpoint, pkg/ipcache;
 * dumps/updates/cilium/NOTES.md.
 */
import { decodePolicyKey } from "../../../dataplane/maps/layout.ts";
import type { MapEntry, MapProgram, MapSpec, Program } from "../../../dataplane/program.ts";
import type { ResolvedCluster } from "../../resolve.ts";
import { deleteEntry, mapOperation, updateEntry } from "../../update/commands.ts";
import { type Controller, runOperation } from "../../update/controller.ts";
import { type MapChange, mapChange } from "../../update/difference.ts";
import { EndpointNumbers } from "../../update/endpointNumbers.ts";
import { type ClusterEvent, eventText } from "../../update/events.ts";
import { NodeState } from "../../update/nodeState.ts";
import type { Operation } from "../../update/operation.ts";
import type { LowerOptions, Strategy } from "../strategy.ts";
import { IdentityNumbers, identitiesOf, numberIdentities } from "./identities.ts";
import { identityView } from "./identityLabels.ts";

export interface AgentOptions {
  readonly strategy: Pick<Strategy, "lower">;
  readonly options: LowerOptions;
  /** The name of the map of addresses. */
  readonly ipcache: string;
}

export function agentController(start: ResolvedCluster, { strategy, options, ipcache }: AgentOptions): Controller {
  const numbers = { identities: new IdentityNumbers(), endpoints: new EndpointNumbers() };
  const wanted = (cluster: ResolvedCluster): MapProgram => {
    const view = identityView(cluster);
    numberIdentities(view, numbers.identities);
    numbers.endpoints.number(view);
    return mapsOf(strategy.lower(cluster, options));
  };
  const state = new NodeState(wanted(start));
  let known = identityView(start);
  return {
    get program() {
      return state.program;
    },
    react({ events, after, isLast }) {
      const operations: Operation[] = [];
      const run = (planned: readonly Operation[]) => {
        for (const operation of planned) runOperation(state, operation);
        operations.push(...planned);
      };
      for (const event of events) {
        const program = wanted(event.cluster());
        const cluster = identityView(event.cluster());
        const step = { event, before: known, after: cluster, ipcache };
        run(planEvent(mapsOf(state.program), program, step));
        numbers.identities.releasePrefixes(cluster);
        known = cluster;
      }
      const last = wanted(after);
      state.attach(last.attachment);
      if (!isLast) return operations;
      run(planRest(mapsOf(state.program), last));
      numbers.identities.releaseLabels(identityView(after));
      return operations;
    },
  };
}

function mapsOf(program: Program): MapProgram {
  if (program.kind !== "maps") throw new Error("Cilium programs maps");
  return program;
}

interface EventStep {
  readonly event: ClusterEvent;
  readonly before: ResolvedCluster;
  readonly after: ResolvedCluster;
  readonly ipcache: string;
}

function planEvent(held: MapProgram, wanted: MapProgram, step: EventStep): readonly Operation[] {
  const { event, before, after, ipcache } = step;
  const cause = eventText(event);
  const old = new Map(held.maps.map((map) => [map.name, map]));
  const names = new Set(wanted.maps.map(({ name }) => name));
  const created = wanted.maps.filter(({ name }) => !old.has(name));
  const removed = held.maps.filter(({ name }) => !names.has(name));
  const changes = wanted.maps.flatMap((map) => {
    const was = old.get(map.name);
    return was === undefined ? [] : [mapChange(was, map)];
  });
  const addresses = changes.find(({ map }) => map.name === ipcache);
  const policies = changes.filter(({ map }) => map.name !== ipcache);
  const isNew = newIdentities(before);
  const isUsed = usedIdentities(after);
  const concerned = concernedMaps(held, wanted, step);
  const others = policies.filter(({ map }) => !concerned.has(map.name));
  const own = policies.filter(({ map }) => concerned.has(map.name));
  const [addressesFirst, addressesLast] =
    event.kind === "NetworkPolicy" ? [addresses, undefined] : [undefined, addresses];
  // Entries of identities that nobody has any more wait for their release.
  const released = (entry: MapEntry) => !isUsed(identityOf(entry));
  return [
    ...others.flatMap(({ map, updated }) =>
      updated.filter((entry) => isNew(identityOf(entry))).map((entry) => updateEntry(map, entry, cause)),
    ),
    ...updatesOf(addressesFirst, cause),
    ...(event.kind === "Pod" && event.verb === "DELETED" ? deletesOf(addressesLast, cause) : []),
    ...created.flatMap((map) => endpointComes(map, wanted, cause)),
    ...own.flatMap((change) => [
      ...updatesOf(change, cause),
      ...deletesOf(change, cause, (entry) => event.kind === "NetworkPolicy" || !released(entry)),
    ]),
    ...others.flatMap(({ map, updated, deleted }) => [
      ...updated.filter((entry) => !isNew(identityOf(entry))).map((entry) => updateEntry(map, entry, cause)),
      ...deleted.filter((entry) => !released(entry)).map((entry) => deleteEntry(map, entry, cause)),
    ]),
    ...removed.flatMap((map) => endpointGoes(map, held, cause)),
    ...updatesOf(addressesLast, cause),
    ...(event.kind === "Pod" && event.verb === "DELETED" ? [] : deletesOf(addressesLast, cause)),
    ...deletesOf(addressesFirst, cause),
    ...(event.kind === "NetworkPolicy"
      ? others.flatMap((change) => deletesOf(change, cause, (entry) => released(entry) && isLocal(identityOf(entry))))
      : []),
  ];
}

/** What is left once identities are released. */
function planRest(held: MapProgram, wanted: MapProgram): readonly Operation[] {
  const old = new Map(held.maps.map((map) => [map.name, map]));
  return wanted.maps.flatMap((map) => {
    const was = old.get(map.name);
    const change = was === undefined ? undefined : mapChange(was, map);
    return [...updatesOf(change, RELEASE), ...deletesOf(change, RELEASE)];
  });
}

const RELEASE = "identities released";

function updatesOf(change: MapChange | undefined, cause: string): readonly Operation[] {
  return change === undefined ? [] : change.updated.map((entry) => updateEntry(change.map, entry, cause));
}

function deletesOf(
  change: MapChange | undefined,
  cause: string,
  isMeant: (entry: MapEntry) => boolean = () => true,
): readonly Operation[] {
  return change === undefined
    ? []
    : change.deleted.filter(isMeant).map((entry) => deleteEntry(change.map, entry, cause));
}

function endpointComes({ entries, ...map }: MapSpec, program: MapProgram, cause: string): readonly Operation[] {
  return [
    mapOperation({ verb: "create", map }, cause),
    ...entries.map((entry) => updateEntry(map, entry, cause)),
    ...pointsOf(map, program).map((point) => mapOperation({ verb: "attach", point }, cause)),
  ];
}

function endpointGoes(map: MapSpec, program: MapProgram, cause: string): readonly Operation[] {
  const endpoints = new Set(pointsOf(map, program).map(({ endpoint }) => endpoint));
  return [
    ...[...endpoints].map((endpoint) => mapOperation({ verb: "detach", endpoint }, cause)),
    mapOperation({ verb: "remove", map: map.name }, cause),
  ];
}

function pointsOf({ name }: Pick<MapSpec, "name">, { attachPoints }: MapProgram) {
  return attachPoints.filter(({ plan }) => plan.kind === "identity" && plan.policy === name);
}

function identityOf({ key }: MapEntry): number {
  return decodePolicyKey(key).identity;
}

/** Identities that only this node knows: those of prefixes (pkg/identity, scope bits). */
function isLocal(identity: number): boolean {
  return identity >= 1 << 24;
}

function usedIdentities(cluster: ResolvedCluster): (identity: number) => boolean {
  const { pods, cidrs } = identitiesOf(cluster);
  const used = new Set([...pods, ...cidrs].map(({ number }) => number));
  // Reserved ones are nobody's to release.
  return (identity) => identity < 256 || used.has(identity);
}

function newIdentities(before: ResolvedCluster): (identity: number) => boolean {
  const isOld = usedIdentities(before);
  return (identity) => !isOld(identity);
}

/** The maps of the endpoints that an event is about: of a policy's subjects, or of a relabelled pod. */
function concernedMaps(held: MapProgram, wanted: MapProgram, { event, before, after }: EventStep): ReadonlySet<string> {
  const endpoints = new Set<string>();
  if (event.kind === "Pod") endpoints.add(event.key);
  if (event.kind === "Namespace") {
    for (const pod of after.pods) if (pod.namespace === event.key) endpoints.add(pod.key);
  }
  if (event.kind === "NetworkPolicy") {
    for (const cluster of [before, after]) {
      for (const { policy, subjects } of cluster.policies) {
        if (policy.key === event.key) for (const pod of subjects) endpoints.add(pod.key);
      }
    }
  }
  return new Set(
    [...held.attachPoints, ...wanted.attachPoints]
      .filter(({ endpoint }) => endpoints.has(endpoint))
      .flatMap(({ plan }) => (plan.kind === "identity" ? [plan.policy] : [])),
  );
}
