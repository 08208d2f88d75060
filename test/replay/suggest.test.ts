import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fewestRectangles } from "../../replay/suggest/cover.ts";
import { chainwalk } from "../cli/commandLine.ts";
import { runsOf } from "../extent.ts";

const cells = (rows: readonly ReadonlySet<string>[]) =>
  rows.flatMap((ports, row) => [...ports].map((port) => `${row} ${port}`)).sort();

describe("the fewest rules", () => {
  const rowsOf = fc.array(fc.uniqueArray(fc.constantFrom("a", "b", "c", "d"), { minLength: 1 }), {
    minLength: 1,
    maxLength: 5,
  });

  it("allow exactly what is needed", () => {
    fc.assert(
      fc.property(rowsOf, (lists) => {
        const rows = lists.map((ports) => new Set(ports));
        const cover = fewestRectangles(rows);
        const covered = new Set(
          cover.flatMap((each) => each.rows.flatMap((row) => each.ports.map((p) => `${row} ${p}`))),
        );
        expect([...covered].sort()).toEqual(cells(rows));
      }),
    );
  });

  it("are as few as trying all covers finds", () => {
    fc.assert(
      fc.property(rowsOf, (lists) => {
        const rows = lists.map((ports) => new Set(ports));
        expect(fewestRectangles(rows)).toHaveLength(bruteForce(rows));
      }),
      { numRuns: runsOf(60) },
    );
  });

  it("handle more peers than can be tried, still exactly", () => {
    const rows = Array.from(
      { length: 40 },
      (_, row) => new Set(["a", "b", "c", "d", "e", "f"].filter((_port, at) => (row * 7 + 1) & (1 << at))),
    );
    const needed = rows.filter(({ size }) => size > 0);
    const cover = fewestRectangles(needed);
    const covered = new Set(cover.flatMap((each) => each.rows.flatMap((row) => each.ports.map((p) => `${row} ${p}`))));
    expect([...covered].sort()).toEqual(cells(needed));
    expect(cover.length).toBeLessThanOrEqual(6);
  });
});

/** Port sets are subsets of four: a cover is a choice of subsets, each with all the rows that have it. */
function bruteForce(rows: readonly ReadonlySet<string>[]): number {
  const all = cells(rows);
  const names = ["a", "b", "c", "d"];
  const subsets = Array.from({ length: 15 }, (_, at) => names.filter((_name, bit) => (at + 1) & (1 << bit)));
  const rectangles = subsets.map((ports) =>
    rows.flatMap((row, index) => (ports.every((port) => row.has(port)) ? ports.map((port) => `${index} ${port}`) : [])),
  );
  for (let count = 1; count <= 4; count++) if (covers(rectangles, all, count, new Set())) return count;
  throw new Error("four ports need at most four rules");
}

function covers(
  rectangles: readonly (readonly string[])[],
  all: readonly string[],
  left: number,
  covered: ReadonlySet<string>,
): boolean {
  if (all.every((cell) => covered.has(cell))) return true;
  if (left === 0) return false;
  return rectangles.some((own, at) => covers(rectangles.slice(at + 1), all, left - 1, new Set([...covered, ...own])));
}

const line = (fields: object) => JSON.stringify({ protocol: "tcp", destination: "default/db", ...fields });
const TRAFFIC = [
  line({ source: "prod/api-pod", destinationPort: 3306 }),
  line({ source: "default/intruder", destinationPort: 3306 }),
  line({ source: "default/frontend", destinationPort: 22 }),
  line({ source: "192.168.5.10", destinationPort: 22 }),
  line({ source: "192.168.5.11", destinationPort: 22 }),
  JSON.stringify({ protocol: "icmp", source: "default/db", destination: "prod/api-pod" }),
].join("\n");

interface Suggestion {
  readonly policies: readonly { readonly metadata: object; readonly spec: Readonly<Record<string, unknown>> }[];
  readonly rules: number;
  readonly verified: object;
  readonly notCovered: object;
}

