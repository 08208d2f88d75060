/** Which rules allow what is needed, and by which of their peers: looked up by address and by labels, not gone through. */
import type { Direction, Endpoint } from "../../compiler/model.ts";
import { type Cidr, cidrKey, cidrOf, type Family, type IpAddress, parseCidr } from "../../dataplane/address.ts";
import type { Labels, Need, PeerObject, Rule, SeenNeed } from "./prune.ts";
import type { PolicyObject, SuggestedPolicy } from "./suggest.ts";

/** A peer of a rule. */
interface Place {
  readonly rule: Rule;
  readonly peer: number;
}

export class Grants {
  /** One for each policy. */
  readonly #policies: readonly PolicyPeers[];
  readonly #namespaces = new Map<string, PolicyPeers[]>();
  readonly #selecting = new Map<Endpoint, readonly PolicyPeers[]>();

  constructor(policies: readonly SuggestedPolicy[], rules: readonly Rule[]) {
    const selectors = new PodSelectors();
    this.#policies = policies.map(({ object }) => new PolicyPeers(object, selectors));
    for (const rule of rules) this.#policies[rule.policy]?.add(rule);
    for (const peers of this.#policies) {
      const own = this.#namespaces.get(peers.namespace);
      if (own === undefined) this.#namespaces.set(peers.namespace, [peers]);
      else own.push(peers);
    }
  }

  /** Writes down for the rules what they allow of it, and what allows it. */
  find(seen: SeenNeed): void {
    const need: Need = { grants: [] };
    for (const policy of this.#selects(seen.subject)) {
      for (const [rule, peers] of policy.allowing(seen)) {
        const port = rule.portAt.get(seen.port);
        if (port === undefined) continue;
        need.grants.push({ rule, peers, port });
        rule.needs.push(need);
        rule.portNeeds[port]?.push(need);
        for (const peer of peers) rule.peerNeeds[peer]?.push(need);
      }
    }
  }

  #selects(pod: Endpoint): readonly PolicyPeers[] {
    let policies = this.#selecting.get(pod);
    if (policies === undefined) {
      policies = (this.#namespaces.get(pod.namespace) ?? []).filter(({ subject }) => hasLabels(pod, subject));
      this.#selecting.set(pod, policies);
    }
    return policies;
  }
}

/** Who the rules of a policy name. */
class PolicyPeers {
  readonly namespace: string;
  readonly subject: Labels | undefined;
  readonly #selectors: PodSelectors;
  readonly #sections: Readonly<Record<Direction, { readonly blocks: Blocks; readonly pods: Map<number, Place[]> }>>;

  constructor({ metadata, spec }: PolicyObject, selectors: PodSelectors) {
    this.namespace = metadata.namespace;
    this.subject = spec.podSelector.matchLabels;
    this.#selectors = selectors;
    this.#sections = {
      ingress: { blocks: new Blocks(), pods: new Map() },
      egress: { blocks: new Blocks(), pods: new Map() },
    };
  }

  add(rule: Rule): void {
    const { blocks, pods } = this.#sections[rule.direction];
    for (const [peer, object] of rule.peers.entries()) {
      const place: Place = { rule, peer };
      if (object.ipBlock === undefined) {
        const selector = this.#selectors.numberOf(object, this.namespace);
        const own = pods.get(selector);
        if (own === undefined) pods.set(selector, [place]);
        else own.push(place);
        continue;
      }
      const cidr = parseCidr(object.ipBlock.cidr);
      if (cidr !== undefined) blocks.add(cidr, place);
    }
  }

  /** Rules with peers that the need's is, whatever their ports. */
  allowing({ direction, peer, address }: SeenNeed): ReadonlyMap<Rule, readonly number[]> {
    const { blocks, pods } = this.#sections[direction];
    const found = new Map<Rule, number[]>();
    const note = (places: readonly Place[]): void => {
      for (const { rule, peer: at } of places) {
        const own = found.get(rule);
        if (own === undefined) found.set(rule, [at]);
        else own.push(at);
      }
    };
    for (const places of blocks.holding(address)) note(places);
    if (peer !== undefined) for (const selector of this.#selectors.of(peer)) note(pods.get(selector) ?? []);
    return found;
  }
}

/** Blocks of addresses, by length. */
class Blocks {
  readonly #lengths: Readonly<Record<Family, Set<number>>> = { 4: new Set(), 6: new Set() };
  readonly #places = new Map<number | string, Place[]>();

  add(cidr: Cidr, place: Place): void {
    this.#lengths[cidr.family].add(cidr.prefixLength);
    const key = cidrKey(cidr);
    const own = this.#places.get(key);
    if (own === undefined) this.#places.set(key, [place]);
    else own.push(place);
  }

  *holding(address: IpAddress): Generator<readonly Place[]> {
    for (const length of this.#lengths[address.family]) {
      const places = this.#places.get(cidrKey(cidrOf(address, length)));
      if (places !== undefined) yield places;
    }
  }
}

/** Selectors of pods, equal ones once, and which of them select a pod: pods are asked about once a flow. */
class PodSelectors {
  readonly #selectors: { readonly namespace: string; readonly labels: Labels | undefined }[] = [];
  readonly #numbers = new Map<string, number>();
  readonly #selecting = new Map<Endpoint, readonly number[]>();

  /** Of a peer in a policy of this namespace. All are told before the first pod is asked about. */
  numberOf({ namespaceSelector, podSelector }: PeerObject, own: string): number {
    const namespace = namespaceSelector?.matchLabels["kubernetes.io/metadata.name"] ?? own;
    const labels = podSelector?.matchLabels;
    const key = JSON.stringify([namespace, labels]);
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.#selectors.push({ namespace, labels }) - 1;
      this.#numbers.set(key, number);
    }
    return number;
  }

  of(pod: Endpoint): readonly number[] {
    let selecting = this.#selecting.get(pod);
    if (selecting === undefined) {
      selecting = this.#selectors.flatMap(({ namespace, labels }, number) =>
        pod.namespace === namespace && hasLabels(pod, labels) ? [number] : [],
      );
      this.#selecting.set(pod, selecting);
    }
    return selecting;
  }
}

function hasLabels({ labels }: Endpoint, wanted: Labels = {}): boolean {
  return Object.entries(wanted).every(([key, value]) => labels.get(key) === value);
}
