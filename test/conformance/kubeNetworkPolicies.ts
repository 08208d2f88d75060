/** Reads kube-network-policies.json: single packets with hand-written verdicts. */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { packet } from "../../verify/fuzz/builders.ts";
import { sharedPath } from "../shared.ts";
import { type ConformanceCase, modelOf, namespaceManifest, nodeManifest, podManifest } from "./cases.ts";

const Manifest = z.record(z.string(), z.unknown());

/** Its policies never met an API server: one is called `…-ipBlock`, and a name must be in lower case. */
const Policy = z.looseObject({ metadata: z.looseObject({ name: z.string().transform((name) => name.toLowerCase()) }) });

const Cases = z.object({
  cases: z.array(
    z.object({
      id: z.string(),
      name: z.string(),
      expected: z.object({ allow: z.boolean() }),
      packet: z.object({
        protocol: z.string(),
        srcIP: z.string(),
        srcPort: z.number(),
        dstIP: z.string(),
        dstPort: z.number(),
      }),
      state: z.object({
        namespaces: z.record(z.string(), z.record(z.string(), z.string())),
        pods: z.array(
          z.object({
            namespace: z.string(),
            name: z.string(),
            node: z.string(),
            ips: z.array(z.string()),
            labels: z.record(z.string(), z.string()),
            ports: z.array(Manifest),
          }),
        ),
        policies: z.array(Policy),
      }),
    }),
  ),
});

/** Every case of the file, one packet each. All pods are on the node the file names, which gets an address. */
export function kubeNetworkPoliciesCases(): readonly ConformanceCase[] {
  const text = readFileSync(sharedPath("conformance", "kube-network-policies.json"), "utf8");
  return Cases.parse(JSON.parse(text)).cases.map(({ id, name, expected, packet: asked, state }) => ({
    name: `${id} ${name}`,
    model: modelOf(id, [
      nodeManifest("testnode", "172.18.0.2", "192.168.0.0/16"),
      ...Object.entries(state.namespaces).map(([namespace, labels]) => namespaceManifest(namespace, labels)),
      ...state.pods.map(podManifest),
      ...state.policies,
    ]),
    probes: [
      {
        packet: packet(asked.protocol, asked.srcIP, asked.dstIP, {
          sourcePort: asked.srcPort,
          destinationPort: asked.dstPort,
        }),
        verdict: expected.allow ? "accept" : "drop",
      },
    ],
  }));
}
