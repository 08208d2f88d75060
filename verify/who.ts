/** WHO: names of pods and nodes, and the addresses they stand for. */
import type { ClusterModel } from "../compiler/model.ts";
import { type Family, formatAddress, type IpAddress, parseAddress } from "../dataplane/address.ts";
import type { Resolve } from "../traffic/transcript.ts";

/**
 * Resolves an address as text, `namespace/pod`, `pod` (in `namespace`) and `node:NAME`. A name stands for its first
 * address of the family asked for.
 */
export function resolverOf(model: ClusterModel, namespace: string): Resolve {
  const pods = new Map(model.endpoints.map((pod) => [pod.key, pod]));
  const nodes = new Map(model.nodes.map((node) => [node.name, node]));
  return (text, family) => {
    const address = parseAddress(text);
    if (address !== undefined) return address;
    if (text.startsWith("node:")) {
      const name = text.slice("node:".length);
      const node = nodes.get(name);
      if (node === undefined) return { problem: `unknown node ${name}; there are ${list([...nodes.keys()])}` };
      return first(node.addresses, family) ?? { problem: `node ${name} has no ${familyText(family)}` };
    }
    const key = text.includes("/") ? text : `${namespace}/${text}`;
    const pod = pods.get(key);
    if (pod === undefined) {
      return { problem: `unknown pod ${key}; expected an address, namespace/pod or node:NAME${elsewhere(pods, text)}` };
    }
    return first(pod.addresses, family) ?? { problem: `pod ${key} has no ${familyText(family)}` };
  };
}

/** Where a pod of that name is, when it is not where it was looked for. */
function elsewhere(pods: ReadonlyMap<string, { readonly name: string }>, text: string): string {
  const name = text.slice(text.indexOf("/") + 1);
  const found = [...pods].filter(([, pod]) => pod.name === name).map(([key]) => key);
  return found.length === 0 ? "" : ` (there is ${list(found)})`;
}

/** Enough to choose from without filling the screen. */
const MAX_NAMES = 10;

function list(names: readonly string[]): string {
  if (names.length === 0) return "none";
  const rest = names.length - MAX_NAMES;
  return `${names.slice(0, MAX_NAMES).join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`;
}

function first(addresses: readonly IpAddress[], family: Family | undefined): IpAddress | undefined {
  return addresses.find((address) => family === undefined || address.family === family);
}

function familyText(family: Family | undefined): string {
  return family === undefined ? "address" : `IPv${family} address`;
}

/**
 * The inverse: `namespace/pod`, or `node:NAME`, that has the address; else the address as text. Pods on the host network
 * carry their node's address, which is then called the node's.
 */
export function namerOf(model: ClusterModel): (address: IpAddress) => string {
  const names = new Map<string, string>();
  for (const node of model.nodes) {
    for (const address of node.addresses) names.set(formatAddress(address), `node:${node.name}`);
  }
  for (const pod of model.endpoints) {
    if (pod.hostNetwork || pod.phase === "Succeeded" || pod.phase === "Failed") continue;
    for (const address of pod.addresses) names.set(formatAddress(address), pod.key);
  }
  return (address) => {
    const text = formatAddress(address);
    return names.get(text) ?? text;
  };
}
