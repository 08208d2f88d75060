/** `chainwalk verify --kernel`, and what it leaves behind when the kernel disagrees. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { kubeRouter } from "../../compiler/strategies/kube-router.ts";
import type { TableProgram } from "../../dataplane/program.ts";
import { clusterArbitrary } from "../../verify/fuzz/cluster.ts";
import { judgeCluster, shrinkCluster } from "../../verify/kernel/campaign.ts";
import { reasonAgainst } from "../../verify/kernel/capabilities.ts";
import { findingFiles } from "../../verify/kernel/finding.ts";
import { type Subject, subjectOf } from "../../verify/kernel/judge.ts";
import { chainwalk } from "../cli/commandLine.ts";
import { isWhole } from "../extent.ts";
import { SEED } from "./budget.ts";
import { hasKernel } from "./kernel.ts";

describe("what a machine lacks", () => {
  it("is said for the feature that needs it, with what to do", () => {
    const missing = [
      { feature: "judge", what: "no ipset", remedy: "apt install ipset" },
      { feature: "nft-variant", what: "no iptables-nft-restore", remedy: "apt install iptables" },
    ] as const;
    expect(reasonAgainst(missing, "bridge")).toBe("no ipset (apt install ipset)");
    expect(reasonAgainst(missing.slice(1), "bridge")).toBeUndefined();
    expect(reasonAgainst(missing.slice(1), "nft-variant")).toContain("iptables-nft-restore");
  });
});

describe.runIf(hasKernel("bridge"))("chainwalk verify --kernel", () => {
  const CLUSTER = "scenarios/db-policy/cluster.yaml";
  const PACKETS = isWhole ? 1500 : 500;
  const verify = `verify --kernel -f ${CLUSTER} --packets ${PACKETS} --seed 7`;

  it("says what was asked and that the kernel agrees", async () => {
    const { code, out, err } = await chainwalk(`${verify} -s kube-router,weave-net`);
    expect([code, err]).toEqual([0, ""]);
    expect(out).toMatch(/^kube-router: \d+ packets and \d+ walks against the kernel: equal \(seed 7\)$/m);
    expect(out).toMatch(/^weave-net: /m);
  });

  it("says the same as JSON, one object for each node", async () => {
    const { code, out } = await chainwalk(`${verify} -o json`);
    const found: unknown = JSON.parse(out);
    expect(code).toBe(0);
    const equal = { against: "kernel", strategy: "kube-router", differences: [], deviations: {}, coverage: 1, seed: 7 };
    expect(found).toEqual(["node-a", "node-b"].map((node) => expect.objectContaining({ ...equal, node })));
    for (const { packets, walks } of found as readonly { readonly packets: number; readonly walks: number }[]) {
      expect(packets).toBeGreaterThan(PACKETS / 5);
      expect(walks).toBe(packets);
    }
  });

  it("draws the same packets from the same seed", async () => {
    const [first, again, other] = [await chainwalk(verify), await chainwalk(verify), await chainwalk(`${verify}1`)];
    expect(again?.out).toBe(first?.out);
    expect(other?.out).not.toBe(first?.out);
  });

  it("judges the program that was read from a node", async () => {
    const compiled = async (format: string) =>
      (await chainwalk(`compile -f scenarios/db-policy/cluster.yaml --node node-a -o ${format}`)).out;
    const files = { "a.rules": await compiled("iptables-save"), "a.sets": await compiled("ipset-save") };
    const { code, out } = await chainwalk(
      `${verify} --iptables-save a.rules --ipset-save a.sets --node node-a -o json`,
      { files },
    );
    expect(code).toBe(0);
    expect(JSON.parse(out)).toEqual([expect.objectContaining({ node: "node-a", differences: [] })]);
  });

  // A bridge sends no frame back to where it came from: between two pods of another node weave's kernel drops all.
  it("asks an imported node about no packet between two others", async () => {
    const compiled = async (format: string) =>
      (await chainwalk(`compile -f ${CLUSTER} -s weave-net --node node-b -o ${format}`)).out;
    const files = { "b.rules": await compiled("iptables-save"), "b.sets": await compiled("ipset-save") };
    const saves = "--iptables-save b.rules --ipset-save b.sets --node node-b";
    const { code, out } = await chainwalk(`${verify} -s weave-net ${saves} -o json`, { files });
    const [found] = JSON.parse(out);
    expect([code, found.differences]).toEqual([0, []]);
    expect(found.packets).toBeGreaterThan(PACKETS / 3);
    expect(found.packets).toBeLessThan(PACKETS);
  });
});

describe.runIf(hasKernel("bridge"))("a difference", () => {
  /** A kernel that is told to accept what kube-router rejects. */
  const lenient = (program: TableProgram): Subject => {
    const { sets = "", ipv4 = "", ipv6 = "" } = subjectOf(program).text;
    const open = (text: string) => text.replace(/ -j REJECT .*$/gm, " -j ACCEPT");
    return { program, text: { sets, ipv4: open(ipv4), ipv6: open(ipv6) } };
  };

  it("is made small, and is a scenario that fails for as long as it is there", async () => {
    const [most, people] = isWhole ? [4, 6] : [2, 3];
    const [model] = fc.sample(
      clusterArbitrary().filter(({ policies, endpoints }) => policies.length === most && endpoints.length === people),
      { numRuns: 1, seed: SEED },
    );
    if (model === undefined) throw new Error("no cluster");
    const subject = { model, strategy: kubeRouter };
    const options = {
      variant: "legacy",
      walks: false,
      packets: isWhole ? 2000 : 500,
      seed: SEED,
      subject: lenient,
    } as const;
    const { differences } = await judgeCluster(subject, options);
    const [difference] = differences;
    if (difference === undefined) throw new Error("a lenient kernel went unnoticed");
    const finding = await shrinkCluster(subject, difference, options);
    expect(finding.packets).toHaveLength(1);
    expect(finding.case.model.policies).toHaveLength(1);
    expect(finding.case.model.endpoints).toHaveLength(1);
    expect(finding.difference).toMatchObject({ expected: "accept", actual: "reject" });
    const files = Object.fromEntries(
      Object.entries(findingFiles(finding)).map(([name, text]) => [`findings/case/${name}`, text]),
    );
    const tested = await chainwalk("test findings/case -s kube-router", { files });
    expect(tested.code, tested.out + tested.err).toBe(1);
    expect(tested.out).toContain("accept");
  });
});
