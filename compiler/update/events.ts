/**
 * What happens to a cluster between two of its states, as the API server tells it: one event an object.
 *
 * Two states do not say in which order their differences came about. Here: nodes, namespaces, pods, policies, deletions
 * before the rest of a kind, by name, which is how the recordings were made (dumps/updates/weave-net/NOTES.md); a namespace
 * that had anything in it goes last. A pod never changes its address, its node, or what its spec says of the host's
 * network, its account and its containers' ports: one with another of these, or another uid, is another pod of the name,
 * so it is deleted, and when everything else has been taken in it is created.
 */
import { listChange, replacedBetween, sameItems } from "../again.ts";
import { writtenNodes } from "../hostPods.ts";
import type { ClusterModel, ClusterNode, Endpoint, Namespace, NetworkPolicy } from "../model.ts";
import type { ResolvedCluster } from "../resolve.ts";
import { resolveAgain } from "../resolveAgain.ts";

export type EventVerb = "ADDED" | "MODIFIED" | "DELETED";

interface EventOf<Kind extends string, T> {
  readonly verb: EventVerb;
  readonly kind: Kind;
  /** `namespace/name`, or the name. */
  readonly key: string;
  readonly before: T | undefined;
  readonly after: T | undefined;
  /** The cluster once this event and those before it have happened. Computed when asked. */
  cluster(): ResolvedCluster;
}

export type ClusterEvent =
  | EventOf<"Node", ClusterNode>
  | EventOf<"Namespace", Namespace>
  | EventOf<"Pod", Endpoint>
  | EventOf<"NetworkPolicy", NetworkPolicy>;

/** Events that come so close together that a controller meets them at once, and the states around them. */
export interface Burst {
  readonly before: ResolvedCluster;
  readonly events: readonly ClusterEvent[];
  readonly after: ResolvedCluster;
  /** No other burst belongs to the same step: a controller that works by a clock acts now at the latest. */
  readonly isLast: boolean;
}

export function eventText({ verb, kind, key }: ClusterEvent): string {
  return `${verb} ${kind} ${key}`;
}

/** What made a controller act: the events of a burst, or, where there are none, its start. */
export function causeText(events: readonly ClusterEvent[]): string {
  return events.length === 0 ? "start" : events.map(eventText).join("; ");
}

/** The bursts that lead from one state to the other: one, or two when pods come back with other addresses. */
export function burstsBetween(before: ResolvedCluster, after: ResolvedCluster): readonly Burst[] {
  const model = shareUnchanged(before.model, after.model);
  const target = sameLists(model, after.model)
    ? after
    : sameLists(model, before.model)
      ? before
      : resolveAgain(before, model);
  if (target === before) return [];
  const changes = changesBetween(before.model, model);
  const first = changes.filter(({ later }) => !later);
  const second = changes.filter(({ later }) => later);
  const bursts: Burst[] = [];
  let from = before;
  for (const [index, burst] of [first, second].entries()) {
    if (burst.length === 0) continue;
    const isLast = index === 1 || second.length === 0;
    const end = isLast ? target : resolveAgain(from, applied(from.model, burst));
    bursts.push({ before: from, events: eventsOf(from, burst, end), after: end, isLast });
    from = end;
  }
  return bursts;
}

type Subject =
  | { readonly kind: "Node"; readonly before: ClusterNode | undefined; readonly after: ClusterNode | undefined }
  | { readonly kind: "Namespace"; readonly before: Namespace | undefined; readonly after: Namespace | undefined }
  | { readonly kind: "Pod"; readonly before: Endpoint | undefined; readonly after: Endpoint | undefined }
  | {
      readonly kind: "NetworkPolicy";
      readonly before: NetworkPolicy | undefined;
      readonly after: NetworkPolicy | undefined;
    };

type Change = Subject & { readonly key: string; readonly later: boolean };

