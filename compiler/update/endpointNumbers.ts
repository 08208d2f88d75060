/** The numbers of endpoints, by which agents name their maps. */
import { formatAddress } from "../../dataplane/address.ts";
import { listChange, rememberedBy } from "../again.ts";
import type { Endpoint } from "../model.ts";
import type { ResolvedCluster } from "../resolve.ts";

type Numbers = Pick<WeakMap<Endpoint, number>, "get">;

const KNOWN = new WeakMap<ResolvedCluster, Numbers>();

/**
 * The numbers of some of a cluster's endpoints. An agent numbers them as they come; here by name over the whole cluster,
 * unless a controller has numbered them.
 */
export function endpointNumbersOf(cluster: ResolvedCluster, pods: readonly Endpoint[]): Numbers {
  const known = KNOWN.get(cluster);
  if (known !== undefined) return known;
  const numbers = new Map<Endpoint, number>();
  let at = 0;
  for (const pod of pods) {
    // Both lists are in one order, mostly: the next one stands behind the last.
    const behind = cluster.pods.indexOf(pod, at);
    at = behind < 0 ? cluster.pods.indexOf(pod) : behind;
    if (at >= 0) numbers.set(pod, at + 1);
  }
  return numbers;
}

/** Numbers that stay: a pod with another address is another endpoint. */
export class EndpointNumbers {
  readonly #numbers = new Map<string, number>();
  readonly #ofPods = new WeakMap<Endpoint, number>();
  #latest: readonly Endpoint[] = [];

  /** From here on the cluster's endpoints have these numbers; to be said before anybody asks for them. */
  number(cluster: ResolvedCluster): void {
    for (const pod of listChange(this.#latest, cluster.pods).come) {
      rememberedBy(this.#ofPods, pod, () => this.#numberOf(pod));
    }
    this.#latest = cluster.pods;
    this.numberAlike(cluster);
  }

  /** The same for a cluster all of whose endpoints have their numbers. */
  numberAlike(cluster: ResolvedCluster): void {
    KNOWN.set(cluster, this.#ofPods);
  }

  #numberOf(pod: Endpoint): number {
    const key = [pod.key, ...pod.addresses.map(formatAddress)].join(" ");
    const number = this.#numbers.get(key) ?? this.#numbers.size + 1;
    this.#numbers.set(key, number);
    return number;
  }
}
