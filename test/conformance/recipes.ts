/**
 * Reads recipes.json: the well-known policy recipes, whose probes are prose (a command in a shell and what it printed).
 *
 * The file has the policies and the outputs; who asks is only in the text of the recipes, so it stands in `QUESTIONS`. The
 * verdict is read from the output. Probes go to a Service by name; the packet here is what the pod behind it would see,
 * and where only the name look-up is determinate, the DNS query is the packet.
 *
 * Left out: recipes 00, 03, 08 and 12, which probe nothing; "probe" 0 of recipe 05, which is a stray sentence; and of
 * recipe 14 the page behind a name that was resolved, since the recipe's own output contradicts its policy there.
 */
import { readFileSync } from "node:fs";
import { z } from "zod";
import type { ReferenceVerdict } from "../../reference/evaluate.ts";
import { packet } from "../../verify/fuzz/builders.ts";
import { sharedPath } from "../shared.ts";
import { type ConformanceCase, modelOf, namespaceManifest, nodeManifest, podManifest } from "./cases.ts";

const Recipes = z.object({
  recipes: z.array(
    z.object({
      file: z.string(),
      policies: z.array(z.record(z.string(), z.unknown())),
      probes: z.array(z.object({ cmd: z.string(), output: z.string() })),
    }),
  ),
});

type Labels = Readonly<Record<string, string>>;

/** One probe of a recipe, made a packet. */
interface Question {
  /** The number the file name starts with. */
  readonly recipe: string;
  /** Index in the recipe's probes. */
  readonly probe: number;
  /** Which policies are in force: recipe and index. */
  readonly policies: readonly (readonly [recipe: string, index: number])[];
  readonly client: { readonly namespace?: string; readonly labels?: Labels };
  readonly to: Server;
  /** Of the destination's pod; default: its first. */
  readonly port?: number;
}

/** What the recipes run or reach: pods, and one host outside. */
type Server =
  | {
      readonly kind: "pod";
      readonly namespace: string;
      readonly name: string;
      readonly labels: Labels;
      readonly protocol: string;
      readonly port: number;
    }
  | { readonly kind: "outside"; readonly address: string; readonly protocol: string; readonly port: number };

function run(name: string, labels: Labels, port: number): Server {
  return { kind: "pod", namespace: "default", name, labels, protocol: "tcp", port };
}

const WEB = run("web", { app: "web" }, 80);
const BOOKSTORE = run("apiserver", { app: "bookstore", role: "api" }, 80);
const TWO_PORTS = run("apiserver", { app: "apiserver" }, 8000);
const REDIS = run("db", { app: "bookstore", role: "db" }, 6379);
const DNS: Server = {
  kind: "pod",
  namespace: "kube-system",
  name: "kube-dns",
  labels: { "k8s-app": "kube-dns" },
  protocol: "udp",
  port: 53,
};
const EXAMPLE_COM: Server = { kind: "outside", address: "93.184.216.34", protocol: "tcp", port: 80 };
const PINGED: Server = { kind: "outside", address: "74.125.129.101", protocol: "icmp", port: 0 };

const NAMESPACES: Readonly<Record<string, Labels>> = {
  default: {},
  "kube-system": {},
  foo: {},
  secondary: {},
  dev: { purpose: "testing" },
  prod: { purpose: "production" },
  other: { team: "operations" },
};

const NOBODY = {};
const FOO = { labels: { app: "foo" } };
const MONITOR = { labels: { role: "monitoring" } };

