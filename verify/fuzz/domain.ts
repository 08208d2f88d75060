/**
 * The tiny world in which random clusters and random packets meet. It is small on purpose: with two values per label,
 * six places for pods and four ports, nearly every random policy touches nearly every random packet, and every corner
 * is reached within a few hundred clusters.
 *
 * Places are fixed, so that packets can be drawn without knowing the cluster: place `i` has always the same node and
 * addresses, whether or not a cluster has a pod there (then the address is somebody's outside).
 */

/** Namespaces a pod or policy can be in. */
export const NAMESPACES = ["default", "dev", "prod"] as const;

/** Label keys of pods and namespaces; each has one of `LABEL_VALUES` or is absent. */
export const LABEL_KEYS = ["app", "role", "tier"] as const;

/** The empty value is legal, and not the same as an absent key. */
export const LABEL_VALUES = ["a", "b", ""] as const;

export interface Place {
  readonly node: string;
  readonly ipv4: string;
  readonly ipv6: string;
}

/** Three on each of two nodes, in the pod ranges of their nodes. */
export const PLACES: readonly Place[] = [
  { node: "node-a", ipv4: "10.1.0.2", ipv6: "fd00:10:1::2" },
  { node: "node-a", ipv4: "10.1.0.3", ipv6: "fd00:10:1::3" },
  { node: "node-a", ipv4: "10.1.0.4", ipv6: "fd00:10:1::4" },
  { node: "node-b", ipv4: "10.1.1.2", ipv6: "fd00:10:1:1::2" },
  { node: "node-b", ipv4: "10.1.1.3", ipv6: "fd00:10:1:1::3" },
  { node: "node-b", ipv4: "10.1.1.4", ipv6: "fd00:10:1:1::4" },
];

export interface NodePlace {
  readonly name: string;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly podCidrs: readonly [ipv4: string, ipv6: string];
}

export const NODES: readonly NodePlace[] = [
  {
    name: "node-a",
    ipv4: "192.168.0.11",
    ipv6: "fd00:192:168::11",
    podCidrs: ["10.1.0.0/24", "fd00:10:1::/64"],
  },
  {
    name: "node-b",
    ipv4: "192.168.0.12",
    ipv6: "fd00:192:168::12",
    podCidrs: ["10.1.1.0/24", "fd00:10:1:1::/64"],
  },
];

/** Addresses of nobody in the cluster, inside and outside the blocks below. */
export const OUTSIDE = {
  ipv4: ["192.168.0.99", "198.51.100.7", "203.0.113.9"],
  ipv6: ["fd00:192:168::99", "2001:db8::7", "64:ff9b::9"],
} as const;

/** Nested blocks, each with the exceptions that lie strictly inside it; some cover pods, some nodes, some neither. */
export const BLOCKS: readonly { readonly cidr: string; readonly exceptions: readonly string[] }[] = [
  { cidr: "0.0.0.0/0", exceptions: ["10.0.0.0/8", "10.1.0.2/31", "192.168.0.0/24", "198.51.100.0/24", "128.0.0.0/1"] },
  { cidr: "10.0.0.0/8", exceptions: ["10.1.0.0/16", "10.1.0.0/24", "10.1.1.2/32"] },
  { cidr: "10.1.0.0/23", exceptions: ["10.1.0.0/24", "10.1.1.0/24", "10.1.0.3/32"] },
  { cidr: "10.1.0.0/24", exceptions: ["10.1.0.2/31", "10.1.0.2/32", "10.1.0.0/30"] },
  { cidr: "10.1.0.2/31", exceptions: ["10.1.0.2/32", "10.1.0.3/32"] },
  { cidr: "10.1.1.3/32", exceptions: [] },
  { cidr: "192.168.0.0/24", exceptions: ["192.168.0.11/32", "192.168.0.96/27"] },
  { cidr: "198.51.100.0/24", exceptions: ["198.51.100.7/32"] },
  { cidr: "::/0", exceptions: ["fd00::/8", "fd00:10:1::2/127", "2001:db8::/32"] },
  { cidr: "fd00:10:1::/48", exceptions: ["fd00:10:1::/64", "fd00:10:1:1::2/128"] },
  { cidr: "fd00:10:1::2/127", exceptions: ["fd00:10:1::3/128"] },
  { cidr: "2001:db8::/32", exceptions: ["2001:db8::/64"] },
];

/**
 * Numbers that policies, containers and packets use: neighbours, so that ranges have edges, and none far away, since there
 * are solutions that write a range out number by number.
 */
export const PORTS = [79, 80, 81, 90] as const;

export const PORT_NAMES = ["web", "dns"] as const;

export const PORT_PROTOCOLS = ["TCP", "UDP", "SCTP"] as const;
