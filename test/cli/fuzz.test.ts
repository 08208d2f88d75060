import { describe, expect, it } from "vitest";
import { commandOutsider } from "../../cli/fuzzCommand.ts";
import { Trial } from "../../verify/fuzz/contest.ts";
import { chainwalk, linesOf } from "./commandLine.ts";

const SHORT = "fuzz -s kube-router,bpf-hash --runs 20 --seed 4";

describe("fuzz", () => {
  it("-o json has the contract's fields and no others; without findings the exit code is 0", async () => {
    const { code, out } = await chainwalk(`${SHORT} -o json`);
    const report: unknown = JSON.parse(out);
    expect(report).toEqual({
      seed: 4,
      runs: 20,
      seconds: expect.any(Number),
      features: expect.any(Number),
      corpus: expect.any(Number),
      findings: [],
    });
    expect(code).toBe(0);
  });

  it("draws the same for the same seed", async () => {
    const told = async () => withoutSeconds((await chainwalk(`${SHORT} -o json`)).out);
    expect(await told()).toBe(await told());
  });

  it("keeps cases by their content, and goes on where it was", async () => {
    const saved = new Map<string, string>();
    const first = await chainwalk(`${SHORT} -o json --corpus kept`, { saved });
    const files = Object.fromEntries(saved);
    expect(Object.keys(files)).toContain("kept/journal.jsonl");
    expect(
      Object.keys(files).filter((path) => /^kept\/clusters\/[0-9a-f]{16}\.yaml$/.test(path)).length,
    ).toBeGreaterThan(5);
    const again = await chainwalk("fuzz -s kube-router,bpf-hash --runs 40 --seed 4 -o json --corpus kept --resume", {
      files,
    });
    const [before, after] = [first, again].map(({ out }): Report => JSON.parse(out));
    expect(before?.runs).toBe(20);
    expect(after?.runs).toBe(40);
    expect(after?.features).toBeGreaterThanOrEqual(before?.features ?? 0);
    expect(after?.corpus).toBeGreaterThanOrEqual(before?.corpus ?? 0);
  });

  it("keeps conversations as files, and goes on from them", async () => {
    const saved = new Map<string, string>();
    const run = "fuzz --target connections --seed 4 -o json --corpus kept";
    const first = await chainwalk(`${run} --runs 12`, { saved });
    const names = [...saved.keys()].filter((path) => /^kept\/connections\/[0-9a-f]{16}\.jsonl$/.test(path));
    expect(names.length).toBeGreaterThan(5);
    const cut = names[0] ?? "";
    const files = { ...Object.fromEntries(saved), [cut]: saved.get(cut)?.slice(0, -40) ?? "" };
    const again = await chainwalk(`${run} --runs 13 --resume`, { files });
    const [before, after] = [first, again].map(({ out }): Report => JSON.parse(out));
    expect(before).toMatchObject({ runs: 12, corpus: names.length });
    expect(after?.runs).toBe(13);
    // All but the one that was being written, and perhaps one more.
    expect([names.length - 1, names.length]).toContain(after?.corpus);
  });

  it("counts a history once, and the same when it goes on", async () => {
    const saved = new Map<string, string>();
    const run = "fuzz --target histories -s bpf-hash --seed 4 -o json --corpus kept";
    const first = await chainwalk(`${run} --runs 4`, { saved });
    const folders = new Set([...saved.keys()].flatMap((path) => /^kept\/histories\/[0-9a-f]{16}/.exec(path) ?? []));
    expect(folders.size).toBeGreaterThan(0);
    const again = await chainwalk(`${run} --runs 4 --resume`, { files: Object.fromEntries(saved) });
    for (const { out } of [first, again]) expect(JSON.parse(out)).toMatchObject({ runs: 4, corpus: folders.size });
  });

  it("goes on after a journal whose last line was being written", async () => {
    const saved = new Map<string, string>();
    await chainwalk(`${SHORT} --corpus kept`, { saved });
    const journal = saved.get("kept/journal.jsonl") ?? "";
    const files = { ...Object.fromEntries(saved), "kept/journal.jsonl": journal.slice(0, -10) };
    const { code, out } = await chainwalk(`${SHORT} --corpus kept --resume -o json`, { files });
    expect(code).toBe(0);
    const report: Report = JSON.parse(out);
    expect(report.features).toBeGreaterThan(100);
  });

  it("goes on with its own campaign only, and with what that was about where nothing else is said", async () => {
    const saved = new Map<string, string>();
    await chainwalk("fuzz -s kube-router,bpf-hash --runs 3 --seed 5 --corpus kept", { saved });
    await chainwalk(`${SHORT} --corpus kept`, { saved, files: Object.fromEntries(saved) });
    const files = Object.fromEntries(saved);
    const resume = (flags: string) => chainwalk(`fuzz --resume --corpus kept -o json ${flags}`, { files });
    const other = await resume("--seed 5 --target connections -s bpf-hash,kube-router");
    expect(other).toMatchObject({
      code: 2,
      out: "",
      err: expect.stringContaining(
        "--seed 5 --target connections: the campaign in kept has --seed 4 --target clusters;",
      ),
    });
    expect((await resume("--against import")).err).toContain(
      "--against import: the campaign in kept has --against reference;",
    );
    const { code, out } = await resume("--runs 22 --seed 4 -s bpf-hash,kube-router");
    expect({ code, report: JSON.parse(out) }).toMatchObject({ code: 0, report: { seed: 4, runs: 22 } });
    const silent = await resume("--runs 22");
    expect(withoutSeconds(silent.out)).toBe(withoutSeconds(out));
  });

  it("goes on with a journal of versions that did not say what it was about", async () => {
    const files = { "kept/journal.jsonl": '{"runs":7,"seconds":1}\n{"runs":1,"sec' };
    const saved = new Map<string, string>();
    const { code, out } = await chainwalk(`${SHORT} --corpus kept --resume --runs 9 -o json`, { files, saved });
    expect({ code, report: JSON.parse(out) }).toMatchObject({ code: 0, report: { seed: 4, runs: 9 } });
    expect(saved.get("kept/journal.jsonl")).toMatch(/^\n\{/);
  });

  it.each(["--corpus", "--findings"])("%s of a variable that is not set is no folder", async (flag) => {
    const saved = new Map<string, string>();
    const { code, err } = await chainwalk(["fuzz", "--runs", "1", flag, ""], { saved });
    expect({ code, err, saved: saved.size }).toMatchObject({
      code: 2,
      err: expect.stringContaining("Allowed is the name of a folder."),
      saved: 0,
    });
  });

  it("stops when the user does, and says what it has", async () => {
    const { code, out } = await chainwalk("fuzz -s kube-router -o json", { interrupted: AbortSignal.abort() });
    expect(code).toBe(130);
    expect(JSON.parse(out)).toMatchObject({ runs: 0, findings: [] });
  });

  it("shows runs, features and cases on a terminal", async () => {
    // Nobody is shown a line in the first half second, so time goes by with each look at the clock.
    let ms = 0;
    const now = () => {
      ms += 50;
      return ms;
    };
    const { err } = await chainwalk("fuzz -s kube-router --runs 40", { terminalColumns: 100, now });
    expect(err).toMatch(/\d+ runs, \d+ a second, \d+ features, \d+ cases kept, 0 findings/);
  });

  it("makes a case small that two disagree about, and says how to see it again", async () => {
    // Two solutions agree about a scenario, and nothing is left to make small.
    const fine = await chainwalk("fuzz minimize scenarios/db-policy -s kube-router -o json");
    expect({ code: fine.code, findings: JSON.parse(fine.out) }).toMatchObject({ code: 0, findings: { findings: [] } });
    expect(fine.err).toContain("nothing is wrong");
  });

  it("makes an input small that its reader trips over, and tells where it is from", async () => {
    const files = { "broken.txt": "this is no save" };
    const { code, out } = await chainwalk("fuzz --minimize broken.txt --target iptables-save -o json", { files });
    expect({ code, report: JSON.parse(out) }).toMatchObject({ code: 0, report: { findings: [] } });
  });

  it("holds conversations, and reads one again", async () => {
    const saved = new Map<string, string>();
    const { code, out } = await chainwalk("fuzz --target connections --runs 20 --corpus kept -o json", { saved });
    expect({ code, report: JSON.parse(out) }).toMatchObject({ code: 0, report: { runs: 20, findings: [] } });
    const kept = [...saved].find(([path]) => path.startsWith("kept/connections/"));
    const files = { "one.jsonl": kept?.[1] ?? "", "bad.jsonl": '{"held":"table","settings":"mine"}\n' };
    const again = await chainwalk("fuzz minimize one.jsonl --target connections", { files });
    expect({ code: again.code, err: again.err }).toMatchObject({
      code: 0,
      err: expect.stringContaining("nothing is wrong"),
    });
    const bad = await chainwalk("fuzz minimize bad.jsonl --target connections", { files });
    expect({ code: bad.code, err: bad.err }).toMatchObject({ code: 2, err: expect.stringContaining("bad.jsonl:1:1") });
  });

  it.each([
    ["maximize x", "fuzz minimize FILE"],
    ["minimize nowhere.yaml", "no such file"],
    ["--against nobody", "allowed are reference"],
    ["--target clouds", "allowed are clusters, labels, histories, connections"],
    ["--target labels --against kernel", "labels are held against reference, import and strategies"],
    ["--target labels,clusters --against command:true", "labels are held against"],
    ["--target histories --against import", "histories are held against reference alone"],
    ["--resume", "--corpus DIR"],
    ["-s reference", "choose a solution"],
    ["--max-time soon", "a number of seconds"],
  ])("%s ends with 2", async (flags, allowed) => {
    const { code, err } = await chainwalk(`fuzz ${flags}`);
    expect({ code, lines: linesOf(err).join(" ").includes(allowed) }).toEqual({ code: 2, lines: true });
  });
});

describe("a command as the other side", () => {
  const held = (command: string) =>
    chainwalk(["fuzz", "-s", "bpf-hash", "--runs", "1", "--against", `command:${command}`]);

  it.each([
    ["false", "it answered 0 of "],
    ["cat", "its line 1 is no result line: {"],
    ["echo no JSON", "its line 1 is no result line: no JSON"],
    ["exit 3", "it ended with exit code 3"],
    [`echo '{"id":1000000,"verdict":"drop"}'`, "its line 1 is about packet 1000000, there are "],
    ["kill -9 $$", "it was ended by SIGKILL"],
  ])("that cannot be understood ends the campaign with 2: %s", async (command, wrong) => {
    const { code, err } = await held(command);
    expect({ code, err }).toEqual({
      code: 2,
      err: expect.stringContaining(`error: --against command:${command}: ${wrong}`),
    });
  });

  it("that does not end is ended with all that it started", async () => {
    const outsider = commandOutsider("sleep 1000 | cat", 200);
    const trial = new Trial({
      model: { endpoints: [], nodes: [], namespaces: [], policies: [] },
      steps: [],
      fresh: true,
    });
    await expect(outsider.verdicts({ trial, programs: [], actual: () => "drop" })).rejects.toThrow(
      "it did not end within 0.2 s",
    );
  });

  it("that disagrees is told with its own words only, and what decides here when no rule does", async () => {
    const saved = new Map<string, string>();
    const refuses = `node -e 'require("fs").readFileSync(0, "utf8").trim().split("\\n").forEach((_, id) => console.log(JSON.stringify({ id, verdict: "drop" })))'`;
    const flags = ["fuzz", "-s", "bpf-hash", "--runs", "1", "--against", `command:${refuses}`];
    const { code } = await chainwalk(flags, { saved });
    expect(code).toBe(1);
    const [, scenario = ""] = [...saved].find(([path]) => path.endsWith("/scenario.yaml")) ?? [];
    const head = linesOf(scenario).filter((line) => line.startsWith("# "));
    expect(head.join("\n")).not.toContain("undefined");
    expect(head).toContain(`# command:${refuses} means drop`);
    expect(head.filter((line) => line.startsWith("# the API text: ")).length).toBeGreaterThan(0);
  });

  it("that knows nothing of any packet agrees", async () => {
    const knowsNothing = `node -e 'require("fs").readFileSync(0, "utf8").trim().split("\\n").forEach((_, id) => console.log(JSON.stringify({ id, verdict: "unknown" })))'`;
    const { code, err } = await held(knowsNothing);
    expect({ code, err }).toEqual({ code: 0, err: "" });
  });
});

function withoutSeconds(report: string): string {
  return report.replace(/"seconds":[^,]*/, "");
}

interface Report {
  readonly runs: number;
  readonly features: number;
  readonly corpus: number;
}
