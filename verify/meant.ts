/** What a strategy should do with a first packet: what the API text says, its declared deviations aside. */
import type { ResolvedCluster } from "../compiler/resolve.ts";
import type { Deviation, Strategy } from "../compiler/strategies/strategy.ts";
import type { Packet } from "../dataplane/packet.ts";
import type { Verdict } from "../dataplane/verdict.ts";
import type { ReferenceVerdict } from "../reference/evaluate.ts";

export interface Meant {
  readonly verdict: Verdict;
  /** The deviation that has a say; undefined: none has. */
  readonly deviation: Deviation | undefined;
}

/** `said` is what the reference says of the packet. */
export function meantVerdict(
  strategy: Strategy,
  {
    cluster,
    packet,
    said,
  }: { readonly cluster: ResolvedCluster; readonly packet: Packet; readonly said: ReferenceVerdict },
): Meant {
  for (const deviation of strategy.deviations) {
    const verdict = deviation.verdict(cluster, packet);
    if (verdict !== undefined) return { verdict, deviation };
  }
  return { verdict: plainVerdict(strategy, said), deviation: undefined };
}

/** The verdict of a strategy's deviations, whichever it is that speaks; undefined: none has a say. */
export function deviantVerdict(
  { deviations }: Strategy,
  cluster: ResolvedCluster,
  packet: Packet,
): Verdict | undefined {
  let asked: Deviation["together"];
  for (const deviation of deviations) {
    const { together } = deviation;
    if (together !== undefined && together === asked) continue;
    asked = together;
    const verdict = together === undefined ? deviation.verdict(cluster, packet) : together(cluster, packet);
    if (verdict !== undefined) return verdict;
  }
  return undefined;
}

/** What the API text says, in the words of a strategy: how it ends what it refuses. */
export function plainVerdict({ denyVerdict }: Pick<Strategy, "denyVerdict">, said: ReferenceVerdict): Verdict {
  return said === "accept" ? "accept" : denyVerdict;
}
