/** Which policies refuse a packet: those that isolate one of its ends and have no rule for it. */
import { DIRECTIONS } from "../compiler/model.ts";
import { API_READING, apiShortcut, directionAllows, packetEnds } from "../compiler/policyReading.ts";
import { formatAddress } from "../dataplane/address.ts";
import type { Packet } from "../dataplane/packet.ts";
import type { Cause, Side } from "./side.ts";

/** Answers remembered; a scan asks about few pairs of pods many times. */
const MAX_ANSWERS = 100_000;

export class RefusingPolicies {
  readonly #side: Side;
  readonly #answers = new Map<string, readonly string[]>();

  constructor(side: Side) {
    this.#side = side;
  }

  /**
   * Keys of the policies after so many steps of the story, sorted. The API text says which directions refuse; where it would have let the packet pass, the
   * strategy deviates, and the policy is the one that its deciding rule comes from.
   */
  of(packet: Packet, cause: Cause, step: number): readonly string[] {
    const origin = cause.decision?.origin?.split(" ")[0];
    const key = `${step} ${formatAddress(packet.source)} ${formatAddress(packet.destination)} ${packet.protocol} ${packet.destinationPort} ${origin}`;
    const known = this.#answers.get(key);
    if (known !== undefined) return known;
    const cluster = this.#side.clusterAt(step);
    // The compiler's reading finds ends by address; the reference would look through all pods for every flow.
    const ends = packetEnds(cluster, packet);
    const { source, destination } = ends;
    const isRefused = (direction: (typeof DIRECTIONS)[number]): boolean =>
      apiShortcut(ends) === undefined && !directionAllows(API_READING, { cluster, packet, ends }, direction);
    const found = DIRECTIONS.filter(isRefused).flatMap((direction) => {
      const pod = direction === "egress" ? source.pod : destination.pod;
      return pod === undefined ? [] : cluster.policiesFor(pod, direction).map(({ policy }) => policy.key);
    });
    if (found.length === 0 && cluster.model.policies.some((policy) => policy.key === origin)) found.push(origin ?? "");
    const answer = [...new Set(found)].sort();
    if (this.#answers.size >= MAX_ANSWERS) this.#answers.clear();
    this.#answers.set(key, answer);
    return answer;
  }
}
