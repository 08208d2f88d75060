/**
 * What a run was about, as numbers: parts of the input, shapes of the programs that came of it, and what decided. A case
 * that shows a number nobody has shown before is worth keeping and changing further. The numbers are hashes; two features
 * may share one, which only hides a feature and never invents one.
 */
import { rememberedBy } from "../../compiler/again.ts";
import type { ClusterModel, NetworkPolicy, PolicyPeer, PolicyPort, PolicyRule } from "../../compiler/model.ts";
import { decodePolicyKey, decodePolicyValue, decodeTupleKey, isTupleAccept } from "../../dataplane/maps/layout.ts";
import type { Chain, MapProgram, Program, Rule, TableProgram } from "../../dataplane/program.ts";

export class Coverage {
  readonly #seen: Set<number>;
  /** New since the last `take`, and since the last `added`. */
  #fresh = 0;
  #added: number[] = [];

  constructor(seen: Iterable<number> = []) {
    this.#seen = new Set(seen);
  }

  get size(): number {
    return this.#seen.size;
  }

  add(feature: number): void {
    if (this.#seen.has(feature)) return;
    this.#seen.add(feature);
    this.#fresh++;
    this.#added.push(feature);
  }

  text(feature: string): void {
    this.add(hashText(feature));
  }

  /** How many were new since the last time this was asked. */
  take(): number {
    const fresh = this.#fresh;
    this.#fresh = 0;
    return fresh;
  }

  /** Those that were new since the last time this was asked. */
  added(): readonly number[] {
    const added = this.#added;
    this.#added = [];
    return added;
  }
}

/** FNV-1a over UTF-16 units (Fowler, Noll and Vo), 32 bits. */
export function hashText(text: string): number {
  let hash = BASIS;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), PRIME);
  return hash >>> 0;
}

function mix(hash: number, value: number): number {
  return Math.imul(hash ^ value, PRIME) >>> 0;
}

const BASIS = 0x811c9dc5;
const PRIME = 0x01000193;
/** Begins the feature of two parts that stand together. */
const PAIR = hashText("&");

/** Counts in steps, so that one pod more is no feature: 0, 1, 2, 3–4, 5–8, … */
function step(count: number): number {
  return count < 3 ? count : 32 - Math.clz32(count - 1);
}

/* The input ---------------------------------------------------------------------------------------------------------- */

/** Parts of the policies, and which parts stand together in a policy. */
export function inputFeatures(model: ClusterModel, coverage: Coverage): void {
  const lives = new Set<string>();
  for (const pod of model.endpoints) {
    lives.add(`pod ${pod.phase} ${pod.hostNetwork} ${pod.terminating} ${step(pod.addresses.length)}`);
    for (const { protocol, container, name } of pod.ports) lives.add(`port ${protocol} ${container} ${name === ""}`);
  }
  for (const life of lives) coverage.text(life);
  const whole = new Set<number>();
  for (const policy of model.policies) {
    const own = rememberedBy(POLICY_FEATURES, policy, policyFeatures);
    for (const part of own.parts) whole.add(part);
    if (own.told === coverage) continue;
    for (const feature of own.features) coverage.add(feature);
    own.told = coverage;
  }
  coverage.text(
    `policies ${step(model.policies.length)} pods ${step(model.endpoints.length)} parts ${step(whole.size)}`,
  );
}

interface PolicyFeatures {
  readonly parts: readonly number[];
  /** The parts, and each two of them. */
  readonly features: readonly number[];
  /** Who has heard of them last: it need not be told again. */
  told: Coverage | undefined;
}

/** A changed cluster has most of its policies from the one that it was made of. */
const POLICY_FEATURES = new WeakMap<NetworkPolicy, PolicyFeatures>();

function policyFeatures({ types, ingress, egress, podSelector }: NetworkPolicy): PolicyFeatures {
  const texts = new Set([`types ${types.join()}`, `subject ${selectorText(podSelector)}`]);
  for (const [direction, rules] of [
    ["in", ingress],
    ["out", egress],
  ] as const) {
    texts.add(`${direction} ${step(rules.length)}`);
    for (const rule of rules) for (const part of ruleParts(rule)) texts.add(`${direction} ${part}`);
  }
  const parts = [...texts].sort().map(hashText);
  const pairs = parts.flatMap((part, index) => parts.slice(index + 1).map((other) => mix(mix(PAIR, part), other)));
  return { parts, features: [...parts, ...pairs], told: undefined };
}

function* ruleParts({ peers, ports }: PolicyRule): Generator<string> {
  yield `rule ${step(peers.length)} ${step(ports.length)}`;
  for (const peer of peers) yield peerText(peer);
  for (const port of ports) yield portText(port);
}

