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
import { type Cidr, hostCidr } from "../../../dataplane/address.ts";
import { decodeIpcacheIdentity, encodeIpcacheKey } from "../../../dataplane/maps/layout.ts";
import type { MapEntry, MapProgram, MapSpec, Program } from "../../../dataplane/program.ts";
import { listChange } from "../../again.ts";
import type { Endpoint } from "../../model.ts";
import type { ResolvedCluster } from "../../resolve.ts";
import { deleteEntry, mapOperation, updateEntry } from "../../update/commands.ts";
import { type Controller, runOperation } from "../../update/controller.ts";
import { type MapChange, mapChange } from "../../update/difference.ts";
import { EndpointNumbers } from "../../update/endpointNumbers.ts";
import { type ClusterEvent, causeText, eventText } from "../../update/events.ts";
import { keyText, NodeState } from "../../update/nodeState.ts";
import type { Operation } from "../../update/operation.ts";
import type { LowerOptions, Strategy } from "../strategy.ts";
import {
  type CidrIdentity,
  type Held,
  type HeldIdentity,
  heldOf,
  IdentityNumbers,
  identitiesOf,
  numberBeside,
  numberIdentities,
} from "./identities.ts";
import { identityView } from "./identityLabels.ts";
import { Skews, shareOnNode } from "./sharedPort.ts";

export interface AgentOptions {
  readonly strategy: Pick<Strategy, "lower">;
  readonly options: LowerOptions;
  /** Of a lowered program, the maps of endpoints alone. */
  endpointMaps(cluster: ResolvedCluster): readonly MapSpec[];
  /** The name of the map of addresses. */
  readonly ipcache: string;
  /** `SHARED_PORT` is made. */
  readonly sharesPorts: boolean;
}

export function agentController(
  start: ResolvedCluster,
  { strategy, options, endpointMaps, ipcache, sharesPorts }: AgentOptions,
): Controller {
  const skews = new Skews();
  const numbers = { identities: new IdentityNumbers(), endpoints: new EndpointNumbers() };
  const wanted = (cluster: ResolvedCluster, held?: Held): MapProgram => {
    const view = identityView(cluster);
    numberIdentities(view, numbers.identities, held);
    numbers.endpoints.number(view);
    return skews.applied(mapsOf(strategy.lower(cluster, options)), view);
  };
  /** What the state holds, as it was meant: lists that share with the next ones what they have in common. */
  let held = wanted(start);
  /** Today's rules meet new identities: the maps of endpoints alone, addresses come later. */
  const meeting = (cluster: ResolvedCluster, coming: Held): MapProgram => {
    const beside = copyOf(cluster);
    numberBeside(beside, { like: cluster, numbers: numbers.identities, held: coming });
    numbers.endpoints.numberAlike(beside);
    const addresses = held.maps.filter(({ name }) => name === ipcache);
    const lowered = () => ({ ...held, maps: [...addresses, ...endpointMaps(beside)] });
    const meant = skews.applied(lowered(), beside);
    if (!sharesPorts) return meant;
    shareOnNode(beside, options.node);
    skews.note(meant, lowered());
    return skews.applied(meant, beside);
  };
  const state = new NodeState(held);
  let { attachment } = held;
  let known = identityView(start);
  /** Of pods that are gone; the numbers are released when the step is over. */
  let leaving: readonly HeldIdentity[] = [];

  function* reactTo(event: ClusterEvent): Generator<readonly Operation[], void, void> {
    const after = identityView(event.cluster());
    const was = identitiesOf(known);
    const is = numberIdentities(after, numbers.identities);
    // One whose pods are others has another object, and its number.
    const { gone, come } = listChange(was.pods, is.pods);
    const [left, found] = [numbersOf(gone), numbersOf(come)];
    leaving = [
      ...leaving.filter(({ number }) => !found.has(number)),
      ...gone.filter(({ number }) => !found.has(number)).flatMap((one) => heldOf(one, known)),
    ];
    let program = wanted(event.cluster(), { pods: leaving, prefixes: [] });
    const coming = {
      pods: come.filter(({ number }) => !left.has(number)).flatMap((one) => heldOf(one, after)),
      prefixes: prefixesBut(is.cidrs, was.cidrs),
    };
    const going = prefixesBut(was.cidrs, is.cidrs);
    const cause = eventText(event);
    let selected = held;
    if (coming.pods.length + coming.prefixes.length > 0) {
      selected = meeting(known, { pods: [...was.held, ...coming.pods], prefixes: coming.prefixes });
      yield policyChanges(held, selected, ipcache).flatMap((change) => updatesOf(change, cause));
    }
    if (sharesPorts) {
      for (const name of concernedMaps(held, program, { event, before: known, after }).keys()) skews.forget(name);
      program = wanted(event.cluster(), { pods: leaving, prefixes: [] });
    }
    // The event's own work, with everything still allocated; prefixes nobody names any more go at its end.
    const full = going.length === 0 ? program : wanted(copyOf(after), { pods: leaving, prefixes: going });
    yield planEvent(selected, full, { event, before: known, after, ipcache, addresses: [held, program] });
    yield policyChanges(full, program, ipcache).flatMap((change) => deletesOf(change, cause));
    known = after;
    held = program;
    attachment = program.attachment;
    numbers.identities.releasePrefixes(after);
  }

  return {
    get program() {
      return state.program;
    },
    start() {
      const program = mapsOf(state.program);
      const before = initialised(program, ipcache);
      return { before, operations: planStart(before, program, ipcache) };
    },
    react({ events, after, isLast }) {
      const operations: Operation[] = [];
      const run = (planned: readonly Operation[]) => {
        for (const operation of planned) runOperation(state, operation);
        operations.push(...planned);
      };
      for (const event of events) for (const planned of reactTo(event)) run(planned);
      state.attach(attachment);
      if (!isLast) return operations;
      if (leaving.length === 0) return operations;
      const released = leaving;
      leaving = [];
      const last = wanted(after);
      run(planRest(held, last));
      held = last;
      numbers.identities.releaseLabels(released);
      return operations;
    },
  };
}

