/** Mistakes that kube-router makes from sync to sync, by chance. */
import { type Lapse, switched } from "../strategy.ts";

export const TORN_SNAPSHOT: Lapse = switched({
  name: "torn-snapshot",
  summary:
    "a local pod that comes while a sync is at work gets a chain of it that lets everything pass and is in none of its sets, until the next sync ends: policies are read before local pods are",
  source:
    "cloudnativelabs/kube-router 7c2c2779 pkg/controllers/netpol/network_policy_controller.go fullPolicySync; dumps/updates/kube-router/extra/torn-snapshot, 4 of 4 tries",
  scenario: "kube-router-torn-snapshot",
});

export const NAMED_PORTS_RENUMBERED: Lapse = {
  name: "named-ports-renumbered",
  summary:
    "the numbers of a port's name get their sets in another order in any sync: until its commit, pods are reached on each other's numbers and not on their own, whatever the sync was for",
  source: "cloudnativelabs/kube-router 7c2c2779 pkg/controllers/netpol/policy.go; dumps/updates/kube-router/NOTES.md",
  scenario: "kube-router-named-ports-renumbered",
  setting: { option: "named-port-order", on: "turning", off: "ascending" },
};

export const lapses: readonly Lapse[] = [TORN_SNAPSHOT, NAMED_PORTS_RENUMBERED];