async function suggest(flags: string, files: Readonly<Record<string, string>> = {}) {
  const outcome = await chainwalk(`replay ${flags} t.jsonl --suggest`, { files: { "t.jsonl": TRAFFIC, ...files } });
  const { out } = await chainwalk(`replay ${flags} t.jsonl --suggest -o json`, {
    files: { "t.jsonl": TRAFFIC, ...files },
  });
  return { ...outcome, suggestion: JSON.parse(out) as Suggestion };
}

describe("replay --suggest", () => {
  it("opens what was seen and refused, says what no rule can open, and the flows then pass", async () => {
    const { code, out, err, suggestion } = await suggest("-f scenarios/db-policy -s cilium-ebpf");
    expect(code).toBe(0);
    expect(suggestion.policies).toHaveLength(1);
    expect(suggestion.policies[0]?.spec).toEqual({
      podSelector: { matchLabels: { role: "db" } },
      policyTypes: ["Ingress"],
      ingress: [
        {
          from: [{ podSelector: { matchLabels: { name: "frontend" } } }, { ipBlock: { cidr: "192.168.5.10/31" } }],
          ports: [{ protocol: "TCP", port: 22 }],
        },
        {
          from: [{ podSelector: { matchLabels: { name: "api-pod" } } }],
          ports: [{ protocol: "TCP", port: 3306 }],
        },
      ],
    });
    expect(suggestion.verified).toEqual({ helped: 4, stillRefused: 0, broken: 0, opened: 0 });
    expect(suggestion.notCovered).toEqual({ protocol: 1 });
    expect(err).toContain("no rule for 1 flow of protocols that a NetworkPolicy cannot name");
    // What is printed is what was tried: applied, it refuses nothing that can be named.
    const applied = await chainwalk("replay -f scenarios/db-policy --after new t.jsonl -o json -s cilium-ebpf", {
      files: { "t.jsonl": TRAFFIC, "new/p.yaml": out },
    });
    const { totals } = JSON.parse(applied.out) as { totals: { flowVerdicts: { accept: number; drop: number } } };
    expect(totals.flowVerdicts).toEqual({ accept: 5, drop: 1, reject: 0 });
  });

  it("of a change: only what passed before it", async () => {
    const closed = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: db-policy, namespace: default }
spec: { podSelector: { matchLabels: { role: db } } }
`;
    const { suggestion } = await suggest("-f scenarios/db-policy --after new", { "new/p.yaml": closed });
    expect(suggestion.verified).toEqual({ helped: 1, stillRefused: 0, broken: 0, opened: 0 });
    expect(suggestion.policies[0]?.spec.ingress).toEqual([
      {
        from: [
          {
            namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "prod" } },
            podSelector: { matchLabels: { name: "api-pod" } },
          },
        ],
        ports: [{ protocol: "TCP", port: 3306 }],
      },
    ]);
  });

  it("closes a namespace that no policy guards, but for what was seen", async () => {
    const { code, suggestion } = await suggest("-f scenarios/db-policy -n prod --not --protocol icmp");
    expect(code).toBe(0);
    expect(suggestion.policies.map(({ metadata }) => metadata)).toEqual([
      { name: "default-deny", namespace: "prod" },
      { name: "allow-seen-api-pod", namespace: "prod" },
    ]);
    expect(suggestion.policies[1]?.spec).toMatchObject({
      policyTypes: ["Egress"],
      egress: [{ ports: [{ port: 3306 }] }],
    });
    expect(suggestion.verified).toEqual({ helped: 0, stillRefused: 0, broken: 0, opened: 0 });
  });

  it("names a file for it, since the recording is read twice", async () => {
    const { code, err } = await chainwalk("replay -f scenarios/db-policy - --suggest", { stdin: TRAFFIC });
    expect({ code, err }).toEqual({
      code: 2,
      err: "error: --suggest reads the recording twice, to try out what it suggests: name a file, not standard input\n",
    });
  });
});
