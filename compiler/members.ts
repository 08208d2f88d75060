/** Which pods a selector selects right now, for clusters of any size. */
import { LRUCache } from "lru-cache";
import {
  type ClusterModel,
  type Endpoint,
  isOnPodNetwork,
  type LabelSelector,
  type Labels,
  type Namespace,
} from "./model.ts";
import { isEmptySelector, matchesSelector, selectorKey } from "./selector.ts";

const NOBODY: readonly Endpoint[] = [];

/** How many selectors over pods stand in the policies. */
function selectorCount({ policies }: ClusterModel): number {
  const rules = policies.flatMap(({ ingress, egress }) => [...ingress, ...egress]);
  return policies.length + rules.reduce((count, { peers }) => count + peers.length, 0);
}

/** How many distinct selectors keep their members at a time; beyond it the least recently used are asked again. */
const MEMBER_CACHE_ENTRIES = 50_000;

/**
 * Answers selectors with lists of pods.
 *
 * The naive way asks every pod for every selector: 75,000 policies over 100,000 pods are 10^10 label look-ups. Here a
 * selector asks only the pods that share its rarest label, in the namespace it is about or in all of them, whichever are
 * fewer; and equal selectors share one answer, the same array, so that later stages can compare by identity. The price:
 * two list entries for each label of a pod, and a cache bounded by MEMBER_CACHE_ENTRIES.
 */
export class PodIndex {
  readonly pods: readonly Endpoint[];
  readonly #everywhere: LabelIndex<Endpoint>;
  readonly #byNamespace: ReadonlyMap<string, LabelIndex<Endpoint>>;
  readonly #namespaces: LabelIndex<Namespace>;
  #runs: readonly Run[] | undefined;
  readonly byNode: ReadonlyMap<string, readonly Endpoint[]>;
  readonly #lists: SharedLists<Endpoint>;
  readonly #namespaceLists: SharedLists<Namespace>;
  readonly #selectionOf = new Map<readonly Namespace[], NamespaceSelection>();
  readonly #members: LRUCache<string, readonly Endpoint[]>;
  readonly #selections: LRUCache<string, NamespaceSelection>;

  constructor(model: ClusterModel) {
    // lru-cache takes room for `max` entries at once, ten milliseconds for 50,000: no more than can be asked for.
    const max = Math.max(1, Math.min(MEMBER_CACHE_ENTRIES, selectorCount(model)));
    this.#members = new LRUCache({ max });
    this.#selections = new LRUCache({ max });
    this.pods = model.endpoints.filter(isOnPodNetwork);
    this.#everywhere = new LabelIndex(this.pods);
    this.#namespaces = new LabelIndex(model.namespaces);
    const byNamespace = groupedBy(this.pods, ({ namespace }) => namespace);
    this.#byNamespace = new Map([...byNamespace].map(([name, pods]) => [name, new LabelIndex(pods)]));
    this.byNode = groupedBy(this.pods, ({ node }) => node);
    this.#lists = new SharedLists(this.pods);
    this.#namespaceLists = new SharedLists(model.namespaces);
  }

  /** The pods that `podSelector` selects in a namespace, or in the namespaces that a selector selects. */
  members(namespaces: string | LabelSelector, podSelector: LabelSelector): readonly Endpoint[] {
    const isOne = typeof namespaces === "string";
    const few = isOne ? this.#byNamespace.get(namespaces) : undefined;
    // Of few pods those selected are found before a key is put together.
    if (few !== undefined && few.items.length <= FEW_ITEMS) return this.#lists.shared(few.select(podSelector));
    const podKey = selectorKey(podSelector);
    const key = `${isOne ? `=${namespaces}` : selectorKey(namespaces)}\n${podKey}`; // no key of a selector begins with "="
    let members = this.#members.get(key);
    if (members === undefined) {
      const found = isOne ? this.#membersOfOne(namespaces, podSelector) : this.#membersOfMany(namespaces, podSelector);
      members = this.#lists.shared(found);
      this.#members.set(key, members);
    }
    return members;
  }

