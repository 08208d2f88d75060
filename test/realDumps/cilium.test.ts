/** Cilium's identities, ipcache and policy maps against what the real policy engine computed, byte for byte. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compileNode, loadCluster } from "../../compiler/compile.ts";
import { toHex } from "../../compiler/hash.ts";
import { type ResolvedCluster, resolvePolicies } from "../../compiler/resolve.ts";
import { identitiesOf } from "../../compiler/strategies/cilium-ebpf/identities.ts";
import { ipcacheOf } from "../../compiler/strategies/cilium-ebpf/ipcache.ts";
import { ciliumEbpf } from "../../compiler/strategies/cilium-ebpf.ts";
import { formatCidr } from "../../dataplane/address.ts";
import {
  decodeIpcacheIdentity,
  decodeIpcacheKey,
  decodePolicyKey,
  POLICY_KEY_BYTES,
} from "../../dataplane/maps/layout.ts";
import type { MapProgram } from "../../dataplane/program.ts";
import { sampled } from "../extent.ts";
import { hasShared } from "../shared.ts";
import { clusterOf, clustersOf, dumpPath, NODES } from "./dumps.ts";

interface RecordedEndpoint {
  readonly node: string;
  readonly entries: readonly { readonly keyHex: string; readonly valueHex: string }[];
}

type Recorded<T> = Readonly<Record<string, T>>;

function recorded<T>(cluster: string, file: string): Recorded<T> {
  return recordedIn(dumpPath("cilium", cluster), file);
}

function recordedIn<T>(folder: string, file: string): Recorded<T> {
  return JSON.parse(readFileSync(join(folder, file), "utf8"));
}

/** Prefixes and their identities in the ipcache. */
function addressesOf(cluster: ResolvedCluster, node: string): readonly (readonly [string, number])[] {
  return ipcacheOf(cluster, node).map(({ key, value }) => [
    formatCidr(decodeIpcacheKey(key)),
    decodeIpcacheIdentity(value),
  ]);
}

function entriesOf(program: MapProgram, endpoint: string): readonly string[] {
  const plan = program.attachPoints.find((point) => point.endpoint === endpoint)?.plan;
  if (plan?.kind !== "identity") throw new Error(`${endpoint} has no identity plan`);
  const map = program.maps.find(({ name }) => name === plan.policy);
  return (map?.entries ?? []).map(({ key, value }) => `${toHex(key)} ${toHex(value)}`).toSorted();
}

// A file whose suites are all empty fails, where it should be skipped: this one stands also without the facts folder.
describe.runIf(hasShared)("the recordings of Cilium", () => {
  it("are there", () => {
    expect(clustersOf("calico").length).toBeGreaterThan(10);
    expect(steps().length).toBeGreaterThan(10);
  });
});

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
    expect(Object.fromEntries(addressesOf(cluster, node))).toEqual(recorded(name, `ipcache-${node}.json`));
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

/** Identities of a step have their numbers from the steps before: they are compared by what they stand for. */
function withoutNumbers(entries: readonly string[], names: ReadonlyMap<number, string>): readonly string[] {
  return entries
    .map((entry) => {
      const key = Buffer.from(entry.slice(0, 2 * POLICY_KEY_BYTES), "hex");
      const { identity, ...rest } = decodePolicyKey(key);
      const value = entry.slice(2 * POLICY_KEY_BYTES).trim();
      return JSON.stringify([names.get(identity) ?? identity, rest, value]);
    })
    .toSorted();
}

function steps(): readonly (readonly [story: string, step: string])[] {
  return ["pod-churn", "policy-churn"].flatMap((story) =>
    readdirSync(dumpPath("updates", "cilium", story))
      .filter((name) => name.startsWith("step-"))
      .map((step) => [story, step] as const),
  );
}

describe.runIf(hasShared).each(hasShared ? sampled(steps(), 6) : [])("cilium-ebpf after %s %s", (story, step) => {
  const folder = dumpPath("updates", "cilium", story, step);
  const file = dumpPath("updates", "clusters", story, `${step}.yaml`);
  const { model } = loadCluster([{ name: file, text: readFileSync(file, "utf8") }]);
  if (model === undefined) throw new Error(`${file} does not load`);
  const cluster = resolvePolicies(model);
  const { pods, cidrs } = identitiesOf(cluster);
  const theirNames = new Map(
    Object.entries(recordedIn<readonly string[]>(folder, "identities.json"))
      .filter(([number]) => Number(number) >= 256)
      .map(([number, labels]) => [Number(number), labels[0]?.startsWith("cidr:") ? `${labels[0]}` : labels.join()]),
  );
  const ourNames = new Map([
    ...pods.map(({ number, labels }) => [number, labels.join()] as const),
    ...cidrs.map(({ number, cidr }) => [number, `cidr:${formatCidr(cidr)}`] as const),
  ]);

  it.each(NODES)("%s: the ipcache and every policy map are the recorded ones, but for numbers", (node) => {
    const ours = addressesOf(cluster, node).map(([cidr, identity]) => [cidr, ourNames.get(identity) ?? identity]);
    const theirs = Object.entries(recordedIn<number>(folder, `ipcache-${node}.json`));
    expect(Object.fromEntries(ours)).toEqual(
      Object.fromEntries(theirs.map(([cidr, identity]) => [cidr, theirNames.get(identity) ?? identity])),
    );
    const program = compileNode(cluster, ciliumEbpf, { node });
    if (program.kind !== "maps") throw new Error("cilium-ebpf programs maps");
    const endpoints = Object.entries(recordedIn<RecordedEndpoint>(folder, "endpoints.json"));
    const local = endpoints.filter(([, endpoint]) => endpoint.node === node);
    expect(program.attachPoints.length).toBe(2 * local.length);
    for (const [endpoint, { entries }] of local) {
      const recordedEntries = entries.map(({ keyHex, valueHex }) => `${keyHex} ${valueHex}`);
      expect(withoutNumbers(entriesOf(program, endpoint), ourNames), endpoint).toEqual(
        withoutNumbers(recordedEntries, theirNames),
      );
    }
  });
});