function changesBetween(before: ClusterModel, after: ClusterModel): readonly Change[] {
  const pods = pairs(before.endpoints, after.endpoints, ({ key }) => key).flatMap(([key, old, now]): Change[] => {
    if (old === undefined || now === undefined || !isAnotherPod(old, now)) {
      return [{ kind: "Pod", key, before: old, after: now, later: false }];
    }
    return [
      { kind: "Pod", key, before: old, after: undefined, later: false },
      { kind: "Pod", key, before: undefined, after: now, later: true },
    ];
  });
  const named = ({ name }: { readonly name: string }) => name;
  const namespaces = pairs(before.namespaces, after.namespaces, named).map(
    ([key, old, now]): Change => ({ kind: "Namespace", key, before: old, after: now, later: false }),
  );
  // The API server lets a namespace go once everything in it has gone.
  const isSomeGone = namespaces.some(({ after: now }) => now === undefined);
  const full = new Set((isSomeGone ? [...before.endpoints, ...before.policies] : []).map(({ namespace }) => namespace));
  const isEmptied = ({ key, after: now }: Change) => now === undefined && full.has(key);
  return [
    ...pairs(writtenNodes(before), writtenNodes(after), named).map(
      ([key, old, now]): Change => ({ kind: "Node", key, before: old, after: now, later: false }),
    ),
    ...namespaces.filter((change) => !isEmptied(change)),
    ...inOrder(pods),
    ...pairs(before.policies, after.policies, ({ key }) => key).map(
      ([key, old, now]): Change => ({ kind: "NetworkPolicy", key, before: old, after: now, later: false }),
    ),
    ...namespaces.filter(isEmptied),
  ];
}

/** The API server refuses such a change of a pod; only an address and a node may come later than the pod. */
function isAnotherPod(before: Endpoint, after: Endpoint): boolean {
  if (before.uid !== after.uid || before.hostNetwork !== after.hostNetwork) return true;
  if (!isAlike(before.ports, after.ports)) return true;
  if (before.serviceAccount !== after.serviceAccount) return true;
  if (before.node !== after.node && before.node !== "" && after.node !== "") return true;
  return before.addresses.length > 0 && after.addresses.length > 0 && !isAlike(before.addresses, after.addresses);
}

type Pair<T> = readonly [key: string, before: T | undefined, after: T | undefined];

/** Objects that differ, deletions first, by name. */
function pairs<T>(before: readonly T[], after: readonly T[], keyOf: (item: T) => string): readonly Pair<T>[] {
  const { gone, come } = listChange(before, after);
  const old = new Map(gone.map((item) => [keyOf(item), item]));
  const found: Pair<T>[] = [];
  for (const item of come) {
    const key = keyOf(item);
    found.push([key, old.get(key), item]);
    old.delete(key);
  }
  const deleted = [...old].map(([key, item]): Pair<T> => [key, item, undefined]);
  return [...deleted.sort(byKey), ...found.sort(byKey)];
}

function byKey<T>([a]: Pair<T>, [b]: Pair<T>): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function inOrder(changes: readonly Change[]): readonly Change[] {
  const deleted = changes.filter(({ after }) => after === undefined);
  return [...deleted, ...changes.filter((change) => !deleted.includes(change))];
}

function eventsOf(before: ResolvedCluster, changes: readonly Change[], end: ResolvedCluster): readonly ClusterEvent[] {
  return changes.map((change, index) => {
    let known: ResolvedCluster | undefined = index === changes.length - 1 ? end : undefined;
    const cluster = () => {
      known ??= resolveAgain(before, applied(before.model, changes.slice(0, index + 1)));
      return known;
    };
    const verb: EventVerb = change.before === undefined ? "ADDED" : change.after === undefined ? "DELETED" : "MODIFIED";
    const { later: _later, ...subject } = change;
    return { ...subject, verb, cluster };
  });
}