  #membersOfOne(namespace: string, podSelector: LabelSelector): readonly Endpoint[] {
    return this.#byNamespace.get(namespace)?.select(podSelector) ?? NOBODY;
  }

  #membersOfMany(selector: LabelSelector, podSelector: LabelSelector): readonly Endpoint[] {
    const { names, podCount } = this.#selectNamespaces(selector);
    const [only] = names;
    if (names.size === 1 && only !== undefined) return this.members(only, podSelector);
    if (podCount === this.pods.length) return this.#everywhere.select(podSelector);
    // One look at every pod, where the pods looked for one namespace after the other are most of them.
    if (this.#everywhere.candidates(podSelector).length < 2 * podCount) {
      const asked = this.#everywhere.select(podSelector);
      return asked === this.pods ? this.#inside(names) : asked.filter(({ namespace }) => names.has(namespace));
    }
    return [...names].flatMap((name) => this.#membersOfOne(name, podSelector));
  }

  /** All pods of namespaces that are most of them: pieces of the list, as long as may be. */
  #inside(names: ReadonlySet<string>): readonly Endpoint[] {
    this.#runs ??= runsOf(this.pods);
    const pieces: (readonly Endpoint[])[] = [];
    let start = 0;
    for (const run of this.#runs) {
      if (names.has(run.namespace)) continue;
      if (run.start > start) pieces.push(this.pods.slice(start, run.start));
      start = run.end;
    }
    pieces.push(this.pods.slice(start));
    return pieces.length <= MOST_PIECES ? ([] as Endpoint[]).concat(...pieces) : pieces.flat();
  }

  #selectNamespaces(selector: LabelSelector): NamespaceSelection {
    const key = selectorKey(selector);
    let selection = this.#selections.get(key);
    if (selection === undefined) {
      const selected = this.#namespaceLists.shared(this.#namespaces.select(selector));
      selection = this.#selectionOf.get(selected) ?? this.#selectionOfList(selected);
      this.#selectionOf.set(selected, selection);
      this.#selections.set(key, selection);
    }
    return selection;
  }

  #selectionOfList(namespaces: readonly Namespace[]): NamespaceSelection {
    const filled = namespaces.filter(({ name }) => this.#byNamespace.has(name)).map(({ name }) => name);
    const podCount = filled.reduce((sum, name) => sum + (this.#byNamespace.get(name)?.items.length ?? 0), 0);
    return { names: new Set(filled), podCount };
  }
}

/** As many arguments as a call surely takes; `flat` goes item by item. */
const MOST_PIECES = 4_096;

/** Neighbours in a list that are of one namespace. */
interface Run {
  readonly namespace: string;
  readonly start: number;
  readonly end: number;
}

function runsOf(pods: readonly Endpoint[]): readonly Run[] {
  const runs: Run[] = [];
  for (let start = 0, end = 0; start < pods.length; start = end) {
    const namespace = (pods[start] as Endpoint).namespace;
    while (end < pods.length && (pods[end] as Endpoint).namespace === namespace) end++;
    runs.push({ namespace, start, end });
  }
  return runs;
}

interface NamespaceSelection {
  /** Of those that have pods, in order. */
  readonly names: ReadonlySet<string>;
  readonly podCount: number;
}

/** Finds equal lists, so that different selectors with one answer share it. All lists are in the order of `items`. */
class SharedLists<T extends object> {
  readonly #items: readonly T[];
  readonly #ordinals: ReadonlyMap<T, number>;
  readonly #byHash = new Map<number, (readonly T[])[]>();

  constructor(items: readonly T[]) {
    this.#items = items;
    this.#ordinals = new Map(items.map((item, ordinal) => [item, ordinal]));
  }

  /** The first list that was equal to this one: it, if there was none. */
  shared(list: readonly T[]): readonly T[] {
    const hash = this.#hash(list);
    const alike = this.#byHash.get(hash);
    const known = alike?.find((other) => other === list || isEqual(other, list));
    if (known !== undefined) return known;
    if (alike === undefined) this.#byHash.set(hash, [list]);
    else alike.push(list);
    return list;
  }

  #hash(list: readonly T[]): number {
    let hash = list.length;
    // A list of many is in order beside the items: going along them takes less time than as many look-ups.
    const isLong = list.length * 8 > this.#items.length;
    let ordinal = 0;
    for (const item of list) {
      if (isLong) while (this.#items[ordinal] !== item) ordinal = ordinal + 1 < this.#items.length ? ordinal + 1 : 0;
      else ordinal = this.#ordinals.get(item) ?? 0;
      hash = (Math.imul(hash, 31) + ordinal) | 0;
    }
    return hash;
  }
}

function isEqual<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
}

/** So many are asked one by one in less time than an index of their labels takes; namespaces with few pods are many. */
const FEW_ITEMS = 16;

/** Things with labels, and who shares a label. */
class LabelIndex<T extends { readonly labels: Labels }> {
  readonly items: readonly T[];
  #byLabel: ReadonlyMap<string, readonly T[]> | undefined;

  constructor(items: readonly T[]) {
    this.items = items;
  }

  /** Those selected, in order; `items` itself when all are. */
  select(selector: LabelSelector): readonly T[] {
    if (isEmptySelector(selector)) return this.items;
    const candidates = this.candidates(selector);
    const selected = candidates.filter(({ labels }) => matchesSelector(selector, labels));
    // A copy has no room left over, of which a filter's result has a hundred bytes.
    return selected.length === candidates.length ? candidates : selected.slice();
  }

  /** The shortest known list that holds all that the selector selects. */
  candidates(selector: LabelSelector): readonly T[] {
    let shortest = this.items;
    if (shortest.length <= FEW_ITEMS) return shortest;
    for (const [key, value] of neededLabels(selector)) {
      this.#byLabel ??= byLabel(this.items);
      const sharing = this.#byLabel.get(labelText(key, value)) ?? [];
      if (sharing.length < shortest.length) shortest = sharing;
    }
    return shortest;
  }
}

/** Labels without which nothing is selected. */
function neededLabels({ matchLabels, matchExpressions }: LabelSelector): readonly (readonly [string, string])[] {
  const single = matchExpressions.flatMap(({ key, operator, values }) => {
    const [value] = values;
    return operator === "In" && values.length === 1 && value !== undefined ? [[key, value] as const] : [];
  });
  return single.length === 0 ? matchLabels : [...matchLabels, ...single];
}

function byLabel<T extends { readonly labels: Labels }>(items: readonly T[]): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    for (const [key, value] of item.labels) addTo(groups, labelText(key, value), item);
  }
  return groups;
}

function labelText(key: string, value: string): string {
  return `${key}=${value}`; // neither may contain "="
}

export function groupedBy<T, K>(items: readonly T[], keyOf: (item: T) => K): ReadonlyMap<K, readonly T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) addTo(groups, keyOf(item), item);
  return groups;
}

function addTo<T, K>(groups: Map<K, T[]>, key: K, item: T): void {
  const group = groups.get(key);
  if (group === undefined) groups.set(key, [item]);
  else group.push(item);
}
