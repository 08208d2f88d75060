/** What the fuzzer asks: a cluster, and packets that meet it; in a history the cluster changes in between. */
import type { ClusterModel } from "../../compiler/model.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { Verdict } from "../../dataplane/verdict.ts";

export interface FuzzCase {
  readonly model: ClusterModel;
  readonly steps: readonly FuzzStep[];
  /** Each packet meets empty connection tracking; else connections live on, also across changes. */
  readonly fresh: boolean;
}

export type FuzzStep =
  | { readonly kind: "packet"; readonly packet: Packet }
  /** The cluster is this one from now on. */
  | { readonly kind: "change"; readonly model: ClusterModel };

/** Two that should have agreed, and did not. */
export interface Disagreement {
  /** Who was accused, and who spoke against it. */
  readonly accused: string;
  readonly against: string;
  /** Index into the steps of the case; undefined: it is no packet's fault (something was thrown). */
  readonly step: number | undefined;
  readonly expected: Verdict | undefined;
  readonly actual: Verdict | undefined;
  /** What was thrown or is not legal, in words. */
  readonly thrown: string | undefined;
}

/** The packets of a case alone. */
export function packetsOf({ steps }: FuzzCase): readonly Packet[] {
  return steps.flatMap((step) => (step.kind === "packet" ? [step.packet] : []));
}

export function packetSteps(packets: readonly Packet[]): readonly FuzzStep[] {
  return packets.map((packet) => ({ kind: "packet", packet }));
}
