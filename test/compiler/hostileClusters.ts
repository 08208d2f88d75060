/**
 * Clusters whose every name would be an attack on the restore commands if it arrived as it is. No manifest gets so far
 * (validation refuses such names); a model made by a program could.
 */
import fc from "fast-check";
import type { ClusterModel } from "../../compiler/model.ts";
import {
  containerPort,
  EVERYTHING,
  namespace,
  node,
  pod,
  podPeer,
  policy,
  policyPort,
  rule,
} from "../../verify/fuzz/builders.ts";

const ATTACKS = [
  '"',
  "'",
  "\\",
  '\\"',
  "\n",
  "\r\n",
  "\u2028",
  "\0",
  "COMMIT",
  "*nat",
  "-A INPUT -j ACCEPT",
  '" -j ACCEPT -m comment --comment "',
  "\n-A INPUT -j ACCEPT\n",
  "$(reboot)",
  "ü",
  "🦆",
  " ",
  "#",
  "%s",
  "a",
] as const;

/** Made of the texts above; sometimes longer than anything may be. */
export const attackArbitrary: fc.Arbitrary<string> = fc
  .array(fc.constantFrom(...ATTACKS), { minLength: 1, maxLength: 30 })
  .map((parts) => parts.join(""));

/** Two pods of node-a under one policy of both types. */
export const hostileClusterArbitrary: fc.Arbitrary<ClusterModel> = fc
  .record({
    namespaces: fc.uniqueArray(attackArbitrary, { minLength: 2, maxLength: 2 }),
    pods: fc.uniqueArray(attackArbitrary, { minLength: 2, maxLength: 2 }),
    policy: attackArbitrary,
    port: attackArbitrary,
    label: attackArbitrary,
  })
  .map(({ namespaces: [first = "", second = ""], pods: [one = "", two = ""], policy: policyName, port, label }) =>
    hostileCluster({ first, second, one, two, policyName, port, label }),
  );

interface Names {
  readonly first: string;
  readonly second: string;
  readonly one: string;
  readonly two: string;
  readonly policyName: string;
  readonly port: string;
  readonly label: string;
}

export const HARMLESS: Names = {
  first: "first",
  second: "second",
  one: "one",
  two: "two",
  policyName: "policy",
  port: "http",
  label: "label",
};

export function hostileCluster(names: Names): ClusterModel {
  const { first, second, one, two, policyName, port, label } = names;
  const named = <T>(object: T, namespaceName: string, name: string) => ({
    ...object,
    key: `${namespaceName}/${name}`,
    namespace: namespaceName,
    name,
  });
  const parts = { labels: { [label]: label }, ports: [containerPort(port, 80)] };
  const ingress = [rule([podPeer({ pods: EVERYTHING })], [policyPort("TCP", port), policyPort("TCP", 81)]), rule()];
  const egress = [rule([podPeer({ namespaces: EVERYTHING })], [policyPort("TCP", port)])];
  return {
    nodes: [node("node-a", ["192.168.0.11"], ["10.1.0.0/24"])],
    namespaces: [namespace(first), namespace(second)],
    endpoints: [
      named(pod("a/a", ["10.1.0.2"], parts), first, one),
      named(pod("a/a", ["10.1.0.3"], parts), second, two),
    ],
    policies: [named(policy("a/a", EVERYTHING, { ingress, egress }), first, policyName)],
  };
}
