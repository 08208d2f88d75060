/** The contract of a strategy: one network solution's way to lower policy. */
import type { Cidr } from "../../dataplane/address.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { Attachment, PortRange, Program } from "../../dataplane/program.ts";
import type { Verdict } from "../../dataplane/verdict.ts";
import type { ResolvedCluster } from "../resolve.ts";
import type { Controller } from "../update/controller.ts";

export interface Strategy {
  /** kebab-case; the same in registry, flags, goldens and docs. */
  readonly name: string;
  readonly summary: string;
  /** Upstream files this mirrors, with version. */
  readonly sources: readonly string[];
  /**
   * Parts of the API that the real solution does not know. It takes policies that use them all the same, so `lower` refuses
   * nothing either; what packets meet then is among `deviations`.
   */
  readonly unsupported: readonly Feature[];
  /** Sourced differences from the API text. */
  readonly deviations: readonly Deviation[];
  /** Mistakes that show only while a cluster changes; `follow` makes them, `lower` never does. */
  readonly lapses: readonly Lapse[];
  /** How refused traffic ends: most drop, kube-router rejects. */
  readonly denyVerdict: "drop" | "reject";
  /** Options with their defaults, shown in `--help` and docs. */
  readonly options: readonly StrategyOption[];
  /** Pure and deterministic: equal input in any order gives an equal program, byte for byte. */
  lower(cluster: ResolvedCluster, options: LowerOptions): Program;
  /**
   * The solution's controller on one node, from the moment it is in sync with the cluster: in which commands it takes a
   * node from program to program. Absent: it writes what differs, entry by entry.
   */
  follow?(cluster: ResolvedCluster, options: LowerOptions): Controller;
  /** How pods hang on the node; `lower` puts the same in its program, `import` uses it alone. */
  attach(cluster: ResolvedCluster, options: LowerOptions): Attachment;
}

/** A part of the API that a solution may be unable to express. */
export type Feature =
  | "ipv6"
  | "egress"
  | "ip-block"
  | "except"
  | "named-port"
  | "end-port"
  | "sctp"
  | "match-expressions";

export interface LowerOptions {
  readonly node: string;
  /** Values for `Strategy.options`, by name; missing ones take the default. */
  readonly settings?: ReadonlyMap<string, string>;
}

export interface StrategyOption {
  readonly name: string;
  readonly default: string;
  readonly summary: string;
}

/**
 * A mistake that the real controller makes on the way from one state to the next: no single cluster shows it, only a
 * history does. An option switches it, so that whether a story would be hit is seen by living it both ways.
 */
export interface Lapse {
  /** kebab-case. */
  readonly name: string;
  readonly summary: string;
  /** As in `Deviation`. */
  readonly source: string;
  /** The bundled scenario whose changes meet it. */
  readonly scenario: string;
  readonly setting: { readonly option: string; readonly on: string; readonly off: string };
}

/** A lapse with an option of its own name, `on` or `off`. */
export function switched(lapse: Omit<Lapse, "setting">): Lapse {
  return { ...lapse, setting: { option: lapse.name, on: "on", off: "off" } };
}

/** The option of such a lapse. */
export function switchOf({ name, summary }: Lapse, initial: "on" | "off"): StrategyOption {
  return { name, default: initial, summary: `\`on\` or \`off\`, in a timeline: ${summary}` };
}

/** Whether a lapse is to be made. Throws `InvalidSetting`. */
export function isMade(strategy: Pick<Strategy, "options">, options: LowerOptions, { name, setting }: Lapse): boolean {
  const value = settingOf(strategy, options, setting.option);
  if (setting.option === name && value !== setting.on && value !== setting.off) {
    throw new InvalidSetting(setting.option, value, `${setting.on} or ${setting.off}`);
  }
  return value === setting.on;
}

/** A value for one of a strategy's options that the strategy cannot take: the user's mistake, not ours. */
export class InvalidSetting extends Error {
  constructor(name: string, value: string, allowed: string) {
    super(`${name} ${JSON.stringify(value)}: want ${allowed}`);
    this.name = "InvalidSetting";
  }
}

/** The value given, or the default. */
export function settingOf(strategy: Pick<Strategy, "options">, options: LowerOptions, name: string): string {
  const declared = strategy.options.find((option) => option.name === name);
  if (declared === undefined) throw new Error(`strategy has no option ${name}`);
  return options.settings?.get(name) ?? declared.default;
}

/**
 * A way in which the real solution differs from the API text, as code: "verdict = reference, except exactly where a
 * declared deviation says otherwise" is a property over all packets.
 */
export interface Deviation {
  /** kebab-case. */
  readonly name: string;
  readonly summary: string;
  /** Where this was seen: upstream file and line, issue number, or the dump that shows it. */
  readonly source: string;
  /** The bundled scenario in which it bites. */
  readonly scenario: string;
  /**
   * The verdict the real solution gives to the first packet of a connection when this deviation decides it; undefined
   * when the deviation has no say. The first of a strategy's deviations that answers wins.
   */
  verdict(cluster: ResolvedCluster, packet: Packet): Verdict | undefined;
  /**
   * What it and those beside it say between them, whichever it is that speaks: of all that have the same function here the
   * first that answers `verdict` says the same. Absent: it stands alone.
   */
  readonly together?: (cluster: ResolvedCluster, packet: Packet) => Verdict | undefined;
  /**
   * What it tells from other packets of itself, though no policy, pod or node names it: a proof asks about it also where the
   * program is wrong and does not. Absent: nothing.
   */
  readonly reads?: OwnReads;
}

/** Prefixes of either end, and services. */
export interface OwnReads {
  readonly prefixes?: readonly Cidr[];
  readonly services?: readonly OwnService[];
}

/** A protocol, its destination ports or ICMP types where it has them, of packets with such an end. */
export interface OwnService {
  readonly end: "source-pod" | "destination-node";
  readonly protocol: number;
  readonly ports?: PortRange;
  readonly icmpTypes?: readonly number[];
}
