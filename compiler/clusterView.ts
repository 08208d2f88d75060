/**
 * A cluster as a solution sees it, where that is less than its objects say: labels that it does not look at, pods that it
 * holds for gone. The lowering and the deviations of a strategy read the view, and so cannot drift apart.
 */
import type { Endpoint, Namespace } from "./model.ts";
import { type ResolvedCluster, resolvePolicies } from "./resolve.ts";

export interface ClusterEyes {
  /** The same object where nothing differs. */
  readonly seeEndpoint: (endpoint: Endpoint) => Endpoint;
  /** As `seeEndpoint`. */
  readonly seeNamespace?: (namespace: Namespace) => Namespace;
}

/** The view of a cluster: the cluster itself when it is seen as it is, else another, the same one each time. */
export function clusterView({ seeEndpoint, seeNamespace = same }: ClusterEyes) {
  const views = new WeakMap<ResolvedCluster, ResolvedCluster>();
  return (cluster: ResolvedCluster): ResolvedCluster => {
    let view = views.get(cluster);
    if (view === undefined) {
      const { model } = cluster;
      const endpoints = model.endpoints.map(seeEndpoint);
      const namespaces = model.namespaces.map(seeNamespace);
      const isSame =
        endpoints.every((endpoint, index) => endpoint === model.endpoints[index]) &&
        namespaces.every((namespace, index) => namespace === model.namespaces[index]);
      view = isSame ? cluster : resolvePolicies({ ...model, endpoints, namespaces });
      views.set(cluster, view);
    }
    return view;
  };
}

function same<T>(thing: T): T {
  return thing;
}
