import { expect, it } from "vitest";
import { chainwalk, linesOf } from "./commandLine.ts";

const REOPENED = "scenarios/kube-router-except-hides-sibling-blocks/cluster.yaml";

it("finds nothing in a cluster that says what it means; exit 0", async () => {
  expect(await chainwalk("lint -f scenarios/db-policy")).toMatchObject({ code: 0, out: "nothing found\n", err: "" });
});

it("says where each finding is; exit 1", async () => {
  const { code, out } = await chainwalk(`lint -f ${REOPENED}`);
  expect(code).toBe(1);
  expect(linesOf(out)).toContainEqual(
    expect.stringMatching(/^scenarios\/.+\/cluster\.yaml:\d+:\d+: except-reopened spec\.ingress\[0\]\.from\[1\]/),
  );
  expect(linesOf(out).at(-1)).toBe("2 findings");
});

it("is JSON on request, a list of issues", async () => {
  const { out } = await chainwalk(`lint -f ${REOPENED} -o json`);
  expect(JSON.parse(out)).toContainEqual({
    code: "except-reopened",
    severity: "warning",
    message: "172.20.5.0/24 is excepted here, but is allowed again by shop/web spec.ingress[0].from[0]",
    file: REOPENED,
    line: expect.any(Number),
    column: expect.any(Number),
    path: "spec.ingress[0].from[1].ipBlock.except[0]",
  });
});

it("is SARIF on request: every result names its rule and a region of the manifest", async () => {
  const { code, out } = await chainwalk(`lint -f ${REOPENED} -o sarif`);
  expect(code).toBe(1);
  const log: SarifLog = JSON.parse(out);
  expect(log.version).toBe("2.1.0");
  const [run] = log.runs;
  const results = run?.results ?? [];
  expect(results.length).toBe(2);
  for (const { ruleId, ruleIndex, level, message, locations } of results) {
    expect(run?.tool.driver.rules[ruleIndex]?.id).toBe(ruleId);
    expect(level).toBe("warning");
    expect(message.text).not.toBe("");
    expect(locations[0]?.physicalLocation.artifactLocation.uri).toBe(REOPENED);
    expect(locations[0]?.physicalLocation.region.startLine).toBeGreaterThan(0);
  }
});

interface SarifLog {
  readonly version: string;
  readonly runs: readonly {
    readonly tool: { readonly driver: { readonly rules: readonly { readonly id: string }[] } };
    readonly results: readonly {
      readonly ruleId: string;
      readonly ruleIndex: number;
      readonly level: string;
      readonly message: { readonly text: string };
      readonly locations: readonly {
        readonly physicalLocation: {
          readonly artifactLocation: { readonly uri: string };
          readonly region: { readonly startLine: number };
        };
      }[];
    }[];
  }[];
}

it("refuses what is no valid cluster; exit 2", async () => {
  const { code, out } = await chainwalk("lint -f bad.yaml", { files: { "bad.yaml": "kind: NetworkPolicy\n" } });
  expect([code, out]).toEqual([2, ""]);
});
