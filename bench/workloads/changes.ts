/** Changes of a cluster, one after the other: what is measured as an update. */
import type { ClusterModel } from "../../compiler/model.ts";

/** The pod with another address, which no other turn gives, or in every other turn with the labels of its neighbour. */
export function changedPod(model: ClusterModel, position: number, turn: number): ClusterModel {
  const pod = model.endpoints[position];
  const neighbour = model.endpoints[(position + turn) % model.endpoints.length];
  if (pod === undefined || neighbour === undefined) throw new Error("no pod to change");
  const changed =
    turn % 2 === 1
      ? { ...pod, addresses: [{ family: 4 as const, words: [(10 << 24) | (255 << 16) | (turn & 0xffff)] }] }
      : { ...pod, labels: neighbour.labels };
  return { ...model, endpoints: model.endpoints.with(position, changed) };
}
