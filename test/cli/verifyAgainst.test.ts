import { expect, it } from "vitest";
import { chainwalk } from "./commandLine.ts";

const CLUSTER = `
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop, labels: { app: web } }
spec: { nodeName: a, containers: [{ name: c, ports: [{ containerPort: 80 }] }] }
status: { phase: Running, podIP: 10.1.0.2 }
---
apiVersion: v1
kind: Pod
metadata: { name: db, namespace: shop, labels: { app: db } }
spec: { nodeName: b, containers: [{ name: c, ports: [{ containerPort: 3306 }] }] }
status: { phase: Running, podIP: 10.1.0.3 }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: db, namespace: shop }
spec:
  podSelector: { matchLabels: { app: db } }
  ingress: [{ from: [{ podSelector: {} }], ports: [{ port: 3306 }] }]
`;
const files = { "now.yaml": CLUSTER, "was.yaml": CLUSTER.replace("port: 3306 }]", "port: 3306 }, { port: 3307 }]") };

interface Report {
  readonly strategy: string;
  readonly against: string;
  readonly coverage: number;
  readonly differences: readonly {
    readonly expected: string;
    readonly actual: string;
    readonly where: readonly string[];
  }[];
}

async function reports(command: string): Promise<{ readonly code: number; readonly list: readonly Report[] }> {
  const { code, out } = await chainwalk(`${command} -o json`, { files });
  return { code, list: JSON.parse(out) };
}

it("--before says what a change of the policies changes, in the user's words", async () => {
  const { code, list } = await reports("verify -f now.yaml --before was.yaml -s calico-iptables");
  expect(code).toBe(1);
  expect(list).toMatchObject([{ strategy: "calico-iptables", against: "before", coverage: 1 }]);
  expect(list[0]?.differences).toMatchObject([
    { expected: "accept", actual: "drop", where: ["from shop/web to shop/db, tcp/3307"] },
  ]);
});

it("--before finds nothing where nothing changed", async () => {
  const { code, list } = await reports("verify -f now.yaml --before now.yaml -s weave-net,cilium-ebpf");
  expect([code, list.map(({ differences }) => differences)]).toEqual([0, [[], []]]);
});

it("--against holds two strategies against each other; how they refuse does not matter", async () => {
  const { list } = await reports("verify -f now.yaml -s kube-router --against calico-iptables");
  expect(list).toMatchObject([{ strategy: "kube-router", against: "calico-iptables", coverage: 1 }]);
  // kube-router lets pings pass, Calico lets no pod open a tunnel; rejecting where the other drops is no difference.
  expect(list[0]?.differences.length).toBeGreaterThan(0);
  for (const { expected, actual, where } of list[0]?.differences ?? []) {
    expect([expected, actual]).toEqual(["reject", "accept"]);
    for (const box of where) expect(box).toMatch(/icmp type 8|udp\/4789|ipencap/);
  }
});

it("--strict forgives no declared deviation", async () => {
  expect((await reports("verify -f now.yaml -s kube-router")).code).toBe(0);
  const { code, list } = await reports("verify -f now.yaml -s kube-router --strict");
  expect(code).toBe(1);
  expect(list[0]?.differences.length).toBeGreaterThan(0);
});

it("one standard at a time; exit 2", async () => {
  const { code, err } = await chainwalk("verify -f now.yaml --before was.yaml --against romana", { files });
  expect([code, err]).toEqual([2, "error: --kernel, --against, --before and a node's saves are one at a time\n"]);
});

it("--strict where no deviation is asked about; exit 2", async () => {
  const { code, err } = await chainwalk("verify -f now.yaml --before was.yaml --strict", { files });
  expect([code, err]).toEqual([
    2,
    "error: --strict is about the API text's deviations, and nothing is held against the API text here\n",
  ]);
});

it("a prefix whose parts are all meant is said once, less what is really taken out of it", async () => {
  const block = "ipBlock: { cidr: 10.2.0.0/16, except: [10.2.5.0/24] }";
  const opened = files["now.yaml"].replace("podSelector: {} }], ports", `podSelector: {} }, { ${block} }], ports`);
  const changed = { "was.yaml": files["now.yaml"], "now.yaml": opened };
  const table = async (flags: string, given: Record<string, string>) =>
    (await chainwalk(`verify -f now.yaml ${flags}`, { files: given })).out;
  expect(await table("--before was.yaml", changed)).toContain(
    "\n    from 10.2.0.0/16 except 10.2.5.0/24 to shop/db, tcp/3306\n",
  );
  // kube-router answers pings wherever they come from: the block and its exception are no news.
  expect(await table("--strict", changed)).toContain("\n    from everywhere else to shop/db, icmp type 8\n");
  const closed = {
    "was.yaml": files["now.yaml"].replace(
      "podSelector: {} }]",
      "ipBlock: { cidr: 0.0.0.0/0, except: [10.2.0.0/16] } }]",
    ),
    "now.yaml": files["now.yaml"],
  };
  expect(await table("--before was.yaml", closed)).toContain(
    "\n    from everywhere else except 10.2.0.0/16 to shop/db, tcp/3306\n",
  );
});

it("--before says what was and what is; what a limit leaves out is said, and is not called equal", async () => {
  const { out } = await chainwalk("verify -f now.yaml --before was.yaml", { files });
  expect(out).toContain("  was accept, is now reject: e.g. tcp shop/web:40000 > shop/db:3307 S");
  const cut = await chainwalk("verify -f now.yaml --limit 10", { files });
  expect(cut.code).toBe(3);
  expect(cut.out).toMatch(/^kube-router: program against the API text: no difference found \(10 classes, [\d.]+ %/);
  expect(cut.out).toMatch(/\n {2}not covered: from .+ to .+, every protocol and port\n/);
  const json = await chainwalk("verify -f now.yaml --limit 10 -o json", { files });
  expect(JSON.parse(json.out)[0].notCovered.length).toBeGreaterThan(0);
});

it("with two families says of which one a box is, and says once what is the same in both", async () => {
  const dual = (rule: string) =>
    CLUSTER.replaceAll(
      /podIP: 10\.1\.0\.(\d)/g,
      "podIP: 10.1.0.$1, podIPs: [{ ip: 10.1.0.$1 }, { ip: 'fd00:1::$1' }]",
    ).replace(/ingress: .*/, `ingress: [${rule}]`);
  const given = {
    "none.yaml": dual("").replace("ingress: []", "policyTypes: [Ingress]"),
    "four.yaml": dual("{ from: [{ ipBlock: { cidr: 0.0.0.0/0 } }], ports: [{ port: 80 }] }"),
    "pods.yaml": dual("{ from: [{ podSelector: {} }], ports: [{ port: 80 }] }"),
  };
  const where = async (now: string) => {
    const { out } = await chainwalk(`verify -f ${now} --before none.yaml -s calico-iptables -o json`, { files: given });
    return JSON.parse(out)[0].differences.flatMap((one: Report["differences"][number]) => one.where);
  };
  expect(await where("pods.yaml")).toEqual(["from shop/web to shop/db, tcp/80"]);
  expect(await where("four.yaml")).toContain("from everywhere else to shop/db, tcp/80, over IPv4");
  const cut = await chainwalk("verify -f pods.yaml --limit 1", { files: given });
  expect(cut.out).toContain("\n  not covered: from any address to any address, every protocol and port, over IPv6\n");
});
