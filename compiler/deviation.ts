/**
 * Deviations made of quirks. A quirk is one place where a solution reads policies differently; the solution is the API's
 * reading with all its quirks applied. Which of them decided a packet is then found by leaving each out, and by applying
 * each alone: nobody has to write the conditions under which one bites, or how two of them meet.
 */
import type { Packet } from "../dataplane/packet.ts";
import type { Verdict } from "../dataplane/verdict.ts";
import { API_READING, type PolicyReading, readingVerdict } from "./policyReading.ts";
import type { ResolvedCluster } from "./resolve.ts";
import type { Deviation } from "./strategies/strategy.ts";

export interface Quirk extends Omit<Deviation, "verdict"> {
  /** The reading with this one place changed. */
  apply(reading: PolicyReading): PolicyReading;
}

/** One deviation a quirk, for `Strategy.deviations`. `deny` is how the solution ends what it refuses. */
export function deviationsOf(quirks: readonly Quirk[], deny: "drop" | "reject"): readonly Deviation[] {
  const reading = (applied: readonly Quirk[]) =>
    applied.reduce<PolicyReading>((changed, quirk) => quirk.apply(changed), API_READING);
  const real = reading(quirks);
  return quirks.map((quirk) => {
    const alone = reading([quirk]);
    const without = reading(quirks.filter((other) => other !== quirk));
    const { name, summary, source, scenario } = quirk;
    return {
      name,
      summary,
      source,
      scenario,
      verdict(cluster: ResolvedCluster, packet: Packet): Verdict | undefined {
        const asked = (by: PolicyReading) => readingVerdict(by, cluster, packet, deny);
        const given = asked(real);
        const meant = asked(API_READING);
        if (given === meant) return undefined;
        return asked(without) !== given || asked(alone) !== meant ? given : undefined;
      },
    };
  });
}
