/**
 * Names that stand for all pods of an owner, as Calico's logs sum them: `shop/web-7d4b9c6f5-*` is whatever was made with that
 * `generateName`. Each use of a name is one of those pods.
 */
import type { ClusterModel, Endpoint } from "../compiler/model.ts";
import type { Family, IpAddress } from "../dataplane/address.ts";
import { SeededRandom } from "../traffic/generate/random.ts";
import type { Resolve } from "../traffic/transcript.ts";
import { workloadOf } from "./workload.ts";

/** `resolve`, and pods for names that end in `*`. */
export function withReplicas(resolve: Resolve, model: ClusterModel): Resolve {
  const known = new Map<string, readonly IpAddress[]>();
  const random = new SeededRandom(1);
  return (name, family, time) => {
    if (!name.endsWith("*")) return resolve(name, family, time);
    const key = `${family ?? ""} ${name}`;
    let addresses = known.get(key);
    if (addresses === undefined) {
      addresses = addressesOf(replicasOf(model.endpoints, name), family);
      known.set(key, addresses);
    }
    if (addresses.length === 0) return { problem: `no pod of ${name}` };
    // Not in turn: both ends of a record would keep step, and some pairs never meet.
    return random.pick(addresses);
  };
}

/**
 * The pods whose names the API server made from the part before `*`: five letters or a number follow. Where there are none the
 * manifests are of another revision, and the workload's pods stand for them.
 */
function replicasOf(pods: readonly Endpoint[], name: string): readonly Endpoint[] {
  const prefix = name.slice(0, -1);
  const made = pods.filter(({ key }) => key.startsWith(prefix) && !key.slice(prefix.length).includes("-"));
  if (made.length > 0) return made;
  const owner = prefix.replace(/-$/, "");
  const workloads = new Set([owner, owner.replace(/-[a-z0-9]{4,10}$/, "")]);
  return pods.filter((pod) => workloads.has(workloadOf(pod)));
}

function addressesOf(pods: readonly Endpoint[], family: Family | undefined): readonly IpAddress[] {
  return pods.flatMap(({ addresses }) => {
    const address = addresses.find((each) => family === undefined || each.family === family);
    return address === undefined ? [] : [address];
  });
}
