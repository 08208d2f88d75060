/** Mistakes that weave-npc makes from event to event. */
import { type Lapse, switched } from "../strategy.ts";

export const PEER_BECOMES_TARGET: Lapse = switched({
  name: "peer-becomes-target",
  summary:
    "a policy whose new podSelector was among its peers before does not isolate the pods it now selects; when it drops that selector again, or goes, weave-npc crashes, and everything is refused until it is back",
  source: "weave 8c847638 npc/namespace.go updateNetworkPolicy; dumps/updates/weave-net/NOTES.md B1",
  scenario: "weave-net-peer-becomes-target",
});

export const POLICY_TYPES_UNSEEN: Lapse = switched({
  name: "policy-types-unseen",
  summary:
    "a change of policyTypes alone neither isolates nor releases; once such a policy goes, the next one with its podSelector does not isolate for egress either",
  source: "weave 8c847638 npc/namespace.go; dumps/updates/weave-net/NOTES.md B2, extra/types-gain-then-delete",
  scenario: "weave-net-policy-types-unseen",
});

export const NAMESPACE_LABELS_UNSEEN: Lapse = switched({
  name: "namespace-labels-unseen",
  summary:
    "a relabelled namespace changes no set of pods in namespaces: addresses of pods that go stay in them, and whoever gets one is let in",
  source: "weave 8c847638 npc/namespace.go; dumps/updates/weave-net/NOTES.md B3, extra/ns-relabel-combined-peer",
  scenario: "weave-net-namespace-labels-unseen",
});

export const REFUSED_VERSION_STAYS: Lapse = switched({
  name: "refused-version-stays",
  summary:
    "a policy that gets a named port is refused as a whole, and the version before stays in force; so do further updates of it, and its deletion",
  source:
    "weave 8c847638 npc/controller.go; dumps/updates/weave-net/NOTES.md B4 and B5, extra/named-port-appears, extra/named-port-then-fixed",
  scenario: "weave-net-refused-version-stays",
});

export const lapses: readonly Lapse[] = [
  PEER_BECOMES_TARGET,
  POLICY_TYPES_UNSEEN,
  NAMESPACE_LABELS_UNSEEN,
  REFUSED_VERSION_STAYS,
];