function peerText(peer: PolicyPeer): string {
  if (peer.kind === "ipBlock") {
    return `block ${peer.cidr.family} ${step(peer.cidr.prefixLength)} except ${step(peer.except.length)}`;
  }
  return `peer ${selectorText(peer.namespaceSelector)} ${selectorText(peer.podSelector)}`;
}

function selectorText(selector: ClusterModel["policies"][number]["podSelector"] | undefined): string {
  if (selector === undefined) return "none";
  return [
    `${step(selector.matchLabels.length)}`,
    ...selector.matchExpressions.map(({ operator }) => operator).sort(),
  ].join();
}

function portText({ protocol, port, endPort }: PolicyPort): string {
  const kind = typeof port === "string" ? "name" : port === undefined ? "every" : "number";
  return `${protocol} ${kind} ${endPort === undefined ? "" : step(endPort - Number(port))}`;
}

/* The programs -------------------------------------------------------------------------------------------------------- */

export function programFeatures(program: Program, coverage: Coverage): void {
  switch (program.kind) {
    case "tables":
      tableFeatures(program, coverage);
      return;
    case "maps":
      mapFeatures(program, coverage);
      return;
  }
}

/** Each rule's kinds of matches and target, each two that follow each other, and how long a chain is. */
function tableFeatures({ strategy, families, sets }: TableProgram, coverage: Coverage): void {
  const salt = hashText(strategy);
  for (const { type, family, members } of sets) {
    const nomatch = members.some((member) => member.kind !== "set" && member.nomatch === true);
    coverage.text(`${strategy} ${type} ${family} ${step(members.length)} ${nomatch}`);
  }
  for (const { family, tables } of families) {
    for (const { name, chains } of tables) {
      for (const chain of chains) {
        let before = mix(mix(salt, family), hashText(`${name} ${chainKind(chain)}`));
        const place = before;
        coverage.add(mix(place, step(chain.rules.length)));
        for (const rule of chain.rules) {
          const shape = ruleShape(rule);
          coverage.add(mix(place, shape));
          coverage.add(mix(before, shape));
          before = mix(place, shape + 1);
        }
      }
    }
  }
}

/** `KUBE-NWPLCY-…` and `cali-tw-…` without what is a hash of something. */
function chainKind({ name, policy }: Chain): string {
  return policy === undefined ? name.split(/[-_]/).slice(0, 2).join() : name;
}

const KINDS = new Map<string, number>();

function kindNumber(kind: string): number {
  const known = KINDS.get(kind);
  if (known !== undefined) return known;
  KINDS.set(kind, hashText(kind));
  return hashText(kind);
}

export function ruleShape({ matches, target }: Rule): number {
  let shape = BASIS;
  for (const match of matches) {
    shape = mix(shape, kindNumber(match.kind));
    if ("negate" in match && match.negate) shape = mix(shape, 1);
    if (match.kind === "ports") shape = mix(shape, step(match.ranges.length));
    if ("side" in match) shape = mix(shape, kindNumber(match.side));
  }
  return mix(shape, target === undefined ? 0 : kindNumber(target.kind));
}

/** Each kind of entry, and how many of a map are of it. */
function mapFeatures({ strategy, maps, attachPoints }: MapProgram, coverage: Coverage): void {
  const roles = new Map<string, "policy" | "tuple">();
  for (const { plan } of attachPoints) {
    if (plan.kind === "identity") roles.set(plan.policy, "policy");
    else roles.set(plan.exact, "tuple");
  }
  for (const { name, type, entries } of maps) {
    const role = roles.get(name);
    coverage.text(`${strategy} ${type} ${role} ${step(entries.length)}`);
    const counts = new Map<string, number>();
    for (const { key, value } of entries) {
      const kind = entryKind(role, key, value);
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
    }
    for (const [kind, count] of counts) coverage.text(`${strategy} ${kind} ${step(count)}`);
  }
}

function entryKind(role: "policy" | "tuple" | undefined, key: Uint8Array, value: Uint8Array): string {
  if (role === "policy") {
    const { direction, protocol, portBits, identity } = decodePolicyKey(key);
    return `policy ${direction} ${protocol} ${portBits} ${identity === 0} ${decodePolicyValue(value).deny}`;
  }
  if (role === "tuple") {
    const { peer, protocol, port } = decodeTupleKey(key);
    return `tuple ${peer.family} ${protocol} ${port === 0} ${isTupleAccept(value)}`;
  }
  return `entry ${key.length}`;
}
