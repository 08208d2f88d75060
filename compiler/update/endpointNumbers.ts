/** The numbers of endpoints, by which agents name their maps. */
import { formatAddress } from "../../dataplane/address.ts";
import type { Endpoint } from "../model.ts";
import type { ResolvedCluster } from "../resolve.ts";

const KNOWN = new WeakMap<ResolvedCluster, ReadonlyMap<Endpoint, number>>();

/** An agent numbers its endpoints as they come; here by name over the whole cluster, unless a controller has numbered them. */
export function endpointNumbersOf(cluster: ResolvedCluster): ReadonlyMap<Endpoint, number> {
  return KNOWN.get(cluster) ?? new Map(cluster.pods.map((pod, index) => [pod, index + 1]));
}

/** Numbers that stay: a pod with another address is another endpoint. */
export class EndpointNumbers {
  readonly #numbers = new Map<string, number>();

  /** From here on the cluster's endpoints have these numbers; to be said before anybody asks for them. */
  number(cluster: ResolvedCluster): void {
    KNOWN.set(
      cluster,
      new Map(
        cluster.pods.map((pod) => {
          const key = [pod.key, ...pod.addresses.map(formatAddress)].join(" ");
          const number = this.#numbers.get(key) ?? this.#numbers.size + 1;
          this.#numbers.set(key, number);
          return [pod, number];
        }),
      ),
    );
  }
}
