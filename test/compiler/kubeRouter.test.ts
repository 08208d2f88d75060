import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compileNode } from "../../compiler/compile.ts";
import { importProgram } from "../../compiler/import/importProgram.ts";
import { splitWords } from "../../compiler/import/lines.ts";
import type { ClusterModel } from "../../compiler/model.ts";
import { renderIpsetSave } from "../../compiler/render/ipsetSave.ts";
import { renderIptablesSave } from "../../compiler/render/iptablesSave.ts";
import { resolvePolicies } from "../../compiler/resolve.ts";
import { kubeRouter } from "../../compiler/strategies/kube-router.ts";
import { InvalidSetting } from "../../compiler/strategies/strategy.ts";
import { Fabric } from "../../dataplane/fabric.ts";
import type { Packet } from "../../dataplane/packet.ts";
import type { TableProgram } from "../../dataplane/program.ts";
import {
  blockPeer,
  cluster,
  containerPort,
  EVERYTHING,
  node,
  packet,
  pod,
  podPeer,
  policy,
  policyPort,
  rule,
  selector,
  syn,
} from "../../verify/fuzz/builders.ts";
import { clusterArbitrary } from "../../verify/fuzz/cluster.ts";
import { HARMLESS, hostileCluster, hostileClusterArbitrary } from "./hostileClusters.ts";

type Settings = Readonly<Record<string, string>>;

function lower(model: ClusterModel, settings: Settings = {}, on = "node-a"): TableProgram {
  const options = { node: on, settings: new Map(Object.entries(settings)) };
  const program = compileNode(resolvePolicies(model), kubeRouter, options);
  if (program.kind !== "tables") throw new Error("kube-router programs tables");
  return program;
}

function verdictOf(model: ClusterModel, sent: Packet, settings: Settings = {}): string {
  return new Fabric(model.nodes.map(({ name }) => lower(model, settings, name))).push(sent).verdict;
}

function chainNamed(program: TableProgram, pattern: RegExp) {
  const found = program.families[0]?.tables[0]?.chains.find(({ name }) => pattern.test(name));
  if (found === undefined) throw new Error(`no chain ${pattern}`);
  return found;
}

const NODES = [node("node-a", ["192.168.0.11"], ["10.1.0.0/24"]), node("node-b", ["192.168.0.12"], ["10.1.1.0/24"])];
const WEB = pod("shop/web", ["10.1.0.2"], { labels: { app: "web" } });
const CLIENT = pod("shop/client", ["10.1.1.2"], { node: "node-b", labels: { app: "client" } });
const DENY = policy("shop/deny", EVERYTHING, { ingress: [] });
const SHOP = cluster({ nodes: NODES, endpoints: [WEB, CLIENT], policies: [DENY] });

describe("names", () => {
  const hash = (text: string) => createHash("sha256").update(text).digest();
  const base32 = (bytes: Buffer) =>
    Array.from({ length: 16 }, (_, at) => {
      const bits = Array.from(
        { length: 5 },
        (__, bit) => ((bytes[(5 * at + bit) >> 3] ?? 0) >> (7 - ((5 * at + bit) & 7))) & 1,
      );
      return "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[bits.reduce((value, bit) => 2 * value + bit, 0)];
    }).join("");

  it("chains are hashes over namespace, name, the version given, and the family of a policy's", () => {
    const names = lower(SHOP, { "chain-version": "1700000000000000000" }).families[0]?.tables[0]?.chains.map(
      ({ name }) => name,
    );
    expect(names).toContain(`KUBE-POD-FW-${base32(hash("shopweb1700000000000000000"))}`);
    expect(names).toContain(`KUBE-NWPLCY-${base32(hash("shopdeny1700000000000000000IPv4"))}`);
  });

  it("sets know no version", () => {
    const [set] = lower(SHOP, { "chain-version": "1" }).sets;
    expect(set?.name).toBe(`KUBE-DST-${base32(hash("shopdenyIPv4"))}`);
  });

  it("a comment is cut at 120 bytes, so that the name leads", () => {
    const long = "n".repeat(200);
    const model = cluster({ nodes: NODES, endpoints: [pod(`shop/${long}`, ["10.1.0.2"])] });
    const comments = chainNamed(lower(model), /^KUBE-POD-FW/).rules.flatMap(({ matches }) =>
      matches.flatMap((match) => (match.kind === "comment" && match.text.startsWith("shop/") ? match.text : [])),
    );
    expect(comments).toEqual([`shop/${"n".repeat(115)}`, `shop/${"n".repeat(115)}`]);
  });
});

