/**
 * What a suggestion can do without. Selectors may select more than the workload they were made for, when no labels tell it from
 * others; then one peer, rule or policy allows what another was made for, and the other one goes.
 */
import type { Direction, Endpoint } from "../../compiler/model.ts";
import { formatAddress, type IpAddress } from "../../dataplane/address.ts";
import { Grants } from "./grants.ts";
import type { SuggestedPolicy } from "./suggest.ts";

/** Something that must be allowed: one direction of flows that were seen. */
export interface SeenNeed {
  readonly subject: Endpoint;
  readonly direction: Direction;
  readonly peer: Endpoint | undefined;
  readonly address: IpAddress;
  /** `TCP/3306`. */
  readonly port: string;
}

export type Labels = Readonly<Record<string, string>>;

export interface RuleObject {
  readonly from?: readonly PeerObject[];
  readonly to?: readonly PeerObject[];
  readonly ports: readonly PortObject[];
}

export interface PeerObject {
  readonly ipBlock?: { readonly cidr: string };
  readonly namespaceSelector?: { readonly matchLabels: Labels };
  readonly podSelector?: { readonly matchLabels?: Labels };
}

export interface PortObject {
  readonly protocol: string;
  readonly port: number;
}

/** A rule, and what of it is left. */
export interface Rule {
  readonly policy: number;
  readonly direction: Direction;
  readonly peers: readonly PeerObject[];
  readonly ports: readonly PortObject[];
  /** Where in `ports` one is, `TCP/3306`. */
  readonly portAt: ReadonlyMap<string, number>;
  isLeft: boolean;
  readonly leftPeers: boolean[];
  readonly leftPorts: boolean[];
  /** Needs that it allows: all of them, by peer, and by port. */
  readonly needs: Need[];
  readonly peerNeeds: readonly Need[][];
  readonly portNeeds: readonly Need[][];
}

/** Each of these allows it: a rule with any of these peers and this port. */
export interface Need {
  readonly grants: { readonly rule: Rule; readonly peers: readonly number[]; readonly port: number }[];
}

/** Nothing that can be taken away without refusing something seen: what is left needs each of its rules, peers and ports. */
export function pruned(policies: readonly SuggestedPolicy[], seen: Iterable<SeenNeed>): readonly SuggestedPolicy[] {
  const rules = policies.flatMap(rulesOf);
  const grants = new Grants(policies, rules);
  for (const need of seen) grants.find(need);
  // What is necessary stays so while others go: each is asked once.
  for (const rule of rules) {
    rule.isLeft = false;
    if (!rule.needs.every(isMet)) rule.isLeft = true;
  }
  for (const rule of rules) {
    if (!rule.isLeft) continue;
    takeAway(rule.leftPeers, rule.peerNeeds);
    takeAway(rule.leftPorts, rule.portNeeds);
  }
  const ofPolicies: Rule[][] = policies.map(() => []);
  for (const rule of rules) ofPolicies[rule.policy]?.push(rule);
  return policies.flatMap((policy, number) => withRules(policy, ofPolicies[number] ?? []));
}

/** Peers or ports of a rule, the last first. What one of them does not allow is not asked about: nothing changes for it. */
function takeAway(left: boolean[], needs: readonly Need[][]): void {
  for (let item = left.length - 1; item >= 0; item--) {
    left[item] = false;
    if (needs[item]?.every(isMet) === false) left[item] = true;
  }
}

function rulesOf({ object: { spec } }: SuggestedPolicy, policy: number): readonly Rule[] {
  return (["ingress", "egress"] as const).flatMap((direction) =>
    (spec[direction] ?? []).map(({ from, to, ports }): Rule => {
      const peers = from ?? to ?? [];
      return {
        policy,
        direction,
        peers,
        ports,
        portAt: new Map(ports.map(({ protocol, port }, at) => [`${protocol}/${port}`, at])),
        isLeft: true,
        leftPeers: peers.map(() => true),
        leftPorts: ports.map(() => true),
        needs: [],
        peerNeeds: peers.map(() => []),
        portNeeds: ports.map(() => []),
      };
    }),
  );
}

function isMet({ grants }: Need): boolean {
  return grants.some(
    ({ rule, peers, port }) =>
      rule.isLeft && rule.leftPorts[port] === true && peers.some((peer) => rule.leftPeers[peer]),
  );
}

/** The policy with what is left of its rules; none: it goes. A default deny had none before. */
function withRules(policy: SuggestedPolicy, rules: readonly Rule[]): readonly SuggestedPolicy[] {
  if (rules.length === 0) return [policy];
  const left = rules.filter(({ isLeft }) => isLeft);
  if (left.length === 0) return [];
  const { podSelector } = policy.object.spec;
  const sections: { ingress?: readonly RuleObject[]; egress?: readonly RuleObject[] } = {};
  for (const direction of ["ingress", "egress"] as const) {
    const own = left.filter((rule) => rule.direction === direction);
    if (own.length > 0) sections[direction] = own.map(ruleObject);
  }
  const policyTypes = [
    ...(sections.ingress === undefined ? [] : ["Ingress" as const]),
    ...(sections.egress === undefined ? [] : ["Egress" as const]),
  ];
  const object = { ...policy.object, spec: { podSelector, policyTypes, ...sections } };
  return [{ ...policy, object, rules: left.length }];
}

function ruleObject({ direction, peers, ports, leftPeers, leftPorts }: Rule): RuleObject {
  return {
    [direction === "ingress" ? "from" : "to"]: peers.filter((_, at) => leftPeers[at]),
    ports: ports.filter((_, at) => leftPorts[at]),
  };
}

/** The same need of the same pods, however many flows. */
export function needKey({ subject, direction, peer, address, port }: SeenNeed): string {
  return `${direction} ${subject.key} ${peer?.key ?? formatAddress(address)} ${port}`;
}