/** The same objects as a state of its own, beside which other identities are held. */
function copyOf(cluster: ResolvedCluster): ResolvedCluster {
  return { ...cluster };
}

/** The prefixes whose numbers are not among the others'. */
function prefixesBut(identities: readonly CidrIdentity[], others: readonly CidrIdentity[]): readonly Cidr[] {
  if (identities === others) return [];
  const known = numbersOf(others);
  return identities.filter(({ number }) => !known.has(number)).map(({ cidr }) => cidr);
}

function numbersOf(identities: readonly { readonly number: number }[]): ReadonlySet<number> {
  return new Set(identities.map(({ number }) => number));
}

function mapsOf(program: Program): MapProgram {
  if (program.kind !== "maps") throw new Error("Cilium programs maps");
  return program;
}

/** Numbers below are the solution's own: world, hosts, what is unmanaged (pkg/identity/numericidentity.go). */
const LEAST_ALLOCATED = 256;

/** No pod yet, and the addresses that do not hang on any: how they come is not recorded. */
function initialised(program: MapProgram, ipcache: string): MapProgram {
  const isReserved = ({ value }: MapEntry) => decodeIpcacheIdentity(value) < LEAST_ALLOCATED;
  const own = program.maps.filter(({ name }) => name === ipcache);
  return {
    ...program,
    maps: own.map((map) => ({ ...map, entries: map.entries.filter(isReserved) })),
    attachPoints: [],
  };
}

/** Endpoint by endpoint its map, then its program; then the addresses. */
function planStart(before: MapProgram, program: MapProgram, ipcache: string): readonly Operation[] {
  const endpoints = program.maps.filter(({ name }) => name !== ipcache);
  const cause = causeText([]);
  return [
    ...endpoints.flatMap((map) => endpointComes(map, program, cause)),
    ...updatesOf(addressChange([before, program], ipcache), cause),
  ];
}

interface EventStep {
  readonly event: ClusterEvent;
  readonly before: ResolvedCluster;
  readonly after: ResolvedCluster;
  /** The name of the map of addresses. */
  readonly ipcache: string;
  /** The programs between which addresses change. */
  readonly addresses: readonly [MapProgram, MapProgram];
}

