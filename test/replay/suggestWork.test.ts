/** What a suggestion is made of is looked at a few times, however many addresses there are outside of the cluster. */
import { expect, it } from "vitest";
import type { Endpoint } from "../../compiler/model.ts";
import { formatAddress, type IpAddress } from "../../dataplane/address.ts";
import { fewestRectangles } from "../../replay/suggest/cover.ts";
import { pruned, type SeenNeed } from "../../replay/suggest/prune.ts";
import type { SuggestedPolicy } from "../../replay/suggest/suggest.ts";
import { modelOf, podText } from "../compiler/manifests.ts";

const ADDRESSES = 300;

/** A peer for each address, and how often one of their blocks was read. */
function manyPeers(subject: Endpoint) {
  const looks = { blocks: 0, ports: 0 };
  const addresses = Array.from(
    { length: ADDRESSES },
    (_, at): IpAddress => ({ family: 4, words: [0x0b00_0000 + at * 2] }),
  );
  const needs = addresses.map(
    (address): SeenNeed => ({
      subject,
      direction: "ingress",
      peer: undefined,
      address,
      get port() {
        looks.ports++;
        return "TCP/80";
      },
    }),
  );
  const peers = addresses.map((address) => ({
    get ipBlock() {
      looks.blocks++;
      return { cidr: `${formatAddress(address)}/32` };
    },
  }));
  const policy: SuggestedPolicy = {
    key: "default/p",
    rules: 1,
    remarks: [],
    object: {
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata: { name: "p", namespace: "default" },
      spec: {
        podSelector: {},
        policyTypes: ["Ingress"],
        ingress: [{ from: peers, ports: [{ protocol: "TCP", port: 80 }] }],
      },
    },
  };
  return { needs, policy, looks };
}

it("each address once, not once for each of the others", () => {
  const [subject] = modelOf(podText()).endpoints;
  if (subject === undefined) throw new Error("no pod");
  const { needs, policy, looks } = manyPeers(subject);
  expect(pruned([policy], needs)[0]?.object.spec.ingress?.[0]?.from).toHaveLength(ADDRESSES);
  expect(looks.blocks).toBeLessThanOrEqual(3 * ADDRESSES);
  expect(looks.ports).toBeLessThanOrEqual(3 * ADDRESSES);
});

it("rows with ports of their own: each port of a row a few times", () => {
  let looks = 0;
  class CountedPorts extends Set<string> {
    override has(port: string): boolean {
      looks++;
      return super.has(port);
    }
  }
  const rows = Array.from({ length: ADDRESSES }, (_, row) => new CountedPorts([`TCP/${row}`, `TCP/${row + 1}`]));
  const cover = fewestRectangles(rows);
  expect(new Set(cover.flatMap((each) => each.rows))).toEqual(new Set(rows.keys()));
  expect(looks).toBeLessThanOrEqual(10 * ADDRESSES);
});