function applied(model: ClusterModel, changes: readonly Change[]): ClusterModel {
  let { namespaces, endpoints, policies } = model;
  let nodes = writtenNodes(model);
  for (const change of changes) {
    switch (change.kind) {
      case "Node":
        nodes = replaced(nodes, change, byName);
        break;
      case "Namespace":
        namespaces = replaced(namespaces, change, byName);
        break;
      case "Pod":
        endpoints = replaced(endpoints, change, byNamespace);
        break;
      case "NetworkPolicy":
        policies = replaced(policies, change, byNamespace);
        break;
    }
  }
  return { nodes, namespaces, endpoints, policies };
}

type Named = { readonly name: string };

function byName({ name: a }: Named, { name: b }: Named): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function byNamespace<T extends Named & { readonly namespace: string }>(a: T, b: T): number {
  if (a.namespace === b.namespace) return byName(a, b);
  return a.namespace < b.namespace ? -1 : 1;
}

/** The list with the object changed, in the order of the model. */
function replaced<T>(
  list: readonly T[],
  { before, after }: { readonly before: T | undefined; readonly after: T | undefined },
  order: (a: T, b: T) => number,
): readonly T[] {
  const key = before ?? after;
  const known =
    key === undefined
      ? -1
      : before === undefined
        ? list.findIndex((item) => order(item, key) === 0)
        : list.indexOf(before);
  const others = after === undefined ? [] : [after];
  if (known >= 0) return replacedBetween(list, { start: known, end: known + 1 }, others);
  const behind = after === undefined ? -1 : list.findIndex((item) => order(item, after) > 0);
  const at = behind < 0 ? list.length : behind;
  return replacedBetween(list, { start: at, end: at }, others);
}

/* ------------------------------------------------------------------------------------------------------------------ */

/** The state after, with the objects of the state before wherever nothing differs but the place in a file. */
export function shareUnchanged(before: ClusterModel, after: ClusterModel): ClusterModel {
  const named = ({ name }: { readonly name: string }) => name;
  const keyed = ({ key }: { readonly key: string }) => key;
  return {
    nodes: shared(writtenNodes(before), writtenNodes(after), named),
    namespaces: shared(before.namespaces, after.namespaces, named),
    endpoints: shared(before.endpoints, after.endpoints, keyed),
    policies: shared(before.policies, after.policies, keyed),
  };
}

function shared<T>(before: readonly T[], after: readonly T[], keyOf: (item: T) => string): readonly T[] {
  if (sameItems(before, after)) return before;
  const { gone, come } = listChange(before, after);
  const known = new Map(gone.map((item) => [keyOf(item), item]));
  const alike = new Map<T, T>();
  for (const item of come) {
    const old = known.get(keyOf(item));
    if (old !== undefined && isAlike(old, item)) alike.set(item, old);
  }
  if (alike.size === 0) return after;
  const list = after.map((item) => alike.get(item) ?? item);
  return sameItems(before, list) ? before : list;
}

function sameLists(a: ClusterModel, b: ClusterModel): boolean {
  return (
    sameItems(writtenNodes(a), writtenNodes(b)) &&
    sameItems(a.namespaces, b.namespaces) &&
    sameItems(a.endpoints, b.endpoints) &&
    sameItems(a.policies, b.policies)
  );
}

/** Equal data, wherever it was written. */
function isAlike(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (a instanceof Map) {
    if (!(b instanceof Map) || a.size !== b.size) return false;
    return [...a].every(([key, value]) => b.has(key) && isAlike(value, b.get(key)));
  }
  if (Array.isArray(a)) {
    return Array.isArray(b) && a.length === b.length && a.every((item, index) => isAlike(item, b[index]));
  }
  const [left, right] = [Object.entries(a), new Map(Object.entries(b))];
  if (left.length !== right.size) return false;
  return left.every(([key, value]) => key === "source" || (right.has(key) && isAlike(value, right.get(key))));
}
