import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { chainwalk, linesOf } from "../cli/commandLine.ts";

const line = (fields: object) => JSON.stringify({ protocol: "tcp", destination: "default/db", ...fields });
const files = {
  "t.jsonl": [
    line({ time: 1, source: "prod/api-pod", destinationPort: 3306 }),
    line({ time: 2, source: "default/intruder", destinationPort: 3306 }),
    line({ time: 90, source: "192.168.5.10", destinationPort: 3306 }),
  ].join("\n"),
  "after/p.yaml": `# a comment
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: db-policy, namespace: default }
spec: { podSelector: { matchLabels: { role: db } }, policyTypes: [Ingress] }
`,
};
const CHANGE = "replay -f scenarios/db-policy --after after t.jsonl";

describe("formats of replay", () => {
  it("table: what changes with the walks of both sides, what is refused, when, and whose addresses are not known", async () => {
    const { out } = await chainwalk(CHANGE, { files });
    expect(out).toContain("the change refuses 2 flows that passed");
    expect(out).toMatch(/^accept → reject {2}default\/db-policy {2}prod\/api-pod +default\/db {3}tcp\/3306 +1 +1$/m);
    expect(out).toMatch(/^before: accept$[\s\S]*^after: reject$/m);
    expect(out).toMatch(/^ {2}► {2}KUBE-POD-FW-\S+ +\d+ .*reject icmp-port-unreachable +default\/db-policy$/m);
    expect(out).toMatch(/^passed .*\n^refused .* at most \d+$/m);
    expect(out).toContain("192.168.5.10");
    expect(linesOf(out).filter((text) => text.endsWith(" "))).toEqual([]);
  });

  it("github: an error at the line of the policy that refuses", async () => {
    const { out } = await chainwalk(`${CHANGE} -o github`, { files });
    const [first = ""] = linesOf(out);
    expect(first).toMatch(
      /^::error file=after\/p.yaml,line=2,title=1 flow accept → reject%3A prod\/api-pod > default\/db/,
    );
    expect(first).toContain("%0Aafter: reject, default/db is isolated for ingress by default/db-policy");
  });

  it("the same on stderr in a workflow of GitHub's, whatever the format", async () => {
    const { err } = await chainwalk(`${CHANGE} -o csv -q`, { files, env: { GITHUB_ACTIONS: "true" } });
    expect(linesOf(err).filter((text) => text.startsWith("::error file=after/p.yaml,line=2,"))).toHaveLength(2);
  });

  it("md: tables whose rows have as many cells as their heads, walks folded away", async () => {
    const { out } = await chainwalk(`${CHANGE} -o md`, { files });
    expect(linesOf(out)[0]).toBe("### ❌ The change refuses 2 flows that passed");
    const rows = linesOf(out).filter((text) => text.startsWith("| "));
    expect(new Set(rows.slice(0, 4).map((row) => row.split("|").length))).toEqual(new Set([9]));
    expect(out.match(/<details>/g)?.length).toBe(out.match(/<\/details>/g)?.length);
  });

  it("csv: one line a flow, a name that a spreadsheet would compute is not", async () => {
    const { out } = await chainwalk(`${CHANGE} -o csv`, { files });
    const rows = out.split("\r\n").filter((text) => text !== "");
    expect(rows).toHaveLength(4);
    expect(rows[0]?.endsWith(",before,after")).toBe(true);
    expect(rows[1]?.endsWith(",accept,reject")).toBe(true);
  });

  it("html: one page that asks nobody for anything, and whose texts cannot become elements", async () => {
    const { out } = await chainwalk(`${CHANGE} -o html`, { files });
    expect(out).toContain('aria-label="packets over time"');
    expect(out).toContain('aria-label="flows by source and destination workload"');
    expect(out).not.toMatch(/(?:src|href)=|url\(|@import|<script(?! type="application\/json")/);
    expect(out.match(/<details/g)).toHaveLength(2);
  });

  it("pcapng: tshark reads verdict and rule as comments of the packets", async ({ skip }) => {
    if (spawnSync("tshark", ["--version"]).status !== 0) {
      if (process.env.CI) throw new Error("CI needs tshark");
      skip("tshark is not installed");
    }
    const binary: Uint8Array[] = [];
    await chainwalk(`${CHANGE} -o pcapng`, { files, binary });
    // Not by standard input: tshark wants a file or a pipe there, and a child's is a socket.
    const folder = mkdtempSync(join(tmpdir(), "chainwalk-replay-"));
    const file = join(folder, "annotated.pcapng");
    writeFileSync(file, Buffer.concat(binary));
    const { stdout, stderr, status } = spawnSync(
      "tshark",
      ["-n", "-r", file, "-T", "fields", "-e", "ip.src", "-e", "tcp.dstport", "-e", "frame.comment"],
      { encoding: "utf8" },
    );
    rmSync(folder, { recursive: true });
    expect({ status, stderr: stderr.replace(/^Running as user.*\n/, "") }).toEqual({ status: 0, stderr: "" });
    const [first = "", second = ""] = linesOf(stdout);
    expect(first).toMatch(
      /^10\.10\.2\.10\t3306\tbefore: accept, new, .*after: reject, new, on node-a by filter \S+ rule \d+ \(default\/db-policy\)$/,
    );
    expect(second).toContain("before: reject");
  });
});
