/** `--open`: the address that a command prints shows what the command prints. */
import { readFileSync } from "node:fs";
import { relative } from "node:path";
import type { Page } from "playwright-core";
import { expect, it } from "vitest";
import { ROOT } from "../built.ts";
import { chainwalk, type Outcome } from "../cli/commandLine.ts";
import { sampled } from "../extent.ts";
import { type PageUnderTest, verdictOn } from "./browser.ts";
import { shownReport, trimmed } from "./reports.ts";

interface Case {
  /** Without `--open`. */
  readonly command: string;
  readonly stdin?: string;
  /** What the page shows of it, to be found in what the command prints. */
  readonly isSame: (page: Page, outcome: () => Promise<Outcome>) => Promise<void>;
}

const sameReport: Case["isSame"] = async (page, outcome) => {
  await page.locator(".report .text").waitFor();
  const shown = await shownReport(page);
  expect(shown.length).toBeGreaterThan(3);
  expect(shown).toEqual(trimmed((await outcome()).out.trimEnd()));
};

const sameAnswer: Case["isSame"] = async (page, outcome) => {
  await page.locator("#decision").waitFor();
  const shown = [await page.locator(".packet-line").textContent(), await verdictOn(page)].map((text) => text?.trim());
  const decision = (await page.locator("#decision").textContent()) ?? "nothing";
  const { out } = await outcome();
  const verdict = /^(accept|drop|reject): /m.exec(out)?.[1];
  expect(shown).toEqual([out.split("\n")[0]?.trim(), verdict]);
  expect(out).toContain(decision);
};

const IN_DOCS: readonly string[] = [...readFileSync("docs/page.md", "utf8").matchAll(/^```sh\n(.*?)^```/gms)].flatMap(
  ([, block = ""]) => block.split("\n").filter((line) => line !== ""),
);

/** Commands that docs/page.md shows, by verb. */
const SAME_IN_DOCS: Readonly<Record<string, Case["isSame"]>> = {
  trace: sameAnswer,
  compare: sameReport,
  timeline: sameReport,
};

const CASES: readonly Case[] = [
  ...IN_DOCS.filter((line) => line.endsWith("--open")).map((line): Case => {
    const [, pipe, verb = "", flags = ""] = /^(kubectl .* \| )?chainwalk (\S+) (.*) --open$/.exec(line) ?? [];
    const isSame = SAME_IN_DOCS[verb];
    if (isSame === undefined) throw new Error(`docs/page.md shows what is not tested: ${line}`);
    const stdin = pipe === undefined ? {} : { stdin: readFileSync("scenarios/db-policy/cluster.yaml", "utf8") };
    return { command: `${verb} ${flags}`, ...stdin, isSame };
  }),
  {
    command: "trace -f scenarios/db-policy --from intruder --to db --port 3306 -s calico-iptables",
    isSame: sameAnswer,
  },
  {
    command: "compare -f scenarios/end-port/cluster.yaml -s kube-router,romana",
    isSame: sameReport,
  },
  {
    command: "matrix -f scenarios/db-policy --port tcp/3307 -s cilium-ebpf -o json",
    isSame: async (page, outcome) => {
      await page.locator(".matrix-box").focus();
      await page.keyboard.press("ArrowDown");
      await expect.poll(() => page.locator("#matrix-cell b").count()).toBe(1);
      const [verdict, who] = await Promise.all([
        page.locator("#matrix-cell b").textContent(),
        page.locator("#matrix-cell code").textContent(),
      ]);
      expect(await page.locator("#matrix-port").inputValue()).toBe("tcp/3307");
      const { pods, verdicts } = JSON.parse((await outcome()).out) as {
        readonly pods: readonly string[];
        readonly verdicts: Readonly<Record<string, readonly string[]>>;
      };
      expect(who).toBe(`${pods[1]} > ${pods[0]}`);
      const letter = verdicts["tcp/3307"]?.[1]?.[0] ?? "";
      expect(verdict).toBe({ ".": "accept", X: "drop", R: "reject" }[letter]);
    },
  },
  {
    command: "trace -f scenarios/rule-in-front --from prod/c --to prod/a --at 1.1",
    isSame: sameAnswer,
  },
  {
    command: "trace -f scenarios/db-policy --packets scenarios/db-policy/scenario.yaml -o table",
    isSame: async (page, outcome) => {
      await page.locator("[data-step]").first().waitFor();
      const verdict = (await verdictOn(page)) ?? "nothing";
      const { out } = await outcome();
      expect(out.split("\n").find((line) => /^\s*1\s/.test(line))).toContain(verdict);
    },
  },
];

/** In browsers of their own: each page has a server of its own, on another port. */
export function testOpened(opened: () => PageUnderTest): void {
  it.each(
    sampled(
      IN_DOCS.filter((line) => !line.endsWith("--open")),
      1,
    ),
  )("%s is served, as the docs say", async (line) => {
    const [, command = ""] = /^chainwalk (serve\b[^#]*)/.exec(line) ?? [];
    const ended = new AbortController();
    const shown: string[] = [];
    const own = command.replace("manifests/", "scenarios/db-policy/cluster.yaml").trim();
    // The port may be somebody else's here.
    const running = chainwalk(`${own.replace(/ --port \d+/, "")} --port 0`, {
      page: relative(ROOT, opened().folder),
      interrupted: ended.signal,
      shown,
    });
    await expect.poll(() => shown.join(""), { timeout: 10_000 }).toContain("Ctrl-C ends it");
    const [address = ""] = shown.join("").split("\n");
    const page = await opened().open(address);
    await page.locator("#verdict").waitFor();
    const from = await page.locator("#scenario option:checked").textContent();
    expect(from).toBe(own.includes("-f") ? "your manifests" : "db-policy");
    await page.context().close();
    ended.abort();
    expect((await running).out.trim()).toBe(address);
  });

  it.each(sampled(CASES, 1))("$command --open shows what it prints", async ({ command, stdin, isSame }) => {
    const ended = new AbortController();
    let running: Promise<Outcome> | undefined;
    const link = await new Promise<string>((resolve, reject) => {
      running = chainwalk(`${command} --open`, {
        page: relative(ROOT, opened().folder),
        interrupted: ended.signal,
        ...(stdin !== undefined && { stdin }),
        opened: (address) => {
          resolve(address);
          return undefined;
        },
      });
      // A command that ends before it opens anything says why.
      running.then(({ err }) => reject(new Error(err)), reject);
    });
    const page = await opened().open(link);
    const outcome = async () => {
      // First the window: it would ask for the server that is gone, and complain.
      await page.context().close();
      ended.abort();
      return running ?? Promise.reject(new Error("it never ran"));
    };
    await isSame(page, outcome);
    const { err } = await outcome();
    expect(err).toContain(`${link}\n`);
  });
}
