/**
 * Names of chains and sets: a prefix and 16 characters of the base32 of a SHA-256. What is hashed is put together without
 * separators, as in the original, so that `a/bc` and `ab/c` share a name (pkg/controllers/netpol/policy.go, pod.go).
 *
 * What is lowered of a policy keeps its names, by the hundred thousand in a large cluster: they are hashed when they are asked
 * for, which takes less time than to pass them through a cache that they would only sweep.
 */
import { LRUCache } from "lru-cache";
import type { Family } from "../../../dataplane/address.ts";
import { prefixedBase32, sha256 } from "../../hash.ts";
import type { Direction } from "../../model.ts";
import { cutToBytes, withoutControls } from "../../names.ts";

/** What names and comments tell apart; pods and policies have it. */
export interface Identity {
  readonly namespace: string;
  readonly name: string;
}

export const COMMON_CHAIN = "KUBE-NWPLCY-COMMON";
export const DEFAULT_CHAIN = "KUBE-NWPLCY-DEFAULT";
export const TAIL_CHAIN = "KUBE-NWPLCY-TAIL";
/** The chains that the built-in ones jump to. */
export const TOP_LEVEL = {
  INPUT: "KUBE-ROUTER-INPUT",
  FORWARD: "KUBE-ROUTER-FORWARD",
  OUTPUT: "KUBE-ROUTER-OUTPUT",
} as const;
/** With --netpol-default-deny: the pods of the node that have a chain. */
export const LOCAL_PODS_SET = "kube-router-local-pods";

/** The k8s.io/api/core/v1 names of families, which are hashed. */
const FAMILY_NAME = { 4: "IPv4", 6: "IPv6" } as const;

function hashedName(prefix: string, text: string): string {
  return prefixedBase32(prefix, sha256(text), 16);
}

/** Names that each state asks for again: those of the node's pods and addresses. */
function rememberedName(prefix: string, text: string): string {
  const key = `${prefix}\n${text}`;
  let name = NAMES.get(key);
  if (name === undefined) {
    name = hashedName(prefix, text);
    NAMES.set(key, name);
  }
  return name;
}

const NAMES = new LRUCache<string, string>({ max: 4_096 });

export function shortHash(text: string): string {
  return rememberedName("", text);
}

export function podChainName(pod: Identity, version: string): string {
  return rememberedName("KUBE-POD-FW-", pod.namespace + pod.name + version);
}

export function policyChainName(policy: Identity, version: string, family: Family): string {
  return hashedName("KUBE-NWPLCY-", policy.namespace + policy.name + version + FAMILY_NAME[family]);
}

/** Sets of the side a packet of `direction` comes from or goes to. */
function setName(prefix: "SRC" | "DST", text: string, family: Family): string {
  return hashedName(inFamily(`KUBE-${prefix}-`, family), text);
}

export function inFamily(name: string, family: Family): string {
  return family === 4 ? name : `inet6:${name}`;
}

export function isLocalPodsSet({ name, family }: { readonly name: string; readonly family: Family }): boolean {
  return name === inFamily(LOCAL_PODS_SET, family);
}

/** The pods that the policy selects. */
export function targetSetName(policy: Identity, direction: Direction, family: Family): string {
  const text = policy.namespace + policy.name + FAMILY_NAME[family];
  return setName(direction === "ingress" ? "DST" : "SRC", text, family);
}

/** The pods, or the blocks, at the other end of a rule. */
export function peerSetName(policy: Identity, rule: RuleIndex, peers: "pod" | "ipblock", family: Family): string {
  const text = policy.namespace + policy.name + ruleText(rule) + FAMILY_NAME[family] + peers;
  return setName(rule.direction === "ingress" ? "SRC" : "DST", text, family);
}

/** The destinations of the `number`th named port of a rule. */
export function namedPortSetName(policy: Identity, rule: RuleIndex, number: number, family: Family): string {
  const text = `${policy.namespace}${policy.name}${ruleText(rule)}${number}${FAMILY_NAME[family]}namedport`;
  return setName("DST", text, family);
}

export interface RuleIndex {
  readonly direction: Direction;
  readonly index: number;
}

function ruleText({ direction, index }: RuleIndex): string {
  return `${direction}rule${index}`;
}

/** maxCommentLen of comments.go. */
const COMMENT_BYTES = 120;

/** `namespace/name kind`, cut so that the name leads. */
export function identityComment({ namespace, name }: Identity, kind: string): string {
  return cutToBytes(withoutControls(`${namespace}/${name} ${kind}`), COMMENT_BYTES);
}
