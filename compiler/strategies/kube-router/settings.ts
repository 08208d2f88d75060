/** The settings of a node's kube-router, from text to what the lowering needs. */
import { type Cidr, type Family, parseCidr } from "../../../dataplane/address.ts";
import type { PortRange } from "../../../dataplane/program.ts";
import { hasIpv6Pods } from "../../addressFamilies.ts";
import type { ResolvedCluster } from "../../resolve.ts";
import { InvalidSetting, type LowerOptions, type StrategyOption, settingOf, switchOf } from "../strategy.ts";
import { TORN_SNAPSHOT } from "./lapses.ts";
import type { NumberOrder } from "./namedPorts.ts";

/** kube-router's own defaults (pkg/options, pkg/svcip). */
const CLUSTER_RANGE = "10.96.0.0/12";
export const DEFAULT_NODE_PORTS: PortRange = { first: 30_000, last: 32_767 };

/** Flags of kube-router by their names where it has them; the others stand for what it leaves to time and chance. */
export const options: readonly StrategyOption[] = [
  {
    name: "chain-version",
    default: "0",
    summary: "what is hashed into chain names; kube-router takes the nanosecond at which the sync started",
  },
  {
    name: "service-cluster-ip-range",
    default: CLUSTER_RANGE,
    summary: "service addresses, separated by commas: what pods send the node for them is exempt",
  },
  {
    name: "service-node-port-range",
    default: `${DEFAULT_NODE_PORTS.first}-${DEFAULT_NODE_PORTS.last}`,
    summary: "what pods send to these ports of their own node is exempt",
  },
  { name: "service-external-ip-range", default: "", summary: "as service-cluster-ip-range, for external addresses" },
  { name: "loadbalancer-ip-range", default: "", summary: "as service-cluster-ip-range, for load balancers" },
  { name: "netpol-default-deny", default: "false", summary: "reject what pods without a chain send and get" },
  {
    name: "enable-ipv6",
    default: "auto",
    summary: "`true`, `false`, or `auto`: when a pod has an IPv6 address. Without it IPv6 is not filtered",
  },
  {
    name: "pod-order",
    default: "name",
    summary:
      "order in which pods are visited (random in kube-router at each sync): `name`, or names `namespace/pod` separated by commas, the others behind them",
  },
  {
    name: "named-port-order",
    default: "ascending",
    summary:
      "order in which the numbers of a named port get their sets (random at each sync): `ascending`, `descending`, or `turning`: in a timeline the other way round in each sync, which shows what renumbering does",
  },
  {
    name: "policy-order",
    default: "name",
    summary:
      "order in which policies are visited (random at each sync): `name`, or `namespace/policy` names as in pod-order",
  },
  switchOf(TORN_SNAPSHOT, "off"),
];

export interface Settings {
  readonly node: string;
  readonly version: string;
  readonly exempt: Exempt;
  readonly defaultDeny: boolean;
  readonly families: readonly Family[];
  readonly numberOrder: NumberOrder;
  readonly podOrder: Order;
  readonly policyOrder: Order;
}

/** What pods may always send their node. */
export interface Exempt {
  readonly clusterRanges: readonly Cidr[];
  readonly externalRanges: readonly Cidr[];
  readonly loadBalancerRanges: readonly Cidr[];
  readonly nodePorts: PortRange;
}

/** Puts things in the order of visits. */
export type Order = <T>(things: readonly T[], keyOf: (thing: T) => string) => readonly T[];

/** As the cluster lists them: by namespace and name. */
export const BY_NAME: Order = (things) => things;

/** Throws `InvalidSetting`. */
export function readSettings(cluster: ResolvedCluster, given: LowerOptions): Settings {
  const read = given.settings === undefined ? DEFAULTS : readTexts(given);
  const withIpv6 = read.ipv6 === "auto" ? hasIpv6Pods(cluster) : read.ipv6 === "true";
  return { ...read, node: given.node, families: withIpv6 ? BOTH_FAMILIES : ONE_FAMILY };
}

const ONE_FAMILY: readonly Family[] = [4];
const BOTH_FAMILIES: readonly Family[] = [4, 6];

/** What the texts say by themselves, of whatever node and cluster. */
interface TextSettings extends Omit<Settings, "node" | "families"> {
  readonly ipv6: string;
}

function readTexts(given: LowerOptions): TextSettings {
  const text = (name: string) => settingOf({ options }, given, name);
  const ranges = (name: string) => readRanges(name, text(name));
  const flag = (name: string) => readChoice(name, text(name), ["true", "false"]) === "true";
  return {
    ipv6: readChoice("enable-ipv6", text("enable-ipv6"), ["auto", "true", "false"]),
    version: text("chain-version"),
    exempt: {
      clusterRanges: ranges("service-cluster-ip-range"),
      externalRanges: ranges("service-external-ip-range"),
      loadBalancerRanges: ranges("loadbalancer-ip-range"),
      nodePorts: readPorts("service-node-port-range", text("service-node-port-range")),
    },
    defaultDeny: flag("netpol-default-deny"),
    numberOrder: readNumberOrder(readChoice("named-port-order", text("named-port-order"), NUMBER_ORDERS)),
    podOrder: readOrder(text("pod-order")),
    policyOrder: readOrder(text("policy-order")),
  };
}

function readRanges(name: string, text: string): readonly Cidr[] {
  return listed(text).map((item) => {
    const cidr = parseCidr(item);
    if (cidr === undefined) throw new InvalidSetting(name, item, "address prefixes such as 10.96.0.0/12");
    return cidr;
  });
}

export const DEFAULT_CLUSTER_RANGES = readRanges("service-cluster-ip-range", CLUSTER_RANGE);

function readPorts(name: string, text: string): PortRange {
  const [, first, last] = /^(\d{1,5})[:-](\d{1,5})$/.exec(text)?.map(Number) ?? [];
  if (first === undefined || last === undefined || first >= last || last > 65_535) {
    throw new InvalidSetting(name, text, "two ports, the lower first: 30000-32767");
  }
  return { first, last };
}

function readChoice(name: string, text: string, choices: readonly string[]): string {
  if (!choices.includes(text)) throw new InvalidSetting(name, text, choices.join(", "));
  return text;
}

/** A first sync under `turning` is an ordinary one. */
const NUMBER_ORDERS = ["ascending", "descending", "turning"];

function readNumberOrder(choice: string): NumberOrder {
  return choice === "descending" ? "descending" : "ascending";
}

function readOrder(text: string): Order {
  if (text === "name") return BY_NAME;
  const ranks = new Map(listed(text).map((key, rank) => [key, rank]));
  return (things, keyOf) => {
    const rank = (key: string) => ranks.get(key) ?? ranks.size;
    return things.toSorted((a, b) => rank(keyOf(a)) - rank(keyOf(b)));
  };
}

function listed(text: string): readonly string[] {
  return text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}

/** Read once, so that what is made of them is made once as well. */
const DEFAULTS = readTexts({ node: "" });
