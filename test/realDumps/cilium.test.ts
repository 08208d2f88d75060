/** Cilium's identities, ipcache and policy maps against what the real policy engine computed, byte for byte. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { compileNode } from "../../compiler/compile.ts";
import { toHex } from "../../compiler/hash.ts";
import { identitiesOf, ipcacheOf } from "../../compiler/strategies/cilium-ebpf/identities.ts";
import { ciliumEbpf } from "../../compiler/strategies/cilium-ebpf.ts";
import { formatCidr } from "../../dataplane/address.ts";
import type { MapProgram } from "../../dataplane/program.ts";
import { hasShared } from "../shared.ts";
import { clusterOf, clustersOf, dumpPath, NODES } from "./dumps.ts";

interface RecordedEndpoint {
  readonly node: string;
  readonly entries: readonly { readonly keyHex: string; readonly valueHex: string }[];
}

function recorded<T>(cluster: string, file: string): Readonly<Record<string, T>> {
  return JSON.parse(readFileSync(dumpPath("cilium", cluster, file), "utf8"));
}

function entriesOf(program: MapProgram, endpoint: string): readonly string[] {
  const plan = program.attachPoints.find((point) => point.endpoint === endpoint)?.plan;
  if (plan?.kind !== "identity") throw new Error(`${endpoint} has no identity plan`);
  const map = program.maps.find(({ name }) => name === plan.policy);
  return (map?.entries ?? []).map(({ key, value }) => `${toHex(key)} ${toHex(value)}`).toSorted();
}

// Cilium ran on the clusters that the others ran on; they are listed by one of them.
describe.runIf(hasShared).each(clustersOf("calico"))("cilium-ebpf on %s", (name) => {
  const cluster = clusterOf("calico", name);

  it("every identity has the recorded number and labels", () => {
    const labels = recorded<readonly string[]>(name, "identities.json");
    const { pods, cidrs } = identitiesOf(cluster);
    expect(pods.length).toBeGreaterThan(0);
    for (const identity of pods) expect(identity.labels).toEqual(labels[identity.number]);
    const local = Object.keys(labels).filter((number) => Number(number) > 0xffffff);
    expect(cidrs.map(({ number }) => String(number))).toEqual(local);
  });

  it.each(NODES)("%s: the ipcache is the recorded one", (node) => {
    const ours = ipcacheOf(cluster, node).map(({ cidr, identity }) => [formatCidr(cidr), identity]);
    expect(Object.fromEntries(ours)).toEqual(recorded(name, `ipcache-${node}.json`));
  });

  it.each(NODES)("%s: every policy map has the recorded entries, key and value", (node) => {
    const program = compileNode(cluster, ciliumEbpf, { node });
    if (program.kind !== "maps") throw new Error("cilium-ebpf programs maps");
    const endpoints = Object.entries(recorded<RecordedEndpoint>(name, "endpoints.json"));
    const local = endpoints.filter(([, endpoint]) => endpoint.node === node);
    expect(program.attachPoints.length).toBe(2 * local.length);
    for (const [endpoint, { entries }] of local) {
      const theirs = entries.map(({ keyHex, valueHex }) => `${keyHex} ${valueHex}`).toSorted();
      expect(entriesOf(program, endpoint), endpoint).toEqual(theirs);
    }
  });
});
