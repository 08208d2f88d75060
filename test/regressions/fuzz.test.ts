/** What campaigns of the fuzzer turned up, so that it does not come back. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadCluster, resolvePolicies } from "../../compiler/compile.ts";
import { formatIssue } from "../../compiler/issue.ts";
import type { ClusterModel } from "../../compiler/model.ts";
import { STRATEGIES } from "../../compiler/strategies/registry.ts";
import type { Strategy } from "../../compiler/strategies/strategy.ts";
import { formatAddress } from "../../dataplane/address.ts";
import { cluster, namespace, node, packet, pod, policy, selector } from "../../verify/fuzz/builders.ts";
import { packetSteps } from "../../verify/fuzz/case.ts";
import { readConnection } from "../../verify/fuzz/connectionFile.ts";
import { holdConnections } from "../../verify/fuzz/connectionTarget.ts";
import { FreshCourt, Trial } from "../../verify/fuzz/contest.ts";
import { tryHistory } from "../../verify/fuzz/historyTarget.ts";
import { readCase } from "../../verify/fuzz/readCase.ts";
import { parseScenario } from "../../verify/scenario.ts";

function caseIn(folder: string) {
  const file = (name: string) => ({ name, text: readFileSync(join(import.meta.dirname, folder, name), "utf8") });
  const { case: subject, issues } = readCase({ cluster: file("cluster.yaml"), scenario: file("scenario.yaml") });
  if (subject === undefined) throw new Error(issues.map(({ message }) => message).join());
  return subject;
}

describe("a history in which UDP is sent twice and never answered", () => {
  const subject = caseIn("unanswered-udp-is-new");

  it.each(STRATEGIES)("is what is expected of $name: the policies of today decide about the second", (strategy) => {
    expect(subject.fresh).toBe(false);
    expect(tryHistory(strategy, subject)).toBeUndefined();
  });
});

describe("a connection of which weeks later nothing is left", () => {
  const name = "conversation.jsonl";
  const subject = readConnection(name, readFileSync(join(import.meta.dirname, "weeks-of-silence", name), "utf8"));
  if (!("steps" in subject)) throw new Error(formatIssue(subject));

  it.each(["table", "node"] as const)("is not taken for a living one: %s", (held) => {
    expect(holdConnections({ ...subject, held })).toBeUndefined();
  });
});

describe("inputs without anything in them", () => {
  it.each(["", "\n", "# only a comment\n", "---\n...\n"])("are rejected with a place: %j", (text) => {
    const rejections = [
      ...loadCluster([{ name: "input.yaml", text }]).issues,
      ...parseScenario({ name: "scenario.yaml", text }, []).issues,
    ];
    expect(rejections.length).toBeGreaterThan(1);
    for (const { line, column } of rejections) expect([line, column]).toEqual([1, 1]);
  });
});

describe("a node with IPv6 pods alone", () => {
  it.each(STRATEGIES)("has a legal program under $name, and nobody is refused", (strategy) => {
    const pods = ["fd00:10:1::2", "fd00:10:1::3"].map((ip, index) => pod(`default/pod-${index}`, [ip]));
    const model = cluster({
      nodes: [node("node-a", ["192.168.0.11", "fd00:192:168::11"], ["10.1.0.0/24", "fd00:10:1::/64"])],
      namespaces: [namespace("default", {})],
      endpoints: pods,
      policies: [],
    });
    const steps = packetSteps([packet("tcp", "fd00:10:1::2", "fd00:10:1::3", { destinationPort: 80 })]);
    const trial = new Trial({ model, steps, fresh: true });
    expect(new FreshCourt().hold({ accused: strategy, against: { kind: "reference" } }, trial)).toBeUndefined();
  });
});

describe("a pod on the host network whose address its node does not list", () => {
  const host = pod("default/agent", ["192.168.0.12"], { hostNetwork: true });
  const isolated = pod("default/pod-0", ["10.1.0.2"]);
  const policies = [policy("default/nobody", selector({}), { ingress: [] })];
  const model = (addresses: readonly string[], ...more: readonly ReturnType<typeof node>[]) =>
    cluster({ nodes: [node("node-a", addresses, ["10.1.0.0/24"]), ...more], endpoints: [isolated, host], policies });
  const steps = packetSteps([packet("sctp", "192.168.0.12", "10.1.0.2", { destinationPort: 90 })]);
  const held = (strategy: Strategy, one: ClusterModel) =>
    new FreshCourt().hold(
      { accused: strategy, against: { kind: "reference" } },
      new Trial({ model: one, steps, fresh: true }),
    );

  it.each(STRATEGIES)("sends as its node under $name", (strategy) => {
    expect(held(strategy, model(["192.168.0.11"]))).toBeUndefined();
    // An address that another node lists is the other's.
    expect(held(strategy, model(["192.168.0.11"], node("node-b", ["192.168.0.12"], ["10.1.1.0/24"])))).toBeUndefined();
  });

  it("changes nothing where the node lists it", () => {
    const listed = model(["192.168.0.12"]);
    expect(resolvePolicies(listed).model).toBe(listed);
    expect(resolvePolicies(model(["192.168.0.11"])).model.nodes[0]?.addresses.map(formatAddress)).toEqual([
      "192.168.0.11",
      "192.168.0.12",
    ]);
  });
});
