/**
 * The state that weave-npc has announced a cluster into, kept from one state of the cluster to the next. As long as sets
 * take every pod, what is done for a policy does not depend on pods, only what is in the sets does: where no more than pods
 * came, went or changed, the sets that select one of them are filled again, and everything else stays as it was played.
 */
import { isReplaced, listChange, rememberedBy, sameItems } from "../../again.ts";
import type { Endpoint } from "../../model.ts";
import type { ResolvedCluster } from "../../resolve.ts";
import { hasWeaveAddress, type WeaveController } from "./controller.ts";
import { runController } from "./run.ts";

/** The controller of the cluster. It turns into that of another state when it is next asked for one. */
export function latestController(cluster: ResolvedCluster, policyOrder: string): WeaveController {
  const known = rememberedBy(LATEST, cluster.lineage, () => new Map<string, Checkpoint>());
  const before = known.get(policyOrder);
  const follows = before?.takesAll === true && followsByPods(before, cluster);
  const controller = follows ? before.controller : runController(cluster, policyOrder);
  known.set(policyOrder, { cluster, controller, takesAll: follows || cluster.pods.every(hasWeaveAddress) });
  return controller;
}

const LATEST = new WeakMap<WeakKey, Map<string, Checkpoint>>();

interface Checkpoint {
  readonly cluster: ResolvedCluster;
  readonly controller: WeaveController;
  /** Whether sets take every pod: one that they refuse ends what is done for a policy. */
  readonly takesAll: boolean;
}

/** Brings the controller to the cluster, when nothing but pods differs. */
function followsByPods({ cluster: before, controller }: Checkpoint, after: ResolvedCluster): boolean {
  if (!sameItems(before.model.namespaces, after.model.namespaces)) return false;
  if (!sameItems(before.model.policies, after.model.policies)) return false;
  const { gone, come } = listChange(before.pods, after.pods);
  if (!come.every(hasWeaveAddress)) return false;
  if (isReplaced(before.pods, after.pods, isSamePlace)) {
    controller.replacePods({ gone, come, all: undefined });
    return true;
  }
  if (!sameItems(without(before.pods, gone), without(after.pods, come))) return false; // another order
  controller.replacePods({ gone, come, all: after.pods });
  return true;
}

/** One pod in the place of itself: nothing that the controller lists by pod gets another order. */
function isSamePlace(before: Endpoint, after: Endpoint): boolean {
  return before.key === after.key;
}

function without(pods: readonly Endpoint[], some: readonly Endpoint[]): readonly Endpoint[] {
  if (some.length === 0) return pods;
  const left = new Set(some);
  return pods.filter((pod) => !left.has(pod));
}