function planEvent(held: MapProgram, wanted: MapProgram, step: EventStep): readonly Operation[] {
  const { event, after, ipcache, addresses } = step;
  const cause = eventText(event);
  const old = new Set(held.maps.map(({ name }) => name));
  const names = new Set(wanted.maps.map(({ name }) => name));
  const created = wanted.maps.filter(({ name }) => !old.has(name));
  const removed = held.maps.filter(({ name }) => !names.has(name));
  const policies = policyChanges(held, wanted, ipcache);
  const owners = concernedMaps(held, wanted, step);
  const regenerated = (changes: readonly MapChange[]) =>
    changes.flatMap((change) => [...updatesOf(change, cause), ...deletesOf(change, cause)]);
  const own = policies.filter(({ map }) => owners.has(map.name));
  const others = regenerated(policies.filter(({ map }) => !owners.has(map.name)));
  const cache = addressChange(addresses, ipcache);
  if (event.kind === "NetworkPolicy") {
    return [...updatesOf(cache, cause), ...regenerated(own), ...others, ...deletesOf(cache, cause)];
  }
  if (event.kind === "Namespace") {
    // Pod by pod: its map, then its address.
    const each = after.pods.filter((pod) => pod.namespace === event.key);
    const keysOf = (pod: Endpoint) => new Set(pod.addresses.map((each) => keyText(encodeIpcacheKey(hostCidr(each)))));
    const keys = each.map(keysOf);
    const rest = ({ key }: MapEntry) => !keys.some((some) => some.has(keyText(key)));
    return [
      ...each.flatMap((pod, index) => [
        ...regenerated(own.filter(({ map }) => owners.get(map.name) === pod.key)),
        ...updatesOf(cache, cause, ({ key }) => keys[index]?.has(keyText(key)) === true),
      ]),
      ...others,
      ...updatesOf(cache, cause, rest),
      ...deletesOf(cache, cause),
    ];
  }
  const goes = event.verb === "DELETED";
  return [
    ...(goes ? deletesOf(cache, cause) : []),
    ...created.flatMap((map) => endpointComes(map, wanted, cause)),
    ...regenerated(own),
    ...others,
    ...removed.flatMap((map) => endpointGoes(map, held, cause)),
    ...updatesOf(cache, cause),
    ...(goes ? [] : deletesOf(cache, cause)),
  ];
}

/** Changes of the maps of endpoints that are in both programs. */
function policyChanges(held: MapProgram, wanted: MapProgram, ipcache: string): readonly MapChange[] {
  const old = new Map(held.maps.map((map) => [map.name, map]));
  return wanted.maps.flatMap((map) => {
    const was = old.get(map.name);
    return was === undefined || was === map || map.name === ipcache ? [] : [mapChange(was, map)];
  });
}

function addressChange([held, wanted]: EventStep["addresses"], ipcache: string): MapChange | undefined {
  const [was, is] = [held, wanted].map(({ maps }) => maps.find(({ name }) => name === ipcache));
  return was === undefined || is === undefined ? undefined : mapChange(was, is);
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

function updatesOf(change: MapChange | undefined, cause: string, isMeant = always): readonly Operation[] {
  return change === undefined
    ? []
    : change.updated.filter(isMeant).map((entry) => updateEntry(change.map, entry, cause));
}

function deletesOf(change: MapChange | undefined, cause: string): readonly Operation[] {
  return change === undefined ? [] : change.deleted.map((entry) => deleteEntry(change.map, entry, cause));
}

function always(_entry: MapEntry): boolean {
  return true;
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

/** The maps of the endpoints that an event is about, with their owners: of a policy's subjects, or of a relabelled pod. */
function concernedMaps(
  held: MapProgram,
  wanted: MapProgram,
  { event, before, after }: Pick<EventStep, "event" | "before" | "after">,
): ReadonlyMap<string, string> {
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
  return new Map(
    [...held.attachPoints, ...wanted.attachPoints]
      .filter(({ endpoint }) => endpoints.has(endpoint))
      .flatMap(({ endpoint, plan }) => (plan.kind === "identity" ? [[plan.policy, endpoint] as const] : [])),
  );
}
