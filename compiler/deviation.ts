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

export interface Quirk extends Omit<Deviation, "verdict" | "together"> {
  /** The reading with this one place changed. */
  apply(reading: PolicyReading): PolicyReading;
}

/**
 * One deviation a quirk, for `Strategy.deviations`. `deny` is how the solution ends what it refuses.
 *
 * A quirk has a say where leaving it out changes the verdict, or where it alone does. When several groups of quirks each
 * suffice but no single one does, neither test names any: then the first quirk speaks, so that the list stays complete.
 */
export function deviationsOf(quirks: readonly Quirk[], deny: "drop" | "reject"): readonly Deviation[] {
  const reading = (applied: readonly Quirk[]) =>
    applied.reduce<PolicyReading>((changed, quirk) => quirk.apply(changed), API_READING);
  const real = reading(quirks);
  const tests = quirks.map((quirk) => ({
    quirk,
    alone: reading([quirk]),
    without: reading(quirks.filter((other) => other !== quirk)),
  }));
  // The deviations of a strategy are asked one after the other about one packet: the common part is worked out once.
  let last:
    | {
        readonly cluster: ResolvedCluster;
        readonly packet: Packet;
        readonly bite: Verdict | undefined;
        readonly says: (boolean | undefined)[];
      }
    | undefined;
  const askedAbout = (cluster: ResolvedCluster, packet: Packet): NonNullable<typeof last> => {
    if (last?.cluster !== cluster || last.packet !== packet) {
      const given = readingVerdict(real, cluster, packet, deny);
      const differs = given !== readingVerdict(API_READING, cluster, packet, deny);
      last = { cluster, packet, bite: differs ? given : undefined, says: [] };
    }
    return last;
  };
  const together = (cluster: ResolvedCluster, packet: Packet) => askedAbout(cluster, packet).bite;
  return tests.map((own, index) => {
    const { apply: _, ...declared } = own.quirk;
    return {
      ...declared,
      together,
      verdict(cluster: ResolvedCluster, packet: Packet): Verdict | undefined {
        const { bite: given, says } = askedAbout(cluster, packet);
        if (given === undefined) return undefined;
        const gives = (by: PolicyReading) => readingVerdict(by, cluster, packet, deny) === given;
        // Where the solution differs from the API, a reading that does not give its verdict gives the API's.
        const hasSay = ({ alone, without }: typeof own, place: number): boolean => {
          says[place] ??= !gives(without) || gives(alone);
          return says[place];
        };
        return hasSay(own, index) || (index === 0 && !tests.some(hasSay)) ? given : undefined;
      },
    };
  });
}
