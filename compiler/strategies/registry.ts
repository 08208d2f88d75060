/** The one list of strategies. Command line, bench, docs and every conformance test iterate it. */
import { bpfHash } from "./bpf-hash.ts";
import { calicoIptables } from "./calico-iptables.ts";
import { ciliumEbpf } from "./cilium-ebpf.ts";
import { kubeRouter } from "./kube-router.ts";
import { romana } from "./romana.ts";
import type { Strategy } from "./strategy.ts";
import { weaveNet } from "./weave-net.ts";

export const STRATEGIES: readonly Strategy[] = [kubeRouter, calicoIptables, weaveNet, romana, ciliumEbpf, bpfHash];

export function strategyNamed(name: string): Strategy | undefined {
  return STRATEGIES.find((strategy) => strategy.name === name);
}
