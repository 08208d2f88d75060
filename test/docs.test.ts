/**
 * Commands shown in README.md and docs/*.md are run, and what they print is compared with what is shown.
 *
 * A fenced block of the language `console` is a session: a line that starts with `$ ` is a command for bash, the lines
 * up to the next one are everything it prints. `chainwalk` and `kubectl chainwalk` are this checkout. A line of `...`
 * stands for any number of lines.
 *
 * A whole run does it as a reader would. To load the program costs most commands more than their work, so a sample runs
 * those that say nothing to the shell but a pipe in this process, where it is loaded.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "./built.ts";
import { builtCommandLine } from "./cli/builtCommandLine.ts";
import { chainwalk } from "./cli/commandLine.ts";
import { isWhole } from "./extent.ts";

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
function runAsProcess(main: string, command: string): string {
  const script = `chainwalk() { "${process.execPath}" "${main}" "$@"; }; kubectl() { shift; chainwalk "$@"; }; ${command}`;
  return shell(`exec 2>&1; ${script}`);
}

function shell(script: string, input?: string): string {
  return spawnSync("bash", ["-c", script], {
    cwd: ROOT,
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1", GITHUB_ACTIONS: undefined },
    timeout: 60_000,
    ...(input === undefined ? {} : { input }),
  }).stdout;
}

/** One command of ours with words that are quoted or mean nothing to a shell, and perhaps what its output is piped into. */
const SIMPLE = /^chainwalk((?: +(?:[\w./:,=@-]+|'[^']*'))+)(?: *\| *([^;&$]*))?$/;

/** The words of a command that can do without a process of its own. */
function wordsOf(
  command: string,
): { readonly argv: readonly string[]; readonly piped: string | undefined } | undefined {
  const [, words, piped] = SIMPLE.exec(command) ?? [];
  if (words === undefined || piped?.includes("chainwalk")) return undefined;
  return { argv: [...words.matchAll(/'([^']*)'|\S+/g)].map(([word, quoted]) => quoted ?? word), piped };
}

async function run(main: string, command: string): Promise<string> {
  const simple = isWhole ? undefined : wordsOf(command);
  if (simple === undefined) return runAsProcess(main, command);
  const shown: string[] = [];
  const { out, err } = await chainwalk(simple.argv, { env: { NO_COLOR: "1" }, shown });
  return simple.piped === undefined ? shown.join("") : err + shell(simple.piped, out);
}

/** A pattern that the output must match, where `...` lines give way. */
function pattern(lines: readonly string[]): RegExp {
  const parts = lines.map((line) =>
    line === "..." ? "(?:.*\\n)*?" : `${line.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}\\n`,
  );
  return new RegExp(`^${parts.join("")}$`);
}

describe("commands shown in the documentation", () => {
  let main: string;
  beforeAll(() => {
    main = builtCommandLine();
  });

  for (const { place, command, output } of SHOWN) {
    it(`${place}: ${command}`, async () => {
      const printed = await run(main, command);
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

  it("most commands can do without a process, and what says more to the shell cannot", () => {
    expect(SHOWN.filter(({ command }) => wordsOf(command) !== undefined).length).toBeGreaterThan(SHOWN.length / 2);
    expect(wordsOf("chainwalk a --b='c' 'd | e' -f x/y.z | tail -n 1")).toEqual(undefined);
    expect(wordsOf("chainwalk a 'd | e' -f x/y.z | tail -n 1")).toEqual({
      argv: ["a", "d | e", "-f", "x/y.z"],
      piped: "tail -n 1",
    });
    for (const command of ["chainwalk a; true", "chainwalk a | chainwalk b", "chainwalk $A", "chainwalk a > b", "ls"]) {
      expect([command, wordsOf(command)]).toEqual([command, undefined]);
    }
  });
});
