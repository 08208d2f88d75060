/**
 * analyse: one policy -> the sets, block sets and rules it needs. The text of a rule is its identity: equal rules of two
 * policies of a namespace are one rule in the kernel.
 *
 * Source: weave npc/analyser.go, npc/rule.go.
 */
import { type Cidr, formatCidr } from "../../../dataplane/address.ts";
import { parseProtocol } from "../../../dataplane/packet.ts";
import type { Match, PortRange, Side } from "../../../dataplane/program.ts";
import { rememberedBy } from "../../again.ts";
import { compareText } from "../../age.ts";
import {
  DIRECTIONS,
  type Direction,
  type NetworkPolicy,
  type PolicyPeer,
  type PolicyPort,
  peerPath,
  rulePath,
} from "../../model.ts";
import { COMMENT_MAX_BYTES, cutToBytes } from "../../names.ts";
import { type SelectorSpec, selectorComment, selectorSpec, setName } from "./selector.ts";

/** The excepts of an ipBlock as a set; blocks with equal excepts share it, whatever their CIDR. */
export interface ExceptSpec {
  /** The excepts as written, sorted as text, joined by a space. */
  readonly key: string;
  readonly set: string;
  readonly except: readonly { readonly text: string; readonly cidr: Cidr }[];
  readonly comment: string;
}

export interface RuleSpec {
  /** Equal keys are one rule. */
  readonly key: string;
  readonly direction: Direction;
  readonly matches: readonly Match[];
  /** The IPv6 CIDR that makes `iptables` refuse the rule, if there is one. */
  readonly refused: Cidr | undefined;
  readonly origin: string;
}

export interface Analysis {
  /** The named port for which the whole policy is rejected; nothing else is then set. */
  readonly rejectedPort: string | undefined;
  readonly target: SelectorSpec;
  readonly namespaceSelectors: ReadonlyMap<string, SelectorSpec>;
  readonly podSelectors: ReadonlyMap<string, SelectorSpec>;
  readonly namespacedPodSelectors: ReadonlyMap<string, SelectorSpec>;
  readonly excepts: ReadonlyMap<string, ExceptSpec>;
  readonly rules: ReadonlyMap<string, RuleSpec>;
}

/** One end of a rule: how it is matched, and how the comment names it. */
interface RuleEnd {
  readonly matches: readonly Match[];
  readonly comment: string;
}

const ANYWHERE: RuleEnd = { matches: [], comment: "anywhere" };

export function analysePolicy(policy: NetworkPolicy): Analysis {
  return rememberedBy(ANALYSES, policy, analyse);
}

// A function of the policy alone, asked for by every state in which it is.
const ANALYSES = new WeakMap<NetworkPolicy, Analysis>();

function analyse(policy: NetworkPolicy): Analysis {
  const target = selectorSpec(policy.namespace, policy.podSelector, undefined);
  const namespaceSelectors = new Map<string, SelectorSpec>();
  // The target goes in first and stays, whatever peer has the same key: it carries the isolation.
  const podSelectors = new Map([[target.key, target]]);
  const namespacedPodSelectors = new Map<string, SelectorSpec>();
  const excepts = new Map<string, ExceptSpec>();
  const rules = new Map<string, RuleSpec>();

  const register = (peer: PolicyPeer): SelectorSpec | ExceptSpec | undefined => {
    if (peer.kind === "ipBlock") {
      const spec = exceptSpec(policy.namespace, peer);
      if (spec !== undefined) excepts.set(spec.key, spec);
      return spec;
    }
    const spec = selectorSpec(policy.namespace, peer.podSelector, peer.namespaceSelector);
    if (spec.type === "list:set") namespaceSelectors.set(spec.key, spec);
    else {
      const selectors = spec.namespaceSelector === undefined ? podSelectors : namespacedPodSelectors;
      if (!selectors.has(spec.key)) selectors.set(spec.key, spec);
    }
    return spec;
  };

  // weave-npc reads both lists whatever policyTypes say (npc/analyser.go does not look).
  for (const direction of DIRECTIONS) {
    for (const [index, rule] of policy[direction].entries()) {
      const named = rule.ports.find((port) => typeof port.port === "string");
      if (named !== undefined) {
        const nothing = new Map<string, never>();
        return {
          rejectedPort: String(named.port),
          target,
          namespaceSelectors: nothing,
          podSelectors: nothing,
          namespacedPodSelectors: nothing,
          excepts: nothing,
          rules: nothing,
        };
      }
      const peers: readonly (PolicyPeer | undefined)[] = rule.peers.length === 0 ? [undefined] : rule.peers;
      const ports: readonly (PolicyPort | undefined)[] = rule.ports.length === 0 ? [undefined] : rule.ports;
      for (const [peerIndex, peer] of peers.entries()) {
        const origin =
          peer === undefined ? rulePath(policy, direction, index) : peerPath(policy, direction, index, peerIndex);
        const peerSide: Side = direction === "ingress" ? "source" : "destination";
        const peerEnd = peer === undefined ? ANYWHERE : endOf(peer, register(peer), peerSide);
        const targetEnd = selectorEnd(target, direction === "ingress" ? "destination" : "source");
        for (const port of ports) {
          const spec = ruleSpec({ direction, peerEnd, targetEnd, port, origin });
          if (!rules.has(spec.key)) rules.set(spec.key, spec);
        }
      }
    }
  }
  return { rejectedPort: undefined, target, namespaceSelectors, podSelectors, namespacedPodSelectors, excepts, rules };
}

