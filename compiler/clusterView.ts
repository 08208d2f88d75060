/**
 * A cluster as a solution sees it, where that is less than its objects say: labels that it does not look at, pods that it
 * holds for gone. The lowering and the deviations of a strategy read the view, and so cannot drift apart.
 */
import { MappedAgain, rememberedBy, sameItems } from "./again.ts";
import type { Endpoint, Namespace } from "./model.ts";
import { type ResolvedCluster, resolvePolicies } from "./resolve.ts";
import { resolveAgain } from "./resolveAgain.ts";

export interface ClusterEyes {
  /** The same object where nothing differs. */
  readonly seeEndpoint: (endpoint: Endpoint) => Endpoint;
  /** As `seeEndpoint`. */
  readonly seeNamespace?: (namespace: Namespace) => Namespace;
}

/** The view of a cluster: the cluster itself when it is seen as it is, else another, the same one each time. */
export function clusterView({ seeEndpoint, seeNamespace = same }: ClusterEyes) {
  const views = new WeakMap<ResolvedCluster, ResolvedCluster>();
  const latest = new WeakMap<WeakKey, LatestView>();
  return (cluster: ResolvedCluster): ResolvedCluster => {
    let view = views.get(cluster);
    if (view === undefined) {
      const last = rememberedBy(latest, cluster.lineage, () => new LatestView());
      view = last.view(cluster, { seeEndpoint, seeNamespace });
      views.set(cluster, view);
    }
    return view;
  };
}

/** Views of states that follow each other: what is seen as before is the same object as before. */
class LatestView {
  readonly #endpoints = new MappedAgain<Endpoint, Endpoint>();
  readonly #namespaces = new MappedAgain<Namespace, Namespace>();
  #view: ResolvedCluster | undefined;

  view(cluster: ResolvedCluster, { seeEndpoint, seeNamespace }: Required<ClusterEyes>): ResolvedCluster {
    const { model } = cluster;
    const endpoints = this.#endpoints.of(model.endpoints, seeEndpoint);
    const namespaces = this.#namespaces.of(model.namespaces, seeNamespace);
    if (sameItems(endpoints, model.endpoints) && sameItems(namespaces, model.namespaces)) return cluster;
    const seen = { ...model, endpoints, namespaces };
    this.#view = this.#view === undefined ? resolvePolicies(seen) : resolveAgain(this.#view, seen);
    return this.#view;
  }
}

function same<T>(thing: T): T {
  return thing;
}