describe("untrusted names", () => {
  /** The words of each line, without what is hashed and what is a comment. */
  function skeleton(model: ClusterModel): readonly string[] {
    const program = lower(model);
    const lines = [renderIptablesSave(program, 4), renderIpsetSave(program)].join("").split("\n");
    return lines
      .map((line) => {
        const words = splitWords(line, "iptables");
        if (words.kind !== "words") throw new Error(`a quote is open: ${line}`);
        return words.words
          .map(({ text }, at) => (words.words[at - 1]?.text === "--comment" ? "COMMENT" : text))
          .join(" ")
          .replace(/(KUBE-(?:POD-FW|NWPLCY|SRC|DST))-[A-Z2-7]{16}/g, "$1")
          .replace(/initval \S+/, "");
      })
      .toSorted();
  }

  it("give the same lines as harmless ones, whatever they try", () => {
    const wanted = skeleton(hostileCluster(HARMLESS));
    fc.assert(
      fc.property(hostileClusterArbitrary, (model) => {
        expect(skeleton(model)).toEqual(wanted);
      }),
    );
  });

  it("come back out of the text as the comments they were", () => {
    fc.assert(
      fc.property(hostileClusterArbitrary, (model) => {
        const program = lower(model);
        const read = importProgram({
          iptablesSave: { name: "rules", text: renderIptablesSave(program, 4, { origins: "before rules" }) },
          ipsetSave: { name: "sets", text: renderIpsetSave(program, { origins: "before sets" }) },
          node: program.node,
          strategy: program.strategy,
          attachment: program.attachment,
        });
        expect(read.issues).toEqual([]);
        for (const chain of program.families[0]?.tables[0]?.chains ?? []) {
          const other = read.program?.families[0]?.tables[0]?.chains.find(({ name }) => name === chain.name);
          const comments = (rules: typeof chain.rules | undefined) =>
            rules?.flatMap(({ matches }) => matches.flatMap((match) => (match.kind === "comment" ? match.text : [])));
          expect(comments(other?.rules)).toEqual(comments(chain.rules));
        }
      }),
      { numRuns: 50 },
    );
  });
});