function exceptSpec(namespace: string, block: Extract<PolicyPeer, { kind: "ipBlock" }>): ExceptSpec | undefined {
  if (block.except.length === 0) return undefined;
  const except = block.except
    .map((cidr, index) => ({ cidr, text: block.exceptText[index] ?? formatCidr(cidr) }))
    .sort((a, b) => compareText(a.text, b.text));
  const key = except.map(({ text }) => text).join(" ");
  return {
    key,
    set: setName(`${namespace}:ipblock-except:${key}`),
    except,
    comment: `excepted from ${block.cidrText}`,
  };
}

function endOf(peer: PolicyPeer, spec: SelectorSpec | ExceptSpec | undefined, side: Side): RuleEnd {
  if (peer.kind === "pods") {
    if (spec === undefined || !("type" in spec)) throw new Error("a pod peer has a selector");
    return selectorEnd(spec, side);
  }
  const cidr = isAnyAddress(peer.cidr) ? ANY_ADDRESS : peer.cidr;
  const address: Match = { kind: "address", side, cidr, negate: false };
  if (spec === undefined) return { matches: [address], comment: `cidr: ${peer.cidrText}` };
  const except: Match = { kind: "set", set: spec.set, sides: [side], negate: true };
  return { matches: [address, except], comment: `cidr: ${peer.cidrText} except [${spec.key}]` };
}

const ANY_ADDRESS: Cidr = { family: 4, words: [0], prefixLength: 0 };

/** Of a prefix of length 0 iptables never reads the address: `::/0` is every IPv4 address (libxtables xtables_ipparse_any). */
export function isAnyAddress({ prefixLength }: Cidr): boolean {
  return prefixLength === 0;
}

function selectorEnd(spec: SelectorSpec, side: Side): RuleEnd {
  return {
    matches: [{ kind: "set", set: spec.set, sides: [side], negate: false }],
    comment: selectorComment(spec),
  };
}

function ruleSpec(parts: {
  readonly direction: Direction;
  readonly peerEnd: RuleEnd;
  readonly targetEnd: RuleEnd;
  readonly port: PolicyPort | undefined;
  readonly origin: string;
}): RuleSpec {
  const { direction, peerEnd, targetEnd, port, origin } = parts;
  const [source, destination] = direction === "ingress" ? [peerEnd, targetEnd] : [targetEnd, peerEnd];
  const matches: Match[] = [];
  if (port !== undefined) {
    const protocol = parseProtocol(port.protocol);
    if (protocol === undefined) throw new Error(`protocol ${port.protocol} has no number`);
    matches.push({ kind: "protocol", protocol, negate: false });
  }
  matches.push(...source.matches, ...destination.matches);
  if (port !== undefined) matches.push(portMatch(port));
  const comment = `${source.comment} -> ${destination.comment} (${direction})`;
  // weave-npc tells rules apart by the whole text, of which iptables keeps the beginning.
  const key = JSON.stringify([matches, comment]);
  matches.push({ kind: "comment", text: cutToBytes(comment, COMMENT_MAX_BYTES) });
  const ipv6 = matches.find((match) => match.kind === "address" && match.cidr.family === 6);
  return {
    key,
    direction,
    matches,
    refused: ipv6?.kind === "address" ? ipv6.cidr : undefined,
    origin,
  };
}

/** endPort is unknown to the API version weave was built with: only the first port of a range is there. */
function portMatch(port: PolicyPort): Match {
  const range: PortRange =
    typeof port.port === "number" ? { first: port.port, last: port.port } : { first: 0, last: 65_535 };
  const extension = port.protocol === "SCTP" ? "sctp" : port.protocol === "UDP" ? "udp" : "tcp";
  return { kind: "ports", side: "destination", ranges: [range], extension, negate: false };
}
