import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { chainwalk, linesOf } from "./commandLine.ts";

const STORY = "scenarios/rule-in-front";

interface TimelineStep {
  readonly step: number;
  readonly operations: readonly { readonly tool: string; readonly args: readonly string[]; readonly stdin?: string }[];
  readonly transient: readonly {
    readonly kind: string;
    readonly packet: Readonly<Record<string, unknown>>;
    readonly from: number;
    readonly to: number;
    readonly walks: { readonly between: unknown; readonly after: unknown };
  }[];
  readonly connections: Readonly<Record<string, number>>;
}

describe("timeline", () => {
  it("lists operations, windows with a packet each and both walks, and the fate of connections", async () => {
    const { code, out } = await chainwalk(`timeline -f ${STORY} --node node-a -o json`);
    expect(code).toBe(0);
    const { strategy, node, steps } = JSON.parse(out) as { strategy: string; node: string; steps: TimelineStep[] };
    expect([strategy, node, steps.length]).toEqual(["kube-router", "node-a", 2]);
    const [start, step] = steps;
    // What stands before the first sync, and the sync; in the middle of it nothing is followed.
    expect(start?.operations.slice(-2).map(({ tool }) => tool)).toEqual(["ipset", "iptables-restore"]);
    expect([start?.step, start?.transient, start?.connections.survive]).toEqual([0, [], 0]);
    expect(step?.operations.map(({ tool, args }) => [tool, ...args])).toEqual([
      ["ipset", "restore", "-exist"],
      ["iptables-restore", "--wait", "-T", "filter"],
    ]);
    // The sets of the first rule are those of the new one while the old chains look into them.
    const windows = step?.transient.map(({ kind, packet, from, to }) => {
      return `${kind} ${packet.source} > ${packet.destination}:${packet.destinationPort} ${from}-${to}`;
    });
    expect(windows?.toSorted()).toEqual([
      "leak 10.10.2.10 > 10.10.1.10:443 1-2",
      "leak 10.10.2.10 > 10.10.1.10:80 1-2",
      "outage 10.10.1.11 > 10.10.1.10:443 1-2",
      "outage 10.10.1.11 > 10.10.1.10:80 1-2",
    ]);
    expect(step?.transient[0]?.walks.between).not.toEqual(step?.transient[0]?.walks.after);
    expect(step?.connections.survive).toBeGreaterThan(10);
  });

  it("says what a limit left out, in every form", async () => {
    const cut = `timeline -f ${STORY} --node node-a --limit 20`;
    const { code, out, err } = await chainwalk(`${cut} -o json`);
    expect([code, err]).toEqual([3, expect.stringContaining("what was left out stands beside them")]);
    const [, step] = (JSON.parse(out) as { steps: { coverage: number; notCovered: readonly string[] }[] }).steps;
    expect(step?.coverage).toBeLessThan(1);
    expect(step?.notCovered.length).toBeGreaterThan(0);
    for (const form of ["table", "md", "html"]) {
      const shown = (await chainwalk(`${cut} -o ${form}`)).out.replaceAll("&gt;", ">");
      expect(shown).toMatch(/20 of \d+ classes of packets followed/);
      expect(shown).toContain(`not covered: ${step?.notCovered[0]}`);
    }
    const whole = await chainwalk(`timeline -f ${STORY} --node node-a -o json`);
    expect(JSON.parse(whole.out).steps[1]).toMatchObject({ coverage: 1, notCovered: [] });
  });

  it("without --node every node of every strategy is a member of a list", async () => {
    const { out } = await chainwalk(`timeline -f ${STORY} -s kube-router,calico-iptables -o json`);
    const lived = JSON.parse(out) as readonly { strategy: string; node: string }[];
    expect(lived.map(({ strategy, node }) => `${strategy} ${node}`)).toEqual([
      "kube-router node-a",
      "kube-router node-b",
      "calico-iptables node-a",
      "calico-iptables node-b",
    ]);
  });

  it("reads snapshots with their titles, and says what is wrong with their numbers", async () => {
    const cluster = readFileSync(`${STORY}/cluster.yaml`, "utf8");
    const files = {
      "story/step-0.yaml": cluster,
      "story/step-1.yaml": cluster.replace("10.10.2.10", "10.10.2.11").replace("10.10.2.10", "10.10.2.11"),
      "story/steps.txt": "0 base\n1 c moves\n",
    };
    const { out } = await chainwalk("timeline -f story --node node-a", { files });
    expect(linesOf(out)[2]).toMatch(/^ +0 .* the start, on an empty node$/);
    expect(linesOf(out)[3]).toMatch(/^ +1 .* c moves$/);
    const gap = { "story/step-0.yaml": cluster, "story/step-2.yaml": cluster };
    const wrong = await chainwalk("timeline -f story", { files: gap });
    expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining("story/step-2.yaml: want step-1 here")]);
  });

  it("reads watch events, one JSON value after the other", async () => {
    const pod = (name: string, ip: string, labels: Record<string, string>) => ({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace: "default", labels },
      spec: { nodeName: "n", containers: [{ name: "c", image: "i" }] },
      status: { phase: "Running", podIP: ip, podIPs: [{ ip }] },
    });
    const event = (type: string, object: unknown) => JSON.stringify({ type, object });
    const lines = [
      JSON.stringify(pod("a", "10.0.0.1", { app: "a" }), undefined, 4),
      event("ADDED", pod("b", "10.0.0.2", { app: "b" })),
      event("MODIFIED", pod("b", "10.0.0.2", { app: "c" })),
      event("DELETED", pod("b", "10.0.0.2", { app: "c" })),
    ];
    const { code, out } = await chainwalk("timeline -f watch.jsonl --node n", {
      files: { "watch.jsonl": `${lines.join("\n")}\n` },
    });
    expect(code).toBe(0);
    expect(
      linesOf(out)
        .slice(3)
        .map((line) => line.replace(/^.*0 {2}/, "")),
    ).toEqual(["MODIFIED Pod default/b", "DELETED Pod default/b"]);
    // Without --output-watch-events a pod that is gone stays, and the reader is told.
    const untyped = lines.slice(1, 3).map((line) => JSON.stringify(JSON.parse(line).object));
    const blind = await chainwalk("timeline -f watch.jsonl --node n", { files: { "watch.jsonl": untyped.join("\n") } });
    expect([blind.code, blind.err]).toEqual([0, expect.stringContaining("--output-watch-events")]);
    const bad = await chainwalk("timeline -f watch.jsonl", { files: { "watch.jsonl": `${lines[1]}\n{"type":\n` } });
    expect([bad.code, bad.err]).toEqual([2, expect.stringContaining("watch.jsonl:2:1")]);
  });

  it.each(["md", "html"])("prints %s", async (format) => {
    const { out } = await chainwalk(`timeline -f ${STORY} --node node-a -o ${format}`);
    expect(out).toContain(
      format === "md" ? "| 1 | leak | prod/c > prod/a tcp/80, tcp/443 | 1.9 | 2 |" : '<input type="range"',
    );
  });

  it("marks the windows on the page's slider, and only there", async () => {
    const marks = async (story: string, strategy: string) => {
      const { out } = await chainwalk(`timeline -f ${story} -s ${strategy} --node node-a -o html`);
      return [...out.matchAll(/<button class="(\w+)" data-moment="(\d+)" style="([^"]*)" title="([^"]*)"/g)].map(
        ([, ...parts]) => parts.join(" | "),
      );
    };
    // Moments: before the first operation, after the sets, after the commit.
    expect(await marks(STORY, "kube-router")).toEqual([
      "leak | 1 | --from:0.50000;--to:0.50000 | leak, outage: moments 1 to 1",
    ]);
    expect(await marks(STORY, "calico-iptables")).toEqual([]);
  });

  it("a connection is stalled when its packets are refused until its peer's address is known again", async () => {
    const pod = (name: string, node: string, ip: string) => ({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace: "default", labels: { app: name } },
      spec: { nodeName: node, containers: [{ name: "c", image: "i" }] },
      status: { phase: "Running", podIP: ip, podIPs: [{ ip }] },
    });
    const named = (app: string) => ({ podSelector: { matchLabels: { app } } });
    const policy = {
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata: { name: "p", namespace: "default" },
      spec: { ...named("a"), ingress: [{ from: [named("b")], ports: [{ port: 80 }] }] },
    };
    const peer = pod("b", "m", "10.0.0.2");
    const watched = [
      policy,
      pod("a", "n", "10.0.0.1"),
      peer,
      { type: "DELETED", object: peer },
      { type: "ADDED", object: peer },
    ];
    const { out } = await chainwalk("timeline -f watch.jsonl -s cilium-ebpf,kube-router,weave-net --node n -o json", {
      files: { "watch.jsonl": watched.map((line) => JSON.stringify(line)).join("\n") },
    });
    const lived = JSON.parse(out) as readonly { readonly strategy: string; readonly steps: readonly TimelineStep[] }[];
    // Cilium asks its policy about every packet; where connection tracking answers first, nothing stalls.
    expect(
      lived.map(({ strategy, steps }) => [strategy, steps[2]?.connections.stalled, steps[2]?.connections.cut]),
    ).toEqual([
      ["cilium-ebpf", 1, 0],
      ["kube-router", 0, 0],
      ["weave-net", 0, 0],
    ]);
  });

  it("--at gives one of its states to trace, matrix and compare", async () => {
    const trace = async (at: string) =>
      (await chainwalk(`trace -f ${STORY} --at ${at} --from prod/c --to prod/a --port 80 -o minimal`)).out;
    // The set of the first rule has the new rule's peer; the chains are still those of the old rules.
    expect(await trace("0")).toContain("Rejected");
    // Until the first sync has its tables nothing is refused.
    expect(await trace("0.0")).toMatch(/Allowed|Accepted/);
    expect(await trace("0.21")).toMatch(/Allowed|Accepted/);
    expect(await trace("0.22")).toContain("Rejected");
    expect(await trace("1.0")).toContain("Rejected");
    expect(await trace("1.1")).toMatch(/Allowed|Accepted/);
    expect(await trace("1.2")).toContain("Rejected");
    expect((await chainwalk(`matrix -f ${STORY} --at 1.1 --port tcp/80 -o json`)).out).toContain('"#..","R#.","..#"');
    const compared = await chainwalk(`compare -f ${STORY} --at 1.1 -s kube-router -o json`);
    expect(compared.code).toBe(1);
    const wrong = await chainwalk(`trace -f ${STORY} --at 1.7 --from prod/c --to prod/a`);
    expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining("kube-router has 2 operations in step 1")]);
    const early = await chainwalk(`trace -f ${STORY} --at 0.99 --from prod/c --to prod/a`);
    expect([early.code, early.err]).toEqual([2, expect.stringContaining("kube-router has 22 operations in step 0")]);
    expect((await chainwalk(`trace -f ${STORY} --at 2 --from prod/c --to prod/a`)).err).toContain("steps 0 to 1");
  });
});