describe("settings", () => {
  it("the order of visits shows in the order of the jumps", () => {
    const endpoints = ["a", "b", "c"].map((name, index) => pod(`shop/${name}`, [`10.1.0.${index + 2}`]));
    const model = cluster({ nodes: NODES, endpoints });
    const visited = (settings: Settings) =>
      chainNamed(lower(model, settings), /^KUBE-ROUTER-INPUT$/).rules.flatMap(({ origin }) => origin ?? []);
    expect(visited({})).toEqual(["pod shop/a", "pod shop/b", "pod shop/c"]);
    expect(visited({ "pod-order": "shop/c, shop/a" })).toEqual(["pod shop/c", "pod shop/a", "pod shop/b"]);
  });

  it("the policy visited last is jumped to first", () => {
    const policies = ["one", "two", "three"].map((name) => policy(`shop/${name}`, EVERYTHING, { ingress: [] }));
    const model = cluster({ nodes: NODES, endpoints: [WEB], policies });
    const jumps = (settings: Settings) =>
      chainNamed(lower(model, settings), /^KUBE-POD-FW/)
        .rules.filter(({ target }) => target?.kind === "jump" && /NWPLCY-[A-Z2-7]{16}$/.test(target.chain))
        .map(({ origin }) => origin);
    expect(jumps({})).toEqual(["shop/two", "shop/three", "shop/one"]);
    expect(jumps({ "policy-order": "shop/two" })).toEqual(["shop/three", "shop/one", "shop/two"]);
  });

  it("with the first pod to be visited another one shares its named ports", () => {
    const one = pod("shop/one", ["10.1.0.2"], { ports: [containerPort("http", 80), containerPort("metrics", 90)] });
    const two = pod("shop/two", ["10.1.0.3"], { ports: [containerPort("http", 80)] });
    const metrics = policy("shop/p", EVERYTHING, { ingress: [rule([], [policyPort("TCP", "metrics")])] });
    const model = cluster({ nodes: NODES, endpoints: [one, two], policies: [metrics] });
    const sent = syn("203.0.113.9", "10.1.0.3", 90);
    expect(verdictOf(model, sent)).toBe("accept");
    expect(verdictOf(model, sent, { "pod-order": "shop/two,shop/one" })).toBe("reject");
  });

  it("IPv6 is filtered when a pod has an IPv6 address, or always, or never", () => {
    const dual = pod("shop/web", ["10.1.0.2", "fd00:10:1::2"], { labels: { app: "web" } });
    const model = cluster({ nodes: NODES, endpoints: [dual], policies: [DENY] });
    const families = (of: ClusterModel, settings: Settings) => lower(of, settings).families.map(({ family }) => family);
    expect([families(SHOP, {}), families(model, {})]).toEqual([[4], [4, 6]]);
    expect(families(SHOP, { "enable-ipv6": "true" })).toEqual([4, 6]);
    const sent = syn("2001:db8::7", "fd00:10:1::2", 80);
    expect([verdictOf(model, sent), verdictOf(model, sent, { "enable-ipv6": "false" })]).toEqual(["reject", "accept"]);
  });

  it("a pod may send its node what the ranges and the node ports exempt", () => {
    const model = cluster({
      nodes: NODES,
      endpoints: [WEB],
      policies: [policy("shop/out", EVERYTHING, { egress: [] })],
    });
    const toNode = (port: number) => syn("10.1.0.2", "192.168.0.11", port);
    expect(verdictOf(model, toNode(22))).toBe("reject");
    expect(verdictOf(model, toNode(30_000))).toBe("accept");
    expect(verdictOf(model, toNode(30_000), { "service-node-port-range": "40000-40010" })).toBe("reject");
    expect(verdictOf(model, toNode(22), { "service-cluster-ip-range": "192.168.0.11/32" })).toBe("accept");
    expect(verdictOf(model, toNode(22), { "service-external-ip-range": "192.168.0.0/24" })).toBe("accept");
    expect(verdictOf(model, toNode(22), { "loadbalancer-ip-range": "192.168.0.0/24" })).toBe("accept");
  });

  it("with default deny, an address of the node's pods that has no chain gets and sends nothing", () => {
    const sent = syn("203.0.113.9", "10.1.0.77", 80);
    const model = cluster({ nodes: NODES, endpoints: [WEB] });
    // The fabric sends what belongs to nobody nowhere, so it is a pod of the node for it, and unknown to the rules.
    const stranger = pod("shop/new", ["10.1.0.77"]);
    const attachment = lower(cluster({ nodes: NODES, endpoints: [WEB, stranger] })).attachment;
    const verdict = (settings: Settings) => new Fabric([{ ...lower(model, settings), attachment }]).push(sent).verdict;
    expect([verdict({}), verdict({ "netpol-default-deny": "true" })]).toEqual(["accept", "reject"]);
  });

  it.each([
    ["service-cluster-ip-range", "everything"],
    ["service-node-port-range", "5-4"],
    ["enable-ipv6", "maybe"],
    ["netpol-default-deny", "yes"],
  ])("%s cannot be %s", (name, value) => {
    expect(() => lower(SHOP, { [name]: value })).toThrow(InvalidSetting);
  });
});

describe("a node", () => {
  it("refuses with REJECT, TCP too, and says by whose policies", () => {
    const [hop] = new Fabric(
      SHOP.nodes.map(({ name }) => lower(SHOP, {}, name)),
      { walk: true },
    )
      .push(syn("203.0.113.9", "10.1.0.2", 80))
      .hops.slice(-1);
    expect(hop).toMatchObject({ verdict: "reject", reason: "policy", decidedBy: { origin: "shop/deny" } });
  });

  it("names the peer of a rule that a packet matched, when its class has one", () => {
    const peers = [
      podPeer({ pods: selector({ app: "client" }) }),
      blockPeer("203.0.113.0/24"),
      blockPeer("192.0.2.0/24"),
    ];
    const model = cluster({
      nodes: NODES,
      endpoints: [WEB, CLIENT],
      policies: [policy("shop/web", selector({ app: "web" }), { ingress: [rule(peers)] })],
    });
    const origins = chainNamed(lower(model), /^KUBE-NWPLCY-[A-Z2-7]{16}$/).rules.map(({ origin }) => origin);
    expect([...new Set(origins)]).toEqual(["shop/web ingress[0].from[0]", "shop/web ingress[0]"]);
  });

  it("lets a ping pass both ways, and nothing else of ICMP", () => {
    const ping = packet("icmp", "10.1.1.2", "10.1.0.2");
    expect(verdictOf(SHOP, ping)).toBe("accept");
    expect(verdictOf(SHOP, { ...ping, icmpType: 13 })).toBe("reject");
  });

  it("has the same program whatever the order of the model's lists was before it was sorted", () => {
    fc.assert(
      fc.property(clusterArbitrary(), (model) => {
        const shuffled = cluster({
          ...model,
          endpoints: model.endpoints.toReversed(),
          policies: model.policies.toReversed(),
        });
        expect(lower(shuffled)).toEqual(lower(model));
      }),
      { numRuns: 30 },
    );
  });
});