const QUESTIONS: readonly Question[] = [
  { recipe: "01", probe: 0, policies: [], client: NOBODY, to: WEB },
  { recipe: "01", probe: 1, policies: [["01", 0]], client: NOBODY, to: WEB },
  { recipe: "02", probe: 0, policies: [["02", 0]], client: NOBODY, to: BOOKSTORE },
  {
    recipe: "02",
    probe: 1,
    policies: [["02", 0]],
    client: { labels: { app: "bookstore", role: "frontend" } },
    to: BOOKSTORE,
  },
  // This recipe keeps the first one's deny in force, to show that the allow wins.
  {
    recipe: "02a",
    probe: 0,
    policies: [
      ["02a", 0],
      ["01", 0],
    ],
    client: NOBODY,
    to: WEB,
  },
  { recipe: "04", probe: 0, policies: [["04", 0]], client: { namespace: "foo" }, to: WEB },
  { recipe: "04", probe: 1, policies: [["04", 0]], client: NOBODY, to: WEB },
  { recipe: "05", probe: 1, policies: [["05", 0]], client: { namespace: "secondary" }, to: WEB },
  { recipe: "06", probe: 0, policies: [["06", 0]], client: { namespace: "dev" }, to: WEB },
  { recipe: "06", probe: 1, policies: [["06", 0]], client: { namespace: "prod" }, to: WEB },
  { recipe: "07", probe: 0, policies: [["07", 0]], client: NOBODY, to: WEB },
  { recipe: "07", probe: 1, policies: [["07", 0]], client: { labels: { type: "monitoring" } }, to: WEB },
  { recipe: "07", probe: 2, policies: [["07", 0]], client: { namespace: "other" }, to: WEB },
  {
    recipe: "07",
    probe: 3,
    policies: [["07", 0]],
    client: { namespace: "other", labels: { type: "monitoring" } },
    to: WEB,
  },
  // The Service turns 8001 into 8000 and 5001 into 5000.
  { recipe: "09", probe: 0, policies: [["09", 0]], client: NOBODY, to: TWO_PORTS },
  { recipe: "09", probe: 1, policies: [["09", 0]], client: NOBODY, to: TWO_PORTS, port: 5000 },
  { recipe: "09", probe: 2, policies: [["09", 0]], client: MONITOR, to: TWO_PORTS },
  { recipe: "09", probe: 3, policies: [["09", 0]], client: MONITOR, to: TWO_PORTS, port: 5000 },
  {
    recipe: "10",
    probe: 0,
    policies: [["10", 0]],
    client: { labels: { app: "inventory", role: "web" } },
    to: REDIS,
  },
  { recipe: "10", probe: 1, policies: [["10", 0]], client: { labels: { app: "other" } }, to: REDIS },
  // Under the first policy names do not even resolve; under the second they do, and what they name is out of reach.
  { recipe: "11", probe: 0, policies: [["11", 0]], client: FOO, to: DNS },
  { recipe: "11", probe: 1, policies: [["11", 0]], client: FOO, to: DNS },
  { recipe: "11", probe: 2, policies: [["11", 1]], client: FOO, to: DNS },
  { recipe: "11", probe: 3, policies: [["11", 1]], client: FOO, to: WEB },
  { recipe: "11", probe: 4, policies: [["11", 1]], client: FOO, to: EXAMPLE_COM },
  { recipe: "11", probe: 5, policies: [["11", 1]], client: FOO, to: PINGED },
  { recipe: "14", probe: 0, policies: [["14", 0]], client: FOO, to: DNS },
  { recipe: "14", probe: 1, policies: [["14", 0]], client: FOO, to: DNS },
  { recipe: "14", probe: 2, policies: [["14", 0]], client: FOO, to: EXAMPLE_COM },
];

const CLIENT_ADDRESS = "10.244.1.10";
const SERVER_ADDRESS = "10.244.2.20";

/** The determinate probes, each a cluster of the one who asks and the one who is asked. */
export function recipeCases(): readonly ConformanceCase[] {
  const { recipes } = Recipes.parse(JSON.parse(readFileSync(sharedPath("conformance", "recipes.json"), "utf8")));
  const numbered = (number: string) => {
    const found = recipes.find(({ file }) => file.startsWith(`${number}-`));
    if (found === undefined) throw new Error(`no recipe ${number}`);
    return found;
  };
  return QUESTIONS.map(({ recipe, probe, policies, client, to, port }) => {
    const name = `${recipe} probe ${probe}`;
    const printed = numbered(recipe).probes[probe];
    if (printed === undefined) throw new Error(`no ${name}`);
    const destination = to.kind === "pod" ? SERVER_ADDRESS : to.address;
    return {
      name,
      model: modelOf(name, [
        nodeManifest("node-a", "172.18.0.2", "10.244.1.0/24"),
        nodeManifest("node-b", "172.18.0.3", "10.244.2.0/24"),
        ...Object.entries(NAMESPACES).map(([namespace, labels]) => namespaceManifest(namespace, labels)),
        podManifest({
          namespace: client.namespace ?? "default",
          name: "test",
          labels: client.labels ?? { run: "test" },
          node: "node-a",
          ips: [CLIENT_ADDRESS],
        }),
        ...(to.kind === "pod" ? [podManifest({ ...to, node: "node-b", ips: [SERVER_ADDRESS] })] : []),
        ...policies.map(([number, index]) => inDefault(numbered(number).policies[index])),
      ]),
      probes: [
        {
          packet: packet(to.protocol, CLIENT_ADDRESS, destination, { destinationPort: port ?? to.port }),
          verdict: verdictIn(`${printed.cmd}\n${printed.output}`),
        },
      ],
    };
  });
}

const PolicyManifest = z.looseObject({ metadata: z.looseObject({ namespace: z.string().default("default") }) });

/** kubectl fills in the namespace of the context. */
function inDefault(policy: unknown): z.infer<typeof PolicyManifest> {
  return PolicyManifest.parse(policy);
}

/** What a shell printed, as a verdict: a page, a port or an address came back, or nothing did. */
function verdictIn(printed: string): ReferenceVerdict {
  if (/timed out|bad address|does not work/.test(printed)) return "drop";
  if (/<!DOCTYPE html>|\bopen\b|http\.requests|^Connecting to/m.test(printed)) return "accept";
  throw new Error(`no verdict in ${JSON.stringify(printed)}`);
}
