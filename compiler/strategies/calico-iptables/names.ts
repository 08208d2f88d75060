/**
 * Names as Calico makes them: as they are while they fit, else a hash.
 *
 * Source: projectcalico/calico libcalico-go/lib/hash/id_utils.go, felix/ipsets/ipset_defs.go, felix/rules/rule_defs.go.
 */
import type { Family } from "../../../dataplane/address.ts";
import { rememberedBy } from "../../again.ts";
import { base64Url, sha1, sha224, sha256, toHex } from "../../hash.ts";
import { sha3With224Bits } from "../../keccak.ts";
import type { Direction, Endpoint, NetworkPolicy } from "../../model.ts";
import { CHAIN_NAME_MAX_BYTES, SET_NAME_MAX_BYTES } from "../../names.ts";

/** Marks a shortened suffix. */
const SHORTENED = "_";
/** Characters of a group's name after its prefix (felix/rules MaxPolicyGroupUIDLength). */
const GROUP_CHARACTERS = 20;

/** The prefix and the suffix, or the prefix, `_` and a hash of the suffix when they would not fit a chain's name. */
export function chainName(prefix: string, suffix: string): string {
  const length = prefix.length + suffix.length;
  // A suffix that looks shortened and just fits could be taken for one that is.
  const clashes = length === CHAIN_NAME_MAX_BYTES && suffix.startsWith(SHORTENED);
  if (length <= CHAIN_NAME_MAX_BYTES && !clashes) return prefix + suffix;
  const left = CHAIN_NAME_MAX_BYTES - prefix.length - SHORTENED.length;
  return prefix + SHORTENED + base64Url(sha256(suffix)).slice(0, left);
}

/** The name of a set in the kernel. */
export function setName(family: Family, id: string): string {
  return `cali${family}0${id}`.slice(0, SET_NAME_MAX_BYTES);
}

/** The identifier of the set of endpoints that a canonical selector selects. */
export function selectorSetId(selector: string): string {
  return `s:${base64Url(sha224(`s:${selector}`))}`;
}

/** The identifier of the set of addresses and ports that a port name stands for among the endpoints of a selector. */
export function namedPortSetId(selectorId: string, protocol: string, port: string): string {
  return `n:${base64Url(sha224(`n:${selectorId},${protocol},${port}`))}`;
}

/** `cali` and 11 digits: the host end of the pod's veth pair (libcalico-go VethNameForWorkload). */
export function interfaceName(pod: Endpoint): string {
  return rememberedBy(
    INTERFACES,
    pod,
    ({ namespace, name }) => `cali${toHex(sha1(`${namespace}.${name}`)).slice(0, 11)}`,
  );
}

const INTERFACES = new WeakMap<Endpoint, string>();

export function policyChain(direction: Direction, { namespace, name }: NetworkPolicy): string {
  return chainName(direction === "ingress" ? "cali-pi-" : "cali-po-", `knp/${namespace}/${name}`);
}

export function profileChain(direction: Direction, profile: string): string {
  return chainName(direction === "ingress" ? "cali-pri-" : "cali-pro-", profile);
}

/** `to workload` carries ingress, `from workload` egress. */
export function endpointChain(direction: Direction, pod: Endpoint): string {
  return chainName(direction === "ingress" ? "cali-tw-" : "cali-fw-", interfaceName(pod));
}

/** The chain of policies that share a selector and follow each other. */
export function groupChain(direction: Direction, selector: string, policies: readonly NetworkPolicy[]): string {
  const lines = [
    selector,
    direction === "ingress" ? "inbound" : "outbound",
    String(policies.length),
    ...policies.map(({ name, namespace }) => `{Name: ${name}, Namespace: ${namespace}, Kind: KubernetesNetworkPolicy}`),
  ];
  const id = base64Url(sha3With224Bits(lines.map((line) => `${line}\n`).join(""))).slice(0, GROUP_CHARACTERS);
  return `${direction === "ingress" ? "cali-gi-" : "cali-go-"}${id}`;
}
