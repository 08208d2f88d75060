/** The events that bring weave-npc to the state of a cluster. */
import { compareAge, compareText } from "../../age.ts";
import type { NetworkPolicy } from "../../model.ts";
import type { ResolvedCluster } from "../../resolve.ts";
import { InvalidSetting, type Lapse } from "../strategy.ts";
import { WeaveController } from "./controller.ts";
import { type CommandSink, IpsetError } from "./kernel.ts";

type PolicyOrder = (a: NetworkPolicy, b: NetworkPolicy) => number;

/**
 * In a running cluster policies come as they are created, after a restart as etcd lists them, by name. The default is
 * neither: uids give one order whatever things are called, and it is the order in which the recorded nodes were told.
 */
const ORDERS: ReadonlyMap<string, PolicyOrder> = new Map([
  ["uid", (a, b) => compareText(a.uid, b.uid) || compareText(a.key, b.key)],
  ["creation", compareAge],
  ["name", (a, b) => compareText(a.key, b.key)],
]);

/** Announces the whole cluster: namespaces, pods, policies, as a starting weave-npc is told of them. */
export function runController(
  cluster: ResolvedCluster,
  policyOrder = "uid",
  sink?: CommandSink,
  made?: (lapse: Lapse) => boolean,
): WeaveController {
  const order = ORDERS.get(policyOrder);
  if (order === undefined) throw new InvalidSetting("policy-order", policyOrder, [...ORDERS.keys()].join(", "));
  const controller = new WeaveController(sink, made);
  controller.kernel.cause = "LIST Namespace";
  for (const namespace of cluster.model.namespaces) controller.addNamespace(namespace);
  controller.kernel.cause = "LIST Pod";
  for (const pod of cluster.pods) logged(() => controller.addPod(pod));
  controller.kernel.cause = "LIST NetworkPolicy";
  for (const policy of [...cluster.model.policies].sort(order)) controller.addPolicy(policy);
  return controller;
}

/** An event that fails is logged and forgotten (prog/weave-npc/main.go handleError). */
function logged(event: () => void): void {
  try {
    event();
  } catch (error) {
    if (!(error instanceof IpsetError)) throw error;
  }
}
