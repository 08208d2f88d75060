/**
 * Commands shown in README.md and docs/*.md are run, and what they print is compared with what is shown.
 *
 * A fenced block of the language `console` is a session: a line that starts with `$ ` is a command for bash, the lines
 * up to the next one are everything it prints. `chainwalk` and `kubectl chainwalk` are this checkout. A line of `...`
 * stands for any number of lines.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BuiltCommandLine, buildCommandLine, ROOT } from "./cli/builtCommandLine.ts";

interface Shown {
  readonly place: string;
  readonly command: string;
  readonly output: readonly string[];
}

const PAGES = ["README.md", ...readdirSync(join(ROOT, "docs")).map((name) => join("docs", name))].filter(
  (page) => page.endsWith(".md") && existsSync(join(ROOT, page)),
);
const SHOWN = PAGES.flatMap((page) => commandsIn(page, readFileSync(join(ROOT, page), "utf8")));

function commandsIn(page: string, text: string): readonly Shown[] {
  const shown: { place: string; command: string; output: string[] }[] = [];
  let inSession = false;
  for (const [index, line] of text.split("\n").entries()) {
    if (line.startsWith("```")) {
      inSession = line === "```console";
      continue;
    }
    if (!inSession) continue;
    const last = shown.at(-1);
    if (line.startsWith("$ ")) shown.push({ place: `${page}:${index + 1}`, command: line.slice(2), output: [] });
    else if (last?.command.endsWith("\\") && last.output.length === 0) last.command += `\n${line}`;
    else last?.output.push(line);
  }
  return shown;
}

/** Everything the command prints, stderr among stdout, as a terminal shows it. */
function run(main: string, command: string): string {
  const script = `chainwalk() { "${process.execPath}" "${main}" "$@"; }; kubectl() { shift; chainwalk "$@"; }; ${command}`;
  return spawnSync("bash", ["-c", `exec 2>&1; ${script}`], {
    cwd: ROOT,
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1", GITHUB_ACTIONS: undefined },
    timeout: 60_000,
  }).stdout;
}

/** A pattern that the output must match, where `...` lines give way. */
function pattern(lines: readonly string[]): RegExp {
  const parts = lines.map((line) =>
    line === "..." ? "(?:.*\\n)*?" : `${line.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}\\n`,
  );
  return new RegExp(`^${parts.join("")}$`);
}

describe("commands shown in the documentation", () => {
  let built: BuiltCommandLine = { main: "", remove: () => {} };
  beforeAll(() => {
    if (SHOWN.length > 0) built = buildCommandLine();
  });
  afterAll(() => built.remove());

  for (const { place, command, output } of SHOWN) {
    it(`${place}: ${command}`, () => {
      const printed = run(built.main, command);
      const text = printed === "" || printed.endsWith("\n") ? printed : `${printed}\n`;
      // The pattern decides; the comparison of texts is there for its readable difference.
      if (!pattern(output).test(text)) expect(text).toBe(output.map((line) => `${line}\n`).join(""));
    });
  }

  it("pages name only files that exist", () => {
    const dead = PAGES.flatMap((page) => {
      const text = readFileSync(join(ROOT, page), "utf8");
      const folder = page.includes("/") ? join(ROOT, "docs") : ROOT;
      return [...text.matchAll(/\]\((?!https?:|#)([^)#\s]+)[^)]*\)/g)]
        .map(([, target = ""]) => target)
        .filter((target) => !existsSync(join(folder, target)))
        .map((target) => `${page}: ${target}`);
    });
    expect(dead).toEqual([]);
  });

  it("a session is read as it is written", () => {
    const text = [
      "```console",
      "$ chainwalk a \\",
      "    b",
      "out",
      "...",
      "$ true",
      "```",
      "$ not this",
      "```sh",
      "$ nor this",
      "```",
    ].join("\n");
    expect(commandsIn("page", text)).toEqual([
      { place: "page:2", command: "chainwalk a \\\n    b", output: ["out", "..."] },
      { place: "page:6", command: "true", output: [] },
    ]);
    expect(pattern(["a.b", "...", "c"]).test("a.b\n1\n2\nc\n")).toBe(true);
    expect(pattern(["a.b", "...", "c"]).test("a-b\nc\n")).toBe(false);
    expect(pattern(["a"]).test("a\nb\n")).toBe(false);
  });
});
